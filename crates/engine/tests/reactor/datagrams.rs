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
