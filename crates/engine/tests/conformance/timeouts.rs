//! How long a wait lasts.

use std::io::Write;
use std::time::{Duration, Instant};

use trochee::poller::Interest;

use super::*;

#[test]
fn zero_looks_and_returns() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    watch.add(&near, 1, Interest::READ);
    assert_eq!(watch.wait(Duration::ZERO), []);
    // Each such wait really asks the kernel: what came in between is there.
    far.write_all(b"x").unwrap();
    assert_eq!(watch.wait(Duration::ZERO).len(), 1);
}

#[test]
fn an_empty_poller_sleeps() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let start = Instant::now();
    assert_eq!(watch.wait(Duration::from_millis(10)), []);
    assert!(start.elapsed() >= Duration::from_millis(10));
}

#[test]
fn never_returns_early() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, _far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    for nanos in [
        1, 1_000, 999_999, 1_000_000, 1_000_001, 1_500_000, 2_300_000, 20_000_000,
    ] {
        let timeout = Duration::from_nanos(nanos);
        let start = Instant::now();
        assert_eq!(watch.wait(timeout), []);
        let elapsed = start.elapsed();
        assert!(elapsed >= timeout, "{elapsed:?} instead of {timeout:?}");
    }
}

/// The reason for rounding up: the loop that sleeps until its next timer.
#[test]
fn a_sleep_until_a_deadline_takes_one_wait() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    for _ in 0..10 {
        let deadline = Instant::now() + Duration::from_micros(2_300);
        let mut waits = 0;
        while let Some(left) = deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            watch.wait(left);
            waits += 1;
        }
        assert!(waits <= 1, "{waits} waits");
    }
}

#[test]
fn none_waits_for_the_event() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    let delay = Duration::from_millis(50);
    let start = Instant::now();
    let peer = std::thread::spawn(move || {
        std::thread::sleep(delay);
        far.write_all(b"x").unwrap();
        far
    });
    let mut ready = Vec::new();
    watch.poller.wait(&mut ready, None).unwrap();
    assert_eq!(ready.len(), 1);
    assert!(start.elapsed() >= delay);
    peer.join().unwrap();
}

#[test]
fn an_event_ends_the_longest_wait() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    let peer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        far.write_all(b"x").unwrap();
        far
    });
    // More than any system call can take.
    assert_eq!(watch.wait(Duration::MAX).len(), 1);
    peer.join().unwrap();
}
