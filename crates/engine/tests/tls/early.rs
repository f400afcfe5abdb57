//! Early data (0-RTT; RFC 8446, section 4.2.10), which is offered to nobody here: who sends some all the same has it skipped, as far as
//! it is little. None of it is ever delivered, for whoever has seen it on the way could send it again.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, NamedGroup, StreamOwned};

use super::*;

/// Tickets of a client that takes each for one with which early data may be sent.
#[derive(Debug)]
struct Eager(ClientSessionMemoryCache);

impl ClientSessionStore for Eager {
    // Nothing is remembered of what the server wants: it has to say so again.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, mut ticket: Tls13ClientSessionValue) {
        ticket._private_set_max_early_data_size(1 << 20);
        self.0.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(name)
    }
}

fn eager_config() -> Arc<ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![SECP256R1, SECP384R1];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    config.enable_early_data = true;
    let tickets = Arc::new(Eager(ClientSessionMemoryCache::new(8)));
    config.resumption = Resumption::store(tickets);
    Arc::new(config)
}

fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("example.test").unwrap();
    let client = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(client, peer(address))
}

/// A client that comes a second time, with so much early data; what the server then got of it, and how it ended.
fn offered(driver: &mut Driver, server: &Context, early: usize) -> (Vec<u8>, Option<Reason>) {
    let (listener, address) = driver.listen(ReadSize::All);
    let config = eager_config();
    let client = move || {
        let mut first = connect(&config, address);
        first.write_all(b"first").unwrap();
        // The ticket comes before it.
        first.read_exact(&mut [0; 8]).unwrap();
        drop(first);
        let mut second = connect(&config, address);
        let sent = second.conn.early_data().unwrap().write(&vec![b'e'; early]);
        assert_eq!(sent.unwrap(), early);
        if second.write_all(b"second").is_ok() {
            assert!(!second.conn.is_early_data_accepted());
            let _ = second.read_exact(&mut [0; 8]);
        }
    };
    let (mut keys, mut got, mut reason) = (Vec::new(), Vec::new(), None);
    driver.drive_peer(client, |reactor, event| match event {
        Seen::Accepted { key, .. } => {
            keys.push(key);
            reactor.start_tls(key, named(server.clone())).unwrap();
        }
        Seen::Data(key, data, _) => {
            reactor.write(key, b"greeting").unwrap();
            if keys.get(1) == Some(&key) {
                got.extend(data);
            }
        }
        Seen::Closed(key, why) if keys.get(1) == Some(&key) => reason = Some(why),
        _ => {}
    });
    driver.reactor.close(listener);
    (got, reason)
}

#[test]
fn a_little_is_skipped_and_never_delivered() {
    let mut driver = driver!();
    let particular = context(&with!(server_settings(server_pair()),
        curveslist: Some("P-384".into()),
    ));
    // The second one asks for another key first.
    for server in [server(), particular] {
        // rustls skips 16 KiB, and counts what it has skipped again with each read that brings more.
        for early in [1, 100, 1000] {
            let before = driver.reactor.stats();
            let (got, reason) = offered(&mut driver, &server, early);
            let got = String::from_utf8(got).unwrap();
            assert_eq!(got, "second", "{early}: {reason:?}");
            let after = driver.reactor.stats();
            assert_eq!(after.handshakes - before.handshakes, 2);
            assert_eq!(after.handshakes_resumed - before.handshakes_resumed, 1);
        }
    }
}

#[test]
fn much_ends_the_connection() {
    let mut driver = driver!();
    let particular = context(&with!(server_settings(server_pair()),
        curveslist: Some("P-384".into()),
    ));
    for server in [server(), particular] {
        let (got, reason) = offered(&mut driver, &server, 50_000);
        assert_eq!(got, b"");
        let reason = reason.expect("the end of it");
        assert!(matches!(reason, Reason::Tls(_)), "{reason:?}");
        println!("{reason:?}");
    }
}
