//! The threads of an [`EventLoop`](crate::EventLoop): each has a reactor of its own, whose consumer is the loop.
//!
//! ```text
//!   the loop's thread                                   an I/O thread
//!   Threads ── messages, a batch per flush ──▶ Channel ──▶ IoThread ── commands ──▶ Reactor ─▶ sockets, TLS
//!   Threads ◀──────────────── Channel ◀── reports, in batches ────── IoThread ◀── events ─── Reactor
//! ```
//!
//! A thread owns TCP connections: it accepts, reads, decrypts, encrypts and writes. The loop has a [`Remote`] for each, under the
//! key that the thread has given, and its consumer cannot tell: the same events come in the same order, and the same
//! commands work. Connections that the loop begins keep the key that the loop gave them.
//!
//! What keeps the order, and the memory bounded: connections of threads have a [`Credit`](crate::connection::Credit). What is
//! written is bounded as it is on one thread: a counter that both sides see tells how much of it the system has taken.
//!
//! The slot of a key that a thread has given is used again only when the loop has let go of the key. So of two connections
//! with one slot, the loop never knows both.
//!
//! While there is little to do, [`IoThread`](io_thread::IoThread) lies in a [slot], and the loop runs the turns of its reactor itself
//! ([`inline`]). Then the two sides of the picture are one thread, and nobody has to be woken.
//!
//! The threads start with the first turn, because Prosody forks after its ports are bound; they block all signals, end
//! with the loop, and never call anybody.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use crate::clock;
use crate::command::Command;
use crate::config::Config;
use crate::connection::{Connection, OwnSide};
use crate::fork;
use crate::reactor::{Companion, Flushes, Reactor, Step};
use crate::registry::{Key, Table};
use load::{Load, Work};
use messages::{Accepted, Facts, Message};
use remote::{Phase, Remote, Tls};
use reports::Reports;
use slot::Pulse;
use thread::Thread;

mod commands;
mod delivery;
mod inline;
mod io_thread;
mod life;
mod listeners;
mod load;
mod messages;
mod newcomers;
mod questions;
mod remote;
mod reports;
mod slot;
mod thread;

/// How often the loop, while it waits for the answer of a thread, looks whether the thread still runs.
const LIFE_SIGN: Duration = Duration::from_millis(100);

/// All threads of a loop, and what it knows of their connections. Without threads it does nothing.
pub(crate) struct Threads {
    threads: Vec<Thread>,
    /// Of which process they are: see [`fork::generation`].
    process: u32,
    /// What the last thread was numbered; no number is used twice. The loop itself is 0.
    last_number: u8,
    /// The connections, by the number of the thread that gave their keys.
    remotes: Vec<Table<Box<Remote>>>,
    listeners: Vec<listeners::Lent>,
    reports: Reports,
    /// The thread that got the last outgoing connection; the next one goes to the thread behind it.
    next: usize,
    flushes: Flushes,
    /// What a thread waits for until the consumer asks for the next event.
    owed: Option<Owed>,
    /// Connections that are no longer paused, and for which something came meanwhile.
    unheld: VecDeque<Key>,
    /// Who runs the turns of the threads' reactors.
    load: Load,
    /// How the loop gets on, for threads whose reactor the loop has.
    pulse: Arc<Pulse>,
    /// What the loop has done in this turn.
    work: Work,
    /// What [`Stats`](crate::Stats) has of these.
    given_to_threads: u64,
    taken_from_threads: u64,
}

/// What the thread waits for until the consumer is done with the event that it was given last.
#[derive(Clone, Copy)]
struct Owed {
    thread: usize,
    key: Key,
    drain: bool,
}

/// Beginning and ending.
impl Threads {
    /// No threads yet.
    pub(crate) fn new() -> Threads {
        Threads {
            threads: Vec::new(),
            process: fork::generation(),
            last_number: 0,
            remotes: Vec::new(),
            listeners: Vec::new(),
            reports: Reports::new(),
            next: 0,
            flushes: Flushes::default(),
            owed: None,
            unheld: VecDeque::new(),
            load: Load::new(clock::now()),
            pulse: Arc::default(),
            work: Work::default(),
            given_to_threads: 0,
            taken_from_threads: 0,
        }
    }

    #[inline]
    pub(crate) fn are_running(&self) -> bool {
        !self.threads.is_empty()
    }

    /// Replaces the settings of all threads.
    pub(crate) fn configure(&mut self, local: &Reactor) {
        let count = self.threads.len();
        for (index, thread) in self.threads.iter_mut().enumerate() {
            let config = Box::new(share(local, index, count));
            thread.outgoing.push(Message::Configure(config));
        }
    }
}

impl Drop for Threads {
    /// Waits for each, where it is one of this process.
    fn drop(&mut self) {
        if self.process != fork::generation() {
            self.threads.drain(..).for_each(std::mem::forget);
        }
    }
}

/// Connections.
impl Threads {
    #[inline]
    pub(crate) fn has(&self, key: Key) -> bool {
        !self.remotes.is_empty() && self.remote(key).is_some()
    }

    /// How many connections the threads serve.
    pub(crate) fn len(&self) -> usize {
        self.remotes.iter().map(Table::len).sum()
    }

    fn remote(&self, key: Key) -> Option<&Remote> {
        let remote = self.remotes.get(usize::from(key.thread()))?.get(key)?;
        Some(remote)
    }

    fn remote_mut(&mut self, key: Key) -> Option<&mut Remote> {
        let remotes = self.remotes.get_mut(usize::from(key.thread()))?;
        Some(remotes.get_mut(key)?)
    }

    fn insert(&mut self, key: Key, remote: Box<Remote>) {
        if let Some(remotes) = self.remotes.get_mut(usize::from(key.thread())) {
            remotes.insert(key, remote);
        }
    }

