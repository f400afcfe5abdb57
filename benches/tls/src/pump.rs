//! Streams that are echoed, as much as fits.

use std::io;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use crate::poller::{Poller, Ready};
use crate::session::{self, Session};
use crate::usage::Server;
use crate::window::Window;

/// Bytes after which what is sent begins again.
pub const BLOCK: usize = 64 * 1024;

/// Most bytes of a stream on their way, there and back.
const ON_THE_WAY: usize = 256 * 1024;

struct Stream {
    session: Session,
    sent: usize,
    received: usize,
}

/// What is sent, twice, so that any block of it is in one piece.
pub fn pattern() -> Vec<u8> {
    (0..2 * BLOCK)
        .map(|i| i % BLOCK)
        .map(|i| (i * 31 + i / 251) as u8)
        .collect()
}

/// The line of JSON.
pub fn run(port: u16, server: Server, count: usize, seconds: Duration) -> Result<String, String> {
    let pattern = pattern();
    let poller = Poller::open(server)?;
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    let sessions = session::watched_crowd(port, count, &poller, flags)?;
    let mut window = Window::open(server, &poller, seconds);
    let mut streams: Vec<Stream> = sessions
        .into_iter()
        .map(|session| Stream {
            session,
            sent: 0,
            received: 0,
        })
        .collect();
    let mut ready = Ready::new();
    let mut bytes = 0;
    loop {
        if let Some(spent) = window.turn(&mut ready)? {
            let megabytes = bytes as f64 / 1e6;
            if bytes == 0 {
                return Err("nothing came back".to_owned());
            }
            return Ok(format!(
                r#"{{"megabytes": {megabytes:.1}, "per_second": {:.1}, {}"#,
                megabytes / (spent.wall / 1e6),
                spent.json(megabytes),
            ));
        }
        for index in ready.clients() {
            let pumped = streams[index].pump(&pattern)?;
            if pumped > 0 && window.answered().is_some() {
                bytes += pumped;
            }
        }
    }
}

impl Stream {
    /// As far as it gets without waiting, for the poller tells of a change only. What came back, in bytes.
    fn pump(&mut self, pattern: &[u8]) -> Result<usize, String> {
        let before = self.received;
        let mut buffer = [0; BLOCK];
        loop {
            let got = self
                .session
                .receive(&mut buffer)
                .map_err(|why| format!("receive: {why}"))?;
            let expected = &pattern[self.received % BLOCK..][..got];
            if buffer[..got] != *expected {
                return Err(format!("the stream differs at byte {}", self.received));
            }
            self.received += got;
            let put = self.push(pattern).map_err(|why| format!("send: {why}"))?;
            if got == 0 && put == 0 {
                return Ok(self.received - before);
            }
        }
    }

    /// Sends one more block, or what is left of the last.
    fn push(&mut self, pattern: &[u8]) -> io::Result<usize> {
        self.session.flush()?;
        let room = BLOCK.min(ON_THE_WAY - (self.sent - self.received));
        if room == 0 || self.session.wants_write() {
            return Ok(0);
        }
        let put = self.session.send(&pattern[self.sent % BLOCK..][..room])?;
        self.sent += put;
        Ok(put)
    }
}
