//! The usual case, in which nothing is to be seen to but the bytes: what each message costs is decided here.

use super::{Connection, NEWCOMER_READS, OwnSide, State};
use crate::config::SocketKind;
use crate::stage::Authentication;
use crate::stats::Stats;

impl Connection {
    /// Whether it goes before newcomers, and no handshake and no consumer is waited for.
    #[inline]
    pub(crate) fn is_established(&self) -> bool {
        let has_begun = match self.authentication {
            Authentication::NotAsked => self.reads >= NEWCOMER_READS.into(),
            Authentication::Awaited | Authentication::RequestAwaited => false,
            Authentication::Done => true,
        };
        has_begun && self.tls.is_none() && self.credit.is_none()
    }

    /// Whether nothing but reading is to be done when it is ready: no TLS, no consumer who answers later, nobody who has to authenticate
    /// or waits for anything else.
    #[inline]
    pub(crate) fn reads_straight(&self) -> bool {
        self.state == State::Open
            && self.kind == SocketKind::Stream
            && self.readable
            && !(self.paused | self.blocked | self.hung_up | self.overdue)
            && matches!(
                self.authentication,
                Authentication::NotAsked | Authentication::Done
            )
            && self.tls.is_none()
            && self.credit.is_none()
            && self
                .rare
                .as_ref()
                .is_none_or(|rare| rare.limit.is_none() && !self.expects_header())
    }

    /// Notes what a read has delivered.
    #[inline]
    pub(crate) fn count_read(&mut self, len: usize, stats: &mut Stats) {
        stats.reads += 1;
        stats.received_bytes += len as u64;
        self.reads = self.reads.saturating_add(1);
        self.received += len as u64;
    }

    /// Whether nothing but sending is to be done in a flush: no TLS, nobody who wants to hear of it, nothing that it holds for longer.
    #[inline]
    pub(crate) fn sends_straight(&self) -> bool {
        self.state == State::Open
            && self.own_side == OwnSide::Open
            && self.kind == SocketKind::Stream
            && !(self.blocked | self.writes_paused | self.notify)
            && self.counted == 0
            && self.tls.is_none()
            && self.credit.is_none()
    }
}
