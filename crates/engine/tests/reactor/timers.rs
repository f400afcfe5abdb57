//! Timers, as the consumer sees them. The structure behind them has tests of its own.

use trochee::TimerId;

use super::*;

#[test]
fn in_the_order_of_their_deadlines() {
    let mut driver = driver!();
    let start = Instant::now();
    let late = driver.reactor.set_timer(Duration::from_millis(60));
    let early = driver.reactor.set_timer(Duration::from_millis(20));
    let middle = driver.reactor.set_timer(Duration::from_millis(40));
    let mut order = Vec::new();
    // A wait without bound of its own ends with the timer.
    while order.len() < 3 {
        driver.reactor.begin_turn(None);
        while let Some(event) = driver.reactor.next_event() {
            order.push((Seen::from(event), start.elapsed()));
        }
    }
    for ((event, passed), (id, millis)) in order.iter().zip([(early, 20), (middle, 40), (late, 60)])
    {
        assert_eq!(*event, Seen::Timer(id));
        assert!(*passed >= Duration::from_millis(millis), "{passed:?}");
    }
}

#[test]
fn reset_moves_a_timer() {
    let mut driver = driver!();
    let start = Instant::now();
    let one = driver.reactor.set_timer(Duration::from_secs(3600));
    let two = driver.reactor.set_timer(Duration::from_millis(1));
    assert!(driver.reactor.reset_timer(one, Duration::from_millis(30)));
    assert!(driver.reactor.reset_timer(two, Duration::from_millis(60)));
    assert_eq!(timers(&mut driver, 2), [one, two]);
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert!(!driver.reactor.reset_timer(one, Duration::ZERO));
    assert!(!driver.reactor.cancel_timer(one));
    driver.expect_silence();
}

#[test]
fn a_timer_tells_how_long_it_has_left() {
    let mut driver = driver!();
    let hour = Duration::from_secs(3600);
    let id = driver.reactor.set_timer(hour);
    let left = driver.reactor.time_left(id).unwrap();
    assert!(left <= hour && left > hour - PATIENCE, "{left:?}");
    driver.reactor.reset_timer(id, Duration::ZERO);
    assert_eq!(driver.reactor.time_left(id), Some(Duration::ZERO));
    assert_eq!(timers(&mut driver, 1), [id]);
    assert_eq!(driver.reactor.time_left(id), None);
}

/// All due in one turn, and each takes the next one back.
#[test]
fn a_due_timer_can_be_cancelled_in_the_same_turn() {
    let mut driver = driver!();
    let ids: Vec<_> = (0..10)
        .map(|_| driver.reactor.set_timer(Duration::ZERO))
        .collect();
    std::thread::sleep(Duration::from_millis(2));
    let mut seen = Vec::new();
    driver.drive_for(SILENCE, |reactor, event| {
        let Seen::Timer(id) = event else {
            panic!("unexpected: {event:?}")
        };
        let at = ids.iter().position(|other| *other == id).unwrap();
        assert!(reactor.cancel_timer(ids[at + 1]));
        assert!(!reactor.cancel_timer(id), "it was handed out");
        seen.push(at);
    });
    assert_eq!(seen, [0, 2, 4, 6, 8]);
}

/// A timer that sets itself anew with no delay does not hold up the turn, and gets its next turn without a wait.
#[test]
fn one_set_with_no_delay_waits_for_the_next_turn() {
    let mut driver = driver!();
    driver.reactor.set_timer(Duration::ZERO);
    for _ in 0..5 {
        driver.reactor.begin_turn(Some(PATIENCE));
        let mut count = 0;
        while let Some(event) = driver.reactor.next_event() {
            assert!(matches!(Seen::from(event), Seen::Timer(_)));
            count += 1;
            driver.reactor.set_timer(Duration::ZERO);
        }
        assert_eq!(count, 1);
    }
}

#[test]
fn a_hundred_thousand() {
    const COUNT: usize = 100_000;
    let mut driver = driver!();
    let ids: Vec<_> = (0..COUNT)
        .map(|index| {
            // Nothing is due before all are set, and their order is not that of their making.
            let after = 500_000 + (index * 7919) % COUNT;
            (
                after,
                driver
                    .reactor
                    .set_timer(Duration::from_micros(after as u64)),
            )
        })
        .collect();
    let mut cancelled = 0;
    for (_, id) in ids.iter().step_by(3) {
        cancelled += usize::from(driver.reactor.cancel_timer(*id));
    }
    assert_eq!(cancelled, COUNT.div_ceil(3));
    let seen = timers(&mut driver, COUNT - cancelled);
    let due: std::collections::HashSet<_> = seen.iter().collect();
    assert_eq!(due.len(), COUNT - cancelled);
    for (index, (_, id)) in ids.iter().enumerate() {
        assert_eq!(due.contains(id), index % 3 != 0);
    }
    driver.expect_silence();
}

/// Their ids are numbers to the consumer, and so are those of connections' own timers.
#[test]
fn a_made_up_id_reaches_no_timeout_of_a_connection() {
    let timeout = Duration::from_millis(50);
    let mut driver = driver!(read_timeout: timeout);
    let (key, _stream) = driver.serve();
    for bits in 0..100 {
        let id = TimerId::from_bits(bits);
        assert!(!driver.reactor.cancel_timer(id));
        assert!(!driver.reactor.reset_timer(id, Duration::from_secs(3600)));
    }
    driver.drive("a timeout", |_, event| event == Seen::ReadTimeout(key));
}

#[track_caller]
fn timers(driver: &mut Driver, count: usize) -> Vec<TimerId> {
    let mut ids = Vec::new();
    driver.drive("timers", |_, event| {
        let Seen::Timer(id) = event else {
            panic!("unexpected: {event:?}")
        };
        ids.push(id);
        ids.len() == count
    });
    ids
}
