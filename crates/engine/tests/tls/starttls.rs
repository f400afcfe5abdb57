//! STARTTLS: the border between plaintext and TLS.

use std::io::Write as _;

use super::*;

#[test]
fn what_was_written_before_is_plaintext_and_first() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.write(key, b"<proceed/>").unwrap();
    driver.reactor.start_tls(key, named(server())).unwrap();
    driver.reactor.write(key, b"hello").unwrap();
    let got = driver.drive_peer(
        move || {
            let mut plain = [0; 10];
            stream.read_exact(&mut plain).unwrap();
            assert_eq!(&plain, b"<proceed/>");
            let mut tls = peer_client(stream, "example.test");
            let mut data = [0; 5];
            tls.read_exact(&mut data).unwrap();
            data
        },
        |_, _| {},
    );
    assert_eq!(&got, b"hello");
}

#[test]
fn plaintext_after_start_tls_is_never_delivered() {
    for inject in [&b"<presence/>"[..], b"\x16\x03\x01<injected/>", b"x"] {
        let mut driver = driver!(tls_handshake_timeout: Duration::from_millis(300));
        let (key, mut stream) = driver.serve();
        stream.write_all(b"<starttls/>").unwrap();
        driver.expect_data(key, b"<starttls/>");
        // In the same packet as far as anybody can tell: it waits in the system when TLS begins.
        stream.write_all(inject).unwrap();
        driver.reactor.write(key, b"<proceed/>").unwrap();
        driver.reactor.start_tls(key, named(server())).unwrap();
        let (reason, before) = driver.expect_closed(key);
        assert!(
            matches!(reason, Reason::Tls(_) | Reason::HandshakeTimeout),
            "{reason:?}"
        );
        assert!(
            !before.iter().any(|event| matches!(event, Seen::Data(..))),
            "{before:?}"
        );
    }
}

#[test]
fn plaintext_that_is_ready_in_the_same_turn_is_not_delivered_either() {
    let mut driver = driver!();
    let ends = driver.join(ReadSize::UpTo(4));
    driver
        .reactor
        .write(ends.client, b"stls<injected/>")
        .unwrap();
    let mut seen = Vec::new();
    let server = server();
    driver.drive("the end", |reactor, event| match event {
        Seen::Data(key, data, _) if key == ends.server => {
            seen.extend(data);
            reactor.start_tls(key, named(server.clone())).unwrap();
            false
        }
        Seen::Closed(key, reason) if key == ends.server => {
            assert_eq!(reason, failed("wrong version number"));
            true
        }
        _ => false,
    });
    assert_eq!(seen, b"stls");
}

#[test]
fn start_tls_is_refused_where_it_makes_no_sense() {
    let mut driver = driver!();
    let (listener, _) = driver.listen(ReadSize::All);
    let refused = driver.reactor.start_tls(listener, named(server()));
    assert!(matches!(refused, Err(Error::Unsupported)));
    let (key, _stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let again = driver.reactor.start_tls(key, named(server()));
    assert!(matches!(again, Err(Error::TlsActive)));
    driver.reactor.destroy(key);
    let stale = driver.reactor.start_tls(key, named(server()));
    assert!(matches!(stale, Err(Error::Closed)));
}

#[test]
fn a_handshake_ignores_pauses_and_data_does_not() {
    let mut driver = driver!();
    let ends = driver.join(ReadSize::All);
    driver.reactor.pause(ends.server);
    driver.reactor.pause_writes(ends.server);
    driver
        .reactor
        .start_tls(ends.server, named(server()))
        .unwrap();
    driver
        .reactor
        .start_tls(ends.client, named(client()))
        .unwrap();
    driver.reactor.write(ends.client, b"ping").unwrap();
    driver.reactor.write(ends.server, b"pong").unwrap();
    driver.secure(ends);
    driver.drive_for(SILENCE, |_, event| {
        assert!(!matches!(event, Seen::Data(..)), "{event:?}");
    });
    driver.reactor.resume(ends.server);
    driver.expect_data(ends.server, b"ping");
    driver.reactor.resume_writes(ends.server);
    driver.expect_data(ends.client, b"pong");
}
