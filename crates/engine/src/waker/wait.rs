//! Whether a wait has to be ended, and by whom.

use crate::sync::atomic::{AtomicU8, Ordering};

/// The reactor runs, and nobody has asked it not to wait.
const RUNNING: u8 = 0;
/// The reactor waits, or is about to.
const WAITING: u8 = 1;
/// Somebody has asked.
const WOKEN: u8 = 2;

#[derive(Debug)]
pub(crate) struct Wait(AtomicU8);

impl Wait {
    pub(crate) fn new() -> Wait {
        Wait(AtomicU8::new(RUNNING))
    }

    /// Asks for no wait. True: one has begun, and the caller has to end it.
    pub(crate) fn wake(&self) -> bool {
        self.0.swap(WOKEN, Ordering::AcqRel) == WAITING
    }

    /// The wait could not be ended: whoever asks next has to do it.
    pub(crate) fn take_back(&self) {
        let _ = self
            .0
            .compare_exchange(WOKEN, WAITING, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) == WAITING
    }

    /// Says that the reactor is going to wait, or still does. False: somebody has asked it not to.
    pub(crate) fn begin_wait(&self) -> bool {
        let began = self
            .0
            .compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Acquire);
        began != Err(WOKEN)
    }

    /// Says that it waits no more.
    pub(crate) fn end_wait(&self) {
        self.0.swap(RUNNING, Ordering::AcqRel);
    }
}
