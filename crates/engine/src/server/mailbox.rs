//! What one thread of a server is asked to do by others.

use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::Thread;
use super::place::{Place, Plan};
use crate::addresses::Visit;
use crate::buffer::overflows;
use crate::command::Command;
use crate::error::Error;
use crate::registry::Key;
use crate::sync::lock;
use crate::waker::Waker;

/// Most bytes that may be on their way to the connections of one thread.
const MAILBOX_BYTES: usize = 16 << 20;

/// Most requests of handles that may wait for one thread.
const MAILBOX_REQUESTS: usize = 65_536;

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

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(super) fn post(&self, request: Request) -> Result<(), Error> {
        self.mailbox.post(request)
    }

    /// From now on the handles say that it is closed. False if they do already.
    pub(super) fn cut(&self) -> bool {
        self.open.swap(false, Ordering::AcqRel)
    }
}

/// What one thread is asked to do by others.
pub(super) enum Request {
    /// Serve what was accepted. Bounded by the descriptors that there are.
    Adopt {
        fd: OwnedFd,
        peer: Option<SocketAddr>,
        visit: Option<Visit>,
        plan: Arc<Plan>,
        place: Place,
    },
    Write(Key, Arc<[u8]>),
    Apply(Key, Command),
    /// What belongs to no connection.
    Run(Box<dyn FnOnce(&mut Thread<'_>) + Send>),
    /// At most one for each connection.
    Close(Key),
    /// Dropped, it is answered: see [`Probe`](super::Probe).
    Probe(Arc<()>),
    Shutdown(Instant),
}

/// The requests that wait for one thread.
#[derive(Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    /// Whether there is something in it: a look without the lock.
    full: AtomicBool,
    waker: OnceLock<Waker>,
}

#[derive(Default)]
struct Queue {
    requests: Vec<Request>,
    bytes: usize,
    /// The thread is gone.
    closed: bool,
}

impl Mailbox {
    /// Says what wakes the thread, which looks here afterwards.
    pub(super) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    pub(super) fn post(&self, request: Request) -> Result<(), Error> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(Error::Closed);
        }
        let bytes = match &request {
            Request::Write(_, data) => data.len(),
            _ => 0,
        };
        let bounded = matches!(
            request,
            Request::Write(..) | Request::Apply(..) | Request::Run(_)
        );
        let full = queue.requests.len() >= MAILBOX_REQUESTS
            || overflows(queue.bytes, bytes, MAILBOX_BYTES);
        if bounded && full {
            return Err(Error::MailboxFull);
        }
        queue.bytes += bytes;
        queue.requests.push(request);
        self.full.store(true, Ordering::Release);
        drop(queue);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
        Ok(())
    }

    /// Everything that waits goes to `requests`, which is empty.
    pub(super) fn take(&self, requests: &mut Vec<Request>) {
        // Who posts wakes the thread afterwards, so that it looks again.
        if !self.full.load(Ordering::Acquire) {
            return;
        }
        let mut queue = lock(&self.queue);
        self.full.store(false, Ordering::Release);
        queue.bytes = 0;
        mem::swap(&mut queue.requests, requests);
    }

    /// Nobody looks here any more.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.bytes = 0;
        let rest = mem::take(&mut queue.requests);
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
                    .post(Request::Write(key(), Arc::clone(&mebibyte)))
                    .is_ok()
            })
            .count();
        assert_eq!(taken, MAILBOX_BYTES >> 20);
        mailbox.take(&mut Vec::new());
        let taken = (0..100_000)
            .take_while(|_| {
                mailbox
                    .post(Request::Apply(key(), Command::Pause(true)))
                    .is_ok()
            })
            .count();
        assert_eq!(taken, MAILBOX_REQUESTS);
        assert!(matches!(
            mailbox.post(Request::Apply(key(), Command::Pause(false))),
            Err(Error::MailboxFull)
        ));
        // An end is never refused.
        mailbox.post(Request::Close(key())).unwrap();
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let mailbox = Mailbox::default();
        mailbox.close();
        assert!(matches!(
            mailbox.post(Request::Close(key())),
            Err(Error::Closed)
        ));
    }
}
