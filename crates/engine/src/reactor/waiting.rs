//! Steps 3 and 4 of the turn: the wait, how long it may be, and what it finds.

use std::io;
use std::time::Duration;

use super::{Companion, Reactor};
use crate::clock;
use crate::event::Level;

/// How long to hold back when waiting itself fails, which nothing but a lack of kernel memory should cause.
const WAIT_ERROR_PAUSE: Duration = Duration::from_millis(50);

impl Reactor {
    /// Waits until something is due, and notes which sources are ready.
    pub(super) fn wait(&mut self, companion: &impl Companion) {
        // One that came before there was anything to wake the wait with.
        self.collect_signals();
        let now = clock::now();
        self.count_busy(now);
        self.excuse_silence(now);
        self.relieve_memory();
        let timeout = self.time_to_wait(now, companion.has_events());
        let mut readiness = std::mem::take(&mut self.readiness);
        let result = self.polling.wait(&mut readiness, timeout);
        self.turn.begin_io();
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
            self.note_ready(ready);
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
        if busy > 10_000_000 {
            stats.turns_over_10ms += 1;
            stats.turns_over_100ms += u64::from(busy > 100_000_000);
            stats.turns_over_1s += u64::from(busy > 1_000_000_000);
        }
    }

    fn time_to_wait(&self, now: u64, accompanied: bool) -> Option<Duration> {
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
        match (self.turn.max_wait, until_timer) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
