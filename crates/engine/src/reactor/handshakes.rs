//! Which handshakes are answered when. To answer a ClientHello costs more than anything else a peer can have us do unasked,
//! so it waits for its turn, those who have been here before go first, and no more may wait than the configuration allows.

use super::ready::Rank;
use super::{Reactor, Source};
use crate::clock;
use crate::error::Reason;
use crate::event::Level;
use crate::registry::Key;

impl Reactor {
    /// Queues a handshake whose ClientHello waits for our answer, if there is room for one more.
    pub(super) fn admit(&mut self, key: Key) {
        let full = self.ready.waiting_handshakes() >= self.config.max_waiting_handshakes;
        let Some(connection) = self.connection(key) else {
            return;
        };
        connection.detached = false;
        let enters = connection.registered.enter_ready();
        let rank = Rank::of(connection);
        if full {
            let given_up = match rank {
                Rank::RESUMING => self.last_stranger().unwrap_or(key),
                _ => key,
            };
            self.turn_away(given_up);
            if given_up == key {
                return;
            }
        }
        if enters {
            self.ready.push(key, rank);
        }
        self.want(key);
    }

    /// The stranger that has come last, of those that still wait.
    fn last_stranger(&mut self) -> Option<Key> {
        while let Some(key) = self.ready.pop_stranger() {
            if matches!(self.sources.get(key), Some(Source::Connection(connection)) if connection.waits_for_answer())
            {
                return Some(key);
            }
        }
        None
    }

    fn turn_away(&mut self, key: Key) {
        let most = self.config.max_waiting_handshakes;
        self.end(
            key,
            Reason::Tls(format!("{most} handshakes are waiting already")),
        );
        if !self.crowd_notice.is_due(self.turn.now) {
            return;
        }
        self.notice(
            Level::Warn,
            format!(
                "{most} TLS handshakes are waiting: clients that do not resume a session are turned away \
                 (max_waiting_handshakes)"
            ),
        );
    }

    /// Answers the ClientHello of a connection that has come to its turn.
    pub(super) fn answer_hello(&mut self, key: Key) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if connection.hung_up {
            return self.end(key, Reason::PeerClosed);
        }
        let Some(session) = &mut connection.tls else {
            return;
        };
        if let Err(text) = session.answer(clock::now()) {
            return self.fail_tls(key, text);
        }
        self.queue_flush(key);
        self.want(key);
    }
}
