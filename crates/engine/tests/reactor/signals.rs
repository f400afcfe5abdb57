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
fn closing_restores_the_earlier_action() {
    alone!(closing_restores_the_earlier_action);
    let action = || {
        // SAFETY: sigaction writes the one it is given; no new action is set.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGUSR1, std::ptr::null(), &raw mut now);
            now.sa_sigaction
        }
    };
    let before = action();
    let mut driver = driver!();
    let key = driver.reactor.watch_signal(libc::SIGUSR1).unwrap();
    assert_ne!(action(), before);
    driver.turn();
    assert_eq!(driver.reactor.close(key), Close::Done);
    assert_eq!(action(), before);
    assert!(driver.reactor.is_empty());
}

/// A program that the server starts must end when it is told to, so nothing of the watch may reach it.
#[test]
fn a_started_program_can_be_ended() {
    alone!(a_started_program_can_be_ended);
    let mut driver = driver!();
    driver.reactor.watch_signal(libc::SIGTERM).unwrap();
    driver.turn();
    let mut program = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let program_id = program.id() as libc::pid_t;
    // SAFETY: the program is our child and was not waited for.
    let killed = unsafe { libc::kill(program_id, libc::SIGTERM) };
    assert_eq!(killed, 0);
    let status = program.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGTERM)
    );
}

#[test]
fn no_such_signal() {
    let mut driver = driver!();
    assert!(driver.reactor.watch_signal(4711).is_err());
    assert!(driver.reactor.watch_signal(libc::SIGKILL).is_err());
    assert!(driver.reactor.is_empty());
}

fn raise(signal: i32) {
    // SAFETY: raise(3) has no requirements.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}
