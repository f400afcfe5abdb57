//! Reading in pieces, pausing, and ends.

use super::*;

/// Both ends with a read size.
fn sized(driver: &mut Driver, size: ReadSize) -> Ends {
    let ends = driver.join_tls(named(server()), named(client()), size);
    driver.secure(ends);
    ends
}

#[test]
fn the_rest_of_a_record_comes_without_new_input() {
    let mut driver = driver!();
    let ends = sized(&mut driver, ReadSize::UpTo(1000));
    for size in [1, 999, 1000, 1001, 6000, 16_384, 100_000] {
        let sent = pattern(size);
        driver.reactor.write(ends.client, &sent).unwrap();
        let mut got = Vec::new();
        driver.drive("all of it", |_, event| {
            if let Seen::Data(_, data, end) = event {
                assert!(data.len() <= 1000);
                assert_eq!(end == Chunk::Full, data.len() == 1000);
                got.extend(data);
            }
            got.len() >= size
        });
        assert!(got == sent);
    }
}

#[test]
fn a_pause_counts_in_the_middle_of_a_record() {
    let mut driver = driver!();
    let ends = sized(&mut driver, ReadSize::UpTo(1000));
    let sent = pattern(50_000);
    driver.reactor.write(ends.client, &sent).unwrap();
    let mut got = Vec::new();
    while got.len() < sent.len() {
        driver.drive("a piece", |reactor, event| match event {
            Seen::Data(key, data, _) => {
                got.extend(data);
                reactor.pause(key);
                true
            }
            _ => false,
        });
        // Turns without waiting: what is left in the session is not to be seen.
        for _ in 0..3 {
            let seen = driver.turn();
            assert!(
                !seen.iter().any(|event| matches!(event, Seen::Data(..))),
                "paused"
            );
        }
        driver.reactor.resume(ends.server);
    }
    assert!(got == sent);
}

#[test]
fn a_rate_limit_counts_plaintext() {
    let mut driver = driver!();
    let ends = sized(&mut driver, ReadSize::All);
    driver.reactor.set_rate_limit(ends.server, 40_000.0);
    let sent = pattern(30_000);
    driver.reactor.write(ends.client, &sent).unwrap();
    let start = std::time::Instant::now();
    driver.expect_data(ends.server, &sent);
    let elapsed = start.elapsed();
    assert!(
        (Duration::from_millis(500)..Duration::from_millis(1200)).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[test]
fn what_a_peer_said_before_it_left_is_delivered() {
    let mut driver = driver!();
    for (paused, size) in [
        (false, ReadSize::All),
        (false, ReadSize::UpTo(100)),
        (true, ReadSize::All),
        (true, ReadSize::UpTo(100)),
    ] {
        let ends = sized(&mut driver, size);
        if paused {
            driver.reactor.pause(ends.server);
        }
        let sent = pattern(20_000);
        driver.reactor.write(ends.client, &sent).unwrap();
        driver.reactor.close(ends.client);
        if paused {
            driver.drive_for(SILENCE, |_, event| {
                assert!(!matches!(event, Seen::Data(..)));
            });
            driver.reactor.resume(ends.server);
        }
        let mut got = Vec::new();
        driver.drive("the end", |_, event| {
            match event {
                Seen::Data(_, data, _) => got.extend(data),
                Seen::Closed(key, reason) if key == ends.server => {
                    assert_eq!(reason, Reason::PeerClosed);
                    return true;
                }
                _ => {}
            }
            false
        });
        assert!(got == sent);
    }
}

#[test]
fn an_answer_to_the_last_words_is_sent() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let got = driver.drive_peer(
        move || {
            use std::io::Write as _;
            let mut tls = peer_client(stream, "example.test");
            tls.write_all(b"question").unwrap();
            tls.conn.send_close_notify();
            tls.flush().unwrap();
            tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
            let mut all = Vec::new();
            // An error unless close_notify ends it.
            tls.read_to_end(&mut all).unwrap();
            all
        },
        |reactor, event| {
            if let Seen::Data(key, ..) = event {
                reactor.write(key, b"answer").unwrap();
            }
        },
    );
    assert_eq!(got, b"answer");
}

#[test]
fn a_truncated_end_is_an_end() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let mut got = Vec::new();
    driver.drive_peer(
        move || {
            use std::io::Write as _;
            let mut tls = peer_client(stream, "example.test");
            tls.write_all(b"cut").unwrap();
            tls.flush().unwrap();
        },
        |_, event| match event {
            Seen::Data(_, data, _) => got.extend(data),
            Seen::Closed(_, reason) => assert_eq!(reason.text().as_deref(), Some("closed")),
            _ => {}
        },
    );
    driver.drive_for(SILENCE, |_, event| {
        if let Seen::Data(_, data, _) = event {
            got.extend(data);
        }
    });
    assert_eq!(got, b"cut");
    assert_eq!(driver.reactor.fd(key), None);
}

