//! An honest client, beside whatever else goes on: it pings the server by the clock, whether the answer before has come or not.
//! Another one logs in and leaves once a second. What they see is printed as it happens, a line each:
//!
//! ```text
//! ping WHEN DELAY     sent at WHEN, answered after DELAY
//! login WHEN DELAY    from the first packet until it was online
//! online WHEN         the first client is online
//! lost WHEN WHY       and no longer
//! failed WHEN WHY     the second one could not log in
//! ```
//!
//! WHEN: nanoseconds of CLOCK_MONOTONIC. DELAY: microseconds.

use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::poller::{Poller, Ready};
use crate::usage::Server;
use crate::xmpp::{self, Client};

/// From one ping to the next.
const PERIOD: Duration = Duration::from_millis(20);

/// From one login to the next.
const LOGINS: Duration = Duration::from_secs(1);

/// Before one whose connection is lost tries again.
const RETRY: Duration = Duration::from_millis(100);

/// Until it is killed.
pub fn run(port: u16, server: Server) -> Result<String, String> {
    thread::spawn(move || log_in_for_ever(port, server));
    loop {
        if let Err(why) = ping(port, server) {
            println!("lost {} {why}", now());
        }
        thread::sleep(RETRY);
    }
}

/// Until the connection is lost.
fn ping(port: u16, server: Server) -> Result<(), String> {
    let mut clients = xmpp::clients(0, 1, None)?;
    let poller = Poller::open(server)?;
    xmpp::log_in(port, &poller, &mut clients, &mut |_, _| Ok(()))?;
    println!("online {}", now());
    let mut hear = |_: &mut Client, stanza: &str| {
        // Prosody writes attributes in no certain order.
        let id = stanza.split_once(" id='").map_or("", |(_, rest)| rest);
        let id = id.split('\'').next().unwrap_or_default();
        if let Ok(sent) = id.parse::<u64>() {
            println!("ping {sent} {}", now().saturating_sub(sent) / 1000);
        }
        Ok(())
    };
    let mut ready = Ready::new();
    let mut next = Instant::now();
    loop {
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            clients[0].say(&format!(
                "<iq type='get' to='localhost' id='{}'><ping xmlns='urn:xmpp:ping'/></iq>",
                now()
            ))?;
            next += PERIOD;
            continue;
        }
        poller.wait(&mut ready, left)?;
        for index in ready.clients() {
            clients[index].receive(&mut hear)?;
        }
    }
}

fn log_in_for_ever(port: u16, server: Server) {
    loop {
        let (when, begun) = (now(), Instant::now());
        match log_in(port, server) {
            Ok(delay) => println!("login {when} {}", delay.as_micros()),
            Err(why) => println!("failed {when} {why}"),
        }
        thread::sleep(LOGINS.saturating_sub(begun.elapsed()));
    }
}

/// How long it took.
fn log_in(port: u16, server: Server) -> Result<Duration, String> {
    let mut clients = xmpp::clients(1, 1, None)?;
    let times = xmpp::log_in(port, &Poller::open(server)?, &mut clients, &mut |_, _| {
        Ok(())
    })?;
    xmpp::leave(&mut clients)?;
    Ok(times[0])
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
