//! Processor time of a server per handshake, ours beside OpenSSL's, with the same client: `openssl s_time`.
//!
//! A measurement and no test: `cargo test --release --test tls_cost -- --ignored --nocapture`.

#![allow(dead_code)] // what the other suites share

#[macro_use]
#[path = "common/macros.rs"]
mod macros;

#[path = "tls/pki.rs"]
mod pki;
#[path = "reactor/support.rs"]
mod support;
#[path = "tls/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use pki::*;
use support::*;
use trochee::tls::{Context, Mode, Settings, Start};
use trochee::{Key, ReadSize, Reason, SocketKind};

const SECONDS: &str = "4";

fn s_time(address: SocketAddr, resume: bool, version: &str) -> usize {
    let output = Command::new("openssl")
        .args(["s_time", "-connect", &address.to_string(), version])
        .args(["-time", SECONDS, if resume { "-reuse" } else { "-new" }])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find(|line| line.contains("real seconds"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{text}"))
}

/// The processor time of a process, from proc(5).
fn process_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn ours(pair: &Pair, resume: bool, version: &'static str) -> Duration {
    let mut driver = Driver::open_named("epoll").unwrap();
    let (_, address) = driver.listen(ReadSize::All);
    let server = context(&server_settings(pair));
    let before = thread_time();
    let mut secured = 0;
    let count = driver.drive_peer(
        move || s_time(address, resume, version),
        |reactor, event| match event {
            Seen::Accepted { key, .. } => {
                reactor.start_tls(key, Start::new(server.clone())).unwrap()
            }
            Seen::Secured(_) => secured += 1,
            _ => {}
        },
    );
    assert!(count > 0);
    (thread_time() - before) / secured
}

fn theirs(pair: &Pair, resume: bool, version: &str) -> Duration {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &address.port().to_string()])
        .args(["-cert", &pair.certificate.to_string_lossy()])
        .args(["-key", &pair.key.to_string_lossy()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let before = process_time(server.id());
    let count = s_time(address, resume, version);
    let spent = process_time(server.id()) - before;
    server.kill().unwrap();
    server.wait().unwrap();
    spent / u32::try_from(count).unwrap()
}

#[test]
#[ignore = "a measurement"]
fn handshakes() {
    let rsa_key = directory().join("rsa.key");
    let rsa_certificate = directory().join("rsa.crt");
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa",
        ])
        .arg("-keyout")
        .arg(&rsa_key)
        .arg("-out")
        .arg(&rsa_certificate)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let rsa = Pair {
        certificate: rsa_certificate,
        key: rsa_key,
    };
    for (name, pair) in [("P-256", server_pair()), ("RSA-2048", &rsa)] {
        for (version, resume) in [("-tls1_3", false), ("-tls1_2", false), ("-tls1_2", true)] {
            println!(
                "{name} {version} {}: ours {:?}, s_server {:?}",
                if resume { "resumed" } else { "full" },
                ours(pair, resume, version),
                theirs(pair, resume, version)
            );
        }
    }
}
