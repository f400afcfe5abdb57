//! Listeners: connections that are accepted, and what happens when the system has no descriptor for them.

use super::ready::Rank;
use super::{Alarm, Reactor, Source, Step, is_time_to_tell};
use crate::clock;
use crate::config::SocketKind;
use crate::connection::{Connection, Credit, State};
use crate::event::{Event, Level};
use crate::listener::{Accept, reserved_descriptor};
use crate::registry::Key;

impl Reactor {
    pub(super) fn accept(&mut self, key: Key) -> Option<Step> {
        let max_connections = self.config.max_connections;
        let Some(Source::Listener(listener)) = self.sources.get_mut(key) else {
            return None;
        };
        if !listener.wants_accept(max_connections) {
            return None;
        }
        let accepted = match listener.accept() {
            Accept::NoDescriptor(_) if !self.lingering.is_empty() => {
                listener.in_ready = true;
                self.ready.push(key, Rank::NEW);
                self.stop_lingering();
                return None;
            }
            Accept::NoDescriptor(errno) => listener.turn_away(&mut self.reserve, errno),
            accepted => accepted,
        };
        match accepted {
            Accept::Connection(fd, peer) => {
                if self.reserve.is_none() {
                    self.reserve = reserved_descriptor();
                }
                listener.budget -= 1;
                if listener.budget > 0 {
                    listener.in_ready = true;
                    self.ready.push(key, Rank::NEW);
                }
                let mut connection = Connection::new(
                    fd,
                    SocketKind::Stream,
                    State::Open,
                    listener.read_size,
                    self.turn.now,
                );
                connection.listener = Some(key);
                connection.credit = self.on_credit.then(Credit::of_newcomer);
                connection.peer = peer;
                listener.connections += 1;
                if listener.connections >= max_connections {
                    self.want(key);
                }
                let accepted = self.add(connection).ok()?;
                Some(Step::Event(Event::Accepted {
                    listener: key,
                    key: accepted,
                }))
            }
            Accept::Nothing => None,
            Accept::TurnedAway(peer) => {
                listener.in_ready = true;
                self.ready.push(key, Rank::NEW);
                let peer = peer.map_or_else(String::new, |peer| format!(" from {peer}"));
                self.exhausted(&format!("a connection{peer} was turned away"));
                None
            }
            Accept::Refused(errno) | Accept::NoDescriptor(errno) => {
                let deadline =
                    self.turn.now + clock::nanoseconds(self.config.accept_retry_interval);
                let timer = self.timers.insert(deadline, Alarm::Listener(key));
                listener.resting = Some(timer);
                self.resting.push(key);
                self.want(key);
                self.exhausted(&format!(
                    "accepting failed ({errno}); the listener rests until a connection ends, {} s at most",
                    self.config.accept_retry_interval.as_secs_f64()
                ));
                None
            }
        }
    }

    /// Has a listener accept again after the system refused.
    pub(super) fn end_rest(&mut self, key: Key) {
        if let Some(listener) = self.listener(key)
            && let Some(timer) = listener.resting.take()
        {
            self.timers.cancel(timer);
            self.want(key);
        }
    }

    fn exhausted(&mut self, what: &str) {
        if !is_time_to_tell(&mut self.exhausted_at, self.turn.now) {
            return;
        }
        let text = format!(
            "out of file descriptors with {} in use here: {what}. Raise the limit (LimitNOFILE in systemd, ulimit -n).",
            self.sources.len()
        );
        self.notice(Level::Error, text);
    }
}
