//! Ends and errors.
//!
//! Each row gives the reports for interest in reading, writing, both, nothing: `r` readable, `w` writable, `c` closed. They
//! were measured first, from the bare system calls (Linux 6.18, the same for epoll and poll):
//!
//! | what happened             | raw flags, all asked for        | select |
//! |---------------------------|---------------------------------|--------|
//! | FIN                       | IN OUT RDHUP                    | r w    |
//! | we shut down writing      | OUT                             | w      |
//! | both shut down writing    | IN OUT HUP RDHUP                | r w    |
//! | RST                       | IN OUT ERR HUP RDHUP            | r w    |
//! | UNIX peer closed          | IN OUT HUP RDHUP                | r w    |
//! | .. with data left unread  | IN OUT ERR HUP RDHUP            | r w    |
//! | connect refused           | IN OUT ERR HUP RDHUP            | r w    |
//! | never connected           | OUT HUP                         | r w    |
//! | pipe, no writer           | HUP (IN too while data is left) | r      |
//! | pipe, no reader           | OUT ERR                         | r w    |
//! | UDP, ICMP unreachable     | OUT ERR, until it is read       | r w    |
//!
//! select's own columns follow: only what was asked for, and no `c`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::*;

/// The end of one direction. Who does not read is not told.
const END: [&str; 4] = ["rc", "w", "rwc", ""];
/// The end of all. Everyone is told.
const BROKEN: [&str; 4] = ["rwc", "rwc", "rwc", "rwc"];

#[test]
fn fin() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    drop(far);
    watch.expect_by_interest(&near, END);
}

#[test]
fn half_close_by_the_peer() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    far.write_all(b"last words").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    watch.expect_by_interest(&near, END);

    // Reading to the end does not end the report, and the other direction works.
    io::copy(&mut &near, &mut io::sink()).unwrap();
    watch.expect_by_interest(&near, END);
    (&near).write_all(b"reply").unwrap();
    far.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn half_close_by_us_is_no_end() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    near.shutdown(Shutdown::Write).unwrap();
    watch.expect_by_interest(&near, ["", "w", "w", ""]);
    far.write_all(b"x").unwrap();
    watch.expect_by_interest(&near, ["r", "w", "rw", ""]);
}

#[test]
fn half_close_by_both() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    near.shutdown(Shutdown::Write).unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    watch.expect_by_interest(&near, BROKEN);
}

#[test]
fn rst() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    reset(far);
    watch.expect_by_interest(&near, BROKEN);
    // Taking the error leaves a connection that is over.
    assert_eq!(
        (&near).read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
    watch.expect_by_interest(&near, BROKEN);
}

#[test]
fn rst_after_fin() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    drop(far);
    watch.expect_by_interest(&near, END);
    // Nobody is there to read this.
    (&near).write_all(b"x").unwrap();
    watch.expect_by_interest(&near, BROKEN);
}

#[test]
fn an_end_comes_while_waiting_for_it() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    let peer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        reset(far);
    });
    watch.expect(&[(1, "rwc")]);
    peer.join().unwrap();
}

#[test]
fn a_full_socket_that_breaks_becomes_writable() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    near.set_nonblocking(true).unwrap();
    while (&near).write(&[0; 65_536]).is_ok() {}
    watch.expect_by_interest(&near, ["", "", "", ""]);
    reset(far);
    watch.expect_by_interest(&near, BROKEN);
}

#[test]
fn unix_half_close() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = UnixStream::pair().unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    watch.expect_by_interest(&near, END);
}

#[test]
fn unix_peer_closed() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    watch.expect_by_interest(&near, BROKEN);

    let (near, far) = UnixStream::pair().unwrap();
    (&near).write_all(b"never read").unwrap();
    drop(far);
    watch.expect_by_interest(&near, BROKEN);
}

#[test]
fn a_pipe_without_writer() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (mut reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    drop(writer);
    watch.add(&reader, 1, Interest::READ);
    watch.expect(&[(1, "rwc")]);
    reader.read_exact(&mut [0]).unwrap();
    watch.expect(&[(1, "rwc")]);
}

#[test]
fn a_pipe_without_reader() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    watch.add(&writer, 1, Interest::WRITE);
    watch.expect(&[(1, "rwc")]);
}

#[test]
fn connect_refused() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    // Bound but not listening: refused, and nobody else can get the port.
    let nobody = tcp_socket();
    rustix::net::bind(&nobody, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = rustix::net::getsockname(&nobody).unwrap();

    let near = tcp_socket();
    let started = rustix::net::connect(&near, &address);
    assert_eq!(started, Err(rustix::io::Errno::INPROGRESS));
    watch.expect_by_interest(&near, BROKEN);
    let error = TcpStream::from(near).take_error().unwrap().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

/// A socket registered before connect(2) was called looks broken.
#[test]
fn never_connected() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    watch.expect_by_interest(&tcp_socket(), BROKEN);
}

/// `closed` need not be the end: here it is an error that passes.
#[test]
fn udp_unreachable() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    // Connected to another address, so deaf to ours; the port stays taken.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.connect(deaf.local_addr().unwrap()).unwrap();

    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    near.set_nonblocking(true).unwrap();
    near.connect(deaf.local_addr().unwrap()).unwrap();
    near.send(b"x").unwrap();
    watch.expect_by_interest(&near, BROKEN);
    assert_eq!(
        near.recv(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    watch.expect_by_interest(&near, ["", "w", "w", ""]);
}

/// Closes with RST in place of FIN.
fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

fn tcp_socket() -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
}
