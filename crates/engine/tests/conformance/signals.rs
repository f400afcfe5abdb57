//! A signal ends a wait.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use trochee::poller::{Interest, Readiness};

use super::*;

#[test]
fn a_signal_ends_the_wait_with_interrupted() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, _far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    let earlier = Readiness {
        token: 9,
        readable: true,
        writable: true,
        closed: true,
    };
    let mut ready = vec![earlier];

    let error = interrupted(|| watch.poller.wait(&mut ready, None)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert_eq!(ready, [earlier]);

    // And nothing is broken by it.
    watch.modify(&near, 2, Interest::WRITE);
    watch.expect(&[(2, "w")]);
}

#[test]
fn a_signal_that_nobody_handles_does_not_end_the_wait() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, _far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    // SAFETY: takes no arguments.
    let waiter = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(SILENCE);
            // SAFETY: the waiter lives, for the scope makes it wait for this thread. SIGWINCH is ignored by default.
            unsafe { libc::pthread_kill(waiter, libc::SIGWINCH) };
        });
        let began = Instant::now();
        assert_eq!(watch.wait(SILENCE * 3), []);
        assert!(began.elapsed() >= SILENCE * 3);
    });
}

/// Runs `wait` while another thread sends SIGUSR1 to this one, again and again, for one that comes before the wait has
/// begun does not end it.
fn interrupted<T>(wait: impl FnOnce() -> T) -> T {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: `action` is plain data for which zeroes are valid, and the handler does nothing at all.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
    // SAFETY: takes no arguments.
    let waiter = unsafe { libc::pthread_self() };
    let returned = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !returned.load(Ordering::Acquire) {
                // SAFETY: the waiter lives, for the scope makes it wait for this thread.
                unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = wait();
        returned.store(true, Ordering::Release);
        result
    })
}
