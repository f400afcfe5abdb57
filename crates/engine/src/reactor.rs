//! The turn: one owner of every source of events, and the order in which things happen.
//!
//! The files below this one each hold one part: [`sources`] and [`commands`] what goes in, [`registration`] what the poller is
//! told, [`waiting`] the wait itself, [`ready`] who is served next, [`input`] what readiness becomes, [`accepting`] listeners, [`output`] flushing and
//! closing, [`lingering`] what a close leaves for a moment, [`secure`] TLS, [`admission`] whose handshake is answered when,
//! [`credit`] what a consumer that answers later needs, [`companion`] who else may take part in the turn.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::clock;
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{Error, Reason};
use crate::event::{Chunk, Event, Level};
use crate::fork;
use crate::listener::Listener;
use crate::poller::{self, BACKENDS, Poller, Readiness};
use crate::registry::{Key, Registry};
use crate::signals::Wake;
use crate::timers::{self, TimerId, Timers};
use crate::waker::Waker;

pub(crate) use companion::Companion;
pub(crate) use ready::NEWCOMERS_SHARE;

use companion::Alone;
use ready::ReadyQueue;
use sources::Source;

mod accepting;
mod admission;
mod commands;
mod companion;
mod credit;
mod input;
mod lingering;
mod output;
mod ready;
mod registration;
mod secure;
mod sources;
mod waiting;

/// The largest read. With it a fast sender costs few system calls, and an idle connection no memory: there is one
/// buffer for all.
const READ_BUFFER: usize = 64 * 1024;

/// How long one turn may hand out I/O before timers and flushes get their turn, in nanoseconds.
const IO_TIME: u64 = 5_000_000;

/// How often the log is told of something that may happen all the time, in nanoseconds.
const REPEATED_NOTICE: u64 = 10_000_000_000;

/// How many sources are served between looks at the clock, and between flushes: an answer is sent while what it is
/// made of is still in the processor's cache, and nobody waits for it until a crowd has been read.
const SHARES_PER_FLUSH: u32 = 16;

/// Every connection, listener, watch, signal and timer of one thread, above one [`Poller`].
///
/// A reactor calls nobody: [`next_event`](Reactor::next_event) hands out what happened, and the commands record what
/// to do about it. See the [front page](crate) for the order of a turn.
///
/// It opens nothing that belongs to a process before its first turn, and notices when it was forked: the child then
/// makes a poller of its own. Parent and child must not both serve the same connections, as ever.
pub struct Reactor {
    config: Config,
    /// What was asked for by name; the poller itself is opened by the first turn.
    backend: &'static str,
    poller: Option<Box<dyn Poller>>,
    /// Of which process the poller is: see [`fork::generation`].
    process: u32,
    sources: Registry<Source>,
    /// Whose registration each descriptor number is, so that a watch on a number that was closed and given to
    /// another source can not unregister its new owner.
    registered: Vec<Option<Key>>,
    timers: Timers<Alarm>,
    signals: Vec<Key>,
    /// Has signals end the wait; above the waker, for it must go first.
    signal_wake: Option<Wake>,
    waker: Option<Waker>,
    reserve: Option<OwnedFd>,
    /// Listeners that wait for a descriptor to become free.
    resting: Vec<Key>,

    stage: Stage,
    max_wait: Option<Duration>,
    now: u64,
    io_until: u64,
    shares_until_flush: u32,
    /// Whether a flush leads back to step 5.
    io_began: bool,
    read_buffer: Box<[u8]>,
    readiness: Vec<Readiness>,

    /// Connections with something to send, in the order of their writes.
    to_flush: Vec<Key>,
    flushing: VecDeque<Key>,
    /// Sources whose wanted interest may differ from what the poller was told.
    to_arm: Vec<Key>,
    /// Sources that are ready and not exhausted.
    ready: ReadyQueue,
    /// Connections whose TLS session has input that the poller does not know of, until step 5 begins.
    backlog: Vec<Key>,
    /// Connections that are over, and whose consumer was not told yet.
    over: VecDeque<(Key, Reason)>,
    /// Signals that arrived and were not told yet.
    arrived: VecDeque<(Key, i32)>,
    /// Descriptors that outlive their connection for a moment, oldest first.
    lingering: VecDeque<Key>,
    notices: VecDeque<(Level, String)>,
    /// Whether the next share of step 5 is that of the companion.
    companion_first: bool,
    /// Whether connections have a [`Credit`](crate::connection::Credit).
    on_credit: bool,
    /// When the log was last told that too many handshakes wait.
    crowded_at: Option<u64>,
    /// When the log was last told that descriptors ran out.
    exhausted_at: Option<u64>,
    warned_of_fd_limit: bool,
}

