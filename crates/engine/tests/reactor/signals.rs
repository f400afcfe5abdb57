//! Signals as events.

#![allow(unsafe_code)]

use super::*;

#[test]
fn a_watched_signal_is_an_event() {
    alone!(a_watched_signal_is_an_event);
    let mut driver = driver!();
    // One watched before the first turn, the other after it.
    let one = driver.reactor.watch_signal(libc::SIGUSR1).unwrap();
    driver.turn();
    let two = driver.reactor.watch_signal(libc::SIGUSR2).unwrap();
    driver.expect_silence();
    for _ in 0..2 {
        raise(libc::SIGUSR1);
        raise(libc::SIGUSR2);
        let mut seen = Vec::new();
        driver.drive("two signals", |_, event| {
            seen.push(event);
            seen.len() == 2
        });
        assert!(seen.contains(&Seen::Signal(one, libc::SIGUSR1)));
        assert!(seen.contains(&Seen::Signal(two, libc::SIGUSR2)));
        driver.expect_silence();
    }
    driver.reactor.close(one);
    raise(libc::SIGUSR2);
    assert_eq!(driver.turn(), [Seen::Signal(two, libc::SIGUSR2)]);
}

/// It ends a wait that nothing else would.
#[test]
fn a_signal_ends_a_wait() {
    alone!(a_signal_ends_a_wait);
    let mut driver = driver!();
    let key = driver.reactor.watch_signal(libc::SIGUSR1).unwrap();
    driver.turn();
    // SAFETY: takes no arguments.
    let waiter = unsafe { libc::pthread_self() };
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        // SAFETY: the waiter waits for this thread before it ends.
        assert_eq!(unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) }, 0);
    });
    driver.drive("the signal", |_, event| {
        event == Seen::Signal(key, libc::SIGUSR1)
    });
    sender.join().unwrap();
}

#[test]
fn closing_restores_the_usual_action() {
    alone!(closing_restores_the_usual_action);
    let mut driver = driver!();
    let blocked = || {
        // SAFETY: the sets are initialised by the calls that are given them.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut set);
            libc::sigismember(&raw const set, libc::SIGUSR1) == 1
        }
    };
    assert!(!blocked());
    let key = driver.reactor.watch_signal(libc::SIGUSR1).unwrap();
    assert!(blocked());
    driver.turn();
    assert_eq!(driver.reactor.close(key), Close::Done);
    assert!(!blocked());
    assert!(driver.reactor.is_empty());
}

#[test]
fn no_such_signal() {
    let mut driver = driver!();
    assert!(driver.reactor.watch_signal(4711).is_err());
    assert!(driver.reactor.is_empty());
}

/// To this thread, for the others of a test process have nothing blocked.
fn raise(signal: i32) {
    // SAFETY: raise(3) has no requirements.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}
