//! A process that forks, as a server does that goes into the background.

#![allow(unsafe_code)]

use super::*;

/// After binding its ports and after the first turns.
#[test]
fn a_child_goes_on_serving() {
    one_thread!();
    alone!(a_child_goes_on_serving);
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let mut old = peer(address);
    let key = driver.accepted();
    driver.reactor.set_timer(Duration::from_millis(20));

    let child = fork(|| {
        // The connection that the parent accepted, a new one, and a timer.
        let (mut data, mut timers) = (0, 0);
        driver.drive("two questions and a timer", |reactor, event| {
            match event {
                Seen::Data(key, bytes, _) => {
                    reactor.write(key, &bytes).unwrap();
                    data += 1;
                }
                Seen::Timer(_) => timers += 1,
                _ => {}
            }
            data == 2 && timers == 1
        });
        driver.turn();
    });
    let mut new = peer(address);
    for stream in [&mut old, &mut new] {
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
    }
    child.succeeds();
    assert_eq!(driver.reactor.pending(key), 0);
}

/// The parent serves on, whatever the child does with its copies.
#[test]
fn a_child_that_closes_what_it_inherited_does_not_disturb_the_parent() {
    alone!(a_child_that_closes_what_it_inherited_does_not_disturb_the_parent);
    let mut driver = driver!();
    let (listener, address) = driver.listen(ReadSize::All);
    let mut stream = peer(address);
    let key = driver.accepted();
    driver.turn();

    fork(|| {
        // Before its first turn, and with something of its own. The peer must not hear of it either.
        assert!(driver.reactor.destroy(key));
        assert!(driver.reactor.destroy(listener));
        let (own, address) = driver.listen(ReadSize::All);
        let _peer = peer(address);
        driver.accepted();
        driver.reactor.close(own);
    })
    .succeeds();

    stream.write_all(b"still here").unwrap();
    driver.expect_data(key, b"still here");
    let _new = peer(address);
    driver.accepted();
    driver.expect_silence();
}

/// In the middle of a turn, as in the callback of an event.
#[test]
fn a_child_forked_in_the_middle_of_a_turn() {
    one_thread!();
    alone!(a_child_forked_in_the_middle_of_a_turn);
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let mut stream = peer(address);
    let key = driver.accepted();
    stream.write_all(b"fork!").unwrap();
    driver.expect_data(key, b"fork!");

    fork(|| {
        // A connection of its own, made in what is left of the parent's turn.
        let far = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = driver
            .reactor
            .connect(far.local_addr().unwrap(), SocketKind::Stream, ReadSize::All)
            .unwrap();
        driver.connected(own);
        assert!(driver.reactor.destroy(key));
    })
    .succeeds();

    stream.write_all(b"still here").unwrap();
    driver.expect_data(key, b"still here");
    driver.expect_silence();
}

/// As `os.exit(0, true)` of Lua does. There are no I/O threads in a child that could be waited for.
#[test]
fn a_child_that_lets_go_of_its_reactor_ends() {
    alone!(a_child_that_lets_go_of_its_reactor_ends);
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let mut stream = peer(address);
    let key = driver.accepted();
    driver.turn();

    fork(|| {
        // SAFETY: alarm(2) has no requirements; its signal ends a child that hangs.
        unsafe { libc::alarm(PATIENCE.as_secs() as u32) };
        drop(std::mem::take(&mut driver.reactor));
    })
    .succeeds();

    stream.write_all(b"still here").unwrap();
    driver.expect_data(key, b"still here");
}

#[test]
fn a_child_hears_its_own_signals() {
    alone!(a_child_hears_its_own_signals);
    let mut driver = driver!();
    let key = driver.reactor.watch_signal(libc::SIGUSR1).unwrap();
    driver.turn();
    fork(|| {
        // SAFETY: raise(3) has no requirements.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        driver.drive("the signal", |_, event| {
            event == Seen::Signal(key, libc::SIGUSR1)
        });
    })
    .succeeds();
    driver.expect_silence();
}

struct Child(libc::pid_t);

/// Runs `body` in a child process.
fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the only other thread of this process, the test harness, waits for this one and holds no lock that the
    // child needs.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid > 0 {
        return Child(pid);
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    // SAFETY: ends the process, without the destructors that belong to the parent.
    unsafe { libc::_exit(i32::from(result.is_err())) }
}

impl Child {
    #[track_caller]
    fn succeeds(self) {
        let mut status = 0;
        // SAFETY: `status` is a place for the result.
        let pid = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(pid, self.0);
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "the child failed: {status:#x}"
        );
    }
}
