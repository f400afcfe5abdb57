//! Connections that live on an I/O thread: what the loop's reactor knows of them, and what it says for them.
//!
//! See [`pool`](crate::pool) for the two sides. Here are the loop's: commands become letters, reports become events.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::{Reactor, Source};
use crate::error::Reason;
use crate::event::{Chunk, Level};
use crate::listener::Listener;
use crate::pool::{Command, Facts, Pool, Tag};
use crate::registry::Key;
use crate::socket::{self, Name};
use crate::tls::Context;

mod commands;
mod moving;
mod reports;
#[cfg(test)]
mod tests;

/// A connection of an I/O thread.
pub(super) struct Remote {
    pub(super) thread: usize,
    pub(super) tag: Tag,
    /// Its number, for the log; the thread owns it.
    pub(super) fd: RawFd,
    pub(super) peer: Option<Name>,
    pub(super) local: Option<Name>,
    pub(super) state: State,
    /// Bytes that were written, and how many of them the thread has handed to the system.
    written: u64,
    sent: Arc<AtomicU64>,
    pub(super) paused: bool,
    pub(super) writes_paused: bool,
    /// Our side is to end when all is sent: nothing more is written.
    pub(super) finished: bool,
    /// The consumer wants to hear of the next flush.
    pub(super) notify: bool,
    /// And the thread has not been told so.
    untold: bool,
    pub(super) in_flush: bool,
    pub(super) tls: Option<Box<RemoteTls>>,
    /// What came while it was paused.
    held: Option<Box<Held>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    Closing,
}

pub(super) struct RemoteTls {
    pub(super) context: Context,
    pub(super) secured: bool,
    /// From then on, where the session still had them to tell.
    pub(super) facts: Option<Box<Facts>>,
    /// The client has said what it wants, and waits for the answer.
    pub(super) asked: bool,
}

impl RemoteTls {
    /// Of a session that has just begun.
    fn new(context: Context) -> RemoteTls {
        RemoteTls {
            context,
            secured: false,
            facts: None,
            asked: false,
        }
    }
}

/// At most one read, and the ends behind it.
#[derive(Default)]
struct Held {
    data: Option<(Vec<u8>, Chunk)>,
    ended: bool,
    closed: Option<Reason>,
}

/// What the thread waits for until the consumer is done with the event that it was given last.
#[derive(Clone, Copy)]
pub(super) struct Owed {
    thread: usize,
    tag: Tag,
    drain: bool,
}

impl Remote {
    fn new(thread: usize, tag: Tag, sent: Arc<AtomicU64>) -> Remote {
        Remote {
            thread,
            tag,
            fd: -1,
            peer: None,
            local: None,
            state: State::Open,
            written: 0,
            sent,
            paused: false,
            writes_paused: false,
            finished: false,
            notify: false,
            untold: false,
            in_flush: false,
            tls: None,
            held: None,
        }
    }

    /// Bytes that are queued and not sent.
    pub(super) fn pending(&self) -> usize {
        let sent = self.sent.load(Ordering::Acquire);
        usize::try_from(self.written.saturating_sub(sent)).unwrap_or(usize::MAX)
    }

    /// As [`Connection::overflows`](crate::connection::Connection::overflows).
    fn overflows(&self, more: usize, limit: usize) -> bool {
        let pending = self.pending();
        pending > 0 && pending + more > limit
    }

    pub(super) fn is_secured(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.secured)
    }
}

/// The threads.
impl Reactor {
    /// Starts the I/O threads, if there are to be any, and lends them the listeners.
    pub(super) fn ensure_pool(&mut self) {
        let count = self.config.io_threads;
        if self.pool.is_some() || count == 0 {
            return;
        }
        let backend = self.backend;
        let started = self
            .waker()
            .and_then(|home| Pool::start(count, backend, &self.config, &home));
        match started {
            Ok(pool) => self.pool = Some(pool),
            Err(error) => {
                // The choice stays made: a server that changes its ways whenever memory is short helps nobody.
                self.config.io_threads = 0;
                let text = format!("serving without I/O threads: {error}");
                self.notice(Level::Error, text);
                return;
            }
        }
        for key in self.sources.keys() {
            self.lend(key);
            if let Some(Source::Connection(connection)) = self.sources.get(key)
                && connection.armed.is_none()
                && self.is_for_threads(connection)
            {
                self.hand_over(key);
            }
        }
    }

    /// Has the I/O threads accept for a TCP listener.
    pub(super) fn lend(&mut self, key: Key) {
        let Some(threads) = self.pool.as_ref().map(Pool::len) else {
            return;
        };
        if let Some(Source::Listener(listener)) = self.sources.get_mut(key)
            && matches!(socket::local_name(&listener.fd), Some(Name::Inet(_)))
        {
            listener.lent = true;
            self.want(key);
            for thread in 0..threads {
                self.lend_to(thread, key);
            }
        }
    }

