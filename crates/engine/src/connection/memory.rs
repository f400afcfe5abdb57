//! What a connection holds of everybody's memory, and whether its peer takes it.

use super::{Connection, State};
use crate::clock;
use crate::config::Config;
use crate::memory::Precedence;

/// A peer for which more than this is queued has to take it at a certain rate.
const MUCH: usize = 1 << 20;

impl Connection {
    /// Bytes that wait to be sent, and of input those that are not whole or not delivered. A request that is not complete is with the
    /// consumer.
    pub(crate) fn holds(&self) -> usize {
        let input = self.tls.as_ref().map_or(0, |session| session.input_held());
        self.pending() + input + self.taken_back() + self.request_held()
    }

    /// Takes note of what it holds now: the number noted before, and the one of now.
    pub(crate) fn recount(&mut self) -> (usize, usize) {
        let now = self.holds();
        (std::mem::replace(&mut self.counted, now), now)
    }

    /// The number that was noted last.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Whether others end before it when all hold too much.
    pub(crate) fn precedence(&self) -> Precedence {
        (self.authentication.is_newcomer(), self.counted)
    }

    /// Begins to watch the peer when much is queued, or ends it.
    pub(super) fn watch_progress(&mut self) {
        let watches = self.blocked && self.pending() > MUCH;
        if watches && self.watched().is_none() {
            self.rare_mut().watched = Some((clock::now(), self.sent));
        } else if !watches && self.watched().is_some() && self.pending() <= MUCH {
            self.rare_mut().watched = None;
        }
    }

    /// When a peer for which much is queued must have taken enough.
    pub(crate) fn progress_deadline(&self, config: &Config) -> Option<u64> {
        let (since, _) = self.watched()?;
        config.min_send_rate?;
        // Where nothing blocks, to send is up to us.
        let watches = self.blocked && self.state != State::Connecting && self.may_flush();
        self.write_timeout()
            .deadline(since, config.send_timeout)
            .filter(|_| watches)
    }

    /// Watches the peer anew: until now it may not have been able to take anything.
    pub(crate) fn restart_watch(&mut self) {
        if self.watched().is_some() {
            self.rare_mut().watched = Some((clock::now(), self.sent));
        }
    }

    /// Watches the peer anew if it has taken enough by `now`, which is behind the deadline.
    pub(crate) fn renew_watch(&mut self, config: &Config, now: u64) {
        let Some(deadline) = self.progress_deadline(config).filter(|at| *at <= now) else {
            return;
        };
        let (Some((since, sent)), Some(rate)) = (self.watched(), config.min_send_rate) else {
            return;
        };
        let seconds = (deadline - since) as f64 / 1e9;
        if (self.sent - sent) as f64 >= rate as f64 * seconds {
            self.rare_mut().watched = Some((now, self.sent));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{ReadSize, SocketKind};

    const SECOND: u64 = 1_000_000_000;

    /// What is rare is in a box of its own, so that a silent connection takes little.
    #[test]
    fn a_connection_takes_little_room() {
        let size = size_of::<Connection>();
        assert!(size <= 216, "{size} bytes");
    }

    #[test]
    fn a_peer_has_to_take_so_much_in_each_send_timeout() {
        let config = Config {
            send_timeout: Duration::from_secs(10),
            min_send_rate: Some(1000),
            ..Config::default()
        };
        let file = std::fs::File::open("/dev/null").expect("a file");
        let (kind, state) = (SocketKind::Stream, State::Open);
        let mut connection = Connection::new(file.into(), kind, state, ReadSize::All, 0);
        connection.out.push(&vec![0; MUCH]);
        connection.blocked = true;
        connection.watch_progress();
        assert_eq!(
            connection.progress_deadline(&config),
            None,
            "it is not much"
        );
        connection.out.push(b"one more");
        connection.watch_progress();
        let began = connection
            .progress_deadline(&config)
            .expect("it is watched")
            - 10 * SECOND;

        connection.blocked = false;
        assert!(!connection.sends_straight(), "the watch has to end");
        connection.blocked = true;

        connection.sent = 10_000;
        connection.renew_watch(&config, began + 10 * SECOND);
        let next = connection.progress_deadline(&config);
        assert_eq!(next, Some(began + 20 * SECOND), "it has taken enough");
        connection.sent += 9_999;
        connection.renew_watch(&config, began + 20 * SECOND);
        assert_eq!(connection.progress_deadline(&config), next, "it has not");

        connection.writes_paused = true;
        assert_eq!(
            connection.progress_deadline(&config),
            None,
            "it is not its fault"
        );
        connection.writes_paused = false;
        let off = Config {
            min_send_rate: None,
            ..config.clone()
        };
        assert_eq!(connection.progress_deadline(&off), None);
        connection.out.consume(8);
        connection.watch_progress();
        assert_eq!(
            connection.progress_deadline(&config),
            None,
            "it is not much any more"
        );
    }
}
