//! What connections hold of the memory: who ends when it is too much, and what goes back to the system.

use std::cmp::Reverse;

use super::{Alarm, Reactor, Source};
use crate::clock::LastNotice;
use crate::error::Reason;
use crate::event::Level;
use crate::memory;
use crate::registry::Key;

/// How long after a burst memory is given back, in nanoseconds: the end of a burst takes a while.
const GIVE_BACK_AFTER: u64 = 1_000_000_000;

/// A connection that holds less than this is not told to the other threads, each of which would take a lock for it.
const WORTH_TELLING: usize = 64 * 1024;

/// When the log was told.
#[derive(Default)]
pub(super) struct Notices {
    full: LastNotice,
    slow: LastNotice,
}

impl Reactor {
    /// Notes what a connection holds now.
    pub(super) fn recount(&mut self, key: Key) {
        if let Some(Source::Connection(connection)) = self.sources.get_mut(key) {
            let (before, now) = connection.recount();
            self.account(before, now);
        }
    }

    #[inline]
    pub(super) fn account(&mut self, before: usize, now: usize) {
        if before != now {
            self.book(before, now);
        }
    }

    fn book(&mut self, before: usize, now: usize) {
        if now > before && now > WORTH_TELLING {
            self.memory.grow(self.sources.thread(), now);
        }
        if self.memory.change(before, now) {
            let deadline = self.turn.now + GIVE_BACK_AFTER;
            self.timers.insert(deadline, Alarm::GiveBack);
        }
    }

    /// How much all connections may hold together, in bytes.
    pub(super) fn most_queued_memory(&self) -> usize {
        let set = self.config.max_queued_memory;
        set.unwrap_or_else(memory::quarter)
    }

    /// Ends connections if all together hold too much.
    pub(super) fn relieve_memory(&mut self) {
        let most = self.most_queued_memory();
        if self.memory.held() > most {
            self.end_largest(most);
        }
    }

    /// Ends those that hold most, unless it is the turn of another thread, until there is some room again: each time costs a look at
    /// all connections.
    #[cold]
    fn end_largest(&mut self, most: usize) {
        let mut holders: Vec<_> = self
            .sources
            .iter()
            .filter_map(|(key, source)| match source {
                Source::Connection(connection) if connection.counted() > 0 => {
                    Some((Reverse(connection.counted()), connection.write_since, key))
                }
                _ => None,
            })
            .collect();
        holders.sort();
        let thread = self.sources.thread();
        let mut ended = 0;
        for (Reverse(size), _, key) in holders {
            let goes = self.memory.is_largest(thread, size);
            if !goes || self.memory.held() <= most - most / 16 {
                break;
            }
            self.end(key, Reason::SendBufferFull);
            self.stats.ended_for_memory += 1;
            ended += 1;
        }
        if ended > 0 && self.memory_notices.full.is_due(self.turn.now) {
            let text = format!(
                "connections held more than {most} bytes that their peers do not take: the largest were ended, {ended} of them \
                 now (max_queued_memory)"
            );
            self.notice(Level::Warn, text);
        }
    }

    /// Ends a connection whose peer takes too little of much that is queued.
    pub(super) fn end_slow_reader(&mut self, key: Key) {
        let queued = self.pending(key);
        let peer = self
            .peer_name(key)
            .map_or_else(String::new, |peer| format!(" {peer}"));
        self.stats.slow_readers += 1;
        self.end(key, Reason::WriteTimeout);
        if self.memory_notices.slow.is_due(self.turn.now) {
            let rate = self.config.min_send_rate.unwrap_or(0);
            let text = format!(
                "the peer{peer} has {queued} bytes to take and takes less than {rate} a second: its connection was ended \
                 (min_send_rate)"
            );
            self.notice(Level::Warn, text);
        }
    }
}
