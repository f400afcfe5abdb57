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
    let address = relay.addresses[0];
    let sips = thread::spawn(move || {
        // Whoever takes nothing at all for a second, by chance, is ended for that: then the next one tries.
        while let Ok(mut stream) = TcpStream::connect(address) {
            while matches!(stream.read(&mut [0; 100_000]), Ok(1..)) {
                thread::sleep(Duration::from_millis(50));
            }
        }
    });
    relay.expect_said(&["takes less than 1000000000000 a second", "min_send_rate"]);
    drop(relay);
    sips.join().unwrap();
}
