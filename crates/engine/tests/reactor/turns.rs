//! The turn itself.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn a_turn_without_a_wait_returns_at_once() {
    let mut driver = driver!();
    let (_key, _stream) = driver.serve();
    driver.reactor.set_timer(Duration::from_secs(3600));
    assert_eq!(driver.turn(), []);
    let start = Instant::now();
    driver.reactor.begin_turn(Some(Duration::from_millis(30)));
    assert!(driver.reactor.next_event().is_none());
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert!(start.elapsed() < PATIENCE);
    assert!(driver.reactor.next_event().is_none(), "the turn is over");
}

/// As when whoever handled an event raised an error and the loop was entered anew.
#[test]
fn a_turn_left_after_every_event_loses_none() {
    let mut driver = driver!();
    let pairs: Vec<_> = (0..20).map(|_| driver.serve()).collect();
    let mut expected = HashSet::new();
    for (index, (key, stream)) in pairs.iter().enumerate() {
        (&mut &*stream).write_all(&[index as u8]).unwrap();
        driver.reactor.notify_flush(*key, true);
        expected.insert(format!("{:?}", Seen::Predrain(*key)));
        expected.insert(format!("{:?}", Seen::Drain(*key)));
        let data = Seen::Data(*key, vec![index as u8], Chunk::Short);
        expected.insert(format!("{data:?}"));
    }
    for _ in 0..5 {
        let id = driver.reactor.set_timer(Duration::ZERO);
        expected.insert(format!("{:?}", Seen::Timer(id)));
    }
    let mut count = 0;
    let mut seen = HashSet::new();
    while seen.len() < expected.len() {
        // Returns in the middle of the turn, every time.
        driver.drive("the next event", |_, event| {
            seen.insert(format!("{event:?}"));
            count += 1;
            true
        });
        assert!(count <= expected.len(), "an event came twice");
    }
    assert_eq!(seen, expected);
}

#[test]
fn a_panic_of_the_consumer_is_none_of_the_reactors() {
    let mut driver = driver!();
    let pairs: Vec<_> = (0..3).map(|_| driver.serve()).collect();
    for (_, stream) in &pairs {
        (&mut &*stream).write_all(b"x").unwrap();
    }
    let mut keys = HashSet::new();
    while keys.len() < 3 {
        let result = catch_unwind(AssertUnwindSafe(|| {
            driver.drive("data", |_, event| {
                keys.insert(event.key().unwrap());
                std::panic::resume_unwind(Box::new("the consumer's"));
            });
        }));
        let panic = result.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the consumer's"));
    }
    driver.expect_silence();
}

/// Everything that is written in a turn goes out at the start of the next, whoever else has something to tell.
#[test]
fn a_write_goes_out_with_the_next_turn() {
    one_thread!();
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.write(key, b"one").unwrap();
    driver.reactor.write(key, b"two").unwrap();
    assert_eq!(unread(&stream), 0);
    assert_eq!(driver.turn(), []);
    assert_eq!(unread(&stream), 6);
}

#[test]
fn dropping_a_reactor_in_the_middle_closes_what_it_owned() {
    let mut driver = driver!();
    let pairs: Vec<_> = (0..3).map(|_| driver.serve()).collect();
    for (_, stream) in &pairs {
        (&mut &*stream).write_all(b"x").unwrap();
    }
    driver.drive("data", |_, event| matches!(event, Seen::Data(..)));
    drop(driver);
    for (_, stream) in &pairs {
        let gone = (&mut &*stream).read(&mut [0; 8]);
        assert!(!matches!(gone, Ok(1..)), "{gone:?}");
    }
}

/// Whoever steps the loop need not begin another turn for what was written in this one.
#[test]
fn what_is_written_in_a_turn_leaves_before_it_ends() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.finish_turn();
    let mut expected = 0;
    for by_timer in [false, true] {
        if by_timer {
            driver.reactor.set_timer(Duration::ZERO);
        } else {
            stream.write_all(b"question").unwrap();
        }
        let mut answered = false;
        while !answered {
            driver.reactor.begin_turn(Some(PATIENCE));
            while let Some(event) = driver.reactor.next_event() {
                if matches!(Seen::from(event), Seen::Data(..) | Seen::Timer(_)) {
                    driver.reactor.write(key, b"answer").unwrap();
                    // Told that it has left, it has more to say.
                    driver.reactor.notify_flush(key, true);
                    answered = true;
                }
            }
        }
        expected += 6;
        if io_threads() == 0 {
            assert_eq!(unread(&stream), expected);
        } else {
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).unwrap();
        }
    }
}

/// Who writes whenever its queue is empty does not hold the turn up.
#[test]
fn a_turn_ends_though_somebody_always_has_more_to_write() {
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    driver.reactor.notify_flush(key, true);
    for _ in 0..3 {
        driver.reactor.begin_turn(Some(SILENCE));
        let mut drained = 0;
        while let Some(event) = driver.reactor.next_event() {
            if matches!(event, trochee::Event::Drain { .. }) {
                drained += 1;
                assert!(drained < 100, "no end");
                driver.reactor.write(key, b"more").unwrap();
                driver.reactor.notify_flush(key, true);
            }
        }
    }
}
