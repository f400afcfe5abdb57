//! What a TLS connection costs: the heap that its end gives back, when it is idle after traffic in large records, and before it
//! has said whole what it wants, or anything.
//!
//! A program of its own, for it looks at the heap of the whole process. One test, for a second one would allocate beside it.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code, dead_code)] // mallinfo2(3); what the other suites share

#[macro_use]
#[path = "common/macros.rs"]
mod macros;

#[path = "security/bounds.rs"]
mod bounds;
#[path = "tls_memory/chains.rs"]
mod chains;
#[path = "tls/forger.rs"]
mod forger;
#[path = "tls/pki.rs"]
mod pki;
#[path = "reactor/support.rs"]
mod support;
#[path = "tls/wire.rs"]
mod wire;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bounds::at_most;
use forger::*;
use pki::*;
use support::*;
use trochee::tls::{Context, Mode, Settings, Start};
use trochee::{Key, ReadSize, Reason, SocketKind};
use wire::*;

/// Bytes that a client's end of an idle connection may hold, beside the socket; it keeps the server's certificates. What the server's
/// end may hold is in docs/security.md. One buffer for records would be more than there is to spare.
const MOST_CLIENT: usize = 5500;

/// Bytes that are allocated, by Rust and C alike, with what the allocator adds.
fn allocated() -> usize {
    // SAFETY: it only reads the allocator's own books.
    unsafe { libc::mallinfo2() }.uordblks
}

/// A handshake message of `length` bytes that is a ClientHello by its header, in records of `size`.
fn endless_hello(length: usize, size: usize) -> Vec<u8> {
    let mut message = vec![0; length];
    message[..4].copy_from_slice(&(length as u32 - 4 + (1 << 24)).to_be_bytes());
    message
        .chunks(size)
        .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
        .collect()
}

/// Peers whose ClientHello lacks its last byte.
fn hellos_hold_less_than_their_budget() {
    let most = at_most("Memory", "sends a ClientHello without its end");
    let server = server();
    for (length, size) in [(32_000, 16_000), (30_000, 100), (5_400, 1)] {
        let mut driver = Driver::open_named("poll").unwrap();
        let hello = endless_hello(length, size);
        let all: Vec<(Key, TcpStream)> = (0..20)
            .map(|_| {
                let (key, stream) = driver.serve();
                driver
                    .reactor
                    .start_tls(key, named(server.clone()))
                    .unwrap();
                for part in hello[..hello.len() - 1].chunks(3000) {
                    (&stream).write_all(part).unwrap();
                    driver.turn();
                }
                (key, stream)
            })
            .collect();
        driver.drive_for(SILENCE, |_, _| {});
        let before = allocated();
        for (key, _) in &all {
            driver.reactor.destroy(*key);
        }
        let held = (before - allocated()) / all.len();
        println!("ClientHello in records of {size}: {held} bytes");
        assert!(held > hello.len() / 2, "{held} bytes: it was not kept");
        assert!(held < most, "{held} bytes");
    }
}

/// Peers that connect, and nothing else: where TLS begins at once, and where it does not.
fn silent_peers_hold_less_than_their_budget() {
    let most = at_most("Memory", "connects, and says nothing");
    let server = server();
    let count = 200;
    for is_secure in [false, true] {
        let mut driver = Driver::open_named("poll").unwrap();
        let all: Vec<(Key, TcpStream)> = (0..count)
            .map(|_| {
                let (key, stream) = driver.serve();
                if is_secure {
                    let start = named(server.clone());
                    driver.reactor.start_tls(key, start).unwrap();
                }
                (key, stream)
            })
            .collect();
        driver.drive_for(SILENCE, |_, _| {});
        let before = allocated();
        for (key, _) in &all {
            driver.reactor.destroy(*key);
        }
        let held = (before - allocated()) / count;
        println!("silent, TLS {is_secure}: {held} bytes");
        assert!(held < most, "TLS {is_secure}: {held} bytes");
    }
}

/// What the server holds for each of `count` clients after all of `send` has arrived.
fn held_after(
    server: &Context,
    count: usize,
    mut send: impl FnMut(&mut Driver, Key, &TcpStream),
) -> usize {
    let mut driver = Driver::open_named("poll").unwrap();
    let all: Vec<(Key, TcpStream)> = (0..count)
        .map(|_| {
            let (key, stream) = driver.serve();
            let start = named(server.clone());
            driver.reactor.start_tls(key, start).unwrap();
            send(&mut driver, key, &stream);
            (key, stream)
        })
        .collect();
    driver.drive_for(SILENCE, |_, event| {
        assert!(!matches!(event, Seen::Closed(..)), "{event:?}");
    });
    let before = allocated();
    for (key, _) in &all {
        driver.reactor.destroy(*key);
    }
    (before - allocated()) / count
}

