//! An end that is none: what is cut off on one side must not look complete on the other.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::support::*;

/// More than what all buffers on the way take.
const ALL: usize = 64 << 20;

/// What the server behind has seen: bytes, and the error that ended it if it was one.
type Seen = (usize, Option<ErrorKind>);

/// A server that sends all, and tells how much of it went where to.
fn sender() -> (String, Receiver<Seen>) {
    let (tell, told) = channel();
    let address = server(move |mut stream| {
        let piece = pattern(64 * 1024);
        let (mut sent, mut error) = (0, None);
        while sent < ALL && error.is_none() {
            match stream.write(&piece) {
                Ok(count) => sent += count,
                Err(why) => error = Some(why.kind()),
            }
        }
        let _ = tell.send((sent, error));
    });
    (address, told)
}

/// A server that reads all there is.
fn receiver() -> (String, Receiver<Seen>) {
    let (tell, told) = channel();
    let address = server(move |mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        let mut got = 0;
        let error = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break None,
                Ok(count) => got += count,
                Err(why) => break Some(why.kind()),
            }
        };
        let _ = tell.send((got, error));
    });
    (address, told)
}

#[track_caller]
fn expect_cut_off(told: &Receiver<Seen>) -> usize {
    let (count, error) = told.recv_timeout(PATIENCE).unwrap();
    let cut_off = matches!(
        error,
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
    );
    assert!(cut_off, "{error:?} after {count} bytes");
    count
}

/// With TLS and without.
fn relays(to: &str, more: &[&str]) -> Vec<(Relay, Option<(Folder, String)>)> {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let plain = Relay::start(&[&["--to", to], more].concat());
    let secured = Relay::start(&[&["--to", to, "--tls", &files], more].concat());
    vec![(plain, None), (secured, Some((folder, files)))]
}

trait ReadWrite: Read + Write {}
impl<S: Read + Write> ReadWrite for S {}

/// A client, and another handle of its socket.
fn connect(relay: &Relay, files: Option<&(Folder, String)>) -> (Box<dyn ReadWrite>, TcpStream) {
    let stream = relay.connect();
    let socket = stream.try_clone().unwrap();
    match files {
        Some((_, files)) => (Box::new(tls(stream, files, "a.test")), socket),
        None => (Box::new(stream), socket),
    }
}

#[test]
fn a_client_that_resets_while_it_downloads_is_told_to_the_server() {
    let (behind, told) = sender();
    for (relay, files) in relays(&behind, &[]) {
        let (mut stream, socket) = connect(&relay, files.as_ref());
        stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
        reset(&socket);
        drop((stream, socket));
        assert!(expect_cut_off(&told) < ALL);
    }
}

#[test]
fn a_client_that_resets_while_it_uploads_is_told_to_the_server() {
    let (behind, told) = receiver();
    for (relay, files) in relays(&behind, &[]) {
        let (mut stream, socket) = connect(&relay, files.as_ref());
        stream.write_all(&pattern(1 << 20)).unwrap();
        reset(&socket);
        drop((stream, socket));
        expect_cut_off(&told);
    }
}

#[test]
fn a_server_that_resets_while_it_receives_is_told_to_the_client() {
    let behind = server(|mut stream| {
        stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
        reset(&stream);
    });
    for (relay, files) in relays(&behind, &[]) {
        let (mut stream, _socket) = connect(&relay, files.as_ref());
        let piece = pattern(64 * 1024);
        let mut sent = 0;
        let error = loop {
            match stream.write(&piece) {
                Ok(count) => sent += count,
                Err(error) => break error.kind(),
            }
            assert!(sent < ALL, "all was taken");
        };
        assert!(matches!(
            error,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ));
    }
}

#[test]
fn a_server_that_resets_while_it_sends_is_told_to_the_client() {
    let behind = server(|mut stream| {
        stream.write_all(&pattern(1 << 20)).unwrap();
        // Some of it arrives.
        thread::sleep(SILENCE);
        reset(&stream);
    });
    for (relay, files) in relays(&behind, &[]) {
        let (mut stream, _socket) = connect(&relay, files.as_ref());
        read_until_reset(&mut stream);
    }
}

/// What it sent before arrives.
#[test]
fn a_client_that_ends_without_close_notify_is_told_to_the_server() {
    let (behind, told) = receiver();
    for (relay, files) in relays(&behind, &[]).into_iter().skip(1) {
        let (mut stream, socket) = connect(&relay, files.as_ref());
        stream.write_all(&pattern(20_000_000)).unwrap();
        // Session tickets, which would make a reset of its close while they are unread.
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        stream.read(&mut [0]).unwrap_err();
        drop((stream, socket));
        assert_eq!(expect_cut_off(&told), 20_000_000);
    }
}

#[test]
fn a_client_that_takes_nothing_more_is_told_to_the_server() {
    let (behind, told) = sender();
    for (relay, files) in relays(&behind, &["--send-timeout", "0.3"]) {
        let (mut stream, _socket) = connect(&relay, files.as_ref());
        stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
        assert!(expect_cut_off(&told) < ALL);
        // Nor may the client believe that this was all.
        read_until_reset(&mut stream);
    }
}

#[test]
fn silence_for_too_long_is_no_end_to_either() {
    let (behind, told) = receiver();
    for (relay, files) in relays(&behind, &["--idle-timeout", "0.3"]) {
        let (mut stream, _socket) = connect(&relay, files.as_ref());
        stream.write_all(b"not all of it").unwrap();
        read_until_reset(&mut stream);
        assert_eq!(expect_cut_off(&told), 13);
    }
}

/// Closed in the middle of a download: little more is taken of the server.
#[test]
fn a_client_that_leaves_is_not_served_on() {
    let (behind, told) = sender();
    for (relay, files) in relays(&behind, &[]) {
        let (mut stream, socket) = connect(&relay, files.as_ref());
        stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
        drop((stream, socket));
        assert!(expect_cut_off(&told) < ALL);
    }
}

#[test]
fn what_a_drain_cuts_off_is_told_to_both() {
    let (behind, told) = receiver();
    for (relay, files) in relays(&behind, &["--drain-timeout", "0.3"]) {
        let (mut stream, _socket) = connect(&relay, files.as_ref());
        stream.write_all(b"not all of it").unwrap();
        thread::sleep(Duration::from_millis(50));
        relay.signal(rustix::process::Signal::TERM);
        read_until_reset(&mut stream);
        assert_eq!(expect_cut_off(&told), 13);
    }
}
