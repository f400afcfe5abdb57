//! The log, and whoever does not read it.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::support::*;

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let (_reader, writer) = full_pipe();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
    command
        .args(["relay", "--listen", "127.0.0.1:0", "--to", &echo()])
        .args(["--tls", &files, "--threads", "1"])
        .stdout(Stdio::piped())
        .stderr(writer);
    let mut relay = Relay::spawn(command, 1);
    let mut stays = tls(relay.connect(), &files, "a.test");
    ask(&mut stays, b"hello").unwrap();
    for _ in 0..30 {
        let mut refused = relay.connect();
        refused.write_all(b"this is no handshake at all").unwrap();
        let _ = refused.read_to_end(&mut Vec::new());
    }
    relay.signal(Signal::HUP);
    ask(&mut stays, b"hello").unwrap();
    ask(&mut tls(relay.connect(), &files, "a.test"), b"hello").unwrap();
    drop(stays);
    relay.signal(Signal::TERM);
    assert!(relay.wait().success());
}

/// Standard output may be the same pipe.
#[test]
fn addresses_that_nobody_reads_stop_nothing() {
    let (_reader, writer) = full_pipe();
    let address = free_address();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
    command
        .args(["relay", "--listen", &address, "--to", &echo()])
        .stderr(writer.try_clone().unwrap())
        .stdout(writer);
    let mut relay = Relay::spawn(command, 0);
    let address = address.parse().unwrap();
    wait_for("the relay to listen", || {
        std::net::TcpStream::connect(address).is_ok()
    });
    ask(&mut connect(address), b"hello").unwrap();
    relay.signal(Signal::TERM);
    assert!(relay.wait().success());
}
