//! Histograms, tallies, listeners, and what takes memory: here and on threads.

use trochee::{Histogram, ListenerInfo, Networks, Unit};

use super::*;

/// How many of a histogram are above this, in its unit.
fn above(histogram: Histogram, unit: Unit, least: f64) -> u64 {
    let bounds = Histogram::bounds(unit).zip(histogram.up_to());
    let below = bounds.take_while(|(bound, _)| *bound <= least).last();
    histogram.count() - below.map_or(0, |(_, count)| count)
}

#[test]
fn turns_waits_and_their_events_are_measured() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    let before = driver.reactor.stats();
    // On a thread it is one that counts the waits.
    std::thread::sleep(Duration::from_millis(5));
    stream.write_all(b"question").unwrap();
    driver.drive("the question", |_, event| {
        let came = matches!(event, Seen::Data(found, ..) if found == key);
        if came {
            std::thread::sleep(Duration::from_millis(20));
        }
        came
    });
    driver.turn();
    driver.turn();
    let after = driver.reactor.stats();
    assert!(after.turn_seconds.count() > before.turn_seconds.count());
    assert!(
        above(after.turn_seconds, Unit::Seconds, 0.01)
            > above(before.turn_seconds, Unit::Seconds, 0.01)
    );
    let busy = after.turn_seconds.sum(Unit::Seconds);
    assert!(
        (busy - after.busy_nanoseconds as f64 / 1e9).abs() < 1e-6,
        "{busy}"
    );
    let waited = after.wait_seconds.sum(Unit::Seconds);
    assert!(
        (waited - after.waiting_nanoseconds as f64 / 1e9).abs() < 1e-6,
        "{waited}"
    );
    assert!(after.waiting_nanoseconds > before.waiting_nanoseconds);
    assert!(after.turn_events.sum(Unit::Number) > before.turn_events.sum(Unit::Number));
    assert_eq!(after.turn_events.count(), after.turn_seconds.count());
}

#[test]
fn timers_and_how_late_they_come_are_counted() {
    let mut driver = driver!();
    let before = driver.reactor.stats();
    let id = driver.reactor.set_timer(Duration::from_millis(1));
    let other = driver.reactor.set_timer(Duration::from_secs(60));
    let armed = driver.reactor.gauges().timers;
    assert!(armed >= 2, "{armed}");
    // Nobody asks for it before it is late.
    std::thread::sleep(Duration::from_millis(20));
    driver.drive("the timer", |_, event| event == Seen::Timer(id));
    assert!(driver.reactor.cancel_timer(other));
    let after = driver.reactor.stats();
    assert_eq!(after.timers_set - before.timers_set, 2);
    assert_eq!(after.timers_fired - before.timers_fired, 1);
    assert_eq!(
        above(after.lag_seconds, Unit::Seconds, 0.016),
        1,
        "{after:?}"
    );
    assert_eq!(driver.reactor.gauges().timers, armed - 2);
}

#[test]
fn pauses_and_what_the_system_does_not_take_are_counted() {
    let mut driver = driver!(read_timeout: Duration::from_millis(20));
    let (key, stream) = driver.serve_narrow();
    let before = driver.reactor.stats();
    for _ in 0..2 {
        // A second pause of what is paused is none.
        driver.reactor.pause(key);
        driver.reactor.pause_writes(key);
    }
    driver.reactor.resume(key);
    driver.reactor.resume_writes(key);
    driver.reactor.write(key, &vec![0; 4_000_000]).unwrap();
    let give_up = Instant::now() + PATIENCE;
    let mut after = before;
    while after.blocked_writes == before.blocked_writes
        || after.read_timeouts == before.read_timeouts
    {
        assert!(Instant::now() < give_up, "{after:?}");
        driver.turn();
        after = driver.reactor.stats();
    }
    assert_eq!(after.read_pauses - before.read_pauses, 1);
    assert_eq!(after.write_pauses - before.write_pauses, 1);
    drop(stream);
}

#[test]
fn ends_are_counted_by_their_reasons() {
    let mut driver = driver!();
    let count =
        |driver: &mut Driver, reason| driver.reactor.tallies().closed_connections.get(reason);
    for (reason, end) in [
        ("closed by the peer", 0),
        ("cut off by the peer", 1),
        ("closed here", 2),
        ("closed here", 3),
        ("destroyed here", 4),
    ] {
        let (key, mut stream) = driver.serve();
        let before = count(&mut driver, reason);
        match end {
            0 => drop(stream),
            1 => reset(stream),
            2 => assert_eq!(driver.reactor.close(key), trochee::Close::Done),
            3 => {
                driver.reactor.write(key, b"bye").unwrap();
                assert_eq!(driver.reactor.close(key), trochee::Close::Flushing);
                driver.expect_closed(key);
                stream.read_exact(&mut [0; 3]).unwrap();
            }
            _ => assert!(driver.reactor.destroy(key)),
        }
        if end < 2 {
            driver.expect_closed(key);
        }
        assert_eq!(count(&mut driver, reason), before + 1, "{reason} {end}");
    }
    let tallies = driver.reactor.tallies();
    let all: u64 = tallies
        .closed_connections
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(all, 5, "{tallies:?}");
}

