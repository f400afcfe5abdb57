//! Clients that log in again and again, together: they leave and come back, or stop to read while there is much for them.

use std::thread;
use std::time::{Duration, Instant};

use crate::poller::Poller;
use crate::usage::Server;
use crate::xmpp;

/// What a client that does not read sends to itself: messages of this size, so many bytes in all. Some 4 MB of it fit into the
/// sockets.
const BODY: usize = 60_000;
const UNREAD: usize = 9_000_000;

/// How long it does not read: until all is sent, or the first of these has passed, and then the second.
const SENDING: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(1);

/// The accounts before these are for others.
const FIRST: usize = 100;

/// The line of JSON: all log in at once, leave, and come back, until the time is over.
pub fn come_back(
    port: u16,
    server: Server,
    count: usize,
    time: Duration,
) -> Result<String, String> {
    let mut clients = xmpp::clients(FIRST, count, None)?;
    repeat(count, time, || {
        xmpp::log_in(port, &Poller::open(server)?, &mut clients, &mut |_, _| {
            Ok(())
        })?;
        xmpp::leave(&mut clients)
    })
}

/// The line of JSON: all log in, send themselves more than fits into the sockets, do not read it, and drop the connection.
pub fn stall(port: u16, server: Server, count: usize, time: Duration) -> Result<String, String> {
    repeat(count, time, || {
        let mut clients = xmpp::clients(FIRST, count, None)?;
        xmpp::log_in(port, &Poller::open(server)?, &mut clients, &mut |_, _| {
            Ok(())
        })?;
        let body = "x".repeat(BODY);
        let mut pours: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let number = client.number;
                let message = format!(
                    "<message type='chat' to='u{number}@localhost/bench'><body>{body}</body></message>"
                );
                (client, message.repeat(UNREAD / BODY).into_bytes(), 0)
            })
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < SENDING && pours.iter().any(|(_, bytes, sent)| *sent < bytes.len())
        {
            for (client, bytes, sent) in &mut pours {
                // More than once, for TLS takes 64 KiB at a time.
                for _ in 0..4 {
                    *sent += client.pour(&bytes[*sent..])?;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(STALL);
        Ok(())
    })
}

fn repeat(
    count: usize,
    time: Duration,
    mut once: impl FnMut() -> Result<(), String>,
) -> Result<String, String> {
    let begun = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || begun.elapsed() < time {
        once()?;
        rounds += 1;
    }
    let (strangers, seconds) = (rounds * count, begun.elapsed().as_secs_f64());
    Ok(format!(
        r#"{{"strangers": {strangers}, "refused": 0, "stuck": 0, "seconds": {seconds:.3}}}"#
    ))
}
