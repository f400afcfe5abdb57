//! What connections may hold of the memory: all together, and one whose peer takes too little.

use trochee::{Authentication, Level};

use super::*;

/// Far more than the system takes for a peer that does not read.
const LARGE: usize = 16 << 20;

fn warns_of(event: &Seen, setting: &str) -> bool {
    matches!(event, Seen::Notice(Level::Warn, text) if text.contains(setting))
}

#[test]
fn the_largest_queue_ends_when_all_hold_too_much() {
    let mut driver = driver!(max_queued_memory: Some(30 << 20), max_send_buffer_size: 4 * LARGE);
    let (small, _small_peer) = driver.serve();
    let (large, _large_peer) = driver.serve();
    let (last, _last_peer) = driver.serve();
    let data = pattern(LARGE / 4);
    let write = |driver: &mut Driver, key: Key, times: usize| {
        for _ in 0..times {
            driver.reactor.write(key, &data).unwrap();
        }
    };
    write(&mut driver, small, 3);
    write(&mut driver, large, 5);
    driver.drive_for(SILENCE, |_, event| {
        assert!(
            !matches!(event, Seen::Closed(..)),
            "{event:?}: there is room yet"
        );
    });
    // Whoever answers this holds it already.
    driver.reactor.stats();
    // Whoever comes last is not the one who ends.
    write(&mut driver, last, 4);
    let (mut reason, mut warned) = (None, false);
    driver.drive("the largest to end, and the log to say so", |_, event| {
        warned |= warns_of(&event, "max_queued_memory");
        if let Seen::Closed(key, why) = event {
            assert_eq!(key, large, "{why:?}");
            reason = Some(why);
        }
        reason.is_some() && warned
    });
    assert_eq!(reason, Some(Reason::SendBufferFull));
    driver.drive_for(SILENCE, |_, event| {
        assert!(
            !matches!(event, Seen::Closed(..)),
            "{event:?}: it is enough"
        );
    });
    assert!(driver.reactor.pending(small) > 0 && driver.reactor.pending(last) > 0);
    let stats = driver.reactor.stats();
    assert_eq!((stats.ended_for_memory, stats.slow_readers), (1, 0));
}

#[test]
fn strangers_end_before_others_when_all_hold_too_much() {
    let mut driver = driver!(max_queued_memory: Some(30 << 20), max_send_buffer_size: 4 * LARGE);
    let (known, _known_peer) = driver.serve_narrow();
    let (listener, address) = driver.listen(ReadSize::All);
    let awaited = Authentication::Awaited;
    assert!(driver.reactor.set_authentication(listener, awaited));
    // Whoever answers this knows of that.
    driver.reactor.stats();
    let _peers = [narrow_peer(address), narrow_peer(address)];
    let (small, large) = (driver.accepted(), driver.accepted());
    driver.reactor.write(small, &pattern(14 << 20)).unwrap();
    driver.reactor.write(large, &pattern(15 << 20)).unwrap();
    driver.drive_for(SILENCE, |_, event| {
        assert!(
            !matches!(event, Seen::Closed(..)),
            "{event:?}: there is room yet"
        );
    });
    driver.reactor.stats();
    // It holds the most, and comes last.
    driver.reactor.write(known, &pattern(27 << 20)).unwrap();
    let (mut ended, mut warned) = (Vec::new(), false);
    driver.drive("strangers to end, and the log to say so", |_, event| {
        warned |= warns_of(&event, "max_queued_memory");
        if let Seen::Closed(key, reason) = event {
            assert_eq!(reason, Reason::Shed);
            ended.push(key);
        }
        warned && ended.len() == 2
    });
    // Each thread tells of its own, and knows whose turn it is on the other.
    if io_threads() == 0 {
        assert_eq!(ended, [large, small]);
    }
    driver.drive_for(SILENCE, |_, event| {
        assert!(
            !matches!(event, Seen::Closed(..)),
            "{event:?}: it is enough"
        );
    });
    assert!(driver.reactor.pending(known) > 0);
    assert_eq!(driver.reactor.stats().ended_for_memory, 2);
}

#[test]
fn a_peer_that_takes_too_little_of_much_is_given_up() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    // Nobody takes that much.
    let mut driver = driver!(send_timeout: TIMEOUT, min_send_rate: Some(1 << 30), max_send_buffer_size: 4 * LARGE);
    let (key, stream) = driver.serve();
    driver.reactor.write(key, &pattern(3 * LARGE)).unwrap();
    // It reads all the time, but slowly. A small queue need not be taken faster.
    let reader = std::thread::spawn(move || {
        let mut part = vec![0; 64 * 1024];
        while matches!((&stream).read(&mut part), Ok(count) if count > 0) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (small, _small_peer) = driver.serve();
    driver.reactor.write(small, &pattern(1000)).unwrap();
    let (mut reason, mut warned) = (None, false);
    driver.drive("the slow reader to be given up", |_, event| {
        warned |= warns_of(&event, "min_send_rate");
        if let Seen::Closed(closed, why) = event {
            assert_eq!(closed, key, "{why:?}");
            reason = Some(why);
        }
        reason.is_some() && warned
    });
    assert_eq!(reason, Some(Reason::WriteTimeout));
    let stats = driver.reactor.stats();
    assert_eq!((stats.slow_readers, stats.timed_out), (1, 1));
    reader.join().unwrap();
}
