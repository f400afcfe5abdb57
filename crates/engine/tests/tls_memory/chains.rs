//! Chains of certificates that peers show, and tickets that servers send: the library keeps both.

use super::*;

/// A server that asks for certificates and goes on with any, as Prosody does on the port for other servers.
fn asking() -> Context {
    context(&with!(server_settings(server_pair()),
        verify: words(&["peer"]),
        verifyext: words(&["lsec_continue"]),
    ))
}

/// Certificates that nobody can read, of so many bytes in all.
fn filler(length: usize) -> Vec<Vec<u8>> {
    vec![0; length].chunks(1000).map(<[u8]>::to_vec).collect()
}

/// A handshake message of TLS 1.2 in records, as it is sent before there are keys.
fn plain_records(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[kind][..], &length[1..], body].concat();
    message
        .chunks(16_000)
        .flat_map(|part| {
            let length = (part.len() as u16).to_be_bytes();
            [&[HANDSHAKE, 3, 3][..], &length, part].concat()
        })
        .collect()
}

/// Clients that show a long chain to a server that has asked for one, and then go on with a message of which they do not send the end.
/// rustls keeps the chain, and in TLS 1.2 also what both have said.
pub fn chains_before_the_end_hold_less_than_their_budget() {
    const CERTIFICATE: u8 = 11;
    const CLIENT_KEY_EXCHANGE: u8 = 16;
    let most = at_most(
        "Memory",
        "shows a chain of certificates to a server that asks for one, and does not go on",
    );
    let hello = include_bytes!("../../../../fuzz/client_hellos/openssl-3.0-tls1.2");
    let server = asking();
    for (chain, more) in [(60_000, 0), (60_000, 18_000), (1000, 65_000)] {
        let entries: Vec<u8> = filler(chain)
            .iter()
            .flat_map(|der| [&(der.len() as u32).to_be_bytes()[1..], der].concat())
            .collect();
        let body = [&(entries.len() as u32).to_be_bytes()[1..], &entries].concat();
        let certificate = plain_records(CERTIFICATE, &body);
        let step = plain_records(CLIENT_KEY_EXCHANGE, &vec![0; more]);
        let held = held_after(&server, 20, |driver, _, stream| {
            write_slowly(driver, stream, hello);
            let mut theirs = stream.try_clone().unwrap();
            driver.drive_peer(move || theirs.read_exact(&mut [0]).unwrap(), |_, _| {});
            write_slowly(driver, stream, &certificate);
            write_slowly(driver, stream, &step[..step.len().saturating_sub(10)]);
        });
        println!("a chain of {chain}, and {more} more: {held} bytes");
        assert!(held < most, "{held} bytes");
    }
}

/// Clients that have shown a long chain, and say nothing since.
pub fn chains_hold_less_than_their_budget() {
    let most = at_most(
        "Memory",
        "shakes hands with a chain of certificates, and says nothing",
    );
    let own = self_signed("s2s.test");
    let server = asking();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let held = held_after(&server, 20, |driver, _, stream| {
            use rustls::pki_types::pem::PemObject;
            use rustls::pki_types::{PrivateKeyDer, ServerName};
            let mut chain = vec![der(&own.certificate).into()];
            chain.extend(filler(60_000).into_iter().map(Into::into));
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            let config = rustls::ClientConfig::builder_with_provider(provider.into())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots())
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&own.key).unwrap())
                .unwrap();
            let name = ServerName::try_from("example.test").unwrap();
            let client = rustls::ClientConnection::new(config.into(), name).unwrap();
            let theirs = stream.try_clone().unwrap();
            let mut secured = false;
            let kept = driver.drive_peer(
                move || {
                    let (mut client, mut theirs) = (client, theirs);
                    while client.is_handshaking() || client.wants_write() {
                        client.complete_io(&mut theirs).unwrap();
                    }
                    client
                },
                |_, event| secured |= matches!(event, Seen::Secured(_)),
            );
            if !secured {
                driver.drive("its end", |_, event| matches!(event, Seen::Secured(_)));
            }
            drop(kept);
            let counted = driver.reactor.gauges().input_memory_bytes;
            assert!(counted > 50_000, "{counted} bytes count for all");
        });
        println!("{version:?}, a chain of 60,000 bytes: {held} bytes");
        assert!(held > 50_000, "{held} bytes: it was not kept");
        assert!(held < most, "{held} bytes");
    }
}

/// Servers with long chains, each of which sends long tickets, on connections that are over.
pub fn remembered_servers_hold_less_than_their_budget() {
    const NAMES: usize = 40;
    let most = at_most(
        "Memory",
        "is a server that we connect to under many names, and sends long tickets",
    );
    let client = client();
    let mut driver = Driver::open_named("poll").unwrap();
    let visit = |driver: &mut Driver, name: usize| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let key = driver
            .reactor
            .connect(address, SocketKind::Stream, ReadSize::All)
            .unwrap();
        let mut start = named(client.clone());
        start.server_name = Some(format!("{name}.test"));
        driver.reactor.start_tls(key, start).unwrap();
        let stream = driver.drive_peer(
            move || {
                let stream = patient(listener.accept().unwrap().0);
                let version = &rustls::version::TLS13;
                let mut forger = Forger::serve(&stream, version, &filler(60_000));
                for _ in 0..10 {
                    (&stream).write_all(&forger.ticket(16_000)).unwrap();
                }
                (&stream).write_all(&forger.seal(DATA, b"bye")).unwrap();
                stream
            },
            |_, _| {},
        );
        drop(stream);
        driver.expect_closed(key);
    };
    visit(&mut driver, NAMES);
    let before = allocated();
    (0..NAMES).for_each(|name| visit(&mut driver, name));
    let held = allocated() - before;
    println!("remembered of {NAMES} servers: {held} bytes");
    assert!(held > 100_000, "{held} bytes: nothing was remembered");
    assert!(held < most, "{held} bytes");
}
