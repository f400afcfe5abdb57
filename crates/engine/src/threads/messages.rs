//! What an event loop and its threads say to each other: commands and events, and what has to go with them.

use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::batch::{Batch, BatchQueue};
use crate::command::Command;
use crate::config::{Config, ReadSize};
use crate::connection::Connection;
use crate::event::{Chunk, Event};
use crate::name::Name;
use crate::proxy_protocol::Proxied;
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::tls::{Info, VerifyError};
use crate::waker::Waker;

/// What the loop and one of its threads share.
pub(super) struct Channel {
    pub(super) messages: BatchQueue<Message>,
    pub(super) reports: BatchQueue<Report>,
    /// Reports of newcomers, each with the number of reads of that connection that the loop has dealt with.
    pub(super) newcomers: BatchQueue<(u8, Report)>,
    /// Wakes the loop.
    pub(super) home: Waker,
    pub(super) stop: AtomicBool,
    /// The loop is to run the turns of the thread's reactor itself.
    pub(super) inline: AtomicBool,
}

impl Channel {
    /// An empty channel to a loop that `home` wakes, and that runs the turns of the thread's reactor itself if `inline` says so.
    pub(super) fn new(home: Waker, inline: bool) -> Channel {
        Channel {
            messages: BatchQueue::new(),
            reports: BatchQueue::new(),
            newcomers: BatchQueue::new(),
            home,
            stop: AtomicBool::new(false),
            inline: AtomicBool::new(inline),
        }
    }

    /// Has the loop hear that the reactor is gone.
    pub(super) fn tell_of_failure(&self) {
        let mut batch = Batch::new();
        batch.push(Report::Died);
        self.reports.post(&mut batch);
        self.home.wake();
    }
}

/// What the loop wants of a thread.
pub(super) enum Message {
    /// Write the bytes that are in the batch.
    Write {
        key: Key,
        len: usize,
        notify: bool,
    },
    /// The consumer has dealt with what it was last told of this connection: data, or that it was accepted.
    Release(Key),
    /// The consumer has dealt with [`Event::Drain`].
    ReleaseDrain(Key),
    Apply(Key, Command),
    /// Take back bytes that were delivered and belong to a TLS handshake.
    TakeBack(Key, Vec<u8>),
    /// Answer a question. The loop waits for the answer.
    Ask(Key, Question),
    Listen {
        key: Key,
        fd: Arc<OwnedFd>,
        read_size: ReadSize,
        paused: bool,
    },
    Connect(Key, Box<Connection>),
    Configure(Box<Config>),
}

pub(super) type Question = Box<dyn FnOnce(&mut Reactor, Key) + Send>;

/// What a thread has to tell.
#[derive(Debug)]
pub(super) enum Report {
    /// An event that needs nothing beside it.
    Event(Event<'static>),
    Accepted {
        listener: Key,
        key: Key,
        accepted: Box<Accepted>,
    },
    Connected {
        key: Key,
        local: Option<Name>,
    },
    Secured {
        key: Key,
        facts: Option<Box<Facts>>,
    },
    /// The bytes are in the batch.
    Data {
        key: Key,
        len: usize,
        end: Chunk,
    },
    /// The thread has failed, and with it its connections.
    Died,
}

impl Report {
    /// How many bytes of the batch it speaks of.
    pub(super) fn len(&self) -> usize {
        match self {
            Report::Data { len, .. } => *len,
            _ => 0,
        }
    }
}

/// What is told of a connection that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) fd: RawFd,
    pub(super) peer: Option<Name>,
    pub(super) local: Option<Name>,
    pub(super) proxied: Option<Arc<Proxied>>,
    pub(super) sent: Arc<AtomicU64>,
}

/// What a connection is asked about as soon as its handshake is complete.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) info: Info,
    /// What is wrong with the peer's certificates: once the connection is gone there, nobody could tell that anything is.
    pub(super) errors: Vec<Vec<VerifyError>>,
    /// The channel binding `tls-exporter` (RFC 9266), which clients may log in with.
    pub(super) channel_binding: Option<[u8; 32]>,
}

impl Facts {
    /// The facts of a connection whose handshake is complete.
    pub(super) fn of(reactor: &Reactor, key: Key) -> Option<Box<Facts>> {
        let channel_binding = reactor
            .export_keying_material(key, CHANNEL_BINDING, Some(b""), CHANNEL_BINDING_LENGTH)
            .and_then(|bytes| bytes.try_into().ok());
        Some(Box::new(Facts {
            info: reactor.tls_info(key)?,
            errors: reactor.peer_verification(key),
            channel_binding,
        }))
    }
}

/// RFC 9266, section 4.2.
pub(super) const CHANNEL_BINDING: &[u8] = b"EXPORTER-Channel-Binding";
pub(super) const CHANNEL_BINDING_LENGTH: usize = 32;
