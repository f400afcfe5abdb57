//! The clock of deadlines: nanoseconds of CLOCK_MONOTONIC, so that a change of the wall clock moves nothing.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment before the start of this program.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A duration in whole nanoseconds; three centuries at most, so that a sum with the clock cannot overflow.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .min(u64::MAX / 2)
}

/// How often the log is told of something that may happen all the time, in nanoseconds.
const REPEATED_NOTICE: u64 = 10_000_000_000;

/// When the log was last told of something that may happen all the time.
#[derive(Default)]
pub(crate) struct LastNotice(Option<u64>);

impl LastNotice {
    /// Whether the log is to hear of it again; notes that it does.
    pub(crate) fn is_due(&mut self, now: u64) -> bool {
        let due = self.0.is_none_or(|at| now >= at + REPEATED_NOTICE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}
