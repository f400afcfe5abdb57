//! Step 6 of the turn: what time brings. A connection has one timer for all its deadlines.

use super::{Reactor, Source};
use crate::connection::State;
use crate::error::Reason;
use crate::event::Event;
use crate::registry::Key;
use crate::timers::TimerId;

/// How long a newcomer that is late has to wait for us, before it is looked at again, in nanoseconds.
const NEWCOMER_RESPITE: u64 = 1_000_000_000;

/// What a timer is for.
pub(super) enum Alarm {
    Consumer,
    Connection(Key),
    Listener(Key),
    Lingering(Key),
}

impl Reactor {
    pub(super) fn alarm(&mut self, id: TimerId, alarm: Alarm) -> Option<Event<'static>> {
        match alarm {
            Alarm::Consumer => Some(Event::Timer { id }),
            Alarm::Connection(key) => self.connection_alarm(key),
            Alarm::Listener(key) => {
                self.end_rest(key);
                None
            }
            Alarm::Lingering(key) => {
                self.remove(key, false);
                None
            }
        }
    }

    /// Sets the one timer of a connection to its first deadline. Where it is set to an earlier moment already it stays:
    /// it will find nothing to do and be set anew, which costs less than moving it with every read.
    pub(super) fn set_alarm(&mut self, key: Key) {
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return;
        };
        let Some(deadline) = connection.deadline(&self.config) else {
            return;
        };
        match connection.timer {
            None => connection.timer = Some(self.timers.insert(deadline, Alarm::Connection(key))),
            Some(timer) => {
                if self.timers.deadline(timer).is_none_or(|set| deadline < set) {
                    self.timers.reschedule(timer, deadline);
                }
            }
        }
    }

    /// The timer of a connection fired: whatever is due now happens.
    fn connection_alarm(&mut self, key: Key) -> Option<Event<'static>> {
        let now = self.turn.now;
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return None;
        };
        connection.timer = None;
        let unthrottled = connection.unthrottle(now);
        let is_due = |deadline: Option<u64>| deadline.is_some_and(|at| at <= now);
        if is_due(connection.write_deadline(&self.config)) {
            let reason = match connection.state {
                State::Connecting => Reason::ConnectTimeout,
                _ => Reason::WriteTimeout,
            };
            self.end(key, reason);
            return None;
        }
        if is_due(connection.handshake_deadline(&self.config)) {
            self.end(key, Reason::HandshakeTimeout);
            return None;
        }
        if let Some((at, reason)) = connection.newcomer_deadline(&self.config)
            && at <= now
        {
            if !connection.waits_for_us() {
                self.end_newcomer(key, reason);
                return None;
            }
            let again = self
                .timers
                .insert(now + NEWCOMER_RESPITE, Alarm::Connection(key));
            connection.timer = Some(again);
            return None;
        }
        let silent = is_due(connection.read_deadline(&self.config));
        if silent {
            connection.read_since = now;
        }
        // Whose consumer has not dealt with the last event: the peer is not the one who is late.
        let silent = silent && !connection.is_awaiting();
        if unthrottled {
            self.serve_later(key);
        }
        self.want(key);
        if silent && let Some(connection) = self.connection(key) {
            connection.await_consumer();
        }
        silent.then_some(Event::ReadTimeout { key })
    }
}
