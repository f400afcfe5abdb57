//! What an idle TLS connection costs: the heap that its end gives back, after traffic in large records.
//!
//! A program of its own, for it looks at the heap of the whole process.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code, dead_code)] // mallinfo2(3); what the other suites share

#[path = "tls/pki.rs"]
mod pki;
#[path = "reactor/support.rs"]
mod support;
#[path = "tls/wire.rs"]
mod wire;

use std::time::Duration;

use pki::*;
use support::*;
use trochee::tls::{Context, Mode, Settings, Start};
use trochee::{Key, ReadSize, Reason, SocketKind};
use wire::*;

/// Bytes that a server's end of an idle connection may hold, beside the socket; and a client's, which keeps the server's
/// certificates. One buffer for records would be more than there is to spare.
const MOST_SERVER: usize = 5000;
const MOST_CLIENT: usize = 5500;

/// Bytes that are allocated, by Rust and C alike, with what the allocator adds.
fn allocated() -> usize {
    // SAFETY: it only reads the allocator's own books.
    unsafe { libc::mallinfo2() }.uordblks
}

#[test]
fn an_idle_end_holds_less_than_its_budget() {
    let server = server();
    let pairs = 50;
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let mut driver = Driver::open_named("poll").unwrap();
        let client = context(&Settings {
            protocol: Some(protocol.into()),
            ..client_settings()
        });
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
            ("server", MOST_SERVER, |ends| ends.server),
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