#[test]
fn each_listener_knows_its_connections() {
    let mut driver = driver!();
    let (first, address) = driver.listen(ReadSize::All);
    let (second, _) = driver.listen(ReadSize::All);
    let peers = [peer(address), peer(address)];
    let keys = [driver.accepted(), driver.accepted()];
    let info = |driver: &mut Driver, key: Key| -> Option<ListenerInfo> {
        let listeners = driver.reactor.listeners();
        listeners.into_iter().find(|it| it.key == key)
    };
    let found = info(&mut driver, first).unwrap();
    assert_eq!(found.name, Some(Name::Inet(address)));
    assert_eq!((found.accepted, found.refused, found.open), (2, 0, 2));
    let [leaves, stays] = peers;
    drop(leaves);
    driver.drive(
        "an end",
        |_, event| matches!(event, Seen::Closed(key, _) if keys.contains(&key)),
    );
    let found = info(&mut driver, first).unwrap();
    assert_eq!((found.accepted, found.open), (2, 1));
    let other = info(&mut driver, second).unwrap();
    assert_eq!((other.accepted, other.open), (0, 0));
    driver.reactor.close(first);
    assert_eq!(info(&mut driver, first), None);
    // Its connection is there, and ends like any other.
    drop(stays);
    driver.drive(
        "an end",
        |_, event| matches!(event, Seen::Closed(key, _) if keys.contains(&key)),
    );
}

#[test]
fn whom_a_listener_refuses_is_counted_there() {
    let mut driver = driver!(
        exempt_addresses: Networks::default(),
        max_connections_per_address: 1,
    );
    let (listener, address) = driver.listen(ReadSize::All);
    let _kept = peer_from("127.0.0.2", address);
    driver.accepted();
    let mut refused = peer_from("127.0.0.2", address);
    let give_up = Instant::now() + PATIENCE;
    loop {
        driver.turn();
        let listeners = driver.reactor.listeners();
        let found = listeners.iter().find(|it| it.key == listener).unwrap();
        if found.refused == 1 {
            assert_eq!((found.accepted, found.open), (1, 1));
            break;
        }
        assert!(Instant::now() < give_up, "{found:?}");
    }
    assert!(refused.read_exact(&mut [0]).is_err());
}

#[test]
fn memory_is_told_by_what_it_is_for() {
    let mut driver = driver!();
    let before = driver.reactor.gauges();
    assert!(before.table_memory_bytes >= 64 * 1024, "{before:?}");
    let (key, stream) = driver.serve();
    driver.reactor.pause_writes(key);
    driver.reactor.write(key, &[0; 100_000]).unwrap();
    driver.turn();
    let give_up = Instant::now() + PATIENCE;
    loop {
        let held = driver.reactor.gauges();
        if held.output_memory_bytes == 100_000 {
            assert!(held.connection_memory_bytes > before.connection_memory_bytes);
            assert_eq!((held.input_memory_bytes, held.tls_sessions), (0, 0));
            break;
        }
        assert!(Instant::now() < give_up, "{held:?}");
        driver.turn();
    }
    drop(stream);
    driver.reactor.destroy(key);
    let after = driver.reactor.gauges();
    assert_eq!(after.output_memory_bytes, 0);
    assert_eq!(
        after.connection_memory_bytes,
        before.connection_memory_bytes
    );
}

/// Only where there are threads.
#[test]
fn batches_and_wakes_are_counted() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    for _ in 0..3 {
        stream.write_all(b"a").unwrap();
        driver.expect_data(key, b"a");
        driver.reactor.write(key, b"b").unwrap();
        driver.turn();
        stream.read_exact(&mut [0]).unwrap();
    }
    let threads = driver.reactor.stats_of_threads();
    let has_threads = threads.len() > 1;
    assert_eq!(threads[0].batches > 0, has_threads, "{threads:?}");
    let told: u64 = threads[1..].iter().map(|it| it.batches).sum();
    // With epoll the loop serves itself: nobody has to be told, or woken.
    if poller_name() != "epoll" {
        assert_eq!(threads.iter().any(|it| it.wakes > 0), has_threads);
        assert_eq!(told >= 3, has_threads);
    }
    let sum = driver.reactor.stats();
    assert!(sum.batches >= threads[0].batches + told);
}
