//! What the two ends of a relayed connection share: bytes, silence and the end of either go from one to the other.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trochee::{Conn, Error, Key, Reason};

use super::common::Relay;
use super::servers::Attempts;

/// The two ends, and what is known of both.
pub struct Pair {
    pub relay: Arc<Relay>,
    pub client: Key,
    /// The end to the server, from the first attempt on.
    pub behind: Cell<Option<Key>>,
    /// The client is gone.
    pub over: Cell<bool>,
    /// What the server is told first, whichever it is.
    pub header: Vec<u8>,
    pub attempts: RefCell<Attempts>,
    /// Since when the client waits for a name to be looked up.
    waits_since: Cell<Option<Instant>>,
    /// When a byte of either last moved.
    heard: Cell<Instant>,
    /// One of them has ended its side.
    half_closed: Cell<bool>,
}

impl Pair {
    /// `header` is what the server is told first.
    pub fn new(relay: Arc<Relay>, client: Key, header: Vec<u8>) -> Pair {
        let now = Instant::now();
        Pair {
            relay,
            client,
            behind: Cell::new(None),
            over: Cell::new(false),
            header,
            attempts: RefCell::default(),
            waits_since: Cell::new(None),
            heard: Cell::new(now),
            half_closed: Cell::new(false),
        }
    }

    /// Whether the client may wait on for a name to be looked up.
    pub fn has_time(&self) -> bool {
        let since = self.waits_since.get().unwrap_or_else(Instant::now);
        self.waits_since.set(Some(since));
        since.elapsed() < self.relay.connect_timeout
    }

    /// The other end than `conn`, if it is there.
    fn other<'a>(&self, conn: &'a mut Conn<'_>) -> Option<Conn<'a>> {
        let key = if conn.key() == self.client {
            self.behind.get()?
        } else {
            self.client
        };
        Some(conn.other(key))
    }

    /// The server behind has accepted, and `conn` is the end to it: the client is read from here on.
    pub fn begin(&self, conn: &mut Conn<'_>) {
        self.heard.set(Instant::now());
        conn.other(self.client).resume();
    }

    /// Passes on what `conn` got; reads no more of it while too much waits there.
    pub fn forward(&self, conn: &mut Conn<'_>, data: &[u8]) {
        self.heard.set(Instant::now());
        let Some(mut other) = self.other(conn) else {
            return;
        };
        match other.write(data) {
            Ok(_) if other.pending() > self.relay.buffer => {
                other.notify_flush();
                conn.pause();
            }
            // Where it is over, or ended its side against the rules, what ends this one as well is on its way.
            Ok(_) | Err(Error::Closed) => {}
            Err(_) => conn.destroy(),
        }
    }

    /// All that waited for `conn` is sent, so the other end is read on.
    pub fn read_on(&self, conn: &mut Conn<'_>) {
        self.heard.set(Instant::now());
        if let Some(mut other) = self.other(conn) {
            other.resume();
        }
    }

    /// `conn` has ended its side. The other one may take its time to end its own, though not as long as if both went on.
    pub fn finish(&self, conn: &mut Conn<'_>) {
        self.heard.set(Instant::now());
        self.half_closed.set(true);
        if let Some(mut other) = self.other(conn) {
            other.finish();
            other.set_read_timeout(self.most_silence());
        }
    }

    /// `conn` is over, and the other end with it. What was cut off here must not look complete there.
    pub fn close(&self, conn: &mut Conn<'_>, reason: &Reason) {
        if let Some(mut other) = self.other(conn) {
            other.set_abortive(!reason.is_orderly());
            other.close();
        }
    }

    /// Nothing came from `conn` for its read timeout: whether that is no reason to end. Has it asked again where either end
    /// was heard lately, or is yet to take what waits for it: what waits for too long is up to the send timeout.
    pub fn stays(&self, conn: &mut Conn<'_>) -> bool {
        let waits = conn.pending() > 0 || self.other(conn).is_some_and(|other| other.pending() > 0);
        if waits {
            self.heard.set(Instant::now());
        }
        let left = self
            .most_silence()
            .map(|most| most.saturating_sub(self.heard.get().elapsed()));
        conn.set_read_timeout(left);
        let stays = left.is_none_or(|left| !left.is_zero());
        conn.set_abortive(!stays);
        stays
    }

    /// How long both may be silent; `None` for no limit.
    fn most_silence(&self) -> Option<Duration> {
        let half_close = self.relay.half_close_timeout;
        let limits = [
            self.relay.idle_timeout,
            half_close.filter(|_| self.half_closed.get()),
        ];
        limits.into_iter().flatten().min()
    }
}
