//! Which handshakes are answered when. To answer a ClientHello costs more than anything else a peer can have us do unasked,
//! so it waits for its turn, those who have been here before go first, and no more may wait than the configuration allows. Addresses
//! have their turns one after the other: see [`ready`](super::ready).

use super::ready::Rank;
use super::{Reactor, Source, Step};
use crate::addresses::Refusal;
use crate::clock;
use crate::error::Reason;
use crate::registry::Key;
use crate::tls::session::Progress;

impl Reactor {
    /// Queues a handshake whose ClientHello waits for our answer, if there is room for one more.
    pub(super) fn admit(&mut self, key: Key) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        connection.detached = false;
        let enters = connection.registered.enter_ready();
        let rank = Rank::of(connection);
        if enters {
            self.enqueue(key, rank);
        }
        self.want(key);
        if self.ready.waiting_handshakes() > self.config.max_waiting_handshakes
            && let Some(last) = self.ready.pop_last_handshake()
            && matches!(self.sources.get(last), Some(Source::Connection(connection)) if connection.waits_for_answer())
        {
            self.turn_away(last);
        }
    }

    fn turn_away(&mut self, key: Key) {
        let most = self.config.max_waiting_handshakes;
        if let Some(peer) = self.peer_address(key) {
            self.tell_refusal(peer, Refusal::Handshakes);
        }
        let reason = Reason::Tls(format!("{most} handshakes are waiting already"));
        self.end_untold(key, reason);
    }

    /// Answers the ClientHello of a connection that has come to its turn, or judges its client's certificates.
    pub(super) fn answer_hello(&mut self, key: Key) -> Option<Step> {
        let connection = self.connection(key)?;
        let session = connection.tls.as_mut()?;
        // Who has said all may have sent data behind it, and left.
        if connection.hung_up && !session.has_all() {
            self.end(key, Reason::PeerClosed);
            return None;
        }
        let answer = session.answer(clock::now());
        self.turn.spend_all_shares();
        match answer {
            Ok(Progress::Done) => Some(self.secured(key)),
            Ok(_) => {
                self.queue_flush(key);
                self.want(key);
                None
            }
            Err(text) => {
                self.fail_tls(key, text);
                None
            }
        }
    }
}
