//! Limits on how fast a peer may send.

use super::*;

const RATE: f64 = 400_000.0;

#[test]
fn within_a_fifth_of_what_was_asked_for() {
    let mut driver = driver!();
    // A busy machine delivers less, now and then; more than allowed it must never be.
    let mut measured = Vec::new();
    for _ in 0..4 {
        let rate = measure(&mut driver, RATE, Duration::from_secs(1));
        assert!(rate <= RATE * 1.2, "{rate} bytes a second");
        if rate >= RATE * 0.8 {
            return;
        }
        measured.push(rate);
    }
    panic!("always below {RATE}: {measured:?}");
}

#[test]
fn removing_the_limit_lets_everything_through() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    assert!(driver.reactor.set_rate_limit(key, 1000.0));
    let all = pattern(2 << 20);
    let sender = std::thread::spawn(move || {
        stream.write_all(&pattern(2 << 20)).unwrap();
        stream
    });
    let mut held = Vec::new();
    let mut hold = |event| match event {
        Seen::Data(_, data, _) => held.extend(data),
        other => panic!("unexpected: {other:?}"),
    };
    driver.drive("the first piece", |_, event| {
        hold(event);
        true
    });
    driver.drive_for(SILENCE, |_, event| hold(event));
    assert!((1..10_000).contains(&held.len()), "{} bytes", held.len());
    let start = Instant::now();
    assert!(driver.reactor.set_rate_limit(key, 0.0));
    driver.expect_data(key, &all[held.len()..]);
    // At the old rate it would take half an hour.
    assert!(start.elapsed() < PATIENCE / 2);
    sender.join().unwrap();
}

#[test]
fn a_pause_outlasts_the_limit() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.set_rate_limit(key, 1000.0);
    stream.write_all(&pattern(5000)).unwrap();
    let mut got = 0;
    driver.drive("the first piece", |reactor, event| match event {
        Seen::Data(_, data, _) => {
            got += data.len();
            reactor.pause(key)
        }
        other => panic!("unexpected: {other:?}"),
    });
    // The limit lets more through every tenth of a second.
    driver.drive_for(Duration::from_millis(350), |_, event| {
        panic!("unexpected: {event:?}")
    });
    driver.reactor.set_rate_limit(key, 0.0);
    driver.expect_silence();
    driver.reactor.resume(key);
    driver.expect_data(key, &pattern(5000)[got..]);
}

#[test]
fn nothing_is_lost_at_the_end_of_a_limited_stream() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.set_rate_limit(key, 100_000.0);
    stream.write_all(&pattern(30_000)).unwrap();
    drop(stream);
    driver.expect_data(key, &pattern(30_000));
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
}

/// The bytes a second that a peer gets through which sends as fast as it can.
fn measure(driver: &mut Driver, limit: f64, time: Duration) -> f64 {
    let (key, stream) = driver.serve();
    driver.reactor.set_rate_limit(key, limit);
    let sender = std::thread::spawn(move || {
        let block = [0; 64 * 1024];
        while (&stream).write_all(&block).is_ok() {}
    });
    let mut bytes = 0;
    let start = Instant::now();
    driver.drive_for(time, |_, event| match event {
        Seen::Data(_, data, _) => bytes += data.len(),
        other => panic!("unexpected: {other:?}"),
    });
    let seconds = start.elapsed().as_secs_f64();
    driver.reactor.destroy(key);
    // An I/O thread is told in a turn; before, the sender would wait for a reader that there is no more.
    driver.turn();
    sender.join().unwrap();
    bytes as f64 / seconds
}
