//! The timers of a thread: those of its connections, and those of what belongs to no connection.

use std::hash::Hasher;
use std::time::Duration;

use super::Worker;
use crate::registry::Key;
use crate::server::Thread;
use crate::timers::TimerId;

/// What runs on a thread and belongs to no connection.
pub(crate) type Task = Box<dyn FnOnce(&mut Thread<'_>)>;

/// Nobody but the reactor chooses the ids of timers, so a plain hash does.
#[derive(Default)]
pub(super) struct TimerHasher(u64);

impl Hasher for TimerHasher {
    fn write_u64(&mut self, bits: u64) {
        // Fibonacci hashing. The map looks at the lowest bits and at the highest.
        self.0 = bits.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Whose a timer is.
pub(super) enum Owner {
    Connection(Key),
    Thread(Task),
}

impl Worker {
    pub(super) fn timer(&mut self, timer: TimerId) {
        match self.timers.remove(&timer) {
            Some(Owner::Connection(key)) => {
                self.forget_timer(key, timer);
                self.call(key, |handler, conn| handler.on_timer(conn, timer));
            }
            Some(Owner::Thread(task)) => self.run_task(task),
            None => {}
        }
    }

    pub(in crate::server) fn set_timer(&mut self, key: Key, after: Duration) -> Option<TimerId> {
        let entry = self.entries.get_mut(key)?;
        let timer = self.reactor.set_timer(after);
        entry.more().timers.push(timer);
        self.timers.insert(timer, Owner::Connection(key));
        Some(timer)
    }

    pub(in crate::server) fn owns(&self, key: Key, timer: TimerId) -> bool {
        matches!(self.timers.get(&timer), Some(Owner::Connection(owner)) if *owner == key)
    }

    pub(in crate::server) fn cancel_timer(&mut self, key: Key, timer: TimerId) -> bool {
        if !self.owns(key, timer) {
            return false;
        }
        self.timers.remove(&timer);
        self.forget_timer(key, timer);
        self.reactor.cancel_timer(timer)
    }

    fn forget_timer(&mut self, key: Key, timer: TimerId) {
        let entry = self.entries.get_mut(key);
        if let Some(more) = entry.and_then(|entry| entry.more.as_mut()) {
            more.timers.retain(|other| *other != timer);
        }
    }

    pub(in crate::server) fn set_thread_timer(&mut self, after: Duration, task: Task) -> TimerId {
        let timer = self.reactor.set_timer(after);
        self.timers.insert(timer, Owner::Thread(task));
        timer
    }

    pub(in crate::server) fn cancel_thread_timer(&mut self, timer: TimerId) -> bool {
        let is_ours = matches!(self.timers.get(&timer), Some(Owner::Thread(_)));
        if is_ours {
            self.timers.remove(&timer);
        }
        is_ours && self.reactor.cancel_timer(timer)
    }
}
