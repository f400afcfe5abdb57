//! A thousand pairs that end in every way, while certificates are read again and nobody reads the log.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::support::*;

const PAIRS: usize = 1000;
const CLIENTS: usize = 40;

/// A server that answers, when the client has ended its side, with the sum of what came. It may leave before, or never
/// say anything, when the client's first byte says so.
fn summing() -> String {
    server(|mut stream| {
        let mut buffer = vec![0; 32 * 1024];
        let mut order = [0];
        if stream.read_exact(&mut order).is_err() {
            return;
        }
        let mut sum = Sum::default();
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => sum.add(&buffer[..count]),
                Err(_) => return,
            }
            match &order {
                b"r" if sum.count > 100_000 => return reset(&stream),
                b"c" if sum.count > 100_000 => return,
                b"s" => thread::sleep(Duration::from_millis(2)),
                _ => {}
            }
        }
        let _ = stream.write_all(&sum.bytes());
    })
}

/// A sum over bytes that notices what is missing, doubled or in the wrong place: FNV-1a.
struct Sum {
    count: u64,
    hash: u64,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum {
            count: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..].copy_from_slice(&self.hash.to_be_bytes());
        bytes
    }
}

/// Numbers from a seed: xorshift.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// One pair; whether it was to end in order.
fn pair(relay: &Relay, files: &str, numbers: &mut Numbers, content: &[u8]) -> bool {
    let len = numbers.below(content.len() as u64) as usize;
    let content = &content[..len];
    let socket = relay.connect();
    let handle = socket.try_clone().unwrap();
    let mut stream = tls(socket, files, "a.test");
    match numbers.below(8) {
        // The client goes, in the middle, in three ways.
        0 => {
            let _ = stream.write_all(b".");
            let _ = stream.write_all(content);
            reset(&handle);
            false
        }
        1 => {
            let _ = stream.write_all(b".");
            let _ = stream.write_all(content);
            false
        }
        2 => {
            let _ = handle.shutdown(Shutdown::Write);
            false
        }
        // The server goes.
        3 => cut_off(&mut stream, b"r", content),
        4 => cut_off(&mut stream, b"c", content),
        // It takes its time.
        5 => orderly(&mut stream, b"s", content),
        _ => orderly(&mut stream, b".", content),
    }
}

fn cut_off(stream: &mut Tls, order: &[u8], content: &[u8]) -> bool {
    let _ = stream.write_all(order);
    let _ = stream.write_all(content);
    false
}

fn orderly(stream: &mut Tls, order: &[u8], content: &[u8]) -> bool {
    stream.write_all(order).unwrap();
    stream.write_all(content).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let mut sum = Sum::default();
    sum.add(content);
    let mut answer = Vec::new();
    // Fails where the end is no close_notify.
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, sum.bytes());
    true
}

fn descriptors(relay: &Relay) -> usize {
    let folder = format!("/proc/{}/fd", relay.child.id());
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_thousand_pairs_in_chaos_leave_nothing() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
    let (_reader, writer) = full_pipe();
    command
        .args(["relay", "--listen", "127.0.0.1:0", "--to", &summing()])
        .args(["--tls", &files, "--idle-timeout", "5", "--threads", "2"])
        .stdout(Stdio::piped())
        .stderr(writer);
    let relay = Relay::spawn(command, 1);
    // What it keeps for good it has after a few.
    let content = pattern(1_500_000);
    let mut numbers = Numbers(88_172_645_463_325_252);
    for _ in 0..20 {
        pair(&relay, &files, &mut numbers, &content);
    }
    wait_for("the first pairs to go", || streams(&relay) == 0);
    let before = (descriptors(&relay), relay.memory());

    let (next, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let over = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                relay.signal(Signal::HUP);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let clients: Vec<_> = (0..CLIENTS as u64)
            .map(|client| {
                let (relay, files, content) = (&relay, &files, &content);
                let (next, ended, failures) = (&next, &ended, &failures);
                scope.spawn(move || {
                    while next.fetch_add(1, Ordering::Relaxed) < PAIRS {
                        let seed = next.load(Ordering::Relaxed) as u64 * 1000 + client + 1;
                        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                        let outcome =
                            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                                pair(relay, files, &mut numbers, content)
                            }));
                        match outcome {
                            Ok(true) => {
                                ended.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(false) => {}
                            Err(_) => failures.lock().unwrap().push(seed),
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "seeds: {failures:?}");
    let ended = ended.load(Ordering::Relaxed);
    assert!(ended > PAIRS / 5, "{ended} ended in order");
    wait_for("the last pairs to go", || streams(&relay) == 0);
    wait_for("their descriptors to go", || {
        descriptors(&relay) <= before.0
    });
    let grown = relay.memory().saturating_sub(before.1);
    assert!(grown < 40 << 20, "{grown} bytes more");
}

/// Established TCP connections of the relay's: its sockets but for the listener.
fn streams(relay: &Relay) -> usize {
    let port = relay.addresses[0].port();
    let wanted = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let established = table.lines().filter(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1).unwrap_or_default();
        let state = fields.nth(1).unwrap_or_default();
        local.ends_with(&wanted) && state != "0A" && state != "06"
    });
    established.count()
}
