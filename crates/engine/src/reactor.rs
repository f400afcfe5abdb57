//! The turn: one owner of every source of events, and the order in which things happen.
//!
//! The files below this one each hold one part: [`opening`] and [`commands`] what goes in, [`registration`] what the poller is
//! told, [`waiting`] the wait itself, [`ready`] who is served next, [`input`] what readiness becomes, and [`straight`] where that is as usual, [`accepting`] listeners, [`places`] how many connections they may have, [`output`] flushing and
//! closing, [`alarms`] what time brings, [`lingering`] what a close leaves for a moment, [`tls`] TLS, [`handshakes`] whose handshake is answered when,
//! [`newcomers`] who is not established yet, [`credit`] what a consumer that answers later needs, [`inline`] what another loop needs that runs its turns, [`memory`] who ends when all hold too much, [`companion`] who else may take part in the turn,
//! [`measuring`] what is in use, [`proxied`] what a proxy says before its client, [`strangers`] what is told of those who are refused and of those who fail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::addresses::Addresses;
use crate::clock::LastNotice;
use crate::config::Config;
use crate::connection::{Connection, READ_BUFFER};
use crate::error::Error;
use crate::event::{Chunk, Event, Level};
use crate::listener::{Gate, Listener};
use crate::memory::Account;
use crate::name::Name;
use crate::poller::Readiness;
use crate::read_buffer::ReadBuffer;
use crate::registry::{Key, Registry};
use crate::spans;
use crate::spares::Spares;
use crate::stats::Stats;
use crate::tallies::Tallies;
use crate::timers::{TimerId, Timers};

pub(crate) use common::Common;
pub(crate) use companion::Companion;
pub(crate) use flushes::Flushes;
pub(crate) use places::FULL;
#[cfg(test)]
pub(crate) use places::raise_descriptor_limit;
pub(crate) use ready::NEWCOMERS_SHARE;
pub(crate) use waiting::shorter;

use alarms::Alarm;
use companion::Alone;
use places::Places;
use polling::Polling;
use ready::ReadyQueue;
use source::Source;
use straight::Served;
use turn::{Stage, Turn};
use untold::Untold;

mod accepting;
mod alarms;
mod commands;
mod common;
mod companion;
mod credit;
mod crowds;
mod datagrams;
mod flushes;
mod handshakes;
mod inline;
mod input;
mod lingering;
mod measuring;
mod memory;
mod newcomers;
mod opening;
mod output;
mod places;
mod polling;
mod proxied;
mod ready;
mod registration;
mod source;
mod straight;
mod strangers;
mod tls;
mod turn;
mod untold;
mod waiting;

/// Every connection, listener, watch, signal and timer of one thread, above one [`Poller`](crate::Poller).
///
/// A reactor calls nobody: [`next_event`](Reactor::next_event) hands out what happened, and the commands record what
/// to do about it. See the [front page](crate) for the order of a turn.
///
/// It opens nothing that belongs to a process before its first turn, and notices when it was forked: the child then
/// makes a poller of its own. Parent and child must not both serve the same connections, as ever.
pub struct Reactor {
    config: Config,
    sources: Registry<Source>,
    timers: Timers<Alarm>,
    turn: Turn,
    polling: Polling,
    /// Sources whose interest or deadline may differ from what the poller and the timers were told.
    changed: Vec<Key>,
    /// Those of which the poller could not be told, and the timer that has it told again.
    refused: Vec<Key>,
    telling_again: Option<TimerId>,
    refused_notice: LastNotice,
    wait_notice: LastNotice,
    readiness: Vec<Readiness>,
    /// Sources that are ready and not exhausted.
    ready: ReadyQueue,
    /// Connections whose TLS session has input that the poller does not know of, until step 5 begins.
    backlog: Vec<Key>,
    read_buffer: ReadBuffer,
    flushes: Flushes,
    /// Out-queues of what was sent, for what is written next.
    spares: Spares,
    untold: Untold,
    /// The signals that are watched.
    signals: Vec<Key>,
    gate: Gate,
    places: Places,
    /// Listeners that wait for a descriptor to become free.
    resting: Vec<Key>,
    /// Descriptors that outlive their connection for a moment, oldest first.
    lingering: VecDeque<Key>,
    /// Whether connections have a [`Credit`](crate::connection::Credit).
    on_credit: bool,
    /// That PROXY headers were refused.
    header_notice: LastNotice,
    /// What became of newcomers.
    newcomers_notices: newcomers::Notices,
    warned_of_fd_limit: bool,
    stats: Stats,
    tallies: Tallies,
    /// What the connections of all threads hold.
    memory: Arc<Account>,
    memory_notices: memory::Notices,
}

