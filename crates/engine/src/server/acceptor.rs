//! Accepting for all threads, and dealing what was accepted out to them in turn.
//!
//! Listening sockets of each thread's own (SO_REUSEPORT) would spare the handing over, but there the system's hash of the
//! addresses decides who gets what: of 400 connections from one machine on four threads, in 4 of 60 runs a thread was more
//! than a fifth off its share. Dealing is even to the connection, and does for sockets that were inherited, too.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::Notice;
use super::mailbox::{Mailbox, Request};
use super::place::{Places, Plan};
use crate::clock;
use crate::event::{Event, Level};
use crate::listener::{self, Accept, Gate, Listener};
use crate::poller::Interest;
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::sync::lock;
use crate::timers::TimerId;
use crate::waker::Waker;

/// What ends the accepting, from any thread.
#[derive(Default)]
pub(super) struct Stop {
    deadline: Mutex<Option<Instant>>,
    /// What the accepting thread is to let go of: see [`Probe`](super::Probe).
    probes: Mutex<Vec<Arc<()>>>,
    waker: Arc<OnceLock<Waker>>,
}

impl Stop {
    /// The first deadline counts.
    pub(super) fn at(&self, deadline: Instant) {
        lock(&self.deadline).get_or_insert(deadline);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    pub(super) fn probe(&self, asked: Arc<()>) {
        let mut probes = lock(&self.probes);
        if self.deadline().is_some() {
            // The thread may be gone already.
            return;
        }
        probes.push(asked);
        drop(probes);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        *lock(&self.deadline)
    }
}

struct Door {
    listener: Listener,
    watch: Key,
    plan: Arc<Plan>,
    places: Arc<Places>,
    /// After a refusal of the system: when to try again.
    rest: Option<TimerId>,
    /// How many places were taken when it began.
    taken_at_rest: usize,
}

pub(super) struct Acceptor {
    reactor: Reactor,
    doors: Vec<Door>,
    threads: Vec<Arc<Mailbox>>,
    next: usize,
    gate: Gate,
    notice: Notice,
    stop: Arc<Stop>,
}

impl Acceptor {
    /// # Errors
    ///
    /// Out of descriptors, or the poller cannot hold one.
    pub(super) fn new(
        mut reactor: Reactor,
        listeners: Vec<(Listener, Plan)>,
        threads: Vec<Arc<Mailbox>>,
        notice: Notice,
        stop: Arc<Stop>,
    ) -> Result<Acceptor, crate::Error> {
        let _ = stop.waker.set(reactor.waker()?);
        let mut doors = Vec::new();
        for (listener, plan) in listeners {
            // SAFETY: the door owns the listener, and lives as long as the reactor.
            #[allow(unsafe_code)]
            let watch = unsafe { reactor.watch(listener.fd.as_raw_fd(), Interest::READ)? };
            doors.push(Door {
                watch,
                listener,
                plan: Arc::new(plan),
                places: Places::new(&stop.waker),
                rest: None,
                taken_at_rest: 0,
            });
        }
        let mut gate = Gate::new();
        gate.open();
        Ok(Acceptor {
            reactor,
            doors,
            threads,
            next: 0,
            gate,
            notice,
            stop,
        })
    }

    /// Accepts until it is told to stop; gives the deadline of the end.
    pub(super) fn run(mut self) -> Instant {
        loop {
            let deadline = self.stop.deadline();
            // After that look: what comes later finds the deadline itself.
            lock(&self.stop.probes).clear();
            if let Some(deadline) = deadline {
                // Before the descriptors are closed.
                for door in &self.doors {
                    self.reactor.close(door.watch);
                }
                return deadline;
            }
            for index in 0..self.doors.len() {
                self.reopen(index);
            }
            self.reactor.begin_turn(None);
            while let Some(event) = self.reactor.next_event() {
                match event {
                    Event::Ready { key, .. } => {
                        if let Some(index) = self.doors.iter().position(|door| door.watch == key) {
                            self.accept(index);
                        }
                    }
                    Event::Timer { id } => {
                        for door in &mut self.doors {
                            if door.rest == Some(id) {
                                door.rest = None;
                            }
                        }
                    }
                    Event::Notice { level, text } => (self.notice)(level, &text),
                    _ => {}
                }
            }
        }
    }

    fn most(&self) -> usize {
        self.reactor.config().max_connections
    }

    /// Has a door watched exactly while it may accept.
    fn reopen(&mut self, index: usize) {
        let most = self.most();
        let Some(door) = self.doors.get_mut(index) else {
            return;
        };
        // Said before looking: a place that becomes free in between wakes us.
        door.places.wait_for_one(true);
        let taken = door.places.taken();
        if let Some(timer) = door.rest
            && taken < door.taken_at_rest
        {
            self.reactor.cancel_timer(timer);
            door.rest = None;
        }
        let open = door.rest.is_none() && taken < most;
        door.places.wait_for_one(!open);
        let interest = if open { Interest::READ } else { Interest::NONE };
        // The watch is there for as long as the door.
        let _ = self.reactor.set_watch(door.watch, interest);
    }

    /// A batch of connections.
    fn accept(&mut self, index: usize) {
        let most = self.most();
        for _ in 0..listener::BATCH {
            let Some(door) = self.doors.get_mut(index) else {
                return;
            };
            if door.places.taken() >= most {
                return;
            }
            match self.gate.accept(&mut door.listener, false) {
                Accept::Connection(fd, peer) => {
                    let place = door.places.take();
                    let plan = Arc::clone(&door.plan);
                    self.deal(Request::Adopt {
                        fd,
                        peer,
                        plan,
                        place,
                    });
                }
                Accept::Nothing | Accept::MakeRoom => return,
                Accept::TurnedAway(peer) => {
                    let text = self.gate.turned_away(peer, clock::now());
                    self.warn(text);
                }
                Accept::Refused(errno) => {
                    let retry = self.reactor.config().accept_retry_interval;
                    let (rest, text) =
                        self.gate
                            .rests(&mut door.listener, errno, retry, clock::now());
                    door.rest = Some(self.reactor.set_timer(rest));
                    door.taken_at_rest = door.places.taken();
                    self.warn(text);
                    return;
                }
            }
        }
    }

    fn deal(&mut self, request: Request) {
        if let Some(mailbox) = self.threads.get(self.next) {
            // Closed only after this thread has ended.
            let _ = mailbox.post(request);
        }
        self.next = (self.next + 1) % self.threads.len().max(1);
    }

    fn warn(&self, text: Option<String>) {
        if let Some(text) = text {
            (self.notice)(Level::Error, &text);
        }
    }
}