/// Writes piece by piece, while the server reads.
fn write_slowly(driver: &mut Driver, mut stream: &TcpStream, bytes: &[u8]) {
    for part in bytes.chunks(3000) {
        stream.write_all(part).unwrap();
        driver.turn();
    }
}

/// Clients that go on with a certificate, of which they do not send the end.
fn second_steps_hold_less_than_their_budget() {
    const CERTIFICATE: u8 = 11;
    const LENGTH: usize = 65_000;
    let most = at_most(
        "Memory",
        "goes on with the handshake in a message without its end",
    );
    let hello = include_bytes!("../../../fuzz/client_hellos/openssl-3.0-tls1.2");
    let mut message = vec![0; LENGTH];
    message[..4].copy_from_slice(&[CERTIFICATE, 0, 0xff, 0xff]);
    let step: Vec<u8> = message
        .chunks(16_000)
        .flat_map(|part| {
            [
                &[HANDSHAKE, 3, 3][..],
                &(part.len() as u16).to_be_bytes(),
                part,
            ]
            .concat()
        })
        .collect();
    let held = held_after(&server(), 20, |driver, _, stream| {
        write_slowly(driver, stream, hello);
        let mut theirs = stream.try_clone().unwrap();
        driver.drive_peer(move || theirs.read_exact(&mut [0]).unwrap(), |_, _| {});
        write_slowly(driver, stream, &step);
    });
    println!("certificate without its end: {held} bytes");
    assert!(held > LENGTH * 9 / 10, "{held} bytes: it was not kept");
    assert!(held < most, "{held} bytes");
}

/// Clients that have shaken hands, and say nothing whole since.
fn incomplete_records_hold_less_than_their_budget() {
    const TICKET: u8 = 4;
    const RECORD: usize = 16_000;
    let most = at_most(
        "Memory",
        "shakes hands, and sends a record or a message without its end",
    );
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let mut message = vec![0; RECORD];
    message[..4].copy_from_slice(&[TICKET, 0, 0xff, 0xff]);
    for (version, content, cut) in [(tls12, DATA, 1), (tls13, DATA, 1), (tls13, HANDSHAKE, 0)] {
        let held = held_after(&server(), 20, |driver, _, stream| {
            let theirs = stream.try_clone().unwrap();
            let join = move || (Forger::join(&theirs, version), theirs);
            let (mut forger, _theirs) = driver.drive_peer(join, |_, _| {});
            let record = forger.seal(content, &message);
            write_slowly(driver, stream, &record[..record.len() - cut]);
        });
        println!("{version:?}, {content}, without its end: {held} bytes");
        assert!(held > RECORD * 9 / 10, "{held} bytes: it was not kept");
        assert!(held < most, "{held} bytes");
    }
}

#[test]
fn connections_hold_less_than_their_budget() {
    silent_peers_hold_less_than_their_budget();
    hellos_hold_less_than_their_budget();
    second_steps_hold_less_than_their_budget();
    chains::chains_before_the_end_hold_less_than_their_budget();
    chains::chains_hold_less_than_their_budget();
    incomplete_records_hold_less_than_their_budget();
    chains::remembered_servers_hold_less_than_their_budget();
    idle_ends_hold_less_than_their_budget();
}

fn idle_ends_hold_less_than_their_budget() {
    let most_server = at_most("Memory", "shakes hands, and says nothing");
    let server = server();
    let pairs = 50;
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let mut driver = Driver::open_named("poll").unwrap();
        let client = context(&with!(client_settings(), protocol: Some(protocol.into())));
        let large = pattern(50_000);
        let all: Vec<Ends> = (0..pairs)
            .map(|_| {
                let ends = driver.pair(server.clone(), client.clone());
                driver.reactor.write(ends.client, &large).unwrap();
                driver.expect_data(ends.server, &large);
                driver.reactor.write(ends.server, &large).unwrap();
                driver.expect_data(ends.client, &large);
                ends
            })
            .collect();
        driver.drive_for(SILENCE, |_, _| {});
        type Choice = fn(&Ends) -> Key;
        let ends: [(&str, usize, Choice); 2] = [
            ("server", most_server, |ends| ends.server),
            ("client", MOST_CLIENT, |ends| ends.client),
        ];
        for (end, most, key) in ends {
            let before = allocated();
            for ends in &all {
                driver.reactor.destroy(key(ends));
            }
            let held = (before - allocated()) / pairs;
            println!("{protocol}, {end}: {held} bytes");
            assert!(held < most, "{protocol}, {end}: {held} bytes");
        }
    }
}
