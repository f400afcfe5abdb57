//! What readiness means for each kind of descriptor.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use trochee::poller::Interest;

use super::*;

#[test]
fn a_listener_is_readable_while_connections_are_pending() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    watch.add(&listener, 1, Interest::READ);
    watch.expect_silence();

    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..2)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for _ in &clients {
        watch.expect(&[(1, "r")]);
        listener.accept().unwrap();
    }
    watch.expect_silence();
}

#[test]
fn a_connect_in_progress_becomes_writable() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let near: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    match rustix::net::connect(&near, &listener.local_addr().unwrap()) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => panic!("{error}"),
    }
    watch.add(&near, 1, Interest::BOTH);
    watch.expect(&[(1, "w")]);
    assert!(TcpStream::from(near).take_error().unwrap().is_none());
}

#[test]
fn udp_is_readable_by_the_datagram() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    watch.add(&near, 1, Interest::READ);
    watch.expect_silence();

    // An empty datagram is one, too.
    for payload in [&b"one"[..], b""] {
        far.send_to(payload, near.local_addr().unwrap()).unwrap();
    }
    for size in [3, 0] {
        watch.expect(&[(1, "r")]);
        assert_eq!(near.recv(&mut [0; 8]).unwrap(), size);
    }
    watch.expect_silence();
    watch.modify(&near, 1, Interest::BOTH);
    watch.expect(&[(1, "w")]);
}

#[test]
fn unix_sockets() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (mut near, mut far) = UnixStream::pair().unwrap();
    watch.add(&near, 1, Interest::READ);
    watch.add(&far, 2, Interest::BOTH);
    watch.expect(&[(2, "w")]);
    far.write_all(b"x").unwrap();
    watch.expect(&[(1, "r"), (2, "w")]);
    near.read_exact(&mut [0]).unwrap();
    watch.expect(&[(2, "w")]);
}

#[test]
fn unix_datagrams() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = UnixDatagram::pair().unwrap();
    watch.add(&near, 1, Interest::READ);
    watch.expect_silence();
    far.send(b"x").unwrap();
    watch.expect(&[(1, "r")]);
    near.recv(&mut [0]).unwrap();
    watch.expect_silence();
}

#[test]
fn pipes() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (mut reader, mut writer) = io::pipe().unwrap();
    watch.add(&reader, 1, Interest::READ);
    watch.add(&writer, 2, Interest::WRITE);
    watch.expect(&[(2, "w")]);
    writer.write_all(b"x").unwrap();
    watch.expect(&[(1, "r"), (2, "w")]);
    reader.read_exact(&mut [0]).unwrap();
    watch.expect(&[(2, "w")]);
}

/// What a waker is made of.
#[test]
#[cfg(target_os = "linux")]
fn an_eventfd() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    watch.add(&event, 1, Interest::READ);
    watch.expect_silence();
    for _ in 0..2 {
        rustix::io::write(&event, &1_u64.to_ne_bytes()).unwrap();
    }
    watch.expect(&[(1, "r")]);
    rustix::io::read(&event, &mut [0; 8]).unwrap();
    watch.expect_silence();
}
