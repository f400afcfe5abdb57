//! I/O threads under one reactor: `N` reactors on `N` threads, whose consumer is the loop's.
//!
//! ```text
//!   the loop's thread                                an I/O thread
//!   Reactor ── commands, a batch per flush ──▶ Mailbox ──▶ Worker ── commands ──▶ Reactor ─▶ sockets, TLS
//!   Reactor ◀────────────── Mailbox ◀── reports, in batches ──────── Worker ◀── events ─── Reactor
//! ```
//!
//! An I/O thread owns TCP connections: it accepts, reads, decrypts, encrypts and writes. To the loop's reactor such a
//! connection is a [`Source::Remote`](crate::reactor), under a key like any other, and its consumer can not tell: the same
//! events come in the same order, and the same commands work.
//!
//! What keeps the order, and the memory bounded: a connection delivers one read at a time. Until the loop has dealt with
//! it, which a `Release` says, the thread does not read on. So what the loop pauses, closes or turns to TLS while it deals
//! with some data has no more data behind it, and no peer can fill a queue. What is written is bounded as it is
//! without threads: a counter that both sides see tells how much of it the system has taken.
//!
//! A thread tells of newcomers in a mailbox of their own, and the loop reads more of the other: so those who are in do not
//! wait for all who log in at the same time. See [`ready`](crate::reactor::ready) for the same without threads.
//!
//! The threads start with the first turn, because Prosody forks after its ports are bound; they block all signals, end
//! with the reactor, and never call anybody.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use crate::config::Config;
use crate::error::Error;
use crate::reactor::Reactor;
use crate::reactor::ready::NEWCOMERS_SHARE;
use crate::registry::Key;
use crate::waker::Waker;

pub(crate) use letters::{Command, Facts, Job, Report, Tag, What};
use mailbox::Mailbox;
use newcomers::Newcomers;
use thread::Thread;
pub(crate) use worker::Accepted;

mod letters;
mod mailbox;
#[cfg(test)]
mod mailbox_tests;
mod newcomers;
mod thread;
mod worker;

/// How often whoever waits for a thread's answer looks whether there still is a thread.
const LIFE_SIGN: Duration = Duration::from_millis(100);

/// What is shared by the two threads.
pub(crate) struct Post {
    commands: Mailbox<Command>,
    reports: Mailbox<Report>,
    /// Of newcomers, each with the number of reads that the loop has dealt with before.
    newcomers: Mailbox<(u8, Report)>,
    home: Waker,
    stop: AtomicBool,
}

impl Post {
    /// With nothing in it, of a loop that `home` wakes.
    fn new(home: Waker) -> Post {
        Post {
            commands: Mailbox::new(),
            reports: Mailbox::new(),
            newcomers: Mailbox::new(),
            home,
            stop: AtomicBool::new(false),
        }
    }
}

pub(crate) struct Pool {
    threads: Vec<Thread>,
    /// Who gets the next outgoing connection.
    next: usize,
    /// Whose reports are being read.
    reading: usize,
    newcomers: Newcomers,
    /// What the last report speaks of, if it was a newcomer's.
    bytes: Option<Box<[u8]>>,
    shares: u32,
}

