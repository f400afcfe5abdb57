//! Reaching a connection from any thread.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::mailbox::{Link, Request};
use crate::command::Command;
use crate::error::Error;
use crate::registry::Key;

/// A connection of a [`Server`](super::Server), for use from anywhere.
///
/// Commands are carried out by the thread of the connection, in the order in which they were given; that thread is
/// woken once, however many there are. A handle that outlives its connection says [`Error::Closed`] and reaches nobody else.
///
/// A thread keeps 16 MiB of data or 65 536 commands that it has not got round to yet; past that they are refused with
/// [`Error::MailboxFull`], [`close`](Handle::close) excepted. What has arrived there counts against
/// [`Config::max_send_buffer_size`](crate::Config) of the connection.
#[derive(Clone)]
pub struct Handle(Arc<Link>);

impl Handle {
    pub(super) fn new(link: Arc<Link>) -> Handle {
        Handle(link)
    }

    /// The key of the connection, which no other connection of the server has or will have.
    pub fn key(&self) -> Key {
        self.0.key
    }

    /// Has `data` sent. An `Arc<[u8]>` goes to any number of connections without a copy for each.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::MailboxFull`]; in both cases nothing is sent. That the peer does not read is not known
    /// here: too much ends the connection.
    pub fn write(&self, data: impl Into<Arc<[u8]>>) -> Result<(), Error> {
        self.ask(Request::Write(self.0.key, data.into()))
    }

    /// Closes the connection once all that was written before is sent.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]
    pub fn close(&self) -> Result<(), Error> {
        if self.0.cut() {
            self.0.post(Request::Close(self.0.key))
        } else {
            Err(Error::Closed)
        }
    }

    /// Stops reading, so that the peer has to wait.
    ///
    /// # Errors
    ///
    /// As [`write`](Handle::write).
    pub fn pause(&self) -> Result<(), Error> {
        self.ask(Request::Apply(self.0.key, Command::Pause(true)))
    }

    /// Reads again.
    ///
    /// # Errors
    ///
    /// As [`write`](Handle::write).
    pub fn resume(&self) -> Result<(), Error> {
        self.ask(Request::Apply(self.0.key, Command::Pause(false)))
    }

    /// Whether the connection is there, as far as is known here.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    fn ask(&self, request: Request) -> Result<(), Error> {
        if self.is_open() {
            self.0.post(request)
        } else {
            Err(Error::Closed)
        }
    }
}

/// Two are equal if they name the same connection.
impl PartialEq for Handle {
    fn eq(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Handle {}

impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:?})", self.0.key)
    }
}