/// An event without the borrow of the read buffer.
pub(crate) enum Step {
    Event(Event<'static>),
    Data {
        key: Key,
        len: usize,
        end: Chunk,
    },
    Datagram {
        key: Key,
        len: usize,
        from: Option<Name>,
    },
}

/// Memory for the largest read.
pub(crate) fn read_buffer() -> ReadBuffer {
    ReadBuffer::new(READ_BUFFER)
}

impl Default for Reactor {
    fn default() -> Reactor {
        Reactor::new()
    }
}

impl Reactor {
    /// A reactor with the default settings and the best poller there is.
    pub fn new() -> Reactor {
        Reactor::numbered(0)
    }

    /// One that gives keys with this thread number, which no other reactor of an event loop or of a server has.
    pub(crate) fn numbered(thread: u8) -> Reactor {
        Reactor {
            config: Config::default(),
            sources: Registry::new(thread),
            timers: Timers::new(),
            turn: Turn::new(),
            polling: Polling::new(),
            changed: Vec::new(),
            refused: Vec::new(),
            telling_again: None,
            refused_notice: LastNotice::default(),
            wait_notice: LastNotice::default(),
            readiness: Vec::new(),
            ready: ReadyQueue::new(),
            backlog: Vec::new(),
            read_buffer: read_buffer(),
            flushes: Flushes::default(),
            spares: Spares::default(),
            untold: Untold::new(),
            signals: Vec::new(),
            gate: Gate::new(Addresses::new()),
            places: Places::new(),
            resting: Vec::new(),
            lingering: VecDeque::new(),
            on_credit: false,
            header_notice: LastNotice::default(),
            newcomers_notices: newcomers::Notices::default(),
            warned_of_fd_limit: false,
            stats: Stats::default(),
            tallies: Tallies::default(),
            memory: Arc::default(),
            memory_notices: memory::Notices::default(),
        }
    }

    /// Chooses the poller: a name of [`BACKENDS`](crate::poller::BACKENDS), or `"auto"` for the best that works here.
    ///
    /// # Errors
    ///
    /// [`Error::Backend`] names the ones there are, or says why this one cannot work; [`Error::BackendInUse`] after
    /// the first turn. Either way the choice stays what it was.
    pub fn set_backend(&mut self, name: &str) -> Result<(), Error> {
        self.polling.choose(name)
    }

    /// What the poller in use, or the one that the first turn will open, calls [itself](crate::Poller::name).
    pub fn backend(&self) -> &'static str {
        self.polling.name()
    }

    /// Whether there was a turn yet: what has to be chosen before is chosen.
    pub fn has_begun(&self) -> bool {
        self.polling.is_open()
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What has happened on this thread since the reactor was made.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The same by kind: why connections ended, for instance.
    pub fn tallies(&self) -> Tallies {
        self.tallies.clone()
    }

    /// A batch was handed to another thread, which had to be woken or not.
    pub(crate) fn count_batch(&mut self, woke: bool) {
        self.stats.batches += 1;
        self.stats.wakes += u64::from(woke);
    }

    pub(crate) fn count_callback(&mut self, nanoseconds: u64) {
        self.stats.callback_seconds.took(nanoseconds);
    }

    /// The monotonic clock as it was read last, in nanoseconds.
    pub(crate) fn clock(&self) -> u64 {
        self.turn.now
    }

    pub(crate) fn count_slow_callback(&mut self) {
        self.stats.slow_callbacks += 1;
    }

    /// Begins a turn. Call [`next_event`](Reactor::next_event) until it returns `None`.
    ///
    /// A turn that was left in the middle goes on where it was: no event is lost when whoever handled the last one
    /// failed.
    ///
    /// `max_wait` bounds the wait for something to happen; `None` waits for as long as nothing does, and
    /// [`Duration::ZERO`] not at all.
    pub fn begin_turn(&mut self, max_wait: Option<Duration>) {
        self.turn.begin(max_wait);
    }

    /// The next event of the turn, or `None` when it is over.
    ///
    /// Whatever the consumer did meanwhile counts: a connection that was paused delivers nothing more, and one that was
    /// destroyed nothing at all.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.next_event_with(&mut Alone)
    }

