//! What goes through, in both directions and to its ends.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use trochee::poller::BACKENDS;

use super::support::*;

const HUNDRED_MB: usize = 100_000_000;

/// Both directions at a time, on one thread: a TLS session cannot be in two.
#[test]
fn a_hundred_megabytes_of_tls_go_both_ways_intact() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&["--tls", &files, "--to", &echo(), "--threads", "2"]);
    let mut stream = relay.connect();
    stream.set_nonblocking(true).unwrap();
    let mut tls = client(&files, "a.test", &[]);
    let all = pattern(65_521 * 4);
    let (mut sent, mut got) = (0, 0);
    let mut buffer = vec![0; 64 * 1024];
    let give_up = std::time::Instant::now() + 3 * PATIENCE;
    while got < HUNDRED_MB {
        assert!(std::time::Instant::now() < give_up, "{sent} {got}");
        let before = (sent, got);
        if sent < HUNDRED_MB {
            let at = sent % all.len();
            let piece = &all[at..all.len().min(at + HUNDRED_MB - sent)];
            sent += tls.writer().write(piece).unwrap();
        }
        while tls.wants_write() {
            match tls.write_tls(&mut stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        match tls.read_tls(&mut stream) {
            Ok(0) => panic!("the end after {got} bytes"),
            Ok(_) => {
                tls.process_new_packets().unwrap();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("after {got} bytes: {error}"),
        }
        while let Ok(count) = tls.reader().read(&mut buffer) {
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                let at = got % all.len();
                let piece = &all[at..all.len().min(at + rest.len())];
                assert!(rest.starts_with(piece), "not what was sent, at {got}");
                rest = &rest[piece.len()..];
                got += piece.len();
            }
        }
        if before == (sent, got) {
            thread::sleep(Duration::from_micros(200));
        }
    }
    assert_eq!(got, HUNDRED_MB);
}

#[test]
fn every_poller_relays() {
    for backend in BACKENDS.iter().filter(|backend| (backend.open)().is_ok()) {
        let relay = Relay::start(&["--to", &echo(), "--backend", backend.name]);
        for _ in 0..10 {
            ask(&mut relay.connect(), &pattern(10_000)).unwrap();
        }
    }
}

/// Answers when all has come. It begins to read so late that what is sent meanwhile fills all buffers on the way.
fn patient() -> String {
    server(|mut stream| {
        let mut all = Vec::new();
        thread::sleep(SILENCE);
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    })
}

#[test]
fn the_clients_end_is_passed_on_and_the_answer_comes_back() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let question = pattern(30_000_000);
    let relay = Relay::start(&["--to", &patient()]);
    let mut stream = relay.connect();
    stream.write_all(&question).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == question);

    let relay = Relay::start(&["--to", &patient(), "--tls", &files]);
    let mut stream = tls(relay.connect(), &files, "a.test");
    stream.write_all(&question).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let mut answer = Vec::new();
    // Fails where the end is no close_notify.
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == question);
}

#[test]
fn the_servers_end_is_passed_on_and_the_client_is_still_heard() {
    let (tell, told) = std::sync::mpsc::channel();
    let behind = server(move |mut stream| {
        stream.write_all(b"that was all").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        tell.send(rest).unwrap();
    });
    let hear_and_answer = |stream: &mut dyn ReadWrite| {
        let mut all = Vec::new();
        // With TLS this fails where the end is no close_notify.
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"that was all");
        stream.write_all(b"so long").unwrap();
    };
    let relay = Relay::start(&["--to", &behind]);
    hear_and_answer(&mut relay.connect());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"so long");
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&["--to", &behind, "--tls", &files]);
    let mut stream = tls(relay.connect(), &files, "a.test");
    hear_and_answer(&mut stream);
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"so long");
}

trait ReadWrite: Read + Write {}
impl<S: Read + Write> ReadWrite for S {}

/// Who does not read costs what may wait, and not what was sent.
#[test]
fn a_slow_reader_holds_bounded_memory() {
    const CLIENTS: usize = 10;
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let (tell, told) = std::sync::mpsc::channel();
    let behind = server(move |mut stream| {
        let piece = pattern(1 << 20);
        let mut sent = 0;
        // What is left unread makes a reset of the end.
        stream.read_exact(&mut [0; 4]).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        while sent < 200 << 20 {
            match stream.write(&piece) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        tell.send(sent).unwrap();
    });
    let relay = Relay::start(&["--to", &behind, "--tls", &files, "--buffer", "100000"]);
    let before = relay.memory();
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = tls(relay.connect(), &files, "a.test");
        stream.write_all(b"send").unwrap();
        streams.push(stream);
    }
    let mut all_sent = 0;
    for _ in 0..CLIENTS {
        let sent = told.recv_timeout(PATIENCE).unwrap();
        assert!(sent < 200 << 20, "the relay took all");
        all_sent += sent;
    }
    let grown = relay.memory().saturating_sub(before);
    // What may wait, a read beyond it, as much in records, and the allocator's share.
    assert!(grown < CLIENTS * 1_000_000, "{grown} bytes");
    // They only had to wait.
    let read = streams.iter_mut().map(|stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    assert_eq!(read.sum::<usize>(), all_sent);
}

#[test]
fn a_unix_socket_behind() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let relay = Relay::start(&["--to", &format!("unix:{path}")]);
    ask(&mut relay.connect(), b"hello").unwrap();
}
