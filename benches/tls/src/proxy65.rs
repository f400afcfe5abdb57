//! A stream from one client to another through mod_proxy65 (XEP-0065), which a module of the benches activates.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::config;
use crate::pump::{BLOCK, pattern};
use crate::usage::{Server, Spent};

/// Most bytes on their way: Prosody's own backends queue whatever comes.
const ON_THE_WAY: usize = 256 * 1024;

const WARM_UP: Duration = Duration::from_millis(300);

/// SHA-1 of whoever takes part, in hexadecimal; any will do.
const STREAM: &[u8; 40] = b"0123456789abcdef0123456789abcdef01234567";

/// The line of JSON.
pub fn run(port: u16, server: Server, seconds: Duration) -> Result<String, String> {
    let mut target = joined(port)?;
    let source = joined(port)?;
    let received = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let pattern = pattern();
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&source, &pattern, &received, &done));
        let measured = measure(&mut target, server, seconds, &pattern, &received);
        done.store(1, Ordering::Relaxed);
        // Whichever of the two waits for the other is told.
        let _ = target.shutdown(Shutdown::Both);
        let _ = source.shutdown(Shutdown::Both);
        let sent = sender
            .join()
            .map_err(|_| "the sender panicked".to_owned())?;
        measured.and_then(|line| sent.map(|()| line))
    })
}

fn measure(
    target: &mut TcpStream,
    server: Server,
    seconds: Duration,
    pattern: &[u8],
    received: &AtomicUsize,
) -> Result<String, String> {
    let begin = Instant::now();
    let mut buffer = vec![0; BLOCK];
    let mut from = None;
    loop {
        let got = target
            .read(&mut buffer)
            .map_err(|why| format!("receive: {why}"))?;
        let before = received.load(Ordering::Relaxed);
        if got == 0 {
            return Err("closed by the server".to_owned());
        }
        if buffer[..got] != pattern[before % BLOCK..][..got] {
            return Err(format!("the stream differs at byte {before}"));
        }
        let all = before + got;
        received.store(all, Ordering::Release);
        match from {
            None if begin.elapsed() >= WARM_UP => from = Some((server.usage()?, all)),
            Some((usage, bytes)) if usage.wall.elapsed() >= seconds => {
                let spent = Spent::between(usage, server.usage()?)?;
                let megabytes = (all - bytes) as f64 / 1e6;
                return Ok(format!(
                    r#"{{"megabytes": {megabytes:.1}, "per_second": {:.1}, {}"#,
                    megabytes / (spent.wall / 1e6),
                    spent.json(megabytes),
                ));
            }
            _ => {}
        }
    }
}

fn send(
    mut source: &TcpStream,
    pattern: &[u8],
    received: &AtomicUsize,
    done: &AtomicUsize,
) -> Result<(), String> {
    let mut sent = 0;
    while done.load(Ordering::Relaxed) == 0 {
        let room = ON_THE_WAY - (sent - received.load(Ordering::Acquire));
        if room == 0 {
            thread::yield_now();
            continue;
        }
        match source.write(&pattern[sent % BLOCK..][..room.min(BLOCK)]) {
            Ok(count) => sent += count,
            Err(_) if done.load(Ordering::Relaxed) == 1 => {}
            Err(why) => return Err(format!("send: {why}")),
        }
    }
    Ok(())
}

/// A connection to the proxy (RFC 1928) that waits for the transfer to begin.
fn joined(port: u16) -> Result<TcpStream, String> {
    let mut socket = config::connected(port)?;
    let request = [b"\x05\x01\x00\x03\x28", &STREAM[..], b"\x00\x00"].concat();
    for (what, length) in [(&b"\x05\x01\x00"[..], 2), (&request, request.len())] {
        let mut answer = vec![0; length];
        socket
            .write_all(what)
            .and_then(|()| socket.read_exact(&mut answer))
            .map_err(|why| format!("SOCKS5: {why}"))?;
        if answer[..2] != [5, 0] {
            return Err(format!("SOCKS5: the answer is {answer:?}"));
        }
    }
    Ok(socket)
}
