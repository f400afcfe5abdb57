//! Listeners.

use std::collections::HashSet;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::io::Errno;

use super::*;

#[test]
fn a_burst_is_accepted_each_once() {
    alone!(a_burst_is_accepted_each_once);
    let mut driver = driver!();
    // Both ends of every connection have their descriptor in this process, and select(2) ends at 1024.
    let count = if poller_name() == "select" { 400 } else { 1000 };
    let (listener, address) = driver.listen(ReadSize::All);
    let peers: Vec<_> = (0..count).map(|_| peer(address)).collect();

    let (mut keys, mut names) = (HashSet::new(), HashSet::new());
    driver.drive("all connections", |reactor, event| {
        let Seen::Accepted { listener: by, key } = event else {
            panic!("unexpected: {event:?}")
        };
        assert_eq!(by, listener);
        assert!(keys.insert(key));
        let Some(Name::Inet(name)) = reactor.peer_name(key) else {
            panic!("a peer without an address")
        };
        assert!(names.insert(name), "{name} was accepted twice");
        keys.len() == count
    });
    let expected: HashSet<_> = peers.iter().map(|p| p.local_addr().unwrap()).collect();
    assert_eq!(names, expected);
    driver.expect_silence();
    assert_eq!(driver.reactor.len(), count + 1);
}

#[test]
fn every_address_of_both_families_on_one_port() {
    let mut driver = driver!();
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: no IPv6 here: {error}");
        return;
    }
    let (four, six, port) = (0..10)
        .find_map(|_| {
            let four = driver.reactor.listen("*", 0, ReadSize::All).unwrap();
            let Some(Name::Inet(address)) = driver.reactor.local_name(four) else {
                panic!("a listener without a name")
            };
            assert!(address.ip().is_unspecified() && address.is_ipv4());
            match driver.reactor.listen("::", address.port(), ReadSize::All) {
                Ok(six) => Some((four, six, address.port())),
                // Somebody else has that port for IPv6.
                Err(Error::Os(Errno::ADDRINUSE)) => {
                    driver.reactor.close(four);
                    None
                }
                Err(error) => panic!("{error}"),
            }
        })
        .expect("a port that is free for both");

    let mut streams = Vec::new();
    for (host, wanted) in [("127.0.0.1", four), ("[::1]", six), ("127.0.0.1", four)] {
        let stream = TcpStream::connect(format!("{host}:{port}")).unwrap();
        let mut event = None;
        driver.drive("a connection", |_, seen| {
            event = Some(seen);
            true
        });
        let Some(Seen::Accepted { listener, key }) = event else {
            panic!("unexpected: {event:?}")
        };
        assert_eq!(listener, wanted, "from {host}");
        let name = Name::Inet(stream.local_addr().unwrap());
        assert_eq!(driver.reactor.peer_name(key), Some(name));
        streams.push(stream);
    }
}

#[test]
fn a_port_in_use_is_refused_in_the_words_that_prosody_looks_for() {
    let mut driver = driver!();
    let (listener, address) = driver.listen(ReadSize::All);
    let again = |driver: &mut Driver| {
        driver
            .reactor
            .listen("127.0.0.1", address.port(), ReadSize::All)
    };
    let error = again(&mut driver).unwrap_err();
    assert_eq!(error.to_string(), "address already in use");
    assert_eq!(error.errno(), Some(Errno::ADDRINUSE.raw_os_error()));

    assert_eq!(driver.reactor.close(listener), Close::Done);
    again(&mut driver).unwrap();
}

#[test]
fn a_unix_listener() {
    let mut driver = driver!();
    let path = std::env::temp_dir().join(format!(
        "trochee-{}-{}.sock",
        std::process::id(),
        poller_name()
    ));
    let _ = std::fs::remove_file(&path);
    let socket = UnixListener::bind(&path).unwrap();
    let listener = driver
        .reactor
        .listen_on(socket.into(), ReadSize::All)
        .unwrap();
    let name = Name::Unix(path.clone());
    assert_eq!(driver.reactor.local_name(listener), Some(name));

    let mut stream = UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = driver.accepted();
    assert_eq!(
        driver.reactor.peer_name(key),
        Some(Name::Unix(Default::default()))
    );
    stream.write_all(b"question").unwrap();
    driver.expect_data(key, b"question");
    driver.reactor.write(key, b"answer").unwrap();
    driver.turn();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    drop(stream);
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
}

#[test]
fn a_listening_socket_of_somebody_else() {
    let mut driver = driver!();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // From before the reactor had it; and blocking, which the reactor must change.
    let mut early = peer(address);
    driver
        .reactor
        .listen_on(socket.into(), ReadSize::All)
        .unwrap();
    let key = driver.accepted();
    early.write_all(b"x").unwrap();
    driver.expect_data(key, b"x");
    driver.expect_silence();
}

