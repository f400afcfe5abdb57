//! The consumer chooses by name and protocol.

use super::*;

pub fn choosing(context: Context) -> Start {
    with!(Start::new(context), choose: true)
}

fn offering(names: &[&str]) -> Start {
    named(context(&with!(client_settings(), alpn: words(names))))
}

fn hello(driver: &mut Driver) -> (Key, Option<String>, Vec<Vec<u8>>) {
    let mut found = None;
    driver.drive("a ClientHello", |_, event| {
        if let Seen::ClientHello {
            key,
            server_name,
            alpn,
        } = event
        {
            found = Some((key, server_name, alpn));
        }
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_name_gets_its_context() {
    let mut driver = driver!();
    let nameless = context(&Settings::default());
    let ends = driver.join_tls(
        choosing(nameless),
        offering(&["xmpp-client"]),
        ReadSize::All,
    );
    let (key, name, alpn) = hello(&mut driver);
    assert_eq!(key, ends.server);
    assert_eq!(name.as_deref(), Some("example.test"));
    assert_eq!(alpn, [b"xmpp-client".to_vec()]);
    // A slow choice is no reason to read on.
    driver.expect_silence();
    driver.reactor.accept_tls(key, server(), None).unwrap();
    driver.secure(ends);
    assert_eq!(
        driver.reactor.peer_certificates(ends.client)[0],
        der(&server_pair().certificate)
    );
    assert!(matches!(
        driver.reactor.accept_tls(key, server(), None),
        Err(Error::Unsupported)
    ));
}

/// A list without end is work and memory for nothing.
#[test]
fn of_many_protocols_the_first_are_looked_at() {
    const MOST: usize = 64;
    let mut driver = driver!();
    let many: Vec<String> = (0..3000).map(|number| format!("p{number}")).collect();
    let ours = context(&with!(server_settings(server_pair()), alpn: words(&["p7"])));
    let offering = || named(context(&with!(client_settings(), alpn: many.clone())));
    let ends = driver.join_tls(choosing(server()), offering(), ReadSize::All);
    let (key, name, alpn) = hello(&mut driver);
    assert_eq!(name.as_deref(), Some("example.test"));
    assert_eq!(alpn.len(), MOST);
    assert_eq!(alpn[MOST - 1], b"p63");
    driver.reactor.accept_tls(key, ours, None).unwrap();
    driver.secure(ends);
    let agreed = driver.reactor.tls_info(ends.server).unwrap().alpn;
    assert_eq!(agreed.as_deref(), Some(&b"p7"[..]));
}

#[test]
fn an_unknown_name_is_refused() {
    let mut driver = driver!();
    let ends = driver.join_tls(choosing(server()), named(client()), ReadSize::All);
    let (key, ..) = hello(&mut driver);
    driver.reactor.refuse_tls(key).unwrap();
    let (server, client) = driver.both_closed(ends);
    assert_eq!(server, failed("unrecognized name"));
    assert_eq!(client, failed("tlsv1 unrecognized name"));
}

#[test]
fn a_choice_that_never_comes_ends() {
    let mut driver = driver!(tls_handshake_timeout: Duration::from_millis(100));
    let ends = driver.join_tls(choosing(server()), named(client()), ReadSize::All);
    hello(&mut driver);
    let (server, _) = driver.both_closed(ends);
    assert_eq!(server, Reason::HandshakeTimeout);
}

#[test]
fn without_a_certificate_nobody_is_served() {
    let mut driver = driver!();
    let nameless = context(&Settings::default());
    let ends = driver.join_tls(named(nameless), named(client()), ReadSize::All);
    let (server, _) = driver.both_closed(ends);
    assert_eq!(server, failed("no shared cipher"));
}

#[test]
fn protocols_are_agreed_on_in_the_servers_order_or_not_at_all() {
    let mut driver = driver!();
    for (ours, offered, agreed) in [
        (&["b", "a"][..], &["a", "b"][..], Some("b")),
        (&["c"], &["a", "b"], None),
        (&[], &["a"], None),
        (&["a"], &[], None),
    ] {
        let context = context(&with!(server_settings(server_pair()), alpn: words(ours)));
        let ends = driver.join_tls(named(context), offering(offered), ReadSize::All);
        driver.secure(ends);
        for key in [ends.server, ends.client] {
            let alpn = driver.reactor.tls_info(key).unwrap().alpn;
            assert_eq!(alpn.as_deref(), agreed.map(str::as_bytes));
        }
    }
    // The same by choice.
    let ends = driver.join_tls(choosing(server()), offering(&["a", "b"]), ReadSize::All);
    let (key, ..) = hello(&mut driver);
    let chosen = Some(vec![b"z".to_vec(), b"b".to_vec()]);
    driver.reactor.accept_tls(key, server(), chosen).unwrap();
    driver.secure(ends);
    let alpn = driver.reactor.tls_info(ends.client).unwrap().alpn;
    assert_eq!(alpn.as_deref(), Some(&b"b"[..]));
}

#[test]
fn a_client_asks_for_the_a_label() {
    let mut driver = driver!();
    for (name, asked) in [
        ("b\u{fc}cher.test", Some("xn--bcher-kva.test")),
        ("XN--BCHER-KVA.Test.", Some("xn--bcher-kva.test")),
        ("a b.test", None),
        ("127.0.0.1", None),
    ] {
        let start = with!(Start::new(client()), server_name: Some(name.into()));
        let ends = driver.join_tls(choosing(server()), start, ReadSize::All);
        let (key, seen, _) = hello(&mut driver);
        assert_eq!(seen.as_deref(), asked, "{name}");
        driver.reactor.accept_tls(key, server(), None).unwrap();
        driver.secure(ends);
        let info = driver.reactor.tls_info(ends.client).unwrap();
        assert_eq!(info.server_name.as_deref(), asked, "{name}");
    }
}
