//! How far a turn has got, and what is left of its time.

use std::time::Duration;

use crate::clock;
use crate::timers;

/// How long one turn may hand out I/O before timers and flushes get their turn, in nanoseconds.
const IO_TIME: u64 = 5_000_000;

/// How many sources are served between looks at the clock, and between flushes: an answer is sent while what it is
/// made of is still in the processor's cache, and nobody waits for it until a crowd has been read.
const SHARES_PER_FLUSH: u32 = 16;

/// Where in the turn we are. The numbers are those of the front page.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// 1, and 7: before a flush.
    Predrain,
    /// 1, and 7
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

/// Where a flush leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// To the wait.
    Beginning,
    /// Back to step 5.
    Io,
    /// To the end of the turn, after so many flushes more at most: consumers that are told of an empty queue may fill it again.
    End(u8),
}

/// How often what is written at the end of a turn is flushed in it.
const LAST_FLUSHES: u8 = 4;

pub(super) struct Turn {
    pub(super) stage: Stage,
    /// What the wait of this turn may take.
    pub(super) max_wait: Option<Duration>,
    /// The clock, as it was read last, in nanoseconds.
    pub(super) now: u64,
    /// When step 5 began last.
    pub(super) began: u64,
    /// How many events there were since then.
    pub(super) events: u64,
    io_until: u64,
    shares_until_flush: u32,
    pub(super) part: Part,
    /// Whether the next share of step 5 is that of the companion.
    companion_first: bool,
    /// Another loop waits since the end of the last turn.
    pub(super) waits_elsewhere: bool,
}

impl Turn {
    pub(super) fn new() -> Turn {
        let now = clock::now();
        Turn {
            stage: Stage::Over,
            max_wait: None,
            now,
            began: now,
            events: 0,
            io_until: 0,
            shares_until_flush: 0,
            part: Part::Beginning,
            companion_first: false,
            waits_elsewhere: false,
        }
    }

    /// Begins one, or goes on with one that was left in the middle.
    pub(super) fn begin(&mut self, max_wait: Option<Duration>) {
        self.max_wait = max_wait;
        if matches!(self.stage, Stage::Over) {
            self.stage = Stage::Predrain;
            self.part = Part::Beginning;
        }
    }

    /// All timers that were due have run: step 7.
    pub(super) fn begin_end(&mut self) {
        self.part = Part::End(LAST_FLUSHES);
        self.stage = Stage::Predrain;
    }

    /// A flush is over. Goes on with what it leads to.
    pub(super) fn end_flush(&mut self, more_queued: bool) {
        self.stage = match &mut self.part {
            Part::Beginning => Stage::Wait,
            Part::Io => Stage::Io,
            Part::End(left) => {
                *left -= 1;
                if more_queued && *left > 0 {
                    Stage::Predrain
                } else {
                    Stage::Over
                }
            }
        };
    }

    /// The wait is over: step 4, and the beginning of step 5.
    pub(super) fn begin_io(&mut self) {
        self.now = clock::now();
        self.began = self.now;
        self.events = 0;
        self.io_until = self.now + IO_TIME;
        self.shares_until_flush = SHARES_PER_FLUSH;
        self.part = Part::Io;
        self.stage = Stage::Io;
    }

    /// Whether so many were served that a flush may be due; also the moment to look at the clock.
    #[inline]
    pub(super) fn is_share_of_flush(&mut self) -> bool {
        if self.shares_until_flush > 0 {
            return false;
        }
        self.shares_until_flush = SHARES_PER_FLUSH;
        self.now = clock::now();
        true
    }

    pub(super) fn has_time_for_io(&self) -> bool {
        self.now <= self.io_until
    }

    /// One share of step 5 is given away. A share without an event, such as a step of a handshake, takes time as well and
    /// counts as much.
    pub(super) fn spend_share(&mut self) {
        self.shares_until_flush = self.shares_until_flush.saturating_sub(1);
    }

    /// What was done for one source may have taken as long as all else of the turn: the clock is looked at before the next.
    pub(super) fn spend_all_shares(&mut self) {
        self.shares_until_flush = 0;
    }

    /// Whether this share is the companion's where both have something: they alternate.
    pub(super) fn is_share_of_companion(&mut self) -> bool {
        self.companion_first = !self.companion_first;
        self.companion_first
    }
}
