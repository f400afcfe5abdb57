//! What a reactor counts, here and on its threads.

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
