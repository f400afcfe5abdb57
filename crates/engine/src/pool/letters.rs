//! What the loop and an I/O thread say to each other.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Accepted;
use crate::config::{Config, ReadSize};
use crate::connection::Connection;
use crate::error::Reason;
use crate::event::{Chunk, Level};
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::socket::Name;
use crate::tls::{Info, VerifyError};

/// What both threads call a connection or listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// By the key that the loop's reactor gave it: what the loop began.
    Loop(Key),
    /// By the key that the thread's reactor gave it: what the thread accepted.
    Thread(Key),
}

/// What the loop wants. There is a variant of its own for what is said often; anything else runs as a function.
pub(crate) enum Command {
    /// The bytes are in the batch.
    Write {
        to: Tag,
        len: usize,
        notify: bool,
    },
    /// What was last told of it has been dealt with: data or a new connection, or that its queue is empty.
    Release {
        of: Tag,
        drain: bool,
    },
    /// A report of the end follows, if the loop still wants to know.
    Close(Tag),
    Destroy(Tag),
    Run(Tag, Job),
    Listen {
        name: Key,
        fd: Arc<OwnedFd>,
        read_size: ReadSize,
        paused: bool,
    },
    Connect {
        name: Key,
        connection: Box<Connection>,
    },
    Configure(Box<Config>),
}

pub(crate) type Job = Box<dyn FnOnce(&mut Reactor, Key) + Send>;

/// What a thread has to tell of one connection.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) from: Tag,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Accepted {
        /// The listener, by the loop's key.
        listener: Key,
        accepted: Box<Accepted>,
    },
    Connected {
        local: Option<Name>,
    },
    /// The name and the protocols that a client asks for.
    ClientHello(Box<(Option<String>, Vec<Vec<u8>>)>),
    Secured(Option<Box<Facts>>),
    /// The bytes are in the batch.
    Data {
        len: usize,
        end: Chunk,
    },
    Ended,
    ReadTimeout,
    Drain,
    Closed(Reason),
    Notice(Level, Box<str>),
    /// The thread has failed, and with it its connections.
    Died,
}

impl Report {
    /// How many bytes of the batch it speaks of.
    pub(super) fn len(&self) -> usize {
        match self.what {
            What::Data { len, .. } => len,
            _ => 0,
        }
    }
}

/// What a connection is asked about as soon as its handshake is complete.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) info: Info,
    /// What is wrong with the peer's certificates: once the connection is gone there, nobody could tell that anything is.
    pub(crate) errors: Vec<Vec<VerifyError>>,
    /// `tls-exporter` of RFC 9266, for whoever logs in by it.
    pub(crate) channel_binding: Option<[u8; 32]>,
}