#[test]
fn close_with_nothing_queued_is_done_and_says_goodbye() {
    let mut driver = driver!();
    let ends = driver.pair(server(), client());
    assert_eq!(driver.reactor.close(ends.server), Close::Done);
    assert_eq!(driver.expect_closed(ends.client).0, Reason::PeerClosed);
}

#[test]
fn close_in_the_handshake_is_done_at_once() {
    let mut driver = driver!();
    let ends = driver.join(ReadSize::All);
    driver
        .reactor
        .start_tls(ends.server, named(server()))
        .unwrap();
    driver.reactor.write(ends.server, b"never").unwrap();
    assert_eq!(driver.reactor.close(ends.server), Close::Done);
    driver
        .reactor
        .start_tls(ends.client, named(client()))
        .unwrap();
    driver.reactor.close(ends.client);
    driver.drive_for(SILENCE, |_, _| {});
    let (key, stream) = driver.serve();
    driver.reactor.write(key, b"plain").unwrap();
    driver.reactor.start_tls(key, named(server())).unwrap();
    assert_eq!(driver.reactor.close(key), Close::Flushing);
    let got = driver.drive_peer(move || read_to_end(&stream), |_, _| {});
    assert_eq!(got, b"plain");
}

#[test]
fn records_that_the_system_did_not_take_yet_outlive_the_peers_end() {
    let mut driver = driver!();
    let (key, stream) = driver.serve_narrow();
    driver.reactor.start_tls(key, named(server())).unwrap();
    // More than the buffers of the system, in the end less than rustls holds.
    let sent = pattern(3 << 20);
    driver.reactor.write(key, &sent).unwrap();
    let got = driver.drive_peer(
        move || {
            use std::io::Write as _;
            let mut tls = peer_client(stream, "example.test");
            tls.flush().unwrap();
            let mut first = [0; 1000];
            tls.read_exact(&mut first).unwrap();
            tls.conn.send_close_notify();
            tls.flush().unwrap();
            tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
            std::thread::sleep(SILENCE);
            let mut all = first.to_vec();
            tls.read_to_end(&mut all).unwrap();
            all
        },
        |_, _| {},
    );
    assert!(got == sent, "{} of {}", got.len(), sent.len());
}

/// RFC 8446, section 6.1: close_notify ends one side.
#[test]
fn the_sides_end_one_by_one() {
    let mut driver = driver!();
    let ends = sized(&mut driver, ReadSize::All);
    driver.reactor.set_half_open(ends.server, true);
    driver.reactor.set_half_open(ends.client, true);
    driver.reactor.write(ends.client, b"question").unwrap();
    driver.reactor.finish(ends.client);
    driver.drive("the end of the client's side", |_, event| {
        event == Seen::Ended(ends.server)
    });
    let answer = pattern(500_000);
    driver.reactor.write(ends.server, &answer).unwrap();
    driver.reactor.finish(ends.server);
    let (mut got, mut over) = (Vec::new(), 0);
    driver.drive("both to be over", |_, event| {
        match event {
            Seen::Data(key, data, _) if key == ends.client => got.extend(data),
            Seen::Closed(_, reason) => {
                assert_eq!(reason, Reason::PeerClosed);
                over += 1;
            }
            _ => {}
        }
        over == 2
    });
    assert!(got == answer, "{} bytes", got.len());
}
