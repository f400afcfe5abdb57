//! Peers that are silent, and peers that do not read.

use super::*;

const TIMEOUT: Duration = Duration::from_millis(150);

#[test]
fn a_silent_peer_is_reported_again_and_again() {
    let mut driver = driver!(read_timeout: TIMEOUT);
    let start = Instant::now();
    let (key, _stream) = driver.serve();
    for count in 1..=3 {
        driver.drive("a timeout", |_, event| event == Seen::ReadTimeout(key));
        let passed = start.elapsed();
        assert!(passed >= TIMEOUT * count, "{count} after {passed:?}");
    }
}

#[test]
fn traffic_pushes_the_timeout_back() {
    let mut driver = driver!(read_timeout: TIMEOUT);
    let (key, mut stream) = driver.serve();
    let mut last = Instant::now();
    let mut timeouts = 0;
    let check = |last: &mut Instant, event: &Seen| match event {
        Seen::Data(..) => {
            *last = Instant::now();
            0
        }
        Seen::ReadTimeout(_) => {
            let silent = last.elapsed();
            assert!(silent >= TIMEOUT * 9 / 10, "silent for {silent:?} only");
            1
        }
        other => panic!("unexpected: {other:?}"),
    };
    let stream = driver.drive_peer(
        move || {
            for _ in 0..40 {
                std::thread::sleep(TIMEOUT / 10);
                stream.write_all(b"x").unwrap();
            }
            stream
        },
        |_, event| timeouts += check(&mut last, &event),
    );
    // A loaded machine may stretch a pause of the peer, but not all of them.
    assert!(timeouts < 10, "{timeouts} timeouts");
    driver.drive("silence to be noticed", |_, event| {
        check(&mut last, &event) == 1
    });
    drop((key, stream));
}

#[test]
fn off_while_paused_and_anew_after_resuming() {
    let mut driver = driver!(read_timeout: TIMEOUT);
    let (key, _stream) = driver.serve();
    driver.reactor.pause(key);
    driver.drive_for(TIMEOUT * 3, |_, event| panic!("unexpected: {event:?}"));
    let resumed = Instant::now();
    driver.reactor.resume(key);
    driver.drive("a timeout", |_, event| event == Seen::ReadTimeout(key));
    let passed = resumed.elapsed();
    assert!(passed >= TIMEOUT * 9 / 10, "after {passed:?}");
}

/// Who is late is the consumer: not the peer whose data waits for it, and one that is silent is reported once.
#[test]
fn a_busy_consumer_times_nobody_out() {
    let mut driver = driver!(read_timeout: TIMEOUT);
    let (key, mut stream) = driver.serve();
    stream.write_all(b"a").unwrap();
    driver.expect_data(key, b"a");
    for _ in 0..6 {
        stream.write_all(b"b").unwrap();
        std::thread::sleep(TIMEOUT / 2);
    }
    let mut got = Vec::new();
    driver.drive("what has come meanwhile", |_, event| {
        match event {
            Seen::Data(_, data, _) => got.extend(data),
            other => panic!("unexpected: {other:?}"),
        }
        got.len() == 6
    });

    driver.turn();
    std::thread::sleep(TIMEOUT * 5);
    driver.drive("the timeout", |_, event| event == Seen::ReadTimeout(key));
    let told = Instant::now();
    let seen = driver.turn();
    assert!(seen.is_empty() || told.elapsed() >= TIMEOUT, "{seen:?}");
}

#[test]
fn a_read_timeout_of_its_own() {
    let mut driver = driver!(read_timeout: Duration::from_secs(3600));
    let (key, _stream) = driver.serve();
    let (other, _other_stream) = driver.serve();
    assert!(driver.reactor.set_read_timeout(key, Some(TIMEOUT)));
    let start = Instant::now();
    driver.drive("a timeout", |_, event| {
        assert_eq!(event, Seen::ReadTimeout(key));
        true
    });
    assert!(start.elapsed() >= TIMEOUT * 9 / 10);
    assert!(driver.reactor.set_read_timeout(key, None));
    assert!(driver.reactor.set_read_timeout(other, None));
    driver.drive_for(TIMEOUT * 2, |_, event| panic!("unexpected: {event:?}"));
}

