//! Connections that are not established yet: what is told of them, how they end, and who makes room when something runs out.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Reactor, Source};
use crate::clock::{self, LastNotice};
use crate::connection::{Connection, State};
use crate::connection_info::{ConnectionInfo, EndInfo, TcpInfo};
use crate::error::{Error, Reason};
use crate::event::Level;
use crate::name::Name;
use crate::registry::Key;
use crate::stage::{Authentication, StageCounts};

/// How many connections make room at a time: enough for the files that the program opens until the next time.
const ROOM: usize = 16;

/// How often connections make room, and how often those do that have authenticated, in nanoseconds. Each time costs a look at
/// all connections. Of those that have authenticated, few are to go while it is not known whether that helps.
const SHED_EVERY: u64 = 100_000_000;
const SHED_IDLE_EVERY: u64 = 10_000_000_000;

/// How long a connection has not sent anything that is a stranger's, where nobody has to authenticate, in nanoseconds.
const SILENT: u64 = 5_000_000_000;

/// How long a connection has been silent that counts as idle, in nanoseconds.
const IDLE: u64 = 300_000_000_000;

/// When the log was told of newcomers, and when somebody made room.
#[derive(Default)]
pub(super) struct Notices {
    ended: LastNotice,
    crowded: LastNotice,
    shed: LastNotice,
    next_shed: u64,
    next_idle: u64,
}

/// What is told.
impl Reactor {
    pub(super) fn apply_authentication(
        &mut self,
        key: Key,
        authentication: Authentication,
    ) -> Result<(), Error> {
        if let Some(listener) = self.listener(key) {
            listener.authentication = authentication;
            if !authentication.is_newcomer() {
                self.await_no_more(key);
            }
            return Ok(());
        }
        let now = self.turn.now;
        let connection = self.found(key)?;
        let before = connection.authentication;
        if before == authentication {
            return Ok(());
        }
        connection.await_told(authentication, now);
        if authentication == Authentication::Done && before != Authentication::RequestAwaited {
            self.stats.authenticated += 1;
        }
        let counts = |authentication: Authentication| isize::from(authentication.is_newcomer());
        self.count_newcomer(key, counts(authentication) - counts(before));
        self.recount(key);
        self.want(key);
        Ok(())
    }

    /// A newcomer of some listener more, or one less.
    fn count_newcomer(&mut self, key: Key, change: isize) {
        let Some(listener_key) = self.connection(key).and_then(|found| found.listener) else {
            return;
        };
        let half = self.config.max_newcomers / 2;
        if let Some(listener) = self.listener(listener_key) {
            listener.newcomers = listener.newcomers.saturating_add_signed(change);
            listener.crowded &= listener.newcomers > half;
            self.want(listener_key);
        }
    }

    /// Nobody tells any more of the connections of a listener who is a newcomer.
    fn await_no_more(&mut self, listener: Key) {
        for key in self.awaited(listener) {
            // There is such a connection.
            let _ = self.apply_authentication(key, Authentication::NotAsked);
        }
    }

    /// The newcomers of a listener.
    pub(super) fn awaited(&self, listener: Key) -> Vec<Key> {
        let awaited = self
            .sources
            .iter()
            .filter_map(|(key, source)| match source {
                Source::Connection(connection) => (connection.listener == Some(listener)
                    && connection.authentication.is_newcomer())
                .then_some(key),
                _ => None,
            });
        awaited.collect()
    }
}

/// What is asked.
impl Reactor {
    /// How far a connection has got, from 0 to that of an established one.
    pub(crate) fn progress(&self, key: Key) -> Option<u8> {
        match self.sources.get(key)? {
            Source::Connection(connection) => Some(connection.progress()),
            _ => None,
        }
    }

    /// How many connections there are in each stage, in the order of [`Stage::ALL`](crate::Stage::ALL). It looks at each of them.
    pub fn stages(&self) -> StageCounts {
        let mut stages = StageCounts::default();
        for (_, source) in self.sources.iter() {
            if let Source::Connection(connection) = source {
                stages[connection.stage() as usize] += 1;
            }
        }
        stages
    }

    /// What is known of every connection, in no particular order. It looks at each of them.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let now = clock::now();
        let since = |moment: u64| Duration::from_nanos(now.saturating_sub(moment));
        let connections = self
            .sources
            .iter()
            .filter_map(|(key, source)| match source {
                Source::Connection(connection) if !connection.is_unheard() => {
                    Some(ConnectionInfo {
                        key,
                        stage: connection.stage(),
                        peer: connection.peer(),
                        is_accepted: connection.is_accepted,
                        tls: connection
                            .tls
                            .as_ref()
                            .map(|session| session.version().unwrap_or("handshake")),
                        age: since(connection.began),
                        idle: since(connection.read_since),
                        reads: connection.reads,
                        received: connection.received,
                        sent: connection.sent,
                        queued: connection.pending(),
                        tcp: TcpInfo::of(&connection.fd),
                    })
                }
                _ => None,
            });
        connections.collect()
    }

    /// What a connection has come to by now.
    pub fn end_info(&self, key: Key) -> Option<EndInfo> {
        match self.sources.get(key)? {
            Source::Connection(connection) => Some(connection.end_info(clock::now())),
            _ => None,
        }
    }
}

