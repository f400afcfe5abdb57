//! Steps 3 and 4 of the turn: the wait, how long it may be, and what it finds. Or the wait is another loop's.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::turn::Stage;
use super::{Companion, Reactor, polling};
use crate::clock;
use crate::event::Level;

/// How long to hold back when waiting itself fails, which nothing but a lack of kernel memory should cause.
const WAIT_ERROR_PAUSE: Duration = Duration::from_millis(50);

/// A reactor inside another loop, which does the waiting: there is a turn that does not wait, `begin_turn(Some(Duration::ZERO))`,
/// whenever [`poller_fd`](Reactor::poller_fd) can be read or [`time_to_wait`](Reactor::time_to_wait) has passed, and after any command
/// that was given outside a turn.
///
/// ```
/// use std::time::Duration;
/// use trochee::{Event, Reactor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reactor = Reactor::new();
/// reactor.set_backend("epoll")?;
/// let timer = reactor.set_timer(Duration::from_millis(10));
/// let mut is_due = false;
/// while !is_due {
///     reactor.begin_turn(Some(Duration::ZERO));
///     while let Some(event) = reactor.next_event() {
///         is_due |= matches!(event, Event::Timer { id } if id == timer);
///     }
///     let at_most = reactor.time_to_wait();
///     let fd = reactor.poller_fd();
///     // The other loop waits for its own descriptors and for this one, and for so long at most.
///     # drop(fd);
///     # std::thread::sleep(at_most.unwrap_or_default());
/// }
/// # Ok(())
/// # }
/// ```
impl Reactor {
    /// The descriptor that can be read while a turn would find something, timers excepted. It is another one in a process that
    /// was forked since.
    ///
    /// `None` where the poller has no such descriptor, and that is any but epoll. Such a reactor needs a thread of its own.
    ///
    /// Opens the poller as the first turn does: it cannot be chosen any more.
    pub fn poller_fd(&mut self) -> Option<BorrowedFd<'_>> {
        self.ensure_poller();
        self.polling.fd()
    }

    /// How long another loop may wait for [`poller_fd`](Reactor::poller_fd) at most; `None` for as long as it likes.
    ///
    /// To be asked after each turn, when nothing is done to the reactor any more until the wait: the poller is told here what has
    /// changed since its last wait, and a [`Waker`](crate::Waker) of what it has to end.
    pub fn time_to_wait(&mut self) -> Option<Duration> {
        if !matches!(self.turn.stage, Stage::Over) {
            return Some(Duration::ZERO);
        }
        self.prepare_wait_elsewhere()
    }

    /// The same between two turns, or in one that has come to its wait.
    pub(super) fn prepare_wait_elsewhere(&mut self) -> Option<Duration> {
        self.ensure_poller();
        self.reconcile_all();
        let now = self.prepare_wait();
        self.turn.waits_elsewhere = true;
        let longest = self.longest_wait(None, now, false);
        self.polling.begin_wait(longest)
    }

    /// Waits until something is due, and notes which sources are ready.
    pub(super) fn wait(&mut self, companion: &mut impl Companion) {
        let of_companion = companion.before_wait(self);
        let max_wait = shorter(self.turn.max_wait, of_companion);
        let now = self.prepare_wait();
        let timeout = self.longest_wait(max_wait, now, companion.has_events());
        let mut readiness = std::mem::take(&mut self.readiness);
        let mut result = self.polling.wait(&mut readiness, timeout);
        if result.is_err() && timeout == Some(Duration::ZERO) {
            // To look again takes no time. Another loop may have waited for what is here, and would only do so again.
            result = self.polling.wait(&mut readiness, timeout);
        }
        self.turn.begin_io();
        companion.after_wait(self.turn.now, self.turn.now.saturating_sub(now));
        self.count_wait(now);
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if self.wait_notice.is_due(self.turn.now) {
                    let text = format!("waiting for events failed, and is tried again: {error}");
                    self.notice(Level::Error, text);
                }
                std::thread::sleep(WAIT_ERROR_PAUSE);
            }
        }
        for ready in readiness.drain(..) {
            match polling::number_of(ready.token) {
                Some(number) => companion.can_be_read(number),
                None => self.note_ready(ready),
            }
        }
        self.readiness = readiness;
        self.note_backlog();
        self.collect_signals();
    }

    /// The turn has come to its wait: notes for how long whoever came since the last one has waited.
    fn count_busy(&mut self, now: u64) {
        // Before the first wait nobody was waited for.
        if self.stats.turns == 0 {
            return;
        }
        let busy = now.saturating_sub(self.turn.began);
        let stats = &mut self.stats;
        stats.busy_nanoseconds += busy;
        stats.turn_seconds.took(busy);
        stats.turn_events.number(self.turn.events);
        if busy > 10_000_000 {
            stats.turns_over_10ms += 1;
            stats.turns_over_100ms += u64::from(busy > 100_000_000);
            stats.turns_over_1s += u64::from(busy > 1_000_000_000);
        }
    }

    /// A wait is over that began then.
    fn count_wait(&mut self, began: u64) {
        let waited = self.turn.began.saturating_sub(began);
        self.stats.waiting_nanoseconds += waited;
        self.stats.wait_seconds.took(waited);
    }

    /// What has to be done before a wait; gives the time at which it begins.
    fn prepare_wait(&mut self) -> u64 {
        // One that came before there was anything to wake the wait with.
        self.collect_signals();
        let now = clock::now();
        // Where another loop has waited, the time since the last turn is not time in which the consumer worked.
        if !std::mem::take(&mut self.turn.waits_elsewhere) {
            self.count_busy(now);
            self.excuse_silence(now);
        }
        self.relieve_memory();
        now
    }

    fn longest_wait(
        &self,
        max_wait: Option<Duration>,
        now: u64,
        accompanied: bool,
    ) -> Option<Duration> {
        let work_left = !(self.ready.is_empty()
            && self.backlog.is_empty()
            && self.flushes.is_empty()
            && self.untold.is_empty()
            && !accompanied);
        if work_left {
            return Some(Duration::ZERO);
        }
        let until_timer = self
            .timers
            .next_deadline()
            .map(|deadline| Duration::from_nanos(deadline.saturating_sub(now)));
        shorter(max_wait, until_timer)
    }
}

/// The shorter of two waits, of which `None` is the longest.
pub(crate) fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