/// Where in the turn we are. The numbers are those of the front page.
#[derive(Clone, Copy)]
enum Stage {
    /// 1: before a flush; the index is into `to_flush`.
    Predrain(usize),
    /// 1
    Flush,
    /// 2, 3, 4
    Wait,
    /// 5
    Io,
    /// 6
    Timers(timers::Due),
    /// Between turns.
    Over,
}

/// What a timer is for.
enum Alarm {
    Consumer,
    Connection(Key),
    Listener(Key),
    Lingering(Key),
}

/// An event without the borrow of the read buffer.
pub(crate) enum Step {
    Event(Event<'static>),
    Data { key: Key, len: usize, end: Chunk },
}

impl Default for Reactor {
    fn default() -> Reactor {
        Reactor::new()
    }
}

impl Reactor {
    /// A reactor with the default settings and the best poller there is.
    pub fn new() -> Reactor {
        Reactor {
            config: Config::default(),
            backend: poller::AUTO,
            poller: None,
            process: fork::generation(),
            sources: Registry::new(0),
            registered: Vec::new(),
            timers: Timers::new(),
            signals: Vec::new(),
            signal_wake: None,
            waker: None,
            reserve: None,
            resting: Vec::new(),
            stage: Stage::Over,
            max_wait: None,
            now: clock::now(),
            io_until: 0,
            shares_until_flush: 0,
            io_began: false,
            read_buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            readiness: Vec::new(),
            to_flush: Vec::new(),
            flushing: VecDeque::new(),
            to_arm: Vec::new(),
            ready: ReadyQueue::new(),
            backlog: Vec::new(),
            over: VecDeque::new(),
            arrived: VecDeque::new(),
            lingering: VecDeque::new(),
            notices: VecDeque::new(),
            companion_first: false,
            on_credit: false,
            crowded_at: None,
            exhausted_at: None,
            warned_of_fd_limit: false,
        }
    }

    /// Chooses the poller: a name of [`BACKENDS`], or `"auto"` for the best that works here.
    ///
    /// # Errors
    ///
    /// [`Error::Backend`] names the ones there are, or says why this one can not work; [`Error::BackendInUse`] after
    /// the first turn. Either way the choice stays what it was.
    pub fn set_backend(&mut self, name: &str) -> Result<(), Error> {
        drop(poller::open(name)?);
        if self.poller.is_some() {
            return Err(Error::BackendInUse);
        }
        self.backend = BACKENDS
            .iter()
            .map(|backend| backend.name)
            .find(|known| *known == name)
            .unwrap_or(poller::AUTO);
        Ok(())
    }

    /// What the poller in use, or the one that the first turn will open, calls [itself](Poller::name).
    pub fn backend(&self) -> &'static str {
        match &self.poller {
            Some(poller) => poller.name(),
            None => poller::open(self.backend).map_or(self.backend, |probed| probed.name()),
        }
    }

    /// Whether there was a turn yet: what has to be chosen before is chosen.
    pub fn has_begun(&self) -> bool {
        self.poller.is_some()
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Begins a turn. Call [`next_event`](Reactor::next_event) until it returns `None`.
    ///
    /// A turn that was left in the middle goes on where it was: no event is lost when whoever handled the last one
    /// failed.
    ///
    /// `max_wait` bounds the wait for something to happen; `None` waits for as long as nothing does, and
    /// [`Duration::ZERO`] not at all.
    pub fn begin_turn(&mut self, max_wait: Option<Duration>) {
        self.max_wait = max_wait;
        if matches!(self.stage, Stage::Over) {
            self.stage = Stage::Predrain(0);
        }
    }

    /// The next event of the turn, or `None` when it is over.
    ///
    /// Whatever the consumer did meanwhile counts: a connection that was paused delivers nothing more, and one that was
    /// destroyed nothing at all.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.next_event_with(&mut Alone)
    }