/// The ends.
impl Reactor {
    /// Ends a newcomer that has exceeded a limit.
    pub(super) fn end_newcomer(&mut self, key: Key, reason: Reason) {
        let hurried = self.connection(key).is_some_and(|found| found.hurried);
        let config = &self.config;
        let limit = match reason {
            Reason::NewcomerSilent => {
                let wait = config.newcomer_data_timeout.as_secs_f64();
                self.stats.newcomers_late += 1;
                format!("newcomer_data_timeout = {wait}")
            }
            Reason::NewcomerTimeout => {
                let wait = config.newcomer_timeout.as_secs_f64();
                self.stats.newcomers_late += 1;
                format!("newcomer_timeout = {wait}")
            }
            _ => {
                self.stats.newcomers_over_budget += 1;
                format!("newcomer_bytes = {}", config.newcomer_bytes)
            }
        };
        let limit = if hurried && reason != Reason::NewcomerBudget {
            let most = config.max_newcomers;
            format!("others waited for its place, max_newcomers = {most}")
        } else {
            limit
        };
        let makes_request = self.connection(key).is_some_and(|found| {
            // Browsers connect in advance, and may have nothing to ask for
            found.authentication == Authentication::RequestAwaited
        });
        let is_told = !makes_request && self.tell_failure(key, &format!("{reason} ({limit})"));
        let reason_text = if makes_request && reason == Reason::NewcomerTimeout {
            "its request was not complete in time".into()
        } else {
            reason.to_string()
        };
        if !is_told && self.newcomers_notices.ended.is_due(self.turn.now) {
            let peer = match self.peer_name(key) {
                Some(Name::Inet(peer)) => format!("connection from {peer}"),
                _ => "connection".to_owned(),
            };
            let text = format!("a {peer} was ended: {reason_text} ({limit})");
            self.notice(Level::Info, text);
        }
        self.end_untold(key, reason);
    }

    /// A listener has as many newcomers as it may have: it accepts no more for now.
    pub(super) fn stop_crowd(&mut self, listener: Key) {
        self.want(listener);
        if !self.newcomers_notices.crowded.is_due(self.turn.now) {
            return;
        }
        let place = match self.local_name(listener) {
            Some(Name::Inet(place)) => place.to_string(),
            _ => "a listener".to_owned(),
        };
        let most = self.config.max_newcomers;
        self.notice(
            Level::Warn,
            format!(
                "{most} connections to {place} have not authenticated: more wait until one has, or has ended (max_newcomers)"
            ),
        );
    }
}

/// Making room.
impl Reactor {
    /// No descriptor is left: some connections end so that there are a few. Says how many ended.
    ///
    /// Those go first that have not authenticated, the earliest stage first, and of one stage the newest. Where there is none, those go
    /// that have authenticated and are idle, the one that has been silent for longest first. Others never go. Of connections of which
    /// nobody tells whether they have authenticated, only those go that have not sent anything.
    pub(crate) fn shed(&mut self) -> usize {
        let now = clock::now();
        if now < self.newcomers_notices.next_shed {
            return 0;
        }
        self.newcomers_notices.next_shed = now + SHED_EVERY;
        let mut kind = "have not authenticated";
        let mut given_up = self.newcomers(now);
        if given_up.is_empty() && now >= self.newcomers_notices.next_idle {
            self.newcomers_notices.next_idle = now + SHED_IDLE_EVERY;
            kind = "are idle";
            given_up = self.idle(now);
        }
        given_up.truncate(ROOM);
        for &key in &given_up {
            self.end(key, Reason::Shed);
        }
        self.stop_lingering();
        let count = given_up.len();
        self.stats.shed += count as u64;
        if count > 0 && self.newcomers_notices.shed.is_due(now) {
            let text = format!(
                "out of file descriptors: {count} connections that {kind} were ended. \
                 Raise the limit (LimitNOFILE in systemd, ulimit -n)."
            );
            self.notice(Level::Warn, text);
        }
        count
    }

    /// The connections of strangers, in the order in which they make room: those that have not sent anything where nobody has to
    /// authenticate, and then those that have not authenticated and have to.
    fn newcomers(&self, now: u64) -> Vec<Key> {
        let stranger = |connection: &Connection| {
            let stage = match connection.authentication {
                Authentication::Awaited | Authentication::RequestAwaited => {
                    Some(connection.stage())
                }
                // Whoever comes to an HTTP port has something to say.
                Authentication::NotAsked
                    if connection.reads == 0 && connection.began + SILENT <= now =>
                {
                    None
                }
                _ => return None,
            };
            Some((stage, Reverse(connection.began)))
        };
        self.accepted_by(stranger)
    }

    /// The connections that have authenticated and are idle, in the order in which they make room.
    fn idle(&self, now: u64) -> Vec<Key> {
        let idle = |connection: &Connection| {
            let silent = connection.read_since + IDLE <= now && !connection.has_unsent();
            (connection.authentication == Authentication::Done && silent)
                .then_some(connection.read_since)
        };
        self.accepted_by(idle)
    }

    /// The open connections of our listeners for which `order` gives something, in that order.
    fn accepted_by<T: Ord>(&self, order: impl Fn(&Connection) -> Option<T>) -> Vec<Key> {
        let mut found: Vec<(T, Key)> = self
            .sources
            .iter()
            .filter_map(|(key, source)| match source {
                Source::Connection(connection)
                    if connection.listener.is_some() && connection.state == State::Open =>
                {
                    Some((order(connection)?, key))
                }
                _ => None,
            })
            .collect();
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        found.into_iter().map(|(_, key)| key).collect()
    }
}
