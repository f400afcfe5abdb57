//! Step 6 of the turn: what time brings. A connection has one timer for all its deadlines.

use std::os::fd::AsFd;

use super::{Reactor, Source, Step};
use crate::clock;
use crate::connection::{Deadline, State};
use crate::error::Reason;
use crate::event::Event;
use crate::poller::{self, Interest};
use crate::registry::Key;
use crate::timers::TimerId;

/// A turn that takes so long, in nanoseconds, has kept its peers waiting for their answers.
const LATE: u64 = 100_000_000;

/// When a newcomer is looked at again whose consumer has not dealt with its last data, in nanoseconds.
const NEWCOMER_RESPITE: u64 = 1_000_000_000;

/// What a timer is for: a source, or one of the numbers below, which no key has. Each connection has a timer, so this is small.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm(u64);

impl Alarm {
    pub(super) const CONSUMER: Alarm = Alarm(u64::MAX);
    /// An interval of what is told of strangers is over.
    pub(super) const STRANGERS: Alarm = Alarm(u64::MAX - 1);
    /// Of descriptors that the system had refused to watch.
    pub(super) const TELL_AGAIN: Alarm = Alarm(u64::MAX - 2);
    /// Memory goes back to the system.
    pub(super) const GIVE_BACK: Alarm = Alarm(u64::MAX - 3);

    /// That of a connection, of a listener that rests, or of a descriptor that lingers.
    pub(super) fn of(key: Key) -> Alarm {
        Alarm(key.to_bits())
    }
}

impl Reactor {
    pub(super) fn alarm(&mut self, id: TimerId, alarm: Alarm) -> Option<Event<'static>> {
        match alarm {
            Alarm::CONSUMER => {
                self.stats.timers_fired += 1;
                self.stats.lag_seconds.took(self.timers.lateness());
                return Some(Event::Timer { id });
            }
            Alarm::STRANGERS => self.report_strangers(),
            Alarm::GIVE_BACK => self.memory.give_back(),
            Alarm::TELL_AGAIN => self.tell_again(),
            Alarm(bits) => return self.source_alarm(Key::from_bits(bits)),
        }
        None
    }

    fn source_alarm(&mut self, key: Key) -> Option<Event<'static>> {
        match self.sources.get(key)? {
            Source::Connection(_) => return self.connection_alarm(key),
            Source::Listener(_) => self.end_rest(key),
            Source::Lingering(_) => self.lingering_alarm(key),
            Source::Watch(_) | Source::Signal(_) | Source::Datagrams(_) => {}
        }
        None
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
            None => connection.timer = Some(self.timers.insert(deadline, Alarm::of(key))),
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
        let is_connecting = connection.state == State::Connecting;
        let unthrottled = connection.unthrottle(now);
        if connection.is_awaiting() {
            // Its consumer has not dealt with the last event, so the peer is not the one who is late.
            connection.begin_silence(0, now);
        }
        connection.renew_watch(&self.config, now);
        let passed = connection.passed(&self.config, now);
        if unthrottled {
            self.serve_later(key);
        }
        let Some((at, deadline)) = passed else {
            self.want(key);
            return None;
        };
        if self.is_spared(key, at, &deadline) {
            if let Some(connection) = self.connection(key)
                && connection.writable
            {
                // It has taken what it was given, and waits for more.
                connection.restart_watch();
            }
            return None;
        }
        match deadline {
            Deadline::Write if is_connecting => self.end(key, Reason::ConnectTimeout),
            Deadline::Write => self.end(key, Reason::WriteTimeout),
            Deadline::Progress => self.end_slow_reader(key),
            Deadline::Handshake => self.end(key, Reason::HandshakeTimeout),
            Deadline::Header => self.refuse_header(key, "the PROXY header did not come in time"),
            Deadline::Newcomer(reason) => self.newcomer_alarm(key, reason),
            Deadline::Read => return self.tell_silence(key),
        }
        None
    }

    /// A newcomer is late. Perhaps its consumer is about to tell that it has authenticated.
    fn newcomer_alarm(&mut self, key: Key, reason: Reason) {
        let again = self.turn.now + NEWCOMER_RESPITE;
        match self.sources.get_mut(key) {
            Some(Source::Connection(connection)) if connection.is_awaiting() => {
                connection.timer = Some(self.timers.insert(again, Alarm::of(key)));
            }
            _ => self.end_newcomer(key, reason),
        }
    }

    fn tell_silence(&mut self, key: Key) -> Option<Event<'static>> {
        let now = self.turn.now;
        let connection = self.connection(key)?;
        connection.read_since = now;
        connection.await_consumer();
        self.stats.read_timeouts += 1;
        self.want(key);
        Some(Event::ReadTimeout { key })
    }

    /// Whether a deadline that has passed waits, because the connection is ready: a timeout is silence of the peer, and not
    /// our being late. It waits until the connection was served once, so that no peer gains more by sending a little at the
    /// right moment. Only for what is to be read the deadline of reading waits again: what is read then puts it off anyway, and it may have
    /// waited before for something else, such as room to send.
    fn is_spared(&mut self, key: Key, at: u64, deadline: &Deadline) -> bool {
        let Some(connection) = self.connection(key) else {
            return false;
        };
        let was_spared = connection.was_spared(at);
        if connection.overdue || was_spared && !matches!(deadline, Deadline::Read) {
            return connection.overdue;
        }
        let interest = connection.wanted().unwrap_or(Interest::NONE);
        // The poller may not have been asked for long, or have told of others first.
        if let Some(ready) = poller::look(connection.fd.as_fd(), key.to_bits(), interest) {
            self.note_ready(ready);
        }
        let Some(connection) = self.connection(key) else {
            return false;
        };
        connection.overdue = connection.registered.in_ready && (connection.readable || !was_spared);
        if connection.overdue {
            connection.spare(at);
        }
        connection.overdue
    }

    /// Serves a connection that a deadline waits for.
    #[cold]
    pub(super) fn serve_overdue(&mut self, key: Key) -> Option<Step> {
        if let Some(connection) = self.connection(key) {
            connection.overdue = false;
        }
        let step = self.serve(key);
        // Has its alarm set anew.
        self.want(key);
        step
    }

    /// Has the silence of those begin now that have spoken in a turn that was late. Their answers leave only now.
    #[inline]
    pub(super) fn excuse_silence(&mut self, now: u64) {
        let began = self.turn.began;
        if now.saturating_sub(began) < LATE {
            return;
        }
        for key in self.sources.keys() {
            if let Some(connection) = self.connection(key) {
                connection.begin_silence(began, now);
            }
        }
    }

    /// Whether the peer has sent nothing that was not read. `told` is when the consumer last heard of the connection: the silence
    /// began then at the earliest.
    pub(crate) fn is_silent(&mut self, key: Key, told: u64) -> bool {
        let now = clock::now();
        let config = &self.config;
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return true;
        };
        let since = std::mem::replace(&mut connection.read_since, told);
        let over = connection.read_deadline(config).is_none_or(|at| at <= now);
        connection.read_since = since.max(told);
        over && poller::look(connection.fd.as_fd(), 0, Interest::READ).is_none()
    }
}
