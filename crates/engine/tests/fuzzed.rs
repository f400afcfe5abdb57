//! The scenes of fuzz/ as a test: real ClientHellos and random steps, changed a little each time. cargo-fuzz, which CI has
//! not, looks for new ones; this sees to it that the scenes work and that what was found once stays mended.
//!
//! `FUZZED_ROUNDS=100000 cargo test -p trochee --test fuzzed` looks longer. A failure names its input, in hexadecimal.

#[allow(dead_code)]
#[path = "../../../fuzz/scenes/connections.rs"]
mod connections;
#[path = "../../../fuzz/scenes/proxy_header.rs"]
mod proxy_header;
#[path = "../../../fuzz/scenes/tls_connection.rs"]
mod tls_connection;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Scenes of each kind, unless FUZZED_ROUNDS says how many.
const ROUNDS: u64 = 200;

fn rounds() -> u64 {
    std::env::var("FUZZED_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

/// xorshift64*: the same numbers on each machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Changes, removes, doubles or inserts a few bytes.
fn mutated(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            _ => {
                let count = random.below(64);
                let more = random.bytes(count);
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}

#[track_caller]
fn run(scene: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| scene(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("failed with the input {hex}");
    }
}

/// Every hello of fuzz/client_hellos, in the order of their names.
fn client_hellos() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/client_hellos");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

#[test]
fn a_tls_connection() {
    let hellos = client_hellos();
    assert!(hellos.len() >= 14);
    // Each as it is, in one piece and in many, with and without a consumer that chooses
    for hello in &hellos {
        for head in [[0, 0], [2, 23], [0x42, 5]] {
            run(tls_connection::run, &[&head[..], hello].concat());
        }
    }
    let mut random = Random(1);
    for _ in 0..rounds() {
        let mut input = random.bytes(2);
        let hello = hellos[random.below(hellos.len())].clone();
        input.extend(mutated(hello, &mut random));
        run(tls_connection::run, &input);
    }
}

#[test]
fn connections_with_commands_and_threads() {
    let mut random = Random(2);
    for _ in 0..rounds() {
        let count = 1 + 2 * random.below(200);
        let input = random.bytes(count);
        run(connections::run, &input);
    }
}

#[test]
fn a_proxy_header() {
    let headers: [&[u8]; 4] = [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 5222\r\n<stream:stream>",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 51234 5222\r\n\x16\x03\x01",
        b"PROXY UNKNOWN ffff:f...f:ffff\r\n",
        // Version 2, IPv4, with PP2_TYPE_ALPN, PP2_TYPE_AUTHORITY and PP2_TYPE_SSL
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x32\xc0\0\x02\x01\xc6\x33\x64\x02\xc8\x22\x14\x66\
          \x01\0\x02h2\x02\0\x0cexample.test\x20\0\x0f\x01\0\0\0\0\x21\0\x07TLSv1.3behind it",
    ];
    // An IPv6 address that is an IPv4 one, ::ffff:255.255.255.255, and a destination that is not
    let mut mapped = [0xff; 1 + 18 + 18];
    mapped[..11].fill(0);
    mapped[19..].fill(b'2');
    run(proxy_header::run, &mapped);
    // A line that ends too early: however it is cut, it is refused at once.
    run(
        proxy_header::run,
        b"\0PROXY X\n and what follows, without another end",
    );
    let mut random = Random(3);
    for _ in 0..100 * rounds() {
        let mut input = random.bytes(1);
        let header = headers[random.below(headers.len())].to_vec();
        input.extend(mutated(header, &mut random));
        run(proxy_header::run, &input);
    }
}
