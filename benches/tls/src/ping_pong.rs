//! Connections that stay: each sends a message, waits until all of it is back, and sends the next.

use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::MESSAGE;
use crate::poller::{Poller, Ready};
use crate::session::{self, Session};
use crate::usage::Server;
use crate::window::{Latencies, Window};

/// A connection with a message on its way.
struct Client {
    session: Session,
    since: Instant,
    sequence: u32,
    out: [u8; MESSAGE],
    echo: [u8; MESSAGE],
    got: usize,
}

/// The line of JSON.
pub fn run(port: u16, server: Server, count: usize, seconds: Duration) -> Result<String, String> {
    let poller = Poller::open(server)?;
    let sessions = session::watched_crowd(port, count, &poller, EventFlags::IN)?;
    let mut window = Window::open(server, &poller, seconds);
    let mut clients = sessions
        .into_iter()
        .enumerate()
        .map(|(index, session)| {
            let mut client = Client::new(index, session);
            client.ping().map(|()| client)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut latencies = Latencies::default();
    let mut ready = Ready::new();
    loop {
        if let Some(spent) = window.turn(&mut ready)? {
            return latencies.line(spent);
        }
        for index in ready.clients() {
            let client = &mut clients[index];
            if client.is_answered()? {
                latencies.done(&mut window, client.since);
                client.ping()?;
            }
        }
    }
}

impl Client {
    fn new(index: usize, session: Session) -> Self {
        let mut out = [b'a' + (index % 26) as u8; MESSAGE];
        out[8..16].copy_from_slice(&index.to_ne_bytes());
        Self {
            session,
            since: Instant::now(),
            sequence: 0,
            out,
            echo: [0; MESSAGE],
            got: 0,
        }
    }

    /// Messages are small and the peer reads: what cannot be sent at once is a fault, not a reason to wait.
    fn ping(&mut self) -> Result<(), String> {
        self.sequence += 1;
        // A stale or foreign echo must not count.
        self.out[..4].copy_from_slice(&self.sequence.to_ne_bytes());
        self.got = 0;
        self.since = Instant::now();
        match self.session.send(&self.out) {
            Ok(MESSAGE) if !self.session.wants_write() => Ok(()),
            Ok(_) => Err("send: the server does not read".to_owned()),
            Err(why) => Err(format!("send: {why}")),
        }
    }

    fn is_answered(&mut self) -> Result<bool, String> {
        self.got += self
            .session
            .receive(&mut self.echo[self.got..])
            .map_err(|why| format!("receive: {why}"))?;
        if self.got < MESSAGE {
            return Ok(false);
        }
        if self.echo != self.out {
            return Err("the echo differs from what was sent".to_owned());
        }
        Ok(true)
    }
}
