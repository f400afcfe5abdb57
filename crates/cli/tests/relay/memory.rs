//! What waits for sides that do not take it: bounds of all together, and a rate for those of much.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::support::*;

/// Sends until nobody is there any more.
fn endless() -> String {
    server(|mut stream| {
        let piece = pattern(64 * 1024);
        while stream.write_all(&piece).is_ok() {}
    })
}

#[test]
fn what_waits_for_all_together_is_bounded() {
    let options = ["--buffer", "4000000", "--max-queued-memory", "6000000"];
    let relay = Relay::start(&[&["--to", &endless()], &options[..]].concat());
    let _stalled: Vec<TcpStream> = (0..3).map(|_| relay.connect()).collect();
    relay.expect_said(&["more than 6000000 bytes", "max_queued_memory"]);
}

#[test]
fn who_takes_little_of_much_is_no_reader() {
    // No line is that fast.
    let rate = ["--min-send-rate", "1000000000000"];
    let options = ["--buffer", "8000000", "--send-timeout", "1"];
    let relay = Relay::start(&[&["--to", &endless()], &options[..], &rate].concat());
    let mut stream = relay.connect();
    let sips = thread::spawn(move || {
        while matches!(stream.read(&mut [0; 20_000]), Ok(1..)) {
            thread::sleep(Duration::from_millis(10));
        }
    });
    relay.expect_said(&["takes less than 1000000000000 a second", "min_send_rate"]);
    sips.join().unwrap();
}
