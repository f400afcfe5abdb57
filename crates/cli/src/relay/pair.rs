//! What the two ends of a relayed connection share: bytes, silence and the end of either go from one to the other.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trochee::{Conn, Error, Key};

use super::session::Relay;

/// The other end, and what is known of both.
#[derive(Clone)]
pub struct Other {
    key: Key,
    both: Rc<Both>,
}

/// What is known of both ends.
struct Both {
    relay: Arc<Relay>,
    /// When a byte of either last moved.
    heard: Cell<Instant>,
    /// One of them has ended its side.
    half_closed: Cell<bool>,
}

impl Other {
    /// `key` is the other end of a connection that begins.
    pub fn new(key: Key, relay: Arc<Relay>) -> Other {
        let both = Both {
            relay,
            heard: Cell::new(Instant::now()),
            half_closed: Cell::new(false),
        };
        Other {
            key,
            both: Rc::new(both),
        }
    }

    /// The same pair, seen from its other end: `key` is the one that this was made for.
    pub fn seen_from(&self, key: Key) -> Other {
        Other {
            key,
            both: Rc::clone(&self.both),
        }
    }

    /// Passes on what `conn` got; reads no more of it while too much waits there.
    pub fn forward(&self, conn: &mut Conn<'_>, data: &[u8]) {
        self.both.heard.set(Instant::now());
        let mut other = conn.other(self.key);
        match other.write(data) {
            Ok(_) if other.pending() > self.both.relay.buffer => {
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
        self.both.heard.set(Instant::now());
        conn.other(self.key).resume();
    }

    /// `conn` has ended its side. The other one may take its time to end its own, though not as long as if both went on.
    pub fn finish(&self, conn: &mut Conn<'_>) {
        self.both.heard.set(Instant::now());
        self.both.half_closed.set(true);
        let most = self.most_silence();
        let mut other = conn.other(self.key);
        other.finish();
        other.set_read_timeout(most);
    }

    pub fn close(&self, conn: &mut Conn<'_>) {
        conn.other(self.key).close();
    }

    /// Nothing came from `conn` for its read timeout: whether that is no reason to end. Has it asked again where either end
    /// was heard lately, or is yet to take what waits for it: what waits for too long is up to the send timeout.
    pub fn stays(&self, conn: &mut Conn<'_>) -> bool {
        if conn.pending() > 0 || conn.other(self.key).pending() > 0 {
            self.both.heard.set(Instant::now());
        }
        let left = self
            .most_silence()
            .map(|most| most.saturating_sub(self.both.heard.get().elapsed()));
        conn.set_read_timeout(left);
        left.is_none_or(|left| !left.is_zero())
    }

    /// How long both may be silent; `None` for no limit.
    fn most_silence(&self) -> Option<Duration> {
        let relay = &self.both.relay;
        let half_close = relay.half_close_timeout;
        let limits = [
            relay.idle_timeout,
            half_close.filter(|_| self.both.half_closed.get()),
        ];
        limits.into_iter().flatten().min()
    }
}
