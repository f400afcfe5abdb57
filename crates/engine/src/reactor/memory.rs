//! What connections hold of the memory: who ends when it is too much, and what goes back to the system.

use std::cmp::Reverse;

use super::{Alarm, Reactor, Source};
use crate::clock::LastNotice;
use crate::error::Reason;
use crate::event::Level;
use crate::memory::{self, Precedence};
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
            let change = connection.recount();
            let precedence = connection.precedence();
            self.account_for(change, precedence);
        }
    }

    /// Books what a connection held before and holds now, and has other threads know whether it is the first to end.
    #[inline]
    pub(super) fn account_for(&mut self, (before, now): (usize, usize), precedence: Precedence) {
        if now > before && now > WORTH_TELLING {
            self.memory.grow(self.sources.thread(), precedence);
        }
        self.account(before, now);
    }

    #[inline]
    pub(super) fn account(&mut self, before: usize, now: usize) {
        if before != now {
            self.book(before, now);
        }
    }

    fn book(&mut self, before: usize, now: usize) {
        if self.memory.change(before, now) {
            let deadline = self.turn.now + GIVE_BACK_AFTER;
            self.timers.insert(deadline, Alarm::GIVE_BACK);
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
            self.end_holders(most);
        }
    }

    /// Ends connections until there is some room again, unless it is the turn of another thread: strangers first, and of these and
    /// of the others those first that hold most. Each time costs a look at all connections.
    #[cold]
    fn end_holders(&mut self, most: usize) {
        let thread = self.sources.thread();
        let (mut strangers, mut others) = (0, 0);
        let mut holders = self.holders().into_iter();
        loop {
            let next = holders.next();
            let (first, key) = next.unwrap_or((Precedence::default(), Key::NONE));
            // Whoever holds nothing says so as well: others wait for that.
            if !self.memory.is_turn_of(thread, first)
                || self.memory.held() <= most - most / 16
                || next.is_none()
            {
                break;
            }
            let (is_stranger, _) = first;
            if is_stranger {
                strangers += 1;
                self.end(key, Reason::Shed);
            } else {
                others += 1;
                self.end(key, Reason::SendBufferFull);
            }
            self.stats.ended_for_memory += 1;
        }
        if strangers + others > 0 && self.memory_notices.full.is_due(self.turn.now) {
            let text = format!(
                "connections held more than {most} bytes that their peers have not taken or not completed: {strangers} that have not \
                 authenticated were ended now, and the largest {others} of the others (max_queued_memory)"
            );
            self.notice(Level::Warn, text);
        }
    }

    /// The connections that hold something, in the order in which they end. Of those that hold the same, the first is the one whose
    /// peer has taken nothing for longest.
    fn holders(&self) -> Vec<(Precedence, Key)> {
        let mut holders: Vec<_> = self
            .sources
            .iter()
            .filter_map(|(key, source)| match source {
                Source::Connection(connection) if connection.counted() > 0 => {
                    Some((connection.precedence(), connection.write_since, key))
                }
                _ => None,
            })
            .collect();
        holders.sort_unstable_by_key(|(precedence, since, _)| (Reverse(*precedence), *since));
        holders
            .into_iter()
            .map(|(precedence, _, key)| (precedence, key))
            .collect()
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
