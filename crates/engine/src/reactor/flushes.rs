//! Who has something to send, in the order of the writes.

use crate::registry::Key;

/// Keys go through it twice: first each is asked whether its consumer wants to add to what is queued, then all are flushed. Who
/// joins while others are asked is asked, too; who joins during the flush waits for the next one.
#[derive(Default)]
pub(crate) struct Flushes {
    /// First those of the flush that has begun, then those of the next one.
    queue: Vec<Key>,
    asked: usize,
    flushed: usize,
    /// How many belong to the flush that has begun; zero between two flushes.
    flushing: usize,
}

impl Flushes {
    pub(crate) fn push(&mut self, key: Key) {
        self.queue.push(key);
    }

    /// Whether nobody waits for a flush that has not begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.len() == self.flushing
    }

    /// Who is asked next.
    pub(crate) fn next_to_ask(&mut self) -> Option<Key> {
        let key = *self.queue.get(self.asked)?;
        self.asked += 1;
        Some(key)
    }

    /// All were asked.
    pub(crate) fn begin(&mut self) {
        (self.asked, self.flushed) = (0, 0);
        self.flushing = self.queue.len();
    }

    /// Who is flushed next. `None`: the flush is over.
    pub(crate) fn next(&mut self) -> Option<Key> {
        if self.flushed == self.flushing {
            self.queue.drain(..std::mem::take(&mut self.flushing));
            self.flushed = 0;
            return None;
        }
        self.flushed += 1;
        self.queue.get(self.flushed - 1).copied()
    }
}
