//! Connections of our own making, and those that somebody else began.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::*;

#[test]
fn what_is_written_before_it_stands_is_sent_then() {
    let mut driver = driver!();
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = connect(&mut driver, far.local_addr().unwrap()).unwrap();
    driver.reactor.write(key, b"early").unwrap();
    driver.connected(key);
    driver.reactor.write(key, b" and late").unwrap();
    let mut stream = patient(far.accept().unwrap().0);
    let got = driver.drive_peer(
        move || {
            let mut got = [0; 14];
            stream.read_exact(&mut got).unwrap();
            got
        },
        |_, _| {},
    );
    assert_eq!(&got, b"early and late");
}

#[test]
fn the_names_of_both_ends() {
    let mut driver = driver!();
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = far.local_addr().unwrap();
    let key = connect(&mut driver, address).unwrap();
    // Ours is known from the beginning.
    let own = driver.reactor.local_name(key);
    driver.connected(key);
    let (_, from) = far.accept().unwrap();
    assert_eq!(own, Some(Name::Inet(from)));
    assert_eq!(driver.reactor.peer_name(key), Some(Name::Inet(address)));
    assert_eq!(driver.reactor.local_name(key), Some(Name::Inet(from)));
}

/// Some begin to write when they are told that there is room, and have nothing queued before.
#[test]
fn standing_is_followed_by_a_drain() {
    let mut driver = driver!();
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = connect(&mut driver, far.local_addr().unwrap()).unwrap();
    driver.connected(key);
    driver.drive("a drain", |_, event| match event {
        Seen::Predrain(_) => false,
        Seen::Drain(drained) => drained == key,
        other => panic!("unexpected: {other:?}"),
    });
    driver.expect_silence();
}

#[test]
fn refused() {
    let mut driver = driver!();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // The system may say so at once; what matters is that it is said once.
    match connect(&mut driver, address) {
        Ok(key) => {
            let (reason, before) = driver.expect_closed(key);
            assert_eq!(reason, os(Errno::CONNREFUSED));
            assert_eq!(reason.text().as_deref(), Some("connection refused"));
            assert_eq!(before, []);
        }
        Err(error) => assert_eq!(error.to_string(), "connection refused"),
    }
    driver.expect_silence();
    assert!(driver.reactor.is_empty());
}

#[test]
fn no_answer_within_the_connect_timeout() {
    let timeout = Duration::from_millis(200);
    let mut driver = driver!(connect_timeout: timeout);
    let (_listener, _waiting, address) = full_listener();
    let start = Instant::now();
    let key = connect(&mut driver, address).unwrap();
    let (reason, before) = driver.expect_closed(key);
    assert_eq!(reason, Reason::ConnectTimeout);
    assert!(start.elapsed() >= timeout, "after {:?}", start.elapsed());
    assert_eq!(before, []);
    driver.expect_silence();
    assert!(driver.reactor.is_empty());
}

#[test]
fn a_connect_timeout_of_its_own() {
    let mut driver = driver!(connect_timeout: Duration::from_millis(50));
    let (_listener, _waiting, address) = full_listener();
    let patient = connect(&mut driver, address).unwrap();
    let timeout = Duration::from_millis(300);
    assert!(driver.reactor.set_write_timeout(patient, Some(timeout)));
    let start = Instant::now();
    assert_eq!(driver.expect_closed(patient).0, Reason::ConnectTimeout);
    assert!(start.elapsed() >= timeout, "after {:?}", start.elapsed());
}

#[test]
fn closing_one_that_does_not_stand_yet_is_silent() {
    let mut driver = driver!(connect_timeout: SILENCE / 2);
    let (_listener, _waiting, address) = full_listener();
    // The first turn opens the poller, which may take as long as the connection has.
    driver.turn();
    let key = connect(&mut driver, address).unwrap();
    driver.turn();
    assert_eq!(driver.reactor.close(key), Close::Done);
    driver.expect_silence();
    assert!(driver.reactor.is_empty());
}

#[test]
fn adopted_while_connected() {
    let mut driver = driver!();
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(far.local_addr().unwrap()).unwrap();
    let (mut stream, _) = far.accept().unwrap();
    // From before the reactor had it.
    stream.write_all(b"early").unwrap();
    let key = driver.reactor.adopt(near.into(), ReadSize::All).unwrap();
    driver.connected(key);
    driver.expect_data(key, b"early");
    driver.reactor.write(key, b"thanks").unwrap();
    assert_eq!(driver.reactor.close(key), Close::Flushing);
    assert_eq!(driver.expect_closed(key).0, Reason::Local);
    assert_eq!(read_to_end(&patient(stream)), b"thanks");
}

#[test]
fn adopted_while_connecting() {
    let mut driver = driver!();
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = begin(far.local_addr().unwrap());
    let key = driver.reactor.adopt(near, ReadSize::All).unwrap();
    driver.connected(key);
    let (mut stream, _) = far.accept().unwrap();
    stream.write_all(b"welcome").unwrap();
    driver.expect_data(key, b"welcome");
}

#[test]
fn adopted_while_connecting_in_vain() {
    let mut driver = driver!(connect_timeout: Duration::from_millis(100));
    let (_listener, _waiting, address) = full_listener();
    let key = driver.reactor.adopt(begin(address), ReadSize::All).unwrap();
    assert_eq!(driver.expect_closed(key).0, Reason::ConnectTimeout);
}

#[test]
fn adopted_unix_sockets() {
    let mut driver = driver!();
    let (near, mut far) = UnixStream::pair().unwrap();
    let key = driver.reactor.adopt(near.into(), ReadSize::All).unwrap();
    driver.connected(key);
    far.write_all(b"x").unwrap();
    driver.expect_data(key, b"x");
    drop(far);
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
}

#[test]
fn what_is_no_socket_is_refused() {
    let mut driver = driver!();
    let (reader, _writer) = io::pipe().unwrap();
    let error = driver
        .reactor
        .adopt(OwnedFd::from(reader), ReadSize::All)
        .unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOTSOCK.raw_os_error()));
    assert!(driver.reactor.is_empty());
}

fn connect(driver: &mut Driver, address: SocketAddr) -> Result<Key, Error> {
    driver
        .reactor
        .connect(address, SocketKind::Stream, ReadSize::All)
}

/// A connection in the making.
fn begin(address: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let near =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    match rustix::net::connect(&near, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => near,
        Err(error) => panic!("{error}"),
    }
}
