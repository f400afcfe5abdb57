//! Ending a wait from another thread.

use super::*;

/// Waits for as long as it takes, which the test harness would notice.
fn wait(driver: &mut Driver) {
    driver.reactor.begin_turn(Some(PATIENCE));
    let start = Instant::now();
    assert!(driver.reactor.next_event().is_none());
    assert!(start.elapsed() < PATIENCE, "nobody woke it");
}

#[test]
fn a_wake_ends_the_wait() {
    let mut driver = driver!();
    let waker = driver.reactor.waker().unwrap();
    for _ in 0..3 {
        let waker = waker.clone();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        wait(&mut driver);
        other.join().unwrap();
    }
}

#[test]
fn a_wake_before_the_wait_ends_the_next_and_only_that() {
    let mut driver = driver!();
    let waker = driver.reactor.waker().unwrap();
    assert_eq!(driver.turn(), []);
    for _ in 0..100 {
        waker.wake();
    }
    wait(&mut driver);
    let start = Instant::now();
    driver.reactor.begin_turn(Some(SILENCE));
    assert!(driver.reactor.next_event().is_none());
    assert!(start.elapsed() >= SILENCE, "one wake ended two waits");
}

/// The two sides take turns as fast as they can; a wake that gets lost leaves both waiting.
#[test]
fn no_wake_is_lost() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    const ROUNDS: u32 = 2000;
    let mut driver = driver!();
    let waker = driver.reactor.waker().unwrap();
    let said = Arc::new(AtomicU32::new(0));
    let heard = Arc::new(AtomicU32::new(0));
    let other = std::thread::spawn({
        let (said, heard) = (said.clone(), heard.clone());
        move || {
            for round in 1..=ROUNDS {
                said.store(round, Ordering::Release);
                waker.wake();
                while heard.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                    std::thread::yield_now();
                }
            }
        }
    });
    while heard.load(Ordering::Acquire) < ROUNDS {
        wait(&mut driver);
        heard.store(said.load(Ordering::Acquire), Ordering::Release);
    }
    other.join().unwrap();
}
