//! Who has something to send, in the order of the writes.

use std::collections::VecDeque;

use crate::registry::Key;

/// Keys go through it twice: first each is asked whether its consumer wants to add to what is queued, then all are flushed. Who
/// joins while others are asked is asked, too; who joins during the flush waits for the next one.
#[derive(Default)]
pub(crate) struct Flushes {
    queued: Vec<Key>,
    /// How many of those were asked.
    asked: usize,
    flushing: VecDeque<Key>,
}

impl Flushes {
    pub(crate) fn push(&mut self, key: Key) {
        self.queued.push(key);
    }

    /// Whether nobody waits for a flush that has not begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Who is asked next.
    pub(crate) fn next_to_ask(&mut self) -> Option<Key> {
        let key = self.queued.get(self.asked).copied()?;
        self.asked += 1;
        Some(key)
    }

    /// All were asked.
    pub(crate) fn begin(&mut self) {
        self.flushing.extend(self.queued.drain(..));
        self.asked = 0;
    }

    /// Who is flushed next.
    pub(crate) fn next(&mut self) -> Option<Key> {
        self.flushing.pop_front()
    }
}
