//! UDP: every write is one datagram, and every datagram one event.

use std::net::UdpSocket;

use rustix::io::Errno;

use super::*;

#[test]
fn each_write_is_one_datagram() {
    let mut driver = driver!();
    let (key, far) = pair(&mut driver, ReadSize::All);
    let large = pattern(9000);
    let sent: [&[u8]; 4] = [b"one", b"", &large, b"four"];
    for datagram in sent {
        assert_eq!(driver.reactor.write(key, datagram).unwrap(), datagram.len());
    }
    driver.turn();
    let mut buffer = vec![0; 65_536];
    for datagram in sent {
        let len = far.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], datagram);
    }
    assert_eq!(driver.reactor.pending(key), 0);
}

/// Neither the read size nor a neighbour cuts a datagram or adds to it, and an empty one is no event.
#[test]
fn each_datagram_is_one_event() {
    let mut driver = driver!();
    let (key, far) = pair(&mut driver, ReadSize::UpTo(10));
    let large = pattern(9000);
    for datagram in [&b"one"[..], b"", &large, b"", b"five"] {
        far.send(datagram).unwrap();
    }
    let mut got = Vec::new();
    driver.drive("three datagrams", |_, event| {
        if let Seen::Data(from, data, _) = event {
            assert_eq!(from, key);
            got.push(data);
        }
        got.len() == 3
    });
    assert_eq!(got, [b"one".to_vec(), large, b"five".to_vec()]);
    driver.expect_silence();
}

/// Nothing ever answers a connect of UDP, and silence is no sign of anything.
#[test]
fn no_timeout_ends_it() {
    let timeout = SILENCE / 3;
    let mut driver =
        driver!(connect_timeout: timeout, read_timeout: timeout, send_timeout: timeout);
    let (key, far) = pair(&mut driver, ReadSize::All);
    driver.expect_silence();
    driver.reactor.write(key, b"query").unwrap();
    driver.expect_silence();
    far.recv(&mut [0; 16]).unwrap();
    far.send(b"answer").unwrap();
    driver.expect_data(key, b"answer");
}

#[test]
fn nobody_there_ends_it_once() {
    let mut driver = driver!();
    let (key, far) = pair(&mut driver, ReadSize::All);
    drop(far);
    driver.reactor.write(key, b"query").unwrap();
    assert_eq!(driver.expect_closed(key).0, os(Errno::CONNREFUSED));
    driver.expect_silence();
}

/// A UDP handle of the reactor, past its first events, and the socket that it talks to.
fn pair(driver: &mut Driver, read_size: ReadSize) -> (Key, UdpSocket) {
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = driver
        .reactor
        .connect(far.local_addr().unwrap(), SocketKind::Datagram, read_size)
        .unwrap();
    let Some(Name::Inet(near)) = driver.reactor.local_name(key) else {
        panic!("a socket without a name")
    };
    far.connect(near).unwrap();
    driver.drive("readiness", |_, event| event == Seen::Drain(key));
    (key, far)
}

/// A UDP socket for any number of peers, its address, and two peers.
fn bound(driver: &mut Driver) -> (Key, SocketAddr, [UdpSocket; 2]) {
    let key = driver
        .reactor
        .bind_datagrams("127.0.0.1:0".parse().unwrap())
        .unwrap();
    let Some(Name::Inet(near)) = driver.reactor.local_name(key) else {
        panic!("a socket without a name")
    };
    let peer = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    (key, near, [peer(), peer()])
}

#[test]
fn each_datagram_comes_with_its_sender_empty_or_not() {
    let mut driver = driver!();
    let (key, near, peers) = bound(&mut driver);
    let large = pattern(9000);
    for datagram in [&b"one"[..], b"", &large] {
        for socket in &peers {
            socket.send_to(datagram, near).unwrap();
            let from = Name::Inet(socket.local_addr().unwrap());
            let wanted = Seen::Datagram(key, datagram.to_vec(), from);
            driver.drive("the datagram", |_, event| {
                assert_eq!(event, wanted);
                true
            });
        }
    }
    for socket in &peers {
        let to = socket.local_addr().unwrap();
        assert_eq!(driver.reactor.send_to(key, b"answer", to).unwrap(), 6);
        let mut buffer = [0; 16];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&b"answer"[..], near));
    }
    driver.expect_silence();
    driver.reactor.close(key);
    assert!(driver.reactor.is_empty());
}

#[test]
fn errors_of_a_datagram_do_not_end_the_socket() {
    let mut driver = driver!();
    let (key, near, [peer, gone]) = bound(&mut driver);
    let to = peer.local_addr().unwrap();
    let error = driver.reactor.send_to(key, &vec![0; 70_000], to);
    assert_eq!(
        error.unwrap_err().errno(),
        Some(Errno::MSGSIZE.raw_os_error())
    );
    // Only a socket that has one peer is told of what ICMP says.
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(nobody).unwrap();
    let connected = driver.reactor.adopt_datagrams(socket.into()).unwrap();
    driver
        .reactor
        .send_to(connected, b"anybody?", nobody)
        .unwrap();
    driver.drive("the error", |_, event| {
        assert_eq!(
            event,
            Seen::DatagramError(connected, "connection refused".into())
        );
        true
    });
    assert!(driver.reactor.fd(connected).is_some());
    peer.send_to(b"still there?", near).unwrap();
    driver.drive("the datagram", |_, event| {
        matches!(event, Seen::Datagram(..))
    });
    driver.expect_silence();
}

#[test]
fn a_paused_socket_leaves_its_datagrams_to_the_system() {
    let mut driver = driver!();
    let (key, near, [peer, _]) = bound(&mut driver);
    driver.reactor.pause(key);
    for number in 0..40u8 {
        peer.send_to(&[number], near).unwrap();
    }
    driver.expect_silence();
    driver.reactor.resume(key);
    let mut got = Vec::new();
    driver.drive("all datagrams", |_, event| {
        if let Seen::Datagram(_, data, _) = event {
            got.extend(data);
        }
        got.len() == 40
    });
    assert!(got.iter().copied().eq(0..40));
}
