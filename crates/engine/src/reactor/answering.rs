//! The reactor of an I/O thread: what it does for a consumer that answers later.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Reactor, Source, Stage};
use crate::config::ReadSize;
use crate::connection::{Connection, State};
use crate::error::Error;
use crate::pool::Facts;
use crate::registry::Key;

impl Reactor {
    /// Has every connection wait for [`release`](Reactor::release) after what it has told.
    pub(crate) fn answer_later(&mut self) {
        self.answers_later = true;
    }

    /// Whether this turn may still wait, and so what it has told must not be kept back.
    pub(crate) fn is_before_wait(&self) -> bool {
        !self.io_began && matches!(self.stage, Stage::Predrain(_) | Stage::Flush)
    }

    /// The consumer has dealt with what it was told last: of data, or of a queue that was empty.
    pub(crate) fn release(&mut self, key: Key, drain: bool) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if drain {
            connection.drains_untold = connection.drains_untold.saturating_sub(1);
        } else {
            connection.awaiting = false;
            connection.detached = false;
            connection.silenced = false;
        }
        let goes_on = connection.readable || connection.holds_input();
        if connection.state == State::Draining {
            self.queue_flush(key);
        }
        if !drain {
            self.want(key);
            if goes_on {
                self.backlog.push(key);
            }
        }
    }

    /// Sends at once what can be sent: the consumer has more than there is room for.
    pub(super) fn catch_up(&mut self, key: Key) {
        if let Some(connection) = self.connection(key)
            && connection.may_flush()
        {
            // An error is met again by the flush that is due.
            let _ = connection.flush();
            self.want(key);
            self.set_alarm(key);
        }
    }

    /// A connection whose consumer answers later.
    pub(super) fn answerable(&mut self, key: Key) -> Option<&mut Connection> {
        if self.answers_later {
            self.connection(key)
        } else {
            None
        }
    }

    /// What was read too early: the handshake begins with it.
    pub(super) fn take_back(&mut self, key: Key, bytes: Vec<u8>) {
        if let Some(connection) = self.connection(key) {
            connection.taken_back = Some(bytes);
        }
    }

    /// A counter of the bytes that the system takes from this connection, from now on.
    pub(crate) fn count_sent(&mut self, key: Key) -> Arc<AtomicU64> {
        let sent = Arc::new(AtomicU64::new(0));
        if let Some(connection) = self.connection(key) {
            connection.sent = Some(Arc::clone(&sent));
        }
        sent
    }

    /// Accepts on a socket that other reactors accept on, too.
    pub(crate) fn share_listener(
        &mut self,
        fd: Arc<OwnedFd>,
        read_size: ReadSize,
    ) -> Result<Key, Error> {
        self.add_listener(fd, read_size)
    }

    /// Takes over a connection that is being made.
    pub(crate) fn take_over(&mut self, connection: Connection) -> Result<Key, Error> {
        self.add(connection).map_err(Error::Poller)
    }

    /// What there is to know of a connection whose handshake is complete.
    pub(crate) fn facts(&self, key: Key) -> Option<Box<Facts>> {
        let session = match self.sources.get(key)? {
            Source::Connection(connection) => connection.tls.as_deref()?,
            _ => return None,
        };
        let channel_binding = session
            .export(CHANNEL_BINDING, Some(b""), 32)
            .and_then(|bytes| bytes.try_into().ok());
        Some(Box::new(Facts {
            info: session.info()?,
            errors: session.errors().clone(),
            channel_binding,
        }))
    }
}

/// RFC 9266, section 4.2.
pub(super) const CHANNEL_BINDING: &[u8] = b"EXPORTER-Channel-Binding";
