//! What a connection keeps for a consumer that answers later: it delivers one read, and reads on when the consumer has dealt
//! with that. So what the consumer pauses, closes or turns to TLS meanwhile has no data behind it, and no peer can fill a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Connection, State};
use crate::config::SocketKind;
use crate::name::Name;
use crate::socket;

/// The state of a connection whose consumer answers later.
pub(crate) struct Credit {
    /// The consumer has not dealt with the last data: nothing more is read until it has.
    awaiting: bool,
    /// The poller reported more meanwhile, and is not asked about reading.
    silenced: bool,
    /// What the consumer has given back: it belongs to the TLS handshake.
    taken_back: Vec<u8>,
    /// How often the consumer was told of an empty queue and has not answered.
    drains_untold: u32,
    /// Bytes that the consumer has written. What TLS adds is not counted.
    written: u64,
    /// How many of these bytes the system has taken. The consumer sees this counter.
    sent: Arc<AtomicU64>,
}

impl Credit {
    /// The credit of a connection that was accepted. Nothing is read before the consumer has dealt with the news.
    pub(crate) fn of_newcomer() -> Box<Credit> {
        Credit::new(true, 0)
    }

    /// The credit of a connection that is being made and has this many bytes queued.
    pub(crate) fn of_outgoing(queued: usize) -> Box<Credit> {
        Credit::new(false, queued as u64)
    }

    fn new(awaiting: bool, written: u64) -> Box<Credit> {
        Box::new(Credit {
            awaiting,
            silenced: false,
            taken_back: Vec::new(),
            drains_untold: 0,
            written,
            sent: Arc::new(AtomicU64::new(0)),
        })
    }
}

/// Handing over.
impl Connection {
    /// Whether this is a TCP connection that is being made and that no poller knows. Such a one can be served by another reactor.
    pub(crate) fn is_outgoing(&self) -> bool {
        self.state == State::Connecting
            && self.registered.armed.is_none()
            && self.kind == SocketKind::Stream
            && matches!(socket::local_name(&self.fd), Some(Name::Inet(_)))
    }

    /// The counter of the bytes that the system takes; one that stays 0 where there is no credit.
    pub(crate) fn sent(&self) -> Arc<AtomicU64> {
        self.credit
            .as_ref()
            .map(|credit| Arc::clone(&credit.sent))
            .unwrap_or_default()
    }
}

/// Without credit there is nothing to wait for.
impl Connection {
    /// Whether nothing is read until the consumer has dealt with the last data.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.credit.as_ref().is_some_and(|credit| credit.awaiting)
    }

    /// The consumer is given something, and nothing more until it has dealt with that.
    pub(crate) fn await_consumer(&mut self) {
        if let Some(credit) = &mut self.credit {
            credit.awaiting = true;
        }
    }

    /// Stops asking the poller about reading while nothing is read. False if that was so already.
    pub(crate) fn silence(&mut self) -> bool {
        match &mut self.credit {
            Some(credit) if credit.awaiting => !std::mem::replace(&mut credit.silenced, true),
            _ => false,
        }
    }

    pub(crate) fn is_silenced(&self) -> bool {
        self.credit.as_ref().is_some_and(|credit| credit.silenced)
    }

    /// The consumer has dealt with the last thing that it was given, and the peer has its whole time from now on. Whether the
    /// poller is to be asked about reading again.
    pub(crate) fn release(&mut self, now: u64) -> bool {
        let Some(credit) = &mut self.credit else {
            return false;
        };
        credit.awaiting = false;
        let interest_differs =
            std::mem::take(&mut credit.silenced) | std::mem::take(&mut self.detached);
        self.begin_silence(0, now);
        interest_differs
    }

    /// The consumer is told of an empty queue.
    pub(crate) fn tell_drain(&mut self) {
        if let Some(credit) = &mut self.credit {
            credit.drains_untold += 1;
        }
    }

    /// The consumer has heard of an empty queue.
    pub(crate) fn release_drain(&mut self) {
        if let Some(credit) = &mut self.credit {
            credit.drains_untold = credit.drains_untold.saturating_sub(1);
        }
    }

    /// Whether the consumer may still answer what it was told.
    pub(crate) fn has_untold(&self) -> bool {
        self.credit
            .as_ref()
            .is_some_and(|credit| credit.awaiting || credit.drains_untold > 0)
    }

    /// Bytes that were read too early come back.
    pub(crate) fn take_back(&mut self, bytes: Vec<u8>) {
        if let Some(credit) = &mut self.credit {
            credit.taken_back = bytes;
        }
    }

    pub(crate) fn has_taken_back(&self) -> bool {
        self.taken_back() > 0
    }

    /// How many bytes came back and were not read again.
    pub(super) fn taken_back(&self) -> usize {
        self.credit
            .as_ref()
            .map_or(0, |credit| credit.taken_back.len())
    }

    /// Moves bytes that came back to `buffer`; says how many.
    pub(super) fn read_taken_back(&mut self, buffer: &mut [u8]) -> usize {
        let Some(credit) = &mut self.credit else {
            return 0;
        };
        let len = credit.taken_back.len().min(buffer.len());
        buffer[..len].copy_from_slice(&credit.taken_back[..len]);
        credit.taken_back.drain(..len);
        len
    }

    /// Notes that the consumer has written so many bytes.
    pub(crate) fn count_written(&mut self, len: usize) {
        if let Some(credit) = &mut self.credit {
            credit.written += len as u64;
        }
    }

    /// Shows how much of that is not queued any more.
    pub(super) fn count_sent(&self) {
        if let Some(credit) = &self.credit {
            let sent = credit.written.saturating_sub(self.pending() as u64);
            credit.sent.store(sent, Ordering::Release);
        }
    }
}
