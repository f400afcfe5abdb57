//! Connections that are not established yet: how far each has got, and what it may cost until it is.

use std::time::Duration;

use super::{Connection, State};
use crate::clock::nanoseconds;
use crate::config::Config;
use crate::error::Reason;
use crate::stage::{Authentication, Stage};

/// How many reads a connection delivers as a newcomer, where nobody tells when it has authenticated. An XMPP login takes about ten.
pub(crate) const NEWCOMER_READS: u8 = 16;

/// What a newcomer has at most while others wait for its place: for each step of a TLS handshake and to send something, and to
/// authenticate. A client needs a fraction of the first, and our own part in it does not count; a login takes a few seconds where we
/// are slow.
const HURRIED_DATA: Duration = Duration::from_secs(5);
const HURRIED: Duration = Duration::from_secs(60);

impl Connection {
    /// How far it has got, from 0 to [`NEWCOMER_READS`]; with that it is established.
    pub(crate) fn progress(&self) -> u8 {
        let reads = u8::try_from(self.reads).unwrap_or(u8::MAX);
        match self.authentication {
            Authentication::NotAsked => reads.min(NEWCOMER_READS),
            Authentication::Awaited | Authentication::RequestAwaited => {
                reads.min(NEWCOMER_READS - 1)
            }
            Authentication::Done => NEWCOMER_READS,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        if self.progress() == NEWCOMER_READS {
            Stage::Established
        } else if self.reads > 0 {
            Stage::Opened
        } else if self.tls.as_ref().is_some_and(|tls| tls.is_secured()) {
            Stage::Secured
        } else if self.proxied().is_some() {
            Stage::Proxied
        } else {
            Stage::Accepted
        }
    }

    /// Begins to wait until the consumer tells what it has done.
    pub(crate) fn await_told(&mut self, authentication: Authentication, now: u64) {
        self.authentication = authentication;
        self.awaited_since = now;
        self.awaited_from = self.received;
    }

    /// How much of a request has been delivered that is not complete.
    pub(crate) fn request_held(&self) -> usize {
        match self.authentication {
            Authentication::RequestAwaited => {
                usize::try_from(self.received - self.awaited_from).unwrap_or(usize::MAX)
            }
            _ => 0,
        }
    }

    /// When it has to have sent something, or to have authenticated, and why it ends if it has not.
    pub(crate) fn newcomer_deadline(&self, config: &Config) -> Option<(u64, Reason)> {
        if !self.authentication.is_newcomer() || self.state == State::Closing {
            return None;
        }
        if self.expects_header() {
            // It is the proxy's turn, which has less time.
            return None;
        }
        let after = |since: u64, wait: Duration| since.saturating_add(nanoseconds(wait));
        let at_most = |wait: Duration, hurried| {
            if self.hurried {
                wait.min(hurried)
            } else {
                wait
            }
        };
        let whole = after(
            self.awaited_since,
            at_most(config.newcomer_timeout, HURRIED),
        );
        let makes_request = self.authentication == Authentication::RequestAwaited;
        let first = if self.is_handshaking() {
            // It has a deadline of its own, and does not read while it waits for us.
            let tls = self.tls.as_ref().filter(|_| self.hurried);
            tls.and_then(|tls| tls.deadline(nanoseconds(HURRIED_DATA)))
        } else if (self.reads == 0 || makes_request) && self.wants_read() {
            let wait = at_most(config.newcomer_data_timeout, HURRIED_DATA);
            Some(after(self.read_since, wait))
        } else {
            None
        };
        match first {
            Some(first) if first < whole => Some((first, Reason::NewcomerSilent)),
            _ => Some((whole, Reason::NewcomerTimeout)),
        }
    }

    /// Whether it has sent more than one may who has not authenticated.
    pub(crate) fn is_over_newcomer_budget(&self, config: &Config) -> bool {
        self.authentication == Authentication::Awaited
            && self.received - self.awaited_from > config.newcomer_bytes as u64
    }
}
