//! Accepting for all threads, and dealing what was accepted out to them in turn.
//!
//! Listening sockets of each thread's own (SO_REUSEPORT) would spare the handing over, but there the system's hash of the
//! addresses decides who gets what: of 400 connections from one machine on four threads, in 4 of 60 runs a thread was more
//! than a fifth off its share. Dealing is even to the connection, and does for sockets that were inherited, too.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::mailbox::{Mailbox, Request};
use super::place::{Places, Plan};
use super::{Notice, tell};
use crate::addresses::{INTERVAL, Noted};
use crate::clock::{self, LastNotice};
use crate::event::{Event, Level};
use crate::listener::{self, Accept, Gate, Listener};
use crate::listener_info::ListenerInfo;
use crate::name::Name;
use crate::poller::Interest;
use crate::reactor::{FULL, Reactor};
use crate::registry::Key;
use crate::socket;
use crate::stats::Stats;
use crate::sync::lock;
use crate::timers::TimerId;
use crate::waker::Waker;

/// What the accepting thread has to tell of itself.
#[derive(Clone, Default)]
pub(super) struct Accepting {
    pub(super) stats: Stats,
    pub(super) places: Option<Arc<Places>>,
    /// How many places there are.
    pub(super) most: usize,
    /// The listeners, each under the key of its watch.
    doors: Vec<(Key, Option<Name>, Arc<Plan>)>,
}

impl Accepting {
    /// What is known of the listeners.
    pub(super) fn listeners(&self) -> Vec<ListenerInfo> {
        let listeners = self.doors.iter().map(|(key, name, plan)| ListenerInfo {
            key: *key,
            name: name.clone(),
            accepted: plan.accepted.load(Ordering::Relaxed),
            refused: plan.refused.load(Ordering::Relaxed),
            open: plan.open.load(Ordering::Relaxed),
        });
        listeners.collect()
    }
}

/// What ends the accepting, from any thread.
#[derive(Default)]
pub(super) struct Stop {
    deadline: Mutex<Option<Instant>>,
    /// What the accepting thread is to let go of: see [`Probe`](super::Probe).
    probes: Mutex<Vec<Arc<()>>>,
    accepting: Mutex<Accepting>,
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

    /// What the accepting thread has to tell of itself.
    pub(super) fn accepting(&self) -> Accepting {
        lock(&self.accepting).clone()
    }

    fn deadline(&self) -> Option<Instant> {
        *lock(&self.deadline)
    }
}

struct Door {
    listener: Listener,
    watch: Key,
    plan: Arc<Plan>,
    /// After a refusal of the system: when to try again.
    rest: Option<TimerId>,
    /// How many places were taken when it began.
    taken_at_rest: usize,
}

