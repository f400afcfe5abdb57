//! When time changes something on a connection.

use std::time::Duration;

use super::{Connection, State};
use crate::clock::nanoseconds;
use crate::config::{Config, SocketKind};
use crate::error::Reason;

/// A timeout of one connection, where it differs from the configuration: nanoseconds, or one of the numbers below.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(u64);

impl Default for Timeout {
    fn default() -> Timeout {
        Timeout::CONFIGURED
    }
}

impl Timeout {
    const CONFIGURED: Timeout = Timeout(u64::MAX);
    const OFF: Timeout = Timeout(u64::MAX - 1);

    pub(crate) fn from_option(after: Option<Duration>) -> Timeout {
        // Never so many nanoseconds that they are one of the above.
        after.map_or(Timeout::OFF, |after| Timeout(nanoseconds(after)))
    }

    pub(super) fn deadline(self, since: u64, configured: Duration) -> Option<u64> {
        match self {
            Timeout::CONFIGURED => Some(since.saturating_add(nanoseconds(configured))),
            Timeout::OFF => None,
            Timeout(after) => Some(since.saturating_add(after)),
        }
    }
}

/// What a deadline of a connection is for.
pub(crate) enum Deadline {
    /// Of sending, or of connecting.
    Write,
    /// Of taking enough of much that is queued.
    Progress,
    Handshake,
    /// Of a PROXY header.
    Header,
    /// Why a newcomer is given up.
    Newcomer(Reason),
    Read,
}

impl Connection {
    /// When the peer has been silent for too long. Off while nobody reads, for datagrams, where
    /// silence is no sign, and in a TLS handshake or a PROXY header, which have deadlines of their own.
    pub(crate) fn read_deadline(&self, config: &Config) -> Option<u64> {
        if !self.wants_read()
            || self.kind == SocketKind::Datagram
            || self.is_handshaking()
            || self.expects_header()
        {
            return None;
        }
        self.read_timeout()
            .deadline(self.read_since, config.read_timeout)
    }

    /// When connecting or sending has taken too long.
    pub(crate) fn write_deadline(&self, config: &Config) -> Option<u64> {
        match self.state {
            State::Connecting => self
                .write_timeout()
                .deadline(self.write_since, config.connect_timeout),
            _ if self.blocked && self.may_flush() => self
                .write_timeout()
                .deadline(self.write_since, config.send_timeout),
            _ => None,
        }
    }

    /// A deadline that has passed by `now`, and what it is for.
    pub(crate) fn passed(&self, config: &Config, now: u64) -> Option<(u64, Deadline)> {
        let of = |at: Option<u64>, deadline| Some((at.filter(|at| *at <= now)?, deadline));
        let newcomer = self.newcomer_deadline(config);
        of(self.write_deadline(config), Deadline::Write)
            .or_else(|| of(self.progress_deadline(config), Deadline::Progress))
            .or_else(|| of(self.handshake_deadline(config), Deadline::Handshake))
            .or_else(|| of(self.header_deadline(config), Deadline::Header))
            .or_else(|| newcomer.and_then(|(at, reason)| of(Some(at), Deadline::Newcomer(reason))))
            .or_else(|| of(self.read_deadline(config), Deadline::Read))
    }

    /// The first moment at which time changes something.
    pub(crate) fn deadline(&self, config: &Config) -> Option<u64> {
        let first = [
            self.read_deadline(config),
            self.write_deadline(config),
            self.progress_deadline(config),
            self.handshake_deadline(config),
            self.header_deadline(config),
            self.newcomer_deadline(config).map(|(at, _)| at),
            self.throttled_until(),
        ]
        .into_iter()
        // Not flatten(): what the compiler makes of it looks at the bytes of a None first, which valgrind calls uninitialised.
        .fold(u64::MAX, |first, at| first.min(at.unwrap_or(u64::MAX)));
        (first != u64::MAX).then_some(first)
    }

    /// The peer has its whole time from now on if it has done its part since `since`: from then on it was us who kept it waiting.
    pub(crate) fn begin_silence(&mut self, since: u64, now: u64) {
        if self.read_since >= since {
            self.read_since = self.read_since.max(now);
        }
        if let Some(session) = &mut self.tls {
            session.restart_step(since, now);
        }
    }
}
