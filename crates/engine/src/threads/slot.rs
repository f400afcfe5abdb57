//! Who runs the turns of an I/O thread's reactor: the thread, in turns that wait, or the loop, in turns that do not.
//!
//! While the loop does, the reactor lies in a slot, and the thread sleeps. It looks every now and then whether the loop still gets on, and
//! takes the reactor where a callback of the consumer holds the loop. So those whom the reactor serves do not wait for that callback,
//! whoever runs the turns. Where the loop has nothing to do, the thread does not look: it sleeps until the loop's wait is over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::io_thread::IoThread;
use super::messages::Channel;
use crate::sync::lock;

/// How often the thread looks at the loop. It takes its reactor back when the loop has not come to its wait between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// How the loop gets on: a number that grows by one when a wait begins, and again when it is over.
#[derive(Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    /// The wait of the loop begins, or is over.
    pub(super) fn beat(&self) {
        // The loop looks at `asleep` behind this, and a thread at this behind that.
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Whether the loop waits, where this is its pulse.
fn is_waiting(pulse: u64) -> bool {
    !pulse.is_multiple_of(2)
}

/// Where the reactor is while the loop has it.
pub(super) struct Slot {
    place: Mutex<Option<Box<IoThread>>>,
    /// Ends the sleep of the thread.
    changed: Condvar,
    /// The thread sleeps and does not look: the loop waits.
    asleep: AtomicBool,
    channel: Arc<Channel>,
    pulse: Arc<Pulse>,
}

impl Slot {
    /// One with the reactor in it: the thread takes it unless the loop is to have it.
    pub(super) fn new(io_thread: Box<IoThread>, channel: Arc<Channel>, pulse: Arc<Pulse>) -> Slot {
        Slot {
            place: Mutex::new(Some(io_thread)),
            changed: Condvar::new(),
            asleep: AtomicBool::new(false),
            channel,
            pulse,
        }
    }
}

/// The thread's side.
impl Slot {
    /// Serves until the loop ends, whenever it is the thread's turn to.
    pub(super) fn run(&self) {
        while let Some(mut io_thread) = self.take() {
            loop {
                if !io_thread.run() {
                    return;
                }
                let mut place = lock(&self.place);
                // What was said since it has read is not left to a loop that may wait for the answer.
                if self.channel.messages.is_empty() {
                    *place = Some(io_thread);
                    break;
                }
            }
            self.channel.home.wake();
        }
    }

    /// Waits until the thread is to serve. `None`: the reactor has failed in the loop's hands.
    fn take(&self) -> Option<Box<IoThread>> {
        let mut place = lock(&self.place);
        let mut seen = self.pulse.count();
        while self.is_the_loops() {
            let slept = self.changed.wait_timeout(place, LOOK);
            let (woken, look) = slept.unwrap_or_else(PoisonError::into_inner);
            place = woken;
            if !look.timed_out() {
                continue;
            }
            let pulse = self.pulse.count();
            if pulse == seen && is_waiting(pulse) {
                self.asleep.store(true, Ordering::SeqCst);
                while self.is_the_loops() && self.pulse.count() == pulse {
                    let slept = self.changed.wait(place);
                    place = slept.unwrap_or_else(PoisonError::into_inner);
                }
                self.asleep.store(false, Ordering::SeqCst);
            } else if pulse == seen {
                self.channel.inline.store(false, Ordering::SeqCst);
            }
            seen = self.pulse.count();
        }
        place.take()
    }

    fn is_the_loops(&self) -> bool {
        self.channel.inline.load(Ordering::Acquire) && !self.channel.stop.load(Ordering::Acquire)
    }
}

/// The loop's side.
impl Slot {
    /// Does something to the reactor, if the loop has it. Where that fails, the reactor is gone, as one is whose thread has failed.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut IoThread) -> R) -> Option<R> {
        if !self.channel.inline.load(Ordering::Acquire) {
            return None;
        }
        let mut place = lock(&self.place);
        let io_thread = place.as_deref_mut()?;
        match catch_unwind(AssertUnwindSafe(|| work(io_thread))) {
            Ok(done) => Some(done),
            Err(_) => {
                *place = None;
                drop(place);
                self.channel.tell_of_failure();
                self.give();
                None
            }
        }
    }

    /// Gives the reactor to the thread.
    pub(super) fn give(&self) {
        let place = lock(&self.place);
        self.channel.inline.store(false, Ordering::SeqCst);
        drop(place);
        self.changed.notify_one();
    }

    /// The wait of the loop is over: the thread looks after it again.
    #[inline]
    pub(super) fn rouse(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            // The thread waits, or has seen that the wait is over.
            drop(lock(&self.place));
            self.changed.notify_one();
        }
    }

    /// Has the thread end, whoever has the reactor.
    pub(super) fn end(&self) {
        let place = lock(&self.place);
        self.channel.stop.store(true, Ordering::Release);
        drop(place);
        self.changed.notify_one();
    }
}
