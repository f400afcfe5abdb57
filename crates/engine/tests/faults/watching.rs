//! The system has no memory, or no watches left, for the moment at which a descriptor is to be watched.

use super::*;

/// What may go away by itself, and for how many descriptors. A listener is not given up for EPERM either.
const PASSING: [(i32, u64); 5] = [
    (libc::ENOMEM, 1),
    (libc::ENOMEM, 4),
    (libc::ENOSPC, 1),
    (libc::ENOSPC, 4),
    (libc::EPERM, 1),
];

/// Whether the poller in use has the system keep a set of descriptors.
fn tells_the_system() -> bool {
    matches!(poller_name(), "epoll" | "libevent")
}

/// Whether libevent has chosen epoll.
fn is_ours(driver: &Driver) -> bool {
    !matches!(poller_name(), "libevent") || driver.reactor.backend().starts_with("libevent epoll")
}

/// A peer that says something, and the connection that hears it.
fn expect_served(driver: &mut Driver, address: std::net::SocketAddr) -> std::net::TcpStream {
    let mut stream = exempt(|| {
        let mut stream = peer(address);
        stream.write_all(b"hello").unwrap();
        stream
    });
    let mut heard = Vec::new();
    driver.drive("a connection and its data", |reactor, event| {
        match event {
            Seen::Data(key, data, _) => {
                heard.extend(data);
                if heard.len() == 5 {
                    reactor.write(key, b"and back").unwrap();
                }
            }
            Seen::Accepted { .. } | Seen::Notice(..) => {}
            other => panic!("unexpected: {other:?}"),
        }
        heard.len() == 5
    });
    driver.turn();
    driver.turn();
    let mut answer = [0; 8];
    exempt(|| stream.read_exact(&mut answer)).unwrap();
    assert_eq!((&heard[..], &answer[..]), (&b"hello"[..], &b"and back"[..]));
    stream
}

/// Of the first descriptors that are watched in a turn: wakers, listeners, connections.
#[test]
fn whatever_could_not_be_watched_once_is_heard() {
    let fault = interpose::alone();
    for (errno, count) in PASSING {
        let mut driver = driver!();
        let (_, before) = driver.listen(ReadSize::All);
        fault.set(Call::Watch, errno, Which::Next(count));
        driver.turn();
        let (_, after) = driver.listen(ReadSize::All);
        let _peers = [before, after].map(|address| expect_served(&mut driver, address));
        assert!(!tells_the_system() || !is_ours(&driver) || fault.hits() > 0);
        fault.clear();
    }
}

/// A connection that is to be written to, or read from again.
#[test]
fn whatever_could_not_be_changed_once_is_changed() {
    const LENGTH: usize = 8 << 20;
    if !tells_the_system() {
        return;
    }
    let fault = interpose::alone();
    for every in [1, 2, 3] {
        let mut driver = driver!();
        let (key, stream) = driver.serve_narrow();
        fault.set(Call::Watch, libc::ENOMEM, Which::Every(every));
        let reader = std::thread::spawn(move || exempt(|| read_to_end(&stream)));
        driver.reactor.write(key, &pattern(LENGTH)).unwrap();
        driver.reactor.pause(key);
        driver.turn();
        driver.reactor.resume(key);
        driver.reactor.close(key);
        driver.drive_for(SILENCE * 2, |_, _| {});
        // For a while is not for ever.
        fault.clear();
        while !reader.is_finished() {
            driver.drive_for(SILENCE, |_, event| {
                assert!(
                    !matches!(&event, Seen::Closed(_, reason) if *reason != trochee::Reason::Local),
                    "{event:?}"
                );
            });
        }
        assert!(reader.join().unwrap() == pattern(LENGTH));
    }
}

#[test]
fn a_descriptor_of_somebody_else_is_heard_and_a_file_is_refused_at_once() {
    let fault = interpose::alone();
    let mut driver = driver!();
    driver.turn();
    for errno in [libc::ENOMEM, libc::ENOSPC] {
        fault.set(Call::Watch, errno, Which::Next(1));
        let (reader, mut writer) = std::io::pipe().unwrap();
        let watch = driver.watch(&reader, Interest::READ).unwrap();
        writer.write_all(b"x").unwrap();
        driver.drive(
            "the pipe",
            |_, event| matches!(event, Seen::Ready(key, _) if key == watch),
        );
        driver.reactor.close(watch);
    }
    if poller_name() == "epoll" {
        fault.set(Call::Watch, libc::EPERM, Which::Next(1));
        let (reader, _writer) = std::io::pipe().unwrap();
        let refused = driver.watch(&reader, Interest::READ);
        assert!(matches!(refused, Err(Error::Poller(_))), "{refused:?}");
    }
}

#[test]
fn an_outgoing_connection_stands_and_the_log_says_what_was_wrong() {
    let fault = interpose::alone();
    let mut driver = driver!();
    let far = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = far.local_addr().unwrap();
    driver.turn();
    fault.set(Call::Watch, libc::ENOSPC, Which::Next(1));
    let connect = driver
        .reactor
        .connect(address, SocketKind::Stream, ReadSize::All);
    let key = connect.unwrap();
    let mut notices = Vec::new();
    driver.drive("the connection", |_, event| {
        if let Seen::Notice(_, text) = &event {
            notices.push(text.clone());
        }
        event == Seen::Connected(key)
    });
    // The thread that has met it may tell a moment later.
    driver.drive_for(SILENCE, |_, event| {
        if let Seen::Notice(_, text) = event {
            notices.push(text);
        }
    });
    if tells_the_system() && fault.hits() > 0 {
        assert_eq!(notices.len(), 1, "{notices:?}");
        // An I/O thread may have met it with what the other threads wake it by.
        let words = ["max_user_watches", "other threads are heard late"];
        assert!(
            words.iter().any(|words| notices[0].contains(words)),
            "{notices:?}"
        );
    }
}

/// A peer that is gone is taken out of the poller where nobody reads; if that fails the loop must not spin for ever.
#[test]
fn whatever_could_not_be_taken_out_once_is_taken_out() {
    if !tells_the_system() {
        return;
    }
    let fault = interpose::alone();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.pause(key);
    driver.turn();
    fault.set(Call::Unwatch, libc::ENOMEM, Which::Next(2));
    exempt(|| {
        stream.write_all(b"last words").unwrap();
        reset(stream);
    });
    driver.drive_for(SILENCE * 6, |_, _| {});
    let before = thread_time();
    driver.drive_for(SILENCE * 3, |_, _| {});
    let used = thread_time() - before;
    assert!(used < SILENCE, "busy for {used:?}");
}