pub(super) struct Acceptor {
    reactor: Reactor,
    doors: Vec<Door>,
    /// Of all doors but those of UNIX sockets.
    places: Arc<Places>,
    threads: Vec<Arc<Mailbox>>,
    next: usize,
    gate: Gate,
    full_notice: LastNotice,
    /// Ends the interval of what is told of those who are refused.
    report: Option<TimerId>,
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
        let places = Places::new(&stop.waker);
        let mut doors: Vec<Door> = Vec::new();
        let mut told = Vec::new();
        for (listener, mut plan) in listeners {
            plan.places = (!listener.is_local).then(|| Arc::clone(&places));
            let plan = Arc::new(plan);
            // SAFETY: the door owns the listener, and lives as long as the reactor.
            #[allow(unsafe_code)]
            let watch = unsafe { reactor.watch(listener.fd.as_raw_fd(), Interest::READ)? };
            let name = socket::local_name(&listener.fd);
            told.push((watch, name, Arc::clone(&plan)));
            doors.push(Door {
                watch,
                listener,
                plan,
                rest: None,
                taken_at_rest: 0,
            });
        }
        reactor.count_places();
        let mut gate = Gate::new(reactor.common().addresses);
        gate.open();
        *lock(&stop.accepting) = Accepting {
            stats: Stats::default(),
            places: Some(Arc::clone(&places)),
            most: reactor.most_connections(),
            doors: told,
        };
        Ok(Acceptor {
            reactor,
            doors,
            places,
            threads,
            next: 0,
            gate,
            full_notice: LastNotice::default(),
            report: None,
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
            self.reopen();
            self.reactor.begin_turn(None);
            while let Some(event) = self.reactor.next_event() {
                match event {
                    Event::Ready { key, .. } => {
                        if let Some(index) = self.doors.iter().position(|door| door.watch == key) {
                            self.accept(index);
                        }
                    }
                    Event::Timer { id } if self.report == Some(id) => {
                        let noted = self.gate.addresses.report(clock::now());
                        self.tell(noted);
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

    /// Has each door watched exactly while it may accept.
    fn reopen(&mut self) {
        let most = self.reactor.most_connections();
        // Said before looking: a place that becomes free in between wakes us.
        self.places.wait_for_one(true);
        let taken = self.places.taken();
        let mut all_open = true;
        for door in &mut self.doors {
            if let Some(timer) = door.rest
                && taken < door.taken_at_rest
            {
                self.reactor.cancel_timer(timer);
                door.rest = None;
            }
            let has_room = taken < most || door.listener.is_local;
            let open = door.rest.is_none() && has_room;
            all_open &= open;
            let interest = if open { Interest::READ } else { Interest::NONE };
            // The watch is there for as long as the door.
            let _ = self.reactor.set_watch(door.watch, interest);
        }
        self.places.wait_for_one(!all_open);
    }

    /// A batch of connections.
    fn accept(&mut self, index: usize) {
        let most = self.reactor.most_connections();
        for _ in 0..listener::BATCH {
            let Some(door) = self.doors.get_mut(index) else {
                return;
            };
            let now = clock::now();
            let takes_place = !door.listener.is_local;
            if takes_place && self.places.taken() >= most {
                self.count(|stats| stats.times_full += 1);
                if self.full_notice.is_due(now) {
                    tell(&self.notice, Level::Warn, FULL);
                }
                return;
            }
            match self
                .gate
                .accept(&mut door.listener, index as u64, false, now)
            {
                Accept::Connection(fd, peer, visit) => {
                    let place = door.plan.take_place();
                    let plan = Arc::clone(&door.plan);
                    self.count(|stats| stats.accepted += 1);
                    self.deal(Request::Adopt {
                        fd,
                        peer,
                        visit,
                        plan,
                        place,
                    });
                }
                Accept::Unwelcome(peer, refusal) => {
                    door.plan.refused.fetch_add(1, Ordering::Relaxed);
                    self.count(|stats| refusal.count(stats));
                    let noted = self.gate.addresses.refused(refusal, peer.ip(), now);
                    self.tell(noted);
                }
                Accept::Nothing | Accept::MakeRoom => return,
                Accept::TurnedAway(peer) => {
                    door.plan.refused.fetch_add(1, Ordering::Relaxed);
                    self.count(|stats| stats.turned_away += 1);
                    let text = self.gate.turned_away(peer, now);
                    self.warn(text);
                }
                Accept::Refused(errno) => {
                    let retry = self.reactor.config().accept_retry_interval;
                    let (rest, text) = self.gate.rests(&mut door.listener, errno, retry, now);
                    door.rest = Some(self.reactor.set_timer(rest));
                    door.taken_at_rest = self.places.taken();
                    self.warn(text);
                    return;
                }
            }
        }
    }

    fn count(&self, add: impl FnOnce(&mut Stats)) {
        add(&mut lock(&self.stop.accepting).stats);
    }

    fn deal(&mut self, request: Request) {
        if let Some(mailbox) = self.threads.get(self.next) {
            // Closed only after this thread has ended.
            let _ = mailbox.post(request);
        }
        self.next = (self.next + 1) % self.threads.len().max(1);
    }

    /// What the log is to hear of those who were refused.
    fn tell(&mut self, noted: Noted) {
        for (level, text) in noted.lines {
            tell(&self.notice, level, &text);
        }
        if noted.report_later {
            let after = Duration::from_nanos(INTERVAL);
            self.report = Some(self.reactor.set_timer(after));
        }
    }

    fn warn(&self, text: Option<String>) {
        if let Some(text) = text {
            tell(&self.notice, Level::Error, &text);
        }
    }
}
