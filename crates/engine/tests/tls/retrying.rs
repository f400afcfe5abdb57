//! Clients that are asked for another key (HelloRetryRequest; RFC 8446, section 4.1.4).

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1};
use rustls::pki_types::ServerName;

use super::*;

/// A server that has no use for what most clients begin with.
fn particular() -> Context {
    context(&with!(server_settings(server_pair()), curveslist: Some("P-384".into())))
}

/// A client that knows what such a server wants.
fn informed() -> Context {
    context(&with!(client_settings(), curveslist: Some("P-384".into())))
}

/// A client of rustls's that begins with a key for P-256, and has one for P-384 if it is asked.
fn uninformed(name: &str) -> rustls::ClientConnection {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![SECP256R1, SECP384R1];
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap()
}

/// What it has to send.
fn next_records(client: &mut rustls::ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    records
}

/// A connection whose client was asked for another key, with its first ClientHello and its second, which is not sent.
struct Asked {
    key: Key,
    stream: TcpStream,
    first: Vec<u8>,
    second: Vec<u8>,
}

fn asked_again(driver: &mut Driver, from: &str, address: SocketAddr, server: &Context) -> Asked {
    let mut stream = peer_from(from, address);
    let key = driver.accepted();
    driver
        .reactor
        .start_tls(key, named(server.clone()))
        .unwrap();
    let mut client = uninformed("example.test");
    let first = next_records(&mut client);
    stream.write_all(&first).unwrap();
    let mut theirs = stream.try_clone().unwrap();
    let second = driver.drive_peer(
        move || {
            while !client.wants_write() {
                client.read_tls(&mut theirs).unwrap();
                client.process_new_packets().unwrap();
            }
            next_records(&mut client)
        },
        |_, _| {},
    );
    Asked {
        key,
        stream,
        first,
        second,
    }
}

/// To answer a second ClientHello costs what to answer a first one does, so nobody comes before others by having us ask.
#[test]
fn who_is_asked_again_comes_before_nobody() {
    const FLOOD: usize = 300;
    const HONEST: usize = 20;
    let mut driver = driver!();
    let server = particular();
    let hello = driver.client_hello(informed());
    let (_, address) = driver.listen(ReadSize::All);
    let flood: Vec<Asked> = (0..FLOOD)
        .map(|_| asked_again(&mut driver, "127.0.0.2", address, &server))
        .collect();
    let honest: Vec<TcpStream> = (0..HONEST)
        .map(|number| {
            let stream = peer_from(["127.0.0.3", "127.0.0.4"][number % 2], address);
            let key = driver.accepted();
            let start = named(server.clone());
            driver.reactor.start_tls(key, start).unwrap();
            stream
        })
        .collect();
    driver.turn();
    for asked in &flood {
        (&asked.stream).write_all(&asked.second).unwrap();
    }
    for mut stream in &honest {
        stream.write_all(&hello).unwrap();
    }
    let give_up = Instant::now() + PATIENCE;
    while honest.iter().any(|stream| unread(stream) == 0) {
        assert!(Instant::now() < give_up);
        driver.turn();
    }
    let answered = flood.iter().filter(|it| unread(&it.stream) > 0).count();
    assert!(answered < FLOOD / 3, "{answered} were answered before");
}

/// No more of them may wait than of those who come first.
#[test]
fn second_hellos_count_among_those_that_wait() {
    let mut driver = driver!(max_waiting_handshakes: 4);
    let server = particular();
    let (_, address) = driver.listen(ReadSize::All);
    let all: Vec<Asked> = (0..20)
        .map(|_| asked_again(&mut driver, "127.0.0.1", address, &server))
        .collect();
    for asked in &all {
        (&asked.stream).write_all(&asked.second).unwrap();
    }
    let mut turned_away = 0;
    driver.drive_for(SILENCE * 3, |_, event| match event {
        Seen::Closed(_, reason) => {
            assert_eq!(reason, failed("4 handshakes are waiting already"));
            turned_away += 1;
        }
        Seen::Notice(..) => {}
        other => panic!("{other:?}"),
    });
    assert!((15..=17).contains(&turned_away), "{turned_away}");
}

/// However it is cut.
#[test]
fn the_second_hello_may_come_byte_by_byte() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.start_tls(key, named(particular())).unwrap();
    let mut got = Vec::new();
    driver.drive_peer(
        move || {
            stream.set_nodelay(true).unwrap();
            let mut tls = rustls::StreamOwned::new(uninformed("example.test"), Slow(stream));
            tls.write_all(b"in the end").unwrap();
            tls.flush().unwrap();
            tls.read_exact(&mut [0]).unwrap();
        },
        |reactor, event| {
            if let Seen::Data(key, data, _) = event {
                got.extend(data);
                if got == b"in the end" {
                    reactor.write(key, b".").unwrap();
                }
            }
        },
    );
    assert_eq!(got, b"in the end");
}

/// It is asked once.
#[test]
fn who_does_not_do_as_asked_is_not_asked_again() {
    let mut driver = driver!();
    let server = particular();
    let (_, address) = driver.listen(ReadSize::All);
    type Change = fn(&Asked) -> Vec<u8>;
    let cases: [(&str, Change, &str); 4] = [
        (
            "the same ClientHello",
            |asked| asked.first.clone(),
            "RefusedToFollowHelloRetryRequest",
        ),
        (
            "no ClientHello",
            |_| vec![22, 3, 3, 0, 4, 20, 0, 0, 0],
            "unexpected message",
        ),
        (
            "another name",
            |asked| {
                let at = asked
                    .second
                    .windows(12)
                    .position(|it| it == b"example.test");
                let mut other = asked.second.clone();
                other[at.unwrap()] = b'E' + 1;
                other
            },
            "ServerNameDifferedOnRetry",
        ),
        (
            "a ClientHello without end",
            |_| [&[22, 3, 3, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 16_380]].concat(),
            "excessive message size",
        ),
    ];
    for (what, change, text) in cases {
        let asked = asked_again(&mut driver, "127.0.0.1", address, &server);
        let records = change(&asked);
        (&asked.stream).write_all(&records).unwrap();
        let (reason, _) = driver.expect_closed(asked.key);
        match reason {
            Reason::Tls(found) => assert!(found.contains(text), "{what}: {found}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// Who does not go on has the time of a step, as before.
#[test]
fn who_was_asked_again_and_says_nothing_is_given_up() {
    let mut driver = driver!(tls_handshake_timeout: Duration::from_millis(150));
    let server = particular();
    let (_, address) = driver.listen(ReadSize::All);
    let asked = asked_again(&mut driver, "127.0.0.1", address, &server);
    let half = &asked.second[..asked.second.len() / 2];
    (&asked.stream).write_all(half).unwrap();
    let (reason, _) = driver.expect_closed(asked.key);
    assert_eq!(reason, Reason::HandshakeTimeout);
}