/// From the moment of the command, however long its consumer was busy before.
#[test]
fn a_timeout_counts_from_the_command() {
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    let (blocked, _blocked_stream) = driver.serve_narrow();
    driver.reactor.write(blocked, &pattern(16 << 20)).unwrap();
    driver.turn();

    std::thread::sleep(TIMEOUT * 2);
    let start = Instant::now();
    driver.reactor.set_read_timeout(key, Some(TIMEOUT));
    driver.reactor.set_write_timeout(blocked, Some(TIMEOUT));
    let mut seen = Vec::new();
    driver.drive("both timeouts", |reactor, event| {
        let passed = start.elapsed();
        assert!(passed >= TIMEOUT, "{event:?} after {passed:?}");
        if event == Seen::ReadTimeout(key) {
            // Which of the two comes first is a matter of microseconds.
            reactor.set_read_timeout(key, None);
        }
        seen.push(event);
        seen.len() == 2
    });
    assert!(seen.contains(&Seen::ReadTimeout(key)), "{seen:?}");
    let closed = Seen::Closed(blocked, Reason::WriteTimeout);
    assert!(seen.contains(&closed), "{seen:?}");
}

#[test]
fn resuming_counts_from_the_command() {
    let mut driver = driver!(read_timeout: TIMEOUT);
    let (key, _stream) = driver.serve();
    driver.reactor.pause(key);
    driver.turn();
    std::thread::sleep(TIMEOUT * 2);
    let start = Instant::now();
    driver.reactor.resume(key);
    driver.drive("a timeout", |_, event| event == Seen::ReadTimeout(key));
    assert!(start.elapsed() >= TIMEOUT, "after {:?}", start.elapsed());
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let mut driver = driver!(send_timeout: TIMEOUT);
    let (key, _stream) = driver.serve_narrow();
    let start = Instant::now();
    driver.reactor.write(key, &pattern(16 << 20)).unwrap();
    let (reason, before) = driver.expect_closed(key);
    assert_eq!(reason, Reason::WriteTimeout);
    assert_eq!(reason.text().as_deref(), Some("write timeout"));
    assert!(start.elapsed() >= TIMEOUT, "after {:?}", start.elapsed());
    assert_eq!(before, []);
}

/// A close does not wait for ever for a peer that does not read.
#[test]
fn closing_gives_up_as_well() {
    let mut driver = driver!(send_timeout: TIMEOUT);
    let (key, _stream) = driver.serve_narrow();
    driver.reactor.write(key, &pattern(16 << 20)).unwrap();
    assert_eq!(driver.reactor.close(key), Close::Flushing);
    assert_eq!(driver.expect_closed(key).0, Reason::WriteTimeout);
}

#[test]
fn a_slow_reader_is_not_given_up() {
    const TOTAL: usize = 6 << 20;
    let mut driver = driver!(send_timeout: TIMEOUT * 4);
    let (key, stream) = driver.serve_narrow();
    driver.reactor.write(key, &pattern(TOTAL)).unwrap();
    driver.reactor.close(key);
    let start = Instant::now();
    let mut ends = Vec::new();
    let got = driver.drive_peer(
        move || {
            let mut got = vec![0; TOTAL];
            for piece in got.chunks_mut(TOTAL / 64) {
                std::thread::sleep(TIMEOUT / 10);
                (&stream).read_exact(piece).unwrap();
            }
            (got, stream)
        },
        |_, event| ends.push(event),
    );
    assert!(got.0 == pattern(TOTAL));
    assert!(
        start.elapsed() > TIMEOUT * 4,
        "not slow enough to mean anything"
    );
    if ends.is_empty() {
        ends.push(Seen::Closed(key, driver.expect_closed(key).0));
    }
    assert_eq!(ends, [Seen::Closed(key, Reason::Local)]);
}

#[test]
fn paused_writes_do_not_time_out() {
    let mut driver = driver!(send_timeout: TIMEOUT);
    let (key, _stream) = driver.serve_narrow();
    driver.reactor.write(key, &pattern(16 << 20)).unwrap();
    driver.turn();
    driver.reactor.pause_writes(key);
    driver.drive_for(TIMEOUT * 3, |_, event| panic!("unexpected: {event:?}"));
    let start = Instant::now();
    driver.reactor.resume_writes(key);
    assert_eq!(driver.expect_closed(key).0, Reason::WriteTimeout);
    assert!(start.elapsed() >= TIMEOUT * 9 / 10);
}
