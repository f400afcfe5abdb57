//! Reaching a connection from any thread.

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::acceptor::{Place, Plan};
use crate::error::Error;
use crate::registry::Key;
use crate::waker::Waker;

/// Most bytes that may be on their way to the connections of one thread.
const MAILBOX_BYTES: usize = 16 << 20;

/// Most commands of handles that may wait for one thread.
const MAILBOX_COMMANDS: usize = 65_536;

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

/// What the handles of one connection share with its thread.
pub(super) struct Link {
    pub(super) key: Key,
    mailbox: Arc<Mailbox>,
    open: AtomicBool,
}

impl Link {
    pub(super) fn new(key: Key, mailbox: Arc<Mailbox>) -> Link {
        Link {
            key,
            mailbox,
            open: AtomicBool::new(true),
        }
    }

    /// From now on the handles say that it is closed. False if they do already.
    pub(super) fn cut(&self) -> bool {
        self.open.swap(false, Ordering::AcqRel)
    }
}

impl Handle {
    pub(super) fn new(link: Arc<Link>) -> Handle {
        Handle(link)
    }

    /// Has `data` sent. An `Arc<[u8]>` goes to any number of connections without a copy for each.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::MailboxFull`]; in both cases nothing is sent. That the peer does not read is not known
    /// here: too much ends the connection.
    pub fn write(&self, data: impl Into<Arc<[u8]>>) -> Result<(), Error> {
        self.command(Command::Write(self.0.key, data.into()))
    }

    /// Closes the connection once all that was written before is sent.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]
    pub fn close(&self) -> Result<(), Error> {
        if self.0.cut() {
            self.0.mailbox.post(Command::Close(self.0.key))
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
        self.command(Command::Pause(self.0.key))
    }

    /// Reads again.
    ///
    /// # Errors
    ///
    /// As [`write`](Handle::write).
    pub fn resume(&self) -> Result<(), Error> {
        self.command(Command::Resume(self.0.key))
    }

    /// Whether the connection is there, as far as is known here.
    pub fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Acquire)
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        if self.is_open() {
            self.0.mailbox.post(command)
        } else {
            Err(Error::Closed)
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:?})", self.0.key)
    }
}

/// What one thread is asked to do by others.
pub(super) enum Command {
    /// Serve what was accepted. Bounded by the descriptors that there are.
    Adopt {
        fd: OwnedFd,
        peer: Option<SocketAddr>,
        plan: Arc<Plan>,
        place: Place,
    },
    Write(Key, Arc<[u8]>),
    Pause(Key),
    Resume(Key),
    /// At most one for each connection.
    Close(Key),
    /// Dropped, it is answered: see [`Probe`](super::Probe).
    Probe(Arc<()>),
    Shutdown(Instant),
}

/// The commands that wait for one thread.
#[derive(Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    waker: OnceLock<Waker>,
}

#[derive(Default)]
struct Queue {
    commands: Vec<Command>,
    bytes: usize,
    /// The thread is gone.
    closed: bool,
}

impl Mailbox {
    /// Says what wakes the thread, which looks here afterwards.
    pub(super) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    pub(super) fn post(&self, command: Command) -> Result<(), Error> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return Err(Error::Closed);
        }
        let bytes = match &command {
            Command::Write(_, data) => data.len(),
            _ => 0,
        };
        let bounded = matches!(
            command,
            Command::Write(..) | Command::Pause(_) | Command::Resume(_)
        );
        let full = queue.commands.len() >= MAILBOX_COMMANDS
            // A single write is its caller's memory already.
            || (queue.bytes > 0 && queue.bytes + bytes > MAILBOX_BYTES);
        if bounded && full {
            return Err(Error::MailboxFull);
        }
        queue.bytes += bytes;
        queue.commands.push(command);
        drop(queue);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
        Ok(())
    }

    /// Everything that waits; `commands` is emptied and becomes the next queue.
    pub(super) fn take(&self, commands: &mut Vec<Command>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.bytes = 0;
        mem::swap(&mut queue.commands, commands);
    }

    /// Nobody looks here any more.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        queue.bytes = 0;
        let rest = mem::take(&mut queue.commands);
        drop(queue);
        drop(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bits(1)
    }

    #[test]
    fn a_mailbox_has_a_bound_in_bytes_and_in_commands() {
        let mailbox = Mailbox::default();
        let mebibyte: Arc<[u8]> = vec![0; 1 << 20].into();
        let taken = (0..100)
            .take_while(|_| {
                mailbox
                    .post(Command::Write(key(), Arc::clone(&mebibyte)))
                    .is_ok()
            })
            .count();
        assert_eq!(taken, MAILBOX_BYTES >> 20);
        mailbox.take(&mut Vec::new());
        let taken = (0..100_000)
            .take_while(|_| mailbox.post(Command::Pause(key())).is_ok())
            .count();
        assert_eq!(taken, MAILBOX_COMMANDS);
        assert!(matches!(
            mailbox.post(Command::Resume(key())),
            Err(Error::MailboxFull)
        ));
        // An end is never refused.
        mailbox.post(Command::Close(key())).unwrap();
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let mailbox = Mailbox::default();
        mailbox.close();
        assert!(matches!(
            mailbox.post(Command::Close(key())),
            Err(Error::Closed)
        ));
    }
}
