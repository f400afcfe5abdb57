//! What an event loop and its threads say to each other: commands and events, and what has to go with them.

use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::batch::BatchQueue;
use crate::command::Command;
use crate::config::{Config, ReadSize};
use crate::connection::Connection;
use crate::event::{Chunk, Event};
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::socket::Name;
use crate::tls::{Info, VerifyError};
use crate::waker::Waker;

/// What is shared by the two ends.
pub(super) struct Channel {
    pub(super) messages: BatchQueue<Message>,
    pub(super) reports: BatchQueue<Report>,
    /// Of newcomers, each with the number of reads that the loop has dealt with before.
    pub(super) newcomers: BatchQueue<(u8, Report)>,
    /// Wakes the loop.
    pub(super) home: Waker,
    pub(super) stop: AtomicBool,
}

impl Channel {
    /// With nothing in it, of a loop that `home` wakes.
    pub(super) fn new(home: Waker) -> Channel {
        Channel {
            messages: BatchQueue::new(),
            reports: BatchQueue::new(),
            newcomers: BatchQueue::new(),
            home,
            stop: AtomicBool::new(false),
        }
    }
}

/// What the loop wants of a thread.
pub(super) enum Message {
    /// To write what is in the batch.
    Write {
        key: Key,
        len: usize,
        notify: bool,
    },
    /// What was last told of a connection has been dealt with: data, or the connection itself.
    Release(Key),
    /// The same of an empty queue.
    ReleaseDrain(Key),
    Apply(Key, Command),
    /// Bytes were delivered that belong to a TLS handshake.
    TakeBack(Key, Vec<u8>),
    /// A question that somebody waits for the answer of.
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
    /// Something happened of which there is nothing to add.
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
    pub(super) sent: Arc<AtomicU64>,
}

/// What a connection is asked about as soon as its handshake is complete.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) info: Info,
    /// What is wrong with the peer's certificates: once the connection is gone there, nobody could tell that anything is.
    pub(super) errors: Vec<Vec<VerifyError>>,
    /// `tls-exporter` of RFC 9266, for whoever logs in by it.
    pub(super) channel_binding: Option<[u8; 32]>,
}

impl Facts {
    /// Of a connection whose handshake is complete.
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
