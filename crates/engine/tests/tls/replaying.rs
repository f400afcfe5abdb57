//! Tickets that are shown again, elsewhere, or by somebody else.

use std::io::Write as _;

use super::admission::resuming_hello;
use super::openssl::serve;
use super::*;

/// Whoever has seen a ClientHello with a ticket on the way can send it again. Each time it is answered, and nothing comes of it: the
/// keys of the session are not in it.
#[test]
fn a_hello_with_a_ticket_that_is_sent_again_and_again_opens_nothing() {
    const TIMES: usize = 1000;
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let mut driver = driver!();
        let server = server();
        let client = context(&with!(client_settings(), protocol: Some(protocol.into())));
        let hello = resuming_hello(&mut driver, &server, &client);
        let (_, address) = driver.listen(ReadSize::All);
        let mut answers = std::collections::HashSet::new();
        let (gauges, stats) = (driver.reactor.gauges(), driver.reactor.stats());
        for number in 0..TIMES {
            let mut stream = peer_from(["127.0.0.1", "127.0.0.2"][number % 2], address);
            let key = driver.accepted();
            let start = named(server.clone());
            driver.reactor.start_tls(key, start).unwrap();
            stream.write_all(&hello).unwrap();
            // A record that the session's keys have not sealed, in the place of what a client says next.
            stream.write_all(&[20, 3, 3, 0, 1, 1]).unwrap();
            let sealed = if protocol == "tlsv1_2" { 22 } else { 23 };
            let garbage = [&[sealed, 3, 3, 0, 64][..], &[7; 64]].concat();
            stream.write_all(&garbage).unwrap();
            let (reason, seen) = driver.expect_closed(key);
            assert_eq!(reason, failed("decryption failed or bad record mac"));
            for event in seen {
                assert!(matches!(event, Seen::Notice(..)), "{event:?}");
            }
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer[..1], [HANDSHAKE_RECORD]);
            assert!(answers.insert(answer), "the same answer twice");
        }
        let after = driver.reactor.stats();
        assert_eq!(after.handshakes, stats.handshakes);
        let now = driver.reactor.gauges();
        assert_eq!(
            (now.tls_sessions, now.places, now.queued_memory_bytes),
            (
                gauges.tls_sessions,
                gauges.places,
                gauges.queued_memory_bytes
            )
        );
    }
}

const HANDSHAKE_RECORD: u8 = 22;

/// Who holds a ticket may use it as often as it likes, and from anywhere; under another name it is none.
#[test]
fn a_ticket_is_good_for_its_name_alone() {
    let mut driver = driver!();
    let server = server();
    for protocol in ["-tls1_2", "-tls1_3"] {
        let session = directory().join(format!("name{protocol}"));
        let session = session.to_string_lossy();
        let show = |driver: &mut Driver, server: &Context, name: &str, more: &[&str]| {
            let arguments = [&[protocol, "-servername", name], more].concat();
            let output = serve(driver, server, &arguments, false);
            assert!(output.contains("echo this line"), "{output}");
            output
        };
        let resume = ["-sess_in", &session];
        let output = show(
            &mut driver,
            &server,
            "example.test",
            &["-sess_out", &session],
        );
        assert!(output.contains("New, TLS"), "{output}");
        for (name, expected) in [
            ("example.test", "Reused, TLS"),
            ("EXAMPLE.test", "Reused, TLS"),
            ("other.test", "New, TLS"),
            // Names that are no DNS names are kept from rustls, which then knows of none.
            ("a b", "New, TLS"),
            ("example.test", "Reused, TLS"),
        ] {
            let output = show(&mut driver, &server, name, &resume);
            assert!(output.contains(expected), "{protocol}, {name}: {output}");
        }
        // After a reload, and after a restart, there are other contexts.
        let output = show(&mut driver, &self::server(), "example.test", &resume);
        assert!(output.contains("New, TLS"), "{protocol}: {output}");
    }
}

/// A host, or a port of it, that asks for certificates does not take the ticket of one that does not.
#[test]
fn a_ticket_is_no_way_around_a_certificate() {
    let mut driver = driver!();
    let open = server();
    let strict = context(&with!(server_settings(server_pair()),
        verify: words(&["peer", "fail_if_no_peer_cert"]),
        cafile: Some(authority().file.clone()),
    ));
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let client = context(&with!(client_settings(), protocol: Some(protocol.into())));
        let hello = resuming_hello(&mut driver, &open, &client);
        assert!(hello.len() > 100);
        // By the name that both have, and where the name decides.
        for start in [
            named(strict.clone()),
            with!(Start::new(open.clone()), choose: true),
        ] {
            let ends = driver.join_tls(start, named(client.clone()), ReadSize::All);
            let mut reason = None;
            driver.drive("the end of the server", |reactor, event| {
                match event {
                    Seen::ClientHello { key, .. } => {
                        reactor.accept_tls(key, strict.clone(), None).unwrap();
                    }
                    Seen::Closed(key, why) if key == ends.server => reason = Some(why),
                    Seen::Secured(key) => assert_ne!(key, ends.server, "{protocol}"),
                    _ => {}
                }
                reason.is_some()
            });
            assert_eq!(reason, Some(failed("peer did not return a certificate")));
            driver.reactor.destroy(ends.client);
            driver.turn();
        }
    }
}
