//! Listeners: connections that are accepted, and what happens when the system has no descriptor for them.

use super::proxied::is_proxy;
use super::{Alarm, Reactor, Source, Step};
use crate::clock;
use crate::config::SocketKind;
use crate::connection::{Connection, Credit, State};
use crate::event::{Event, Level};
use crate::listener::Accept;
use crate::listener_info::ListenerInfo;
use crate::registry::Key;

impl Reactor {
    /// What is known of every listener, in no particular order.
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        let listeners = self
            .sources
            .iter()
            .filter_map(|(key, source)| match source {
                Source::Listener(listener) => Some(listener.info(key)),
                _ => None,
            });
        listeners.collect()
    }

    pub(super) fn accept(&mut self, key: Key) -> Option<Step> {
        let has_room = self.places.has_room();
        let Some(Source::Listener(listener)) = self.sources.get_mut(key) else {
            return None;
        };
        if !listener.wants_accept(&self.config, has_room) {
            if !has_room {
                self.wait_for_place(key);
            }
            return None;
        }
        let (number, may_make_room) = (key.to_bits(), !self.lingering.is_empty());
        match self
            .gate
            .accept(listener, number, may_make_room, self.turn.now)
        {
            Accept::MakeRoom => {
                self.serve_in_turn(key);
                self.stop_lingering();
                None
            }
            Accept::Connection(fd, peer, visit) => {
                listener.budget -= 1;
                listener.accepted += 1;
                listener.open += 1;
                let mut connection = Connection::new(
                    fd,
                    SocketKind::Stream,
                    State::Open,
                    listener.read_size,
                    self.turn.now,
                );
                connection.listener = Some(key);
                connection.set_peer(peer);
                connection.is_accepted = true;
                connection.visit = visit;
                connection.has_place = !listener.is_local;
                if is_proxy(&self.config.proxy_protocol, &connection) {
                    connection.expect_header(self.turn.now);
                } else {
                    connection.credit = self.on_credit.then(Credit::of_newcomer);
                }
                if listener.authentication.is_newcomer() {
                    connection.await_told(listener.authentication, self.turn.now);
                    listener.newcomers += 1;
                    connection.hurried = listener.crowded;
                }
                let goes_on = listener.budget > 0;
                let is_crowded = listener.newcomers >= self.config.max_newcomers;
                let is_crowd_new = is_crowded && !listener.crowded;
                listener.crowded |= is_crowded;
                if goes_on {
                    self.serve_in_turn(key);
                }
                if connection.has_place {
                    self.take_place();
                }
                if is_crowded {
                    self.stop_crowd(key);
                }
                self.stats.accepted += 1;
                let expects_header = connection.expects_header();
                let accepted = self.add(connection).ok()?;
                if is_crowd_new {
                    self.hurry(key);
                }
                if expects_header {
                    // The deadline counts from now on.
                    self.want(accepted);
                    return None;
                }
                Some(Step::Event(Event::Accepted {
                    listener: key,
                    key: accepted,
                }))
            }
            Accept::Unwelcome(peer, refusal) => {
                listener.budget -= 1;
                listener.refused += 1;
                if listener.budget > 0 {
                    self.serve_in_turn(key);
                }
                self.tell_refusal(peer.ip(), refusal);
                None
            }
            Accept::Nothing => None,
            Accept::TurnedAway(peer) => {
                listener.refused += 1;
                self.stats.turned_away += 1;
                self.serve_in_turn(key);
                self.shed();
                let text = self.gate.turned_away(peer, self.turn.now);
                self.accepting_failed(text)
            }
            Accept::Refused(errno) => {
                let (now, retry) = (self.turn.now, self.config.accept_retry_interval);
                let (rest, text) = self.gate.rests(listener, errno, retry, now);
                let deadline = now.saturating_add(clock::nanoseconds(rest));
                let timer = self.timers.insert(deadline, Alarm::of(key));
                listener.resting = Some(timer);
                self.resting.push(key);
                self.want(key);
                self.accepting_failed(text)
            }
        }
    }

    fn accepting_failed(&mut self, text: Option<String>) -> Option<Step> {
        if let Some(text) = text {
            self.notice(Level::Error, text);
        }
        None
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
}
