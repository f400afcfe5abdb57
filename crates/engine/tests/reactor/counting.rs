//! What a reactor counts, here and on its threads.

use std::thread;

use super::*;

#[test]
fn what_comes_and_goes_is_counted() {
    let mut driver = driver!();
    let before = driver.reactor.stats();
    let (key, mut stream) = driver.serve();
    let (other, _kept) = driver.serve();
    stream.write_all(b"hello").unwrap();
    driver.expect_data(key, b"hello");
    drop(stream);
    driver.drive("the end", |_, event| {
        event == Seen::Closed(key, Reason::PeerClosed)
    });
    assert!(driver.reactor.destroy(other));

    let after = driver.reactor.stats();
    assert_eq!(after.accepted - before.accepted, 2);
    assert_eq!(after.received_bytes - before.received_bytes, 5);
    assert!((1..=5).contains(&(after.reads - before.reads)), "{after:?}");
    // Whom the consumer destroys does not end by itself.
    assert_eq!(after.ended - before.ended, 1);
    assert_eq!(after.timed_out, before.timed_out);
    assert!(after.turns > before.turns);
}

#[test]
fn what_was_sent_is_counted_and_a_turn_that_took_long() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    let before = driver.reactor.stats();
    driver.reactor.write(key, b"answer").unwrap();
    let mut answer = [0; 6];
    driver.turn();
    stream.read_exact(&mut answer).unwrap();
    // The consumer takes its time in the middle of a turn.
    stream.write_all(b"question").unwrap();
    driver.drive("the question", |_, event| {
        let came = matches!(event, Seen::Data(..));
        if came {
            thread::sleep(Duration::from_millis(110));
        }
        came
    });
    driver.turn();
    driver.turn();
    let after = driver.reactor.stats();
    assert_eq!(after.sent_bytes - before.sent_bytes, 6);
    assert!(after.busy_nanoseconds - before.busy_nanoseconds >= 110_000_000);
    assert!(after.turns_over_100ms > before.turns_over_100ms);
    assert!(after.turns_over_10ms > before.turns_over_10ms);
    let threads = driver.reactor.stats_of_threads();
    let sum: u64 = threads.iter().map(|of_thread| of_thread.sent_bytes).sum();
    assert_eq!(sum, after.sent_bytes);
}

#[test]
fn what_is_in_use_is_told() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    let before = driver.reactor.gauges();
    assert_eq!(before.places, 1);
    assert!(before.places < before.places_allowed);
    assert!(before.descriptors > 2 && before.descriptors < before.descriptors_allowed);
    // More than the system takes for a peer that reads nothing.
    driver.reactor.write(key, &vec![0; 20_000_000]).unwrap();
    driver.turn();
    let held = wait_for_gauge(&mut driver, |gauges| gauges.queued_memory_bytes > 1_000_000);
    assert!(held.queued_memory_bytes < held.queued_memory_allowed_bytes);
    let mut taken = vec![0; 20_000_000];
    let reader = thread::spawn(move || {
        stream.read_exact(&mut taken).unwrap();
        stream
    });
    wait_for_gauge(&mut driver, |gauges| gauges.queued_memory_bytes == 0);
    drop(reader.join().unwrap());
    wait_for_gauge(&mut driver, |gauges| gauges.places == 0);
}

#[track_caller]
fn wait_for_gauge(
    driver: &mut Driver,
    is_so: impl Fn(&trochee::Gauges) -> bool,
) -> trochee::Gauges {
    let give_up = Instant::now() + PATIENCE;
    loop {
        driver.turn();
        let gauges = driver.reactor.gauges();
        if is_so(&gauges) {
            return gauges;
        }
        assert!(Instant::now() < give_up, "{gauges:?}");
    }
}

#[test]
fn every_counter_has_a_name() {
    let mut driver = driver!();
    driver.turn();
    let stats = driver.reactor.stats();
    let turns = stats.iter().find(|(name, _)| *name == "turns");
    assert_eq!(turns, Some(("turns", stats.turns)));
    let described = trochee::Stats::describe();
    assert!(
        described
            .clone()
            .all(|(_, about)| about.ends_with('.') && !about.contains("  "))
    );
    assert!(
        described
            .map(|(name, _)| name)
            .eq(stats.iter().map(|(name, _)| name))
    );
}