    fn lend_to(&mut self, thread: usize, key: Key) {
        if let Some(Source::Listener(listener)) = self.sources.get(key)
            && listener.lent
            && let Some(pool) = &mut self.pool
        {
            let command = Command::Listen {
                name: key,
                fd: Arc::clone(&listener.fd),
                read_size: listener.read_size,
                paused: listener.paused,
            };
            pool.tell(thread, command);
        }
    }

    /// Says something about a listener to every thread that accepts for it.
    pub(super) fn tell_lent(
        &mut self,
        key: Key,
        f: impl Fn(&mut Reactor, Key) + Clone + Send + 'static,
    ) {
        if let Some(pool) = &mut self.pool {
            for thread in 0..pool.len() {
                pool.tell(thread, Command::Run(Tag::Loop(key), Box::new(f.clone())));
            }
        }
    }

    /// Has the threads accept no more for a listener that is about to be closed.
    pub(super) fn take_home(&mut self, key: Key, listener: &Listener) {
        let Some(pool) = &mut self.pool else {
            return;
        };
        if !listener.adopted {
            // The port is free at once, whenever the threads hear of it.
            socket::stop_listening(&listener.fd);
        }
        for thread in 0..pool.len() {
            if listener.adopted {
                // Whoever comes now is for whoever uses the socket next.
                pool.ask(thread, Tag::Loop(key), Reactor::pause);
            }
            pool.tell(thread, Command::Destroy(Tag::Loop(key)));
        }
    }

    /// In a child of fork(2), where the threads are not: lets go of the connections that were theirs.
    pub(super) fn abandon_pool(&mut self) {
        let Some(pool) = self.pool.take() else {
            return;
        };
        pool.abandon();
        for key in self.sources.keys() {
            match self.sources.get_mut(key) {
                Some(Source::Remote(_)) => {
                    self.sources.remove(key);
                    self.over.push_back((key, Reason::PeerClosed));
                }
                Some(Source::Listener(listener)) => listener.lent = false,
                _ => {}
            }
        }
    }

    /// A thread has failed, which only a mistake in this program does: its connections are lost, the server is not.
    fn replace_thread(&mut self, thread: usize) {
        self.notice(
            Level::Error,
            "an I/O thread failed, please report it with the text on standard error; its connections are lost".into(),
        );
        for key in self.sources.keys() {
            if let Some(Source::Remote(remote)) = self.sources.get(key)
                && remote.thread == thread
            {
                self.sources.remove(key);
                self.over.push_back((key, Reason::Os(Errno::PIPE)));
            }
        }
        self.owed = None;
        let backend = self.backend;
        let home = self.waker();
        let Some(pool) = &mut self.pool else {
            return;
        };
        match home.and_then(|home| pool.restart(thread, backend, &self.config, &home)) {
            Ok(()) => {
                for key in self.sources.keys() {
                    self.lend_to(thread, key);
                }
            }
            Err(error) => self.notice(Level::Error, format!("and could not be replaced: {error}")),
        }
    }

    /// Says to the threads what there is to say.
    pub(super) fn post_commands(&mut self) {
        self.settle();
        if let Some(pool) = &mut self.pool {
            pool.post();
        }
    }

    /// Whether something was written to connections of threads that nobody has been asked about yet.
    pub(super) fn owes_flush(&self) -> bool {
        self.to_flush
            .iter()
            .any(|key| matches!(self.sources.get(*key), Some(Source::Remote(_))))
    }

    /// The consumer asks for the next event, so it is done with the last one.
    pub(super) fn settle(&mut self) {
        if let Some(Owed { thread, tag, drain }) = self.owed.take() {
            self.tell(thread, Command::Release { of: tag, drain });
        }
    }

    fn tell(&mut self, thread: usize, command: Command) {
        if let Some(pool) = &mut self.pool {
            pool.tell(thread, command);
        }
    }

    fn remote(&mut self, key: Key) -> Option<&mut Remote> {
        match self.sources.get_mut(key)? {
            Source::Remote(remote) => Some(remote),
            _ => None,
        }
    }

    /// Forgets a connection. Whatever its thread still tells of it is for nobody.
    fn remove_remote(&mut self, key: Key) {
        if let Some(Source::Remote(remote)) = self.sources.remove(key)
            && let Some(pool) = &mut self.pool
        {
            pool.forget(remote.thread, remote.tag);
        }
    }

    /// Has the thread of `key` do something with it, after whatever it was told before.
    pub(super) fn tell_remote(
        &mut self,
        key: Key,
        job: impl FnOnce(&mut Reactor, Key) + Send + 'static,
    ) {
        if let Some(remote) = self.remote(key) {
            let (thread, tag) = (remote.thread, remote.tag);
            self.tell(thread, Command::Run(tag, Box::new(job)));
        }
    }

    /// Has the thread of `key` answer a question. `None` if the connection is over there.
    pub(super) fn ask_remote<R: Send + 'static>(
        &mut self,
        key: Key,
        question: impl FnOnce(&mut Reactor, Key) -> R + Send + 'static,
    ) -> Option<R> {
        let remote = self.remote(key)?;
        let (thread, tag) = (remote.thread, remote.tag);
        self.pool.as_mut()?.ask(thread, tag, question)
    }
}