    /// As [`next_event`](Reactor::next_event), with somebody who takes part in the turn.
    #[inline]
    pub(crate) fn next_event_with(&mut self, companion: &mut impl Companion) -> Option<Event<'_>> {
        let step = self.step(companion);
        self.turn.events += u64::from(step.is_some());
        match step {
            Some(Step::Data { key, len, end }) => Some(Event::Data {
                key,
                data: &self.read_buffer[..len],
                end,
            }),
            Some(Step::Event(event)) => Some(event),
            Some(Step::Datagram { key, len, from }) => Some(Event::Datagram {
                key,
                data: &self.read_buffer[..len],
                from,
            }),
            None => None,
        }
    }

    /// The next event, with its data in the [read buffer](Reactor::read_buffer).
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        let step = self.step(&mut Alone);
        self.turn.events += u64::from(step.is_some());
        step
    }

    /// Takes the read buffer with what was read, and gives another in its place.
    #[inline]
    pub(crate) fn exchange_read_buffer(&mut self, other: ReadBuffer) -> ReadBuffer {
        std::mem::replace(&mut self.read_buffer, other)
    }

    fn step(&mut self, companion: &mut impl Companion) -> Option<Step> {
        loop {
            if !self.untold.is_empty() {
                return self.untold.next().map(Step::Event);
            }
            if companion.pauses(self) {
                return None;
            }
            match self.turn.stage {
                Stage::Predrain if self.flushes.are_none() && !companion.takes_part() => {
                    self.end_flush(companion);
                }
                Stage::Predrain => match self.flushes.next_to_ask() {
                    Some(key) => {
                        if self.wants_predrain(key) {
                            return Some(Step::Event(Event::Predrain { key }));
                        }
                    }
                    None => {
                        if let Some(key) = companion.next_predrain() {
                            return Some(Step::Event(Event::Predrain { key }));
                        }
                        self.flushes.begin();
                        self.turn.stage = Stage::Flush;
                    }
                },
                Stage::Flush => match self.flushes.next() {
                    Some(key) => {
                        if let Some(event) = self.flush(key) {
                            return Some(Step::Event(event));
                        }
                    }
                    None => {
                        companion.flush();
                        self.end_flush(companion);
                    }
                },
                Stage::Wait => {
                    self.ensure_poller();
                    self.reconcile_all();
                    self.wait(companion);
                }
                Stage::Io => {
                    let is_share_of_flush = self.turn.is_share_of_flush();
                    let accompanied = companion.has_events();
                    let is_ready = !self.ready.is_empty();
                    let goes_on = (accompanied || is_ready) && self.turn.has_time_for_io();
                    if goes_on
                        && is_share_of_flush
                        && (companion.takes_part() || !self.flushes.is_empty())
                    {
                        self.turn.stage = Stage::Predrain;
                    } else if goes_on {
                        self.turn.spend_share();
                        let first = accompanied && self.turn.is_share_of_companion();
                        let step = if first || !is_ready {
                            companion.next_share(self)
                        } else {
                            match self.next_io() {
                                Served::Data { key, len, end } => {
                                    return Some(Step::Data { key, len, end });
                                }
                                Served::Read(key, read) => self.end_read(key, read),
                                Served::Rare(key) => self.next_rare(key),
                                Served::Nothing => None,
                            }
                        };
                        if step.is_some() {
                            return step;
                        }
                    } else {
                        self.turn.stage = Stage::Timers(self.timers.begin_due(self.turn.now));
                    }
                }
                Stage::Timers(due) => match self.timers.pop(due) {
                    Some((id, alarm)) => {
                        if let Some(event) = self.alarm(id, alarm) {
                            return Some(Step::Event(event));
                        }
                    }
                    None => self.turn.begin_end(),
                },
                Stage::Over => return None,
            }
        }
    }

    /// A flush is over.
    #[inline]
    fn end_flush(&mut self, companion: &mut impl Companion) {
        self.turn.end_flush(!self.flushes.is_empty());
        if matches!(self.turn.stage, Stage::Over) {
            companion.end_turn();
            self.stats.turns += 1;
        }
    }

    /// Has an [`Event::Notice`] told.
    pub(crate) fn notice(&mut self, level: Level, text: String) {
        spans::notice(level, &text);
        self.untold.push(Event::Notice { level, text });
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
