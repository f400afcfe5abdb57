//! The timers of a thread: those of its connections, and those of what belongs to no connection.

use std::time::Duration;

use super::Worker;
use crate::registry::Key;
use crate::server::Thread;
use crate::timers::TimerId;

/// What runs on a thread and belongs to no connection.
pub(crate) type Task = Box<dyn FnOnce(&mut Thread<'_>)>;

/// Whose a timer is.
pub(super) enum Owner {
    Connection(Key),
    Thread(Task),
}

impl Worker {
    pub(super) fn timer(&mut self, timer: TimerId) {
        match self.timers.remove(&timer) {
            Some(Owner::Connection(key)) => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.timers.retain(|other| *other != timer);
                }
                self.call(key, |handler, conn| handler.on_timer(conn, timer));
            }
            Some(Owner::Thread(task)) => self.run_task(task),
            None => {}
        }
    }

    pub(in crate::server) fn set_timer(&mut self, key: Key, after: Duration) -> Option<TimerId> {
        let entry = self.entries.get_mut(&key)?;
        let timer = self.reactor.set_timer(after);
        entry.timers.push(timer);
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
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.timers.retain(|other| *other != timer);
        }
        self.reactor.cancel_timer(timer)
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