    /// The same with somebody who takes part in the turn.
    pub(crate) fn next_event_with(&mut self, companion: &mut impl Companion) -> Option<Event<'_>> {
        match self.step(companion)? {
            Step::Event(event) => Some(event),
            Step::Data { key, len, end } => Some(Event::Data {
                key,
                data: &self.read_buffer[..len],
                end,
            }),
        }
    }

    /// The next event, with its data in the [read buffer](Reactor::read_buffer).
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        self.step(&mut Alone)
    }

    fn step(&mut self, companion: &mut impl Companion) -> Option<Step> {
        loop {
            if let Some((level, text)) = self.notices.pop_front() {
                return Some(Step::Event(Event::Notice { level, text }));
            }
            if let Some((key, reason)) = self.over.pop_front() {
                return Some(Step::Event(Event::Closed { key, reason }));
            }
            if let Some((key, signal)) = self.arrived.pop_front() {
                return Some(Step::Event(Event::Signal { key, signal }));
            }
            match self.stage {
                Stage::Predrain(index) => match self.to_flush.get(index).copied() {
                    Some(key) => {
                        self.stage = Stage::Predrain(index + 1);
                        if self.wants_predrain(key) {
                            return Some(Step::Event(Event::Predrain { key }));
                        }
                    }
                    None => {
                        if let Some(key) = companion.next_predrain() {
                            return Some(Step::Event(Event::Predrain { key }));
                        }
                        self.flushing.extend(self.to_flush.drain(..));
                        self.stage = Stage::Flush;
                    }
                },
                Stage::Flush => match self.flushing.pop_front() {
                    Some(key) => {
                        if let Some(event) = self.flush(key) {
                            return Some(Step::Event(event));
                        }
                    }
                    None => {
                        companion.flush();
                        self.stage = if self.io_began {
                            Stage::Io
                        } else {
                            Stage::Wait
                        };
                    }
                },
                Stage::Wait => {
                    self.ensure_poller();
                    self.arm_all();
                    self.wait(companion);
                    self.io_began = true;
                    self.stage = Stage::Io;
                }
                Stage::Io => {
                    let accompanied = companion.has_events();
                    if self.flush_is_due(companion.takes_part(), accompanied) {
                        self.stage = Stage::Predrain(0);
                    } else if self.io_goes_on(accompanied) {
                        let step = if self.is_share_of_companion(accompanied) {
                            companion.next_share(self)
                        } else {
                            self.next_io()
                        };
                        if step.is_some() {
                            return step;
                        }
                    } else {
                        self.io_began = false;
                        self.stage = Stage::Timers(self.timers.begin_due(self.now));
                    }
                }
                Stage::Timers(due) => match self.timers.pop(due) {
                    Some((id, alarm)) => {
                        if let Some(event) = self.alarm(id, alarm) {
                            return Some(Step::Event(event));
                        }
                    }
                    None => {
                        companion.end_turn();
                        self.stage = Stage::Over;
                    }
                },
                Stage::Over => return None,
            }
        }
    }

    fn alarm(&mut self, id: TimerId, alarm: Alarm) -> Option<Event<'static>> {
        match alarm {
            Alarm::Consumer => Some(Event::Timer { id }),
            Alarm::Connection(key) => self.connection_alarm(key),
            Alarm::Listener(key) => {
                self.end_rest(key);
                None
            }
            Alarm::Lingering(key) => {
                self.remove(key, false);
                None
            }
        }
    }

    /// Has the log told.
    pub(crate) fn notice(&mut self, level: Level, text: String) {
        self.notices.push_back((level, text));
    }

    fn connection(&mut self, key: Key) -> Option<&mut Connection> {
        match self.sources.get_mut(key)? {
            Source::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    fn listener(&mut self, key: Key) -> Option<&mut Listener> {
        match self.sources.get_mut(key)? {
            Source::Listener(listener) => Some(listener),
            _ => None,
        }
    }
}

/// Whether the log is to hear again of something that may happen all the time; notes that it does.
fn is_time_to_tell(last: &mut Option<u64>, now: u64) -> bool {
    let due = last.is_none_or(|at| now >= at + REPEATED_NOTICE);
    if due {
        *last = Some(now);
    }
    due
}
