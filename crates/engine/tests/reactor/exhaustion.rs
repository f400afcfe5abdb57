//! No descriptors left, or none that the poller can hold.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

#[test]
fn without_descriptors_peers_are_turned_away_and_the_rest_is_served() {
    one_thread!();
    alone!(without_descriptors_peers_are_turned_away_and_the_rest_is_served);
    const FREE: usize = 10;
    let mut driver = driver!(raise_descriptor_limit: false);
    let (_, address) = driver.listen(ReadSize::All);
    driver.turn();
    let mut peers: Vec<_> = (0..40).map(|_| unconnected()).collect();
    leave_descriptors(FREE);

    let mut waiting = peers.split_off(2 * FREE);
    let streams: Vec<_> = peers.into_iter().map(|p| connect(p, address)).collect();
    let (mut keys, mut notices) = (Vec::new(), Vec::new());
    driver.drive_for(SILENCE * 4, |_, event| match event {
        Seen::Accepted { key, .. } => keys.push(key),
        Seen::Notice(level, text) => notices.push((level, text)),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(keys.len(), FREE);
    // Once, in words, although it happened many times.
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(notices[0].0, trochee::Level::Error);
    assert!(notices[0].1.contains("descriptors"), "{notices:?}");
    // Nobody waits in vain: who was not accepted was turned away.
    let away = streams
        .iter()
        .filter(|stream| {
            stream.set_nonblocking(true).unwrap();
            match (&mut &**stream).read(&mut [0]) {
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
                Ok(len) => len == 0,
            }
        })
        .count();
    assert_eq!(away, FREE);

    // And it is quiet then.
    let before = thread_time();
    driver.drive_for(SILENCE * 4, |_, event| panic!("unexpected: {event:?}"));
    let used = thread_time() - before;
    assert!(used < SILENCE, "busy for {used:?}");

    // Those who are in are served, and when some leave there is room at once.
    driver.reactor.write(keys[0], b"still here").unwrap();
    driver.turn();
    assert_eq!(streams.iter().map(unread).sum::<u64>(), 10);
    for key in keys.drain(..5) {
        assert!(driver.reactor.destroy(key));
    }
    let start = Instant::now();
    let late: Vec<_> = waiting
        .drain(..5)
        .map(|socket| connect(socket, address))
        .collect();
    for _ in &late {
        driver.accepted();
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// The places for accepted connections follow from the limit of descriptors: some are kept for other things.
#[test]
fn without_a_setting_descriptors_are_kept_for_what_is_no_accepted_connection() {
    one_thread!();
    alone!(without_a_setting_descriptors_are_kept_for_what_is_no_accepted_connection);
    let set_limit = |current| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current, maximum };
        setrlimit(Resource::Nofile, limit).unwrap();
    };
    set_limit(Some(100));
    let mut driver = driver!(raise_descriptor_limit: false);
    let (_, address) = driver.listen(ReadSize::All);
    driver.turn();
    // The peers need descriptors as well.
    set_limit(Some(1000));
    let _peers: Vec<_> = (0..60).map(|_| peer(address)).collect();
    let (mut keys, mut notices) = (Vec::new(), Vec::new());
    driver.drive("as many as there may be", |_, event| {
        match event {
            Seen::Accepted { key, .. } => keys.push(key),
            Seen::Notice(level, text) => notices.push((level, text)),
            other => panic!("unexpected: {other:?}"),
        }
        (keys.len(), notices.len()) == (50, 1)
    });
    assert_eq!(notices[0].0, trochee::Level::Warn);
    assert!(notices[0].1.contains("max_connections"), "{notices:?}");
    assert_eq!(driver.reactor.stats().times_full, 1);
    // It is quiet then.
    let before = thread_time();
    driver.drive_for(SILENCE * 4, |_, event| panic!("unexpected: {event:?}"));
    assert!(thread_time() - before < SILENCE);
    // Whoever leaves makes room for one that waits.
    assert!(driver.reactor.destroy(keys[0]));
    driver.accepted();
    driver.expect_silence();
}

/// Where even the reserve is gone, the listener rests; a connection that ends makes it look again.
#[test]
fn without_a_reserve_the_listener_rests_until_a_connection_ends() {
    one_thread!();
    alone!(without_a_reserve_the_listener_rests_until_a_connection_ends);
    let mut driver = driver!(
        raise_descriptor_limit: false,
        accept_retry_interval: Duration::from_secs(3600),
    );
    let (_, address) = driver.listen(ReadSize::All);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = driver
        .reactor
        .connect(far.local_addr().unwrap(), SocketKind::Stream, ReadSize::All)
        .unwrap();
    let peers = [unconnected(), unconnected()];
    let late = unconnected();
    // Before the first turn, which then finds nothing to reserve, and no more than the poller's own to open.
    leave_descriptors(match poller_name() {
        "epoll" => 1,
        // epoll's, a pair for its own signals, and a signalfd
        "libevent" => 4,
        _ => 0,
    });
    let _waiting = peers.map(|socket| connect(socket, address));
    let mut notices = Vec::new();
    let before = thread_time();
    driver.drive_for(SILENCE * 4, |_, event| match event {
        Seen::Notice(_, text) => notices.push(text),
        Seen::Connected(key) | Seen::Predrain(key) | Seen::Drain(key) => assert_eq!(key, own),
        other => panic!("unexpected: {other:?}"),
    });
    let used = thread_time() - before;
    assert!(used < SILENCE, "busy for {used:?}");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("rests"), "{notices:?}");

    // The one descriptor that this sets free goes to the first of those who wait, and nobody waits for ever.
    assert!(driver.reactor.destroy(own));
    let first = driver.accepted();
    driver.expect_silence();

    // Two more: for the other one who waits, and to be reserved again for the next.
    drop(far);
    assert!(driver.reactor.destroy(first));
    driver.accepted();
    let mut late = connect(late, address);
    driver.expect_silence();
    let away = late.read(&mut [0]);
    assert!(!matches!(away, Ok(1..)), "{away:?}");
}

#[test]
fn a_number_that_select_can_not_hold_is_refused_and_the_others_are_served() {
    one_thread!();
    alone!(a_number_that_select_can_not_hold_is_refused_and_the_others_are_served);
    const LIMIT: RawFd = 1024;
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let (first, mut first_stream) = {
        let stream = peer(address);
        (driver.accepted(), stream)
    };
    // All numbers but a few below the limit are taken, and the peers' own are past it.
    let mut fillers = fill_to(LIMIT - 1);
    let peers: Vec<_> = (0..10).map(|_| unconnected()).collect();
    assert!(peers.iter().all(|peer| peer.as_raw_fd() >= LIMIT));
    fillers.truncate(fillers.len() - 3);

    let streams: Vec<_> = peers.into_iter().map(|p| connect(p, address)).collect();
    let (mut keys, mut notices) = (Vec::new(), Vec::new());
    driver.drive_for(SILENCE * 4, |_, event| match event {
        Seen::Accepted { key, .. } => keys.push(key),
        Seen::Notice(_, text) => notices.push(text),
        other => panic!("unexpected: {other:?}"),
    });
    if poller_name() == "select" {
        assert_eq!(keys.len(), 3);
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("1024") && notices[0].contains("epoll"));
        let refused = driver
            .reactor
            .connect(address, SocketKind::Stream, ReadSize::All);
        assert!(matches!(refused, Err(Error::Poller(_))), "{refused:?}");
        driver.expect_silence();
    } else {
        assert_eq!(keys.len(), 10);
        assert_eq!(notices, [""; 0]);
    }
    // Who was refused is told so.
    let over = streams
        .iter()
        .filter(|stream| {
            stream.set_nonblocking(true).unwrap();
            matches!((&mut &**stream).read(&mut [0]), Ok(0))
        })
        .count();
    assert_eq!(over, 10 - keys.len());
    first_stream.write_all(b"still served").unwrap();
    driver.expect_data(first, b"still served");
    driver.reactor.write(keys[0], b"x").unwrap();
    driver.turn();
    assert_eq!(streams.iter().map(unread).sum::<u64>(), 1);
}

fn unconnected() -> OwnedFd {
    rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

fn connect(socket: OwnedFd, address: SocketAddr) -> TcpStream {
    rustix::net::connect(&socket, &address).unwrap();
    patient(socket.into())
}

/// Lowers the limit of descriptors until only so many more can be opened.
fn leave_descriptors(count: usize) {
    let probes: Vec<_> = (0..=count).map(|_| unconnected()).collect();
    // Descriptors have the lowest free numbers, so the first number past the last of them is the limit.
    let limit = probes[count].as_raw_fd() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(limit),
            maximum,
        },
    )
    .unwrap();
    drop(probes);
    let free: Vec<_> = std::iter::from_fn(|| {
        match rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None) {
            Ok(socket) => Some(socket),
            Err(error) => {
                assert_eq!(error, Errno::MFILE);
                None
            }
        }
    })
    .collect();
    assert_eq!(free.len(), count);
}

/// Takes every free number up to and including `last`.
fn fill_to(last: RawFd) -> Vec<OwnedFd> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let mut fillers = vec![unconnected()];
    while fillers[fillers.len() - 1].as_raw_fd() < last {
        fillers.push(rustix::io::dup(&fillers[0]).unwrap());
    }
    fillers
}