impl Pool {
    /// Starts `count` threads, each with a poller like `backend`, which wake the loop through `home`.
    pub(crate) fn start(
        count: usize,
        backend: &str,
        config: &Config,
        home: &Waker,
    ) -> Result<Pool, Error> {
        let mut threads = Vec::with_capacity(count);
        for index in 0..count {
            threads.push(Thread::start(
                index,
                backend,
                share(config, index, count),
                home,
            )?);
        }
        Ok(Pool {
            threads,
            next: 0,
            reading: 0,
            newcomers: Newcomers::new(),
            bytes: None,
            shares: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.threads.len()
    }

    /// Which thread takes the next outgoing connection.
    pub(crate) fn choose(&mut self) -> usize {
        self.next = (self.next + 1) % self.threads.len();
        self.next
    }

    /// Says something to one thread, with the next [`post`](Pool::post).
    pub(crate) fn tell(&mut self, thread: usize, command: Command) {
        self.threads[thread].outgoing.push(command);
    }

    pub(crate) fn write(&mut self, thread: usize, to: Tag, data: &[u8], notify: bool) {
        let len = data.len();
        self.threads[thread]
            .outgoing
            .push_with(Command::Write { to, len, notify }, data);
    }

    pub(crate) fn configure(&mut self, config: &Config) {
        let count = self.threads.len();
        for (index, thread) in self.threads.iter_mut().enumerate() {
            let config = Box::new(share(config, index, count));
            thread.outgoing.push(Command::Configure(config));
        }
    }

    /// Hands over what was said. Threads that wait are woken.
    pub(crate) fn post(&mut self) {
        for thread in &mut self.threads {
            thread.post();
        }
    }

    /// Whether there are reports that were not read.
    pub(crate) fn has_reports(&self) -> bool {
        !self.newcomers.is_empty()
            || self.threads.iter().any(|thread| {
                !thread.reports.is_empty()
                    || !thread.post.reports.is_empty()
                    || !thread.post.newcomers.is_empty()
            })
    }

    /// The next report, with the number of its thread.
    pub(crate) fn next_report(&mut self) -> Option<(usize, Report)> {
        self.shares = self.shares.wrapping_add(1);
        if self.shares.is_multiple_of(NEWCOMERS_SHARE) {
            self.next_of_newcomers()
                .or_else(|| self.next_of_established())
        } else {
            self.next_of_established()
                .or_else(|| self.next_of_newcomers())
        }
    }

    /// Of one thread what it has handed over, then of the next one.
    fn next_of_established(&mut self) -> Option<(usize, Report)> {
        self.bytes = None;
        for _ in 0..=self.threads.len() {
            let thread = &mut self.threads[self.reading];
            if let Some(report) = thread.reports.next() {
                return Some((self.reading, report));
            }
            self.reading = (self.reading + 1) % self.threads.len();
            let thread = &mut self.threads[self.reading];
            if thread.reports.is_empty() {
                thread.reports.take(&thread.post.reports);
            }
        }
        None
    }

    fn next_of_newcomers(&mut self) -> Option<(usize, Report)> {
        for (index, thread) in self.threads.iter_mut().enumerate() {
            if thread.newcomers.take(&thread.post.newcomers) {
                self.newcomers.sort(index, &mut thread.newcomers);
            }
        }
        let (thread, report, bytes) = self.newcomers.next()?;
        self.bytes = Some(bytes);
        Some((thread, report))
    }

    /// The bytes that the report speaks of that was read last.
    pub(crate) fn bytes(&mut self, thread: usize, len: usize) -> &[u8] {
        match &self.bytes {
            Some(bytes) => bytes,
            None => self.threads[thread].reports.bytes(len),
        }
    }

    /// Notes the loop's key of a connection that a thread has accepted.
    pub(crate) fn name(&mut self, thread: usize, theirs: Key, ours: Key) {
        let accepted = &mut self.threads[thread].accepted;
        if accepted.len() <= theirs.index() {
            accepted.resize(theirs.index() + 1, None);
        }
        if let Some((earlier, ours)) = accepted[theirs.index()].replace((theirs, ours)) {
            self.threads[thread].overtaken.insert(earlier, ours);
        }
    }

    /// The loop knows that connection no more.
    pub(crate) fn forget(&mut self, thread: usize, tag: Tag) {
        let Tag::Thread(theirs) = tag else {
            return;
        };
        let thread = &mut self.threads[thread];
        match thread.accepted.get_mut(theirs.index()) {
            Some(place) if place.is_some_and(|(known, _)| known == theirs) => *place = None,
            _ => {
                thread.overtaken.remove(&theirs);
            }
        }
    }

    /// The loop's key of what a report is about.
    pub(crate) fn key(&self, thread: usize, tag: Tag) -> Option<Key> {
        match tag {
            Tag::Loop(key) => Some(key),
            Tag::Thread(theirs) => match self.threads[thread].accepted.get(theirs.index())? {
                Some((known, ours)) if *known == theirs => Some(*ours),
                _ => self.threads[thread].overtaken.get(&theirs).copied(),
            },
        }
    }

    /// Has the thread run `question` and waits for the answer: between two events of the thread, so not long. `None`: the
    /// connection is gone there, or the thread has failed.
    pub(crate) fn ask<R: Send + 'static>(
        &mut self,
        thread: usize,
        about: Tag,
        question: impl FnOnce(&mut Reactor, Key) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let job: Job = Box::new(move |reactor, key| {
            let _ = answer.send(question(reactor, key));
        });
        self.tell(thread, Command::Run(about, job));
        let thread = &mut self.threads[thread];
        thread.post();
        loop {
            match answered.recv_timeout(LIFE_SIGN) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Disconnected) => return None,
                // The question of a thread that has failed is never thrown away.
                Err(RecvTimeoutError::Timeout) if thread.is_over() => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Replaces a thread that has failed.
    pub(crate) fn restart(
        &mut self,
        thread: usize,
        backend: &str,
        config: &Config,
        home: &Waker,
    ) -> Result<(), Error> {
        let config = share(config, thread, self.threads.len());
        self.newcomers.forget(thread);
        self.threads[thread] = Thread::start(thread, backend, config, home)?;
        Ok(())
    }

    /// In a child of fork(2) there are no threads to end, and whatever lock they held is held for ever.
    pub(crate) fn abandon(mut self) {
        for thread in self.threads.drain(..) {
            std::mem::forget(thread);
        }
    }
}

/// What one of `count` threads is told: together they keep to the limits.
fn share(config: &Config, index: usize, count: usize) -> Config {
    let most = config.max_connections;
    let extra = usize::from(index < most % count);
    Config {
        io_threads: 0,
        max_waiting_handshakes: config.max_waiting_handshakes.div_ceil(count),
        max_connections: if most == usize::MAX {
            most
        } else {
            most / count + extra
        },
        ..config.clone()
    }
}
