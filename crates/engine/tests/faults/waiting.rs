//! The wait itself fails, or what is to end it.

use super::*;

#[test]
fn a_wait_that_fails_for_a_while_is_told_once_and_tried_again() {
    let fault = interpose::alone();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.turn();
    fault.set(Call::Wait, libc::ENOMEM, Which::Every(1));
    let mut notices = Vec::new();
    let before = thread_time();
    driver.drive_for(SILENCE * 8, |_, event| match event {
        Seen::Notice(_, text) => notices.push(text),
        other => panic!("unexpected: {other:?}"),
    });
    let used = thread_time() - before;
    fault.clear();
    // One of each thread.
    let threads = 1 + io_threads();
    assert!((1..=threads).contains(&notices.len()), "{notices:?}");
    assert!(notices[0].contains("waiting"), "{notices:?}");
    assert!(used < SILENCE * 4, "busy for {used:?}");
    exempt(|| stream.write_all(b"after")).unwrap();
    driver.expect_data(key, b"after");
}

#[test]
fn a_wait_that_is_interrupted_all_the_time_goes_on() {
    let fault = interpose::alone();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.turn();
    for which in [Which::Next(50), Which::Every(2)] {
        fault.set(Call::Wait, libc::EINTR, which);
        exempt(|| stream.write_all(b"x")).unwrap();
        driver.expect_data(key, b"x");
    }
}

/// What is said to a thread that is not woken would wait for ever.
#[test]
fn a_wake_that_fails_is_tried_again() {
    let fault = interpose::alone();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.turn();
    for errno in [libc::EINTR, libc::EIO, libc::ENOMEM] {
        for which in [Which::Next(1), Which::Next(5), Which::Every(2)] {
            fault.set(Call::Wake, errno, which);
            for _ in 0..10 {
                exempt(|| stream.write_all(b"question")).unwrap();
                driver.expect_data(key, b"question");
                driver.reactor.write(key, b"answer").unwrap();
                driver.finish_turn();
                driver.turn();
                let mut answer = [0; 6];
                exempt(|| stream.read_exact(&mut answer)).unwrap();
            }
        }
    }
    // With epoll the loop serves itself, and nobody has to be woken.
    if io_threads() > 0 && poller_name() != "epoll" {
        assert!(fault.hits() > 0);
    }
}
