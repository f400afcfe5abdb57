//! What the loop knows of a connection that a thread serves.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::messages::{Accepted, Facts};
use crate::clock;
use crate::connection_info::EndInfo;
use crate::error::Reason;
use crate::event::Chunk;
use crate::name::Name;
use crate::proxy_protocol::Proxied;
use crate::tls::Context;

/// What the loop knows of a connection that a thread serves.
pub(super) struct Remote {
    /// Which of the threads serves it.
    pub(super) thread: usize,
    /// Its number, for the log; the thread owns it.
    pub(super) fd: RawFd,
    pub(super) peer: Option<Name>,
    pub(super) local: Option<Name>,
    pub(super) proxied: Option<Arc<Proxied>>,
    pub(super) phase: Phase,
    /// When the consumer was last told how far it has got, in nanoseconds of the [clock](clock::now).
    pub(super) told: u64,
    /// When the loop heard of it, in nanoseconds of the [clock](clock::now).
    began: u64,
    /// Bytes that it has delivered.
    pub(super) received: u64,
    /// Bytes that were written, and how many of them the thread has handed to the system.
    pub(super) written: u64,
    sent: Arc<AtomicU64>,
    pub(super) paused: bool,
    pub(super) writes_paused: bool,
    /// Our side is to end when all is sent: nothing more is written.
    pub(super) finished: bool,
    /// The consumer wants to hear of the next flush.
    pub(super) notify: bool,
    /// The thread has not been told yet that [`notify`](Remote::notify) is set.
    pub(super) untold: bool,
    pub(super) in_flush: bool,
    pub(super) tls: Option<Box<Tls>>,
    /// What came while it was paused.
    pub(super) held: Option<Box<Held>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    Closing,
}

pub(super) struct Tls {
    pub(super) context: Context,
    pub(super) secured: bool,
    /// Known once the handshake is complete, unless the session had ended by then.
    pub(super) facts: Option<Box<Facts>>,
    /// The client has said what it wants, and waits for the answer.
    pub(super) asked: bool,
}

impl Tls {
    /// What is known of a session that has just begun.
    pub(super) fn new(context: Context) -> Box<Tls> {
        Box::new(Tls {
            context,
            secured: false,
            facts: None,
            asked: false,
        })
    }
}

/// What came while the connection was paused: at most one read, and the ends behind it.
#[derive(Default)]
pub(super) struct Held {
    pub(super) data: Option<(Vec<u8>, Chunk)>,
    pub(super) ended: bool,
    pub(super) closed: Option<(Reason, EndInfo)>,
}

impl Remote {
    /// A connection as a thread tells of it.
    pub(super) fn new(thread: usize, phase: Phase, told: Accepted) -> Box<Remote> {
        let now = clock::now();
        Box::new(Remote {
            thread,
            fd: told.fd,
            peer: told.peer,
            local: told.local,
            proxied: told.proxied,
            phase,
            told: now,
            began: now,
            received: 0,
            written: 0,
            sent: told.sent,
            paused: false,
            writes_paused: false,
            finished: false,
            notify: false,
            untold: false,
            in_flush: false,
            tls: None,
            held: None,
        })
    }

    /// Bytes that are queued and not sent.
    pub(super) fn pending(&self) -> usize {
        let sent = self.sent.load(Ordering::Acquire);
        usize::try_from(self.written.saturating_sub(sent)).unwrap_or(usize::MAX)
    }

    /// What it has come to, as far as the loop knows: what TLS adds is not counted.
    pub(super) fn end_info(&self) -> EndInfo {
        EndInfo {
            age: Duration::from_nanos(clock::now().saturating_sub(self.began)),
            received: self.received,
            sent: self.sent.load(Ordering::Acquire),
            in_handshake: !self.is_secured(),
        }
    }

    pub(super) fn is_secured(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.secured)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Whether the consumer is to hear that a flush comes.
    pub(super) fn wants_predrain(&self) -> bool {
        self.notify && self.is_secured() && self.phase == Phase::Open && !self.writes_paused
    }
}
