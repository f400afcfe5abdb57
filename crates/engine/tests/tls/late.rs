//! A handshake times out when the peer is silent, not when we are late.

use std::io::Write as _;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(150);
const LATE: Duration = Duration::from_millis(600);

/// Connections with a ClientHello that nobody has read, more than one turn answers.
fn crowd(driver: &mut Driver, count: usize) -> Vec<(Key, std::net::TcpStream)> {
    let hello = driver.client_hello(client());
    let served: Vec<_> = (0..count).map(|_| driver.serve()).collect();
    for (_, stream) in &served {
        let mut sink = stream;
        sink.write_all(&hello).unwrap();
    }
    let mut config = driver.reactor.config().clone();
    config.tls_handshake_timeout = TIMEOUT;
    driver.reactor.configure(config);
    served
}

/// Runs turns until all have the server's answer. Whoever does not go on then is given up, but nobody before.
fn expect_answers(driver: &mut Driver, served: &[(Key, std::net::TcpStream)]) {
    let mut over = 0;
    driver.drive("the end of all handshakes", |reactor, event| {
        match event {
            Seen::Closed(key, reason) => {
                assert_eq!(reason, Reason::HandshakeTimeout);
                over += usize::from(served.iter().any(|(ours, _)| *ours == key));
            }
            Seen::ClientHello { key, .. } => {
                reactor.accept_tls(key, server(), None).unwrap();
            }
            Seen::Notice(..) => {}
            other => panic!("unexpected: {other:?}"),
        }
        over == served.len()
    });
    for (key, stream) in served {
        assert!(unread(stream) > 0, "{key:?} was given up unanswered");
    }
}

#[test]
fn whoever_has_sent_its_hello_is_answered_first() {
    for io_threads in [0, 2] {
        let mut driver = driver!(io_threads: io_threads);
        let served = crowd(&mut driver, 60);
        for (key, _) in &served {
            driver.reactor.start_tls(*key, named(server())).unwrap();
        }
        std::thread::sleep(LATE);
        expect_answers(&mut driver, &served);
    }
}

/// Also where the answer is the consumer's to choose, and the question has waited for the consumer.
#[test]
fn a_client_is_not_given_up_while_the_choice_waits_for_the_consumer() {
    for io_threads in [0, 2] {
        let mut driver = driver!(io_threads: io_threads);
        let mut served = crowd(&mut driver, 20);
        for (key, _) in &served {
            driver.reactor.start_tls(*key, choosing(server())).unwrap();
        }
        if io_threads > 0 {
            // They ask by the end of this. Who is heard of now is the consumer's own fault.
            let heard = driver.turn();
            served.retain(|(key, _)| !heard.iter().any(|event| event.key() == Some(*key)));
        }
        std::thread::sleep(LATE);
        expect_answers(&mut driver, &served);
    }
}
