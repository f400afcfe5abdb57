//! What another loop needs that runs the turns of this reactor between its own, and what a loop needs that does so for its companions.
//!
//! Such a turn does not wait. It may be left before its wait, with everything sent, and goes on there when the other loop has found that
//! there is something. So the flushes and the waits of the two loops come at the same time.
#![allow(unsafe_code)] // descriptors that the poller keeps by their numbers

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::turn::Stage;
use super::{Companion, Reactor, Step};
use crate::clock;

/// How many handshakes may wait for their answer while a turn goes on between those of another loop: each may cost a millisecond.
const MOST_HANDSHAKES: usize = 2;

/// A flush, and nothing else of a turn.
struct Flush;

impl Companion for Flush {
    fn pauses(&self, reactor: &Reactor) -> bool {
        !matches!(reactor.turn.stage, Stage::Predrain | Stage::Flush)
    }
}

/// A turn, until there is too much to do for a loop that has others to serve.
struct Inline;

impl Companion for Inline {
    fn pauses(&self, reactor: &Reactor) -> bool {
        reactor.is_crowded()
    }
}

/// The side whose turns are run.
impl Reactor {
    /// Begins a flush, wherever the turn is. [`next_step_of_flush`](Reactor::next_step_of_flush) does it.
    pub(crate) fn begin_flush(&mut self) {
        match self.turn.stage {
            Stage::Over => self.turn.begin(Some(Duration::ZERO)),
            Stage::Wait | Stage::Io => self.turn.stage = Stage::Predrain,
            // One has begun, or one comes when the timers are through.
            Stage::Predrain | Stage::Flush | Stage::Timers(_) => {}
        }
    }

    /// The next event of a flush. `None`: everything is sent that the system takes.
    pub(crate) fn next_step_of_flush(&mut self) -> Option<Step> {
        self.step(&mut Flush)
    }

    /// The next event of a turn. `None`: it is over, or the reactor is [crowded](Reactor::is_crowded).
    pub(crate) fn next_step_inline(&mut self) -> Option<Step> {
        self.step(&mut Inline)
    }

    /// Looks at the clock: something is done to this reactor, and its last wait may have been long ago.
    pub(crate) fn look_at_clock(&mut self) {
        self.turn.now = clock::now();
    }

    /// Exchanges the memory that the two read into: what this reactor has read is then where the other one has what it reads.
    pub(crate) fn swap_read_buffers(&mut self, other: &mut Reactor) {
        std::mem::swap(&mut self.read_buffer, &mut other.read_buffer);
    }

    /// Whether more handshakes wait for their answer than somebody has time for who has others to serve.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting_handshakes() > MOST_HANDSHAKES
    }

    /// How many handshakes wait for their answer.
    pub(crate) fn waiting_handshakes(&self) -> usize {
        self.ready.waiting_handshakes()
    }

    /// As [`time_to_wait`](Reactor::time_to_wait), also where the turn has been left before its wait. The time since the last turn is
    /// counted by the loop that runs the turns, and not here.
    pub(crate) fn time_to_wait_inline(&mut self) -> Option<Duration> {
        if !matches!(self.turn.stage, Stage::Over | Stage::Wait) {
            return Some(Duration::ZERO);
        }
        if !std::mem::replace(&mut self.turn.waits_elsewhere, true) {
            self.excuse_silence(clock::now());
        }
        self.prepare_wait_elsewhere()
    }
}

/// The side that runs the turns of others.
impl Reactor {
    /// Has the wait of this reactor end when a descriptor of its [`Companion`] can be read. Its number is below 256.
    ///
    /// # Safety
    ///
    /// The descriptor stays open until [`forget_companion`](Reactor::forget_companion), or until this reactor is gone.
    pub(crate) unsafe fn watch_companion(
        &mut self,
        number: usize,
        fd: BorrowedFd<'_>,
    ) -> io::Result<()> {
        // SAFETY: as the function's own.
        unsafe { self.polling.watch_companion(number, fd) }
    }

    /// The wait has nothing to do with that descriptor any more. False: the system refuses for now, so it is to be said again.
    pub(crate) fn forget_companion(&mut self, fd: BorrowedFd<'_>) -> bool {
        self.polling.forget_companion(fd)
    }
}