#[test]
fn a_paused_listener_makes_peers_wait() {
    let mut driver = driver!();
    let (listener, address) = driver.listen(ReadSize::All);
    assert!(driver.reactor.pause(listener));
    let mut early = peer(address);
    early.write_all(b"hello").unwrap();
    driver.expect_silence();
    assert!(driver.reactor.resume(listener));
    let key = driver.accepted();
    driver.expect_data(key, b"hello");
}

/// Others that were ready in the same turn wait, too.
#[test]
fn a_listener_paused_by_its_first_connection_accepts_no_second() {
    one_thread!();
    let mut driver = driver!();
    let (listener, address) = driver.listen(ReadSize::All);
    let _peers = [peer(address), peer(address)];
    driver.accepted();
    driver.reactor.pause(listener);
    driver.expect_silence();
    driver.reactor.resume(listener);
    driver.accepted();
}

#[test]
fn no_more_than_max_connections_at_a_time() {
    // Each thread has its part of them.
    let most = 2 * io_threads().max(1);
    let mut driver = driver!(max_connections: Some(most));
    let (_, address) = driver.listen(ReadSize::All);
    let (_, other) = driver.listen(ReadSize::All);
    let mut peers: Vec<_> = (0..most).map(|_| peer(address)).collect();
    // Which thread accepts nobody knows, so there may be some that wait though another has room.
    let mut served: Vec<Key> = Vec::new();
    let mut told = Vec::new();
    driver.drive("as many as there may be", |_, event| {
        match event {
            Seen::Accepted { key, .. } => served.push(key),
            Seen::Notice(_, text) => told.push(text),
            other => panic!("unexpected: {other:?}"),
        }
        (served.len(), told.len()) == (most, io_threads().max(1))
    });
    assert!(told[0].contains("max_connections"), "{told:?}");
    peers.push(peer(other));
    driver.expect_silence();
    drop(peers.remove(0));
    let mut order = Vec::new();
    driver.drive("the third connection", |_, event| {
        order.push(event);
        order.len() == 2
    });
    let over = matches!(&order[0], Seen::Closed(key, Reason::PeerClosed) if served.contains(key));
    assert!(over, "{order:?}");
    assert!(matches!(order[1], Seen::Accepted { .. }), "{order:?}");
}

#[test]
fn closing_a_listener_leaves_its_connections_alone() {
    let mut driver = driver!();
    let (listener, address) = driver.listen(ReadSize::All);
    let mut stream = peer(address);
    let key = driver.accepted();
    assert_eq!(driver.reactor.close(listener), Close::Done);
    assert_eq!(driver.reactor.close(listener), Close::Gone);
    assert!(TcpStream::connect(address).is_err(), "still listening");
    stream.write_all(b"still here").unwrap();
    driver.expect_data(key, b"still here");
}

/// A socket that another process shares is shut down there. It looks ready for ever, and nobody can be accepted.
#[test]
fn a_listener_that_was_shut_down_by_somebody_else_rests_and_is_told_once() {
    alone!(a_listener_that_was_shut_down_by_somebody_else_rests_and_is_told_once);
    let mut driver = driver!(accept_retry_interval: Duration::from_millis(50));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = socket.try_clone().unwrap();
    let (key, mut stream) = driver.serve();
    driver
        .reactor
        .listen_on(socket.into(), ReadSize::All)
        .unwrap();
    driver.turn();
    rustix::net::shutdown(&other, rustix::net::Shutdown::Both).unwrap();
    let mut notices = Vec::new();
    let process_time = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let before = process_time();
    // One for each that accepts there, once it lasts.
    let expected = io_threads().max(1);
    driver.drive("the notices", |_, event| match event {
        Seen::Notice(_, text) => {
            notices.push(text);
            notices.len() == expected
        }
        other => panic!("unexpected: {other:?}"),
    });
    driver.drive_for(SILENCE * 4, |_, event| panic!("unexpected: {event:?}"));
    let used = process_time() - before;
    assert!(notices[0].contains("shut it down"), "{notices:?}");
    assert!(notices[0].contains("127.0.0.1"), "{notices:?}");
    assert!(used < SILENCE * 4, "busy for {used:?}");
    stream.write_all(b"others").unwrap();
    driver.expect_data(key, b"others");

    // Who listens on it again is heard again.
    rustix::net::listen(&other, 5).unwrap();
    let _peer = peer(other.local_addr().unwrap());
    driver.accepted();
}