    fn remove(&mut self, key: Key) -> Option<Box<Remote>> {
        self.remotes.get_mut(usize::from(key.thread()))?.remove(key)
    }

    /// Forgets a connection. Whatever its thread still tells of it is for nobody.
    fn forget(&mut self, local: &mut Reactor, key: Key) {
        if let Some(remote) = self.remove(key) {
            self.let_go(local, remote.thread, key);
        }
    }

    /// Nobody here uses the key any more: the connection ends if it has not, and its slot may be used again.
    fn let_go(&mut self, local: &mut Reactor, thread: usize, key: Key) {
        self.tell(thread, key, Command::Destroy);
        local.free(key);
    }

    /// Takes in a connection that is being made, before anything has happened to it: a thread gets it.
    pub(crate) fn take_in(&mut self, local: &mut Reactor, connection: Connection) -> Key {
        let key = local.take_in(connection);
        self.hand_over(local, key);
        key
    }

    /// Gives a connection that is being made to a thread, with all that was said of it.
    fn hand_over(&mut self, local: &mut Reactor, key: Key) {
        let (peer, name) = (local.peer_name(key), local.local_name(key));
        let Some(connection) = local.hand_over(key) else {
            return;
        };
        self.next = (self.next + 1) % self.threads.len();
        let told = Accepted {
            fd: connection.fd.as_raw_fd(),
            peer,
            local: name,
            proxied: None,
            sent: connection.sent(),
        };
        let mut remote = Remote::new(self.next, Phase::Connecting, told);
        remote.written = connection.pending() as u64;
        remote.paused = connection.paused;
        remote.writes_paused = connection.writes_paused;
        remote.finished = connection.own_side != OwnSide::Open;
        remote.notify = connection.notify;
        let tls = connection.tls.as_ref();
        remote.tls = tls.map(|session| Tls::new(session.context().clone()));
        self.insert(key, remote);
        self.queue_flush(key);
        let outgoing = &mut self.threads[self.next].outgoing;
        outgoing.push(Message::Connect(key, connection));
    }
}

/// What is said.
impl Threads {
    /// Has one thread apply a command. It is sent with the next post.
    fn tell(&mut self, thread: usize, key: Key, command: Command) {
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.outgoing.push(Message::Apply(key, command));
        }
    }

    /// The consumer asks for the next event, so it is done with the last one.
    pub(crate) fn settle(&mut self) {
        if let Some(Owed { thread, key, drain }) = self.owed.take() {
            self.threads[thread].outgoing.push(if drain {
                Message::ReleaseDrain(key)
            } else {
                Message::Release(key)
            });
        }
    }

    /// Has the threads carry out what was said, and send what was written.
    fn send(&mut self) {
        for thread in &mut self.threads {
            thread.flush();
        }
    }

    /// Whether there is something to tell that the consumer has not heard.
    fn has_told(&self) -> bool {
        !self.unheld.is_empty() || self.reports.has_any(&self.threads)
    }

    /// Has the thread of `key` answer a question, and waits for it: between two events of the thread, so not long. `None`:
    /// there is no such connection here, or its thread has failed.
    pub(crate) fn ask<R: Send + 'static>(
        &mut self,
        key: Key,
        question: impl FnOnce(&mut Reactor, Key) -> R + Send + 'static,
    ) -> Option<R> {
        let thread = self.remote(key)?.thread;
        self.ask_thread(thread, key, question)
    }

    fn ask_thread<R: Send + 'static>(
        &mut self,
        thread: usize,
        key: Key,
        question: impl FnOnce(&mut Reactor, Key) -> R + Send + 'static,
    ) -> Option<R> {
        if self.process != fork::generation() {
            return None;
        }
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let thread = &mut self.threads[thread];
        let question = Box::new(move |reactor: &mut Reactor, key| {
            let _ = answer.send(question(reactor, key));
        });
        thread.outgoing.push(Message::Ask(key, question));
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
}

impl Companion for Threads {
    fn takes_part(&self) -> bool {
        true
    }

    fn next_predrain(&mut self) -> Option<Key> {
        while let Some(key) = self.flushes.next_to_ask() {
            if self.remote(key).is_some_and(Remote::wants_predrain) {
                return Some(key);
            }
        }
        None
    }

    fn flush(&mut self) {
        self.flushes.begin();
        while let Some(key) = self.flushes.next() {
            self.flush_one(key);
            self.work.written += 1;
        }
        self.send();
    }

    fn before_wait(&mut self, local: &mut Reactor) -> Option<Duration> {
        self.prepare_wait(local)
    }

    fn can_be_read(&mut self, number: usize) {
        self.note_ready(number);
    }

    fn after_wait(&mut self, now: u64, waited: u64) {
        self.end_wait(now, waited);
    }

    fn has_events(&self) -> bool {
        self.has_told() || self.is_any_ready()
    }

    fn next_share(&mut self, local: &mut Reactor) -> Option<Step> {
        let served = if self.has_told() {
            None
        } else {
            self.serve_ready(local)
        };
        served.or_else(|| self.deliver(local))
    }

    /// There may be no next turn. What is to be flushed in one waits for those who want to add to it.
    fn end_turn(&mut self) {
        if self.flushes.is_empty() {
            self.send();
        }
    }
}

/// What one of `count` threads is told: together they keep to the limits.
fn share(local: &Reactor, index: usize, count: usize) -> Config {
    let config = local.config();
    let most = local.most_connections();
    let extra = usize::from(index < most % count);
    Config {
        io_threads: 0,
        max_waiting_handshakes: config.max_waiting_handshakes.div_ceil(count),
        max_newcomers: config.max_newcomers.div_ceil(count),
        max_connections: Some(most / count + extra),
        ..config.clone()
    }
}
