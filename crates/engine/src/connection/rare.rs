//! What most connections do without: it is in a box of its own, so that a silent connection takes little.

use super::Connection;
use super::deadlines::Timeout;
use super::proxy::Proxy;
use super::rate::RateLimit;

#[derive(Default)]
pub(super) struct Rare {
    /// Where a proxy speaks for the client.
    pub(super) proxy: Option<Proxy>,
    pub(super) limit: Option<RateLimit>,
    pub(super) read_timeout: Timeout,
    pub(super) write_timeout: Timeout,
    /// While much is queued: since when the peer is watched, and what [`sent`](Connection::sent) was then.
    pub(super) watched: Option<(u64, u64)>,
    /// The deadline that was last put off, because its connection was ready when it passed.
    spared: Option<u64>,
}

impl Connection {
    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn limit_mut(&mut self) -> Option<&mut RateLimit> {
        self.rare.as_mut()?.limit.as_mut()
    }

    pub(super) fn watched(&self) -> Option<(u64, u64)> {
        self.rare()?.watched
    }

    pub(super) fn read_timeout(&self) -> Timeout {
        self.rare()
            .map_or_else(Timeout::default, |rare| rare.read_timeout)
    }

    pub(super) fn write_timeout(&self) -> Timeout {
        self.rare()
            .map_or_else(Timeout::default, |rare| rare.write_timeout)
    }

    pub(crate) fn set_read_timeout(&mut self, timeout: Timeout) {
        self.rare_mut().read_timeout = timeout;
    }

    pub(crate) fn set_write_timeout(&mut self, timeout: Timeout) {
        self.rare_mut().write_timeout = timeout;
    }

    /// Whether this deadline was put off before.
    pub(crate) fn was_spared(&self, deadline: u64) -> bool {
        self.rare()
            .is_some_and(|rare| rare.spared == Some(deadline))
    }

    /// Puts a deadline off.
    pub(crate) fn spare(&mut self, deadline: u64) {
        self.rare_mut().spared = Some(deadline);
    }
}
