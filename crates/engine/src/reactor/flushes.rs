//! Who has something to send, in the order of the writes.

use crate::registry::Key;

/// The keys of connections that wait for a flush. Each goes through it twice: first its consumer is asked whether to add to what
/// is queued, then it is flushed. A connection that joins while others are asked is asked as well. One that joins during the flush
/// waits for the next flush.
#[derive(Default)]
pub(crate) struct Flushes {
    /// First those of the flush that has begun, then those of the next one.
    queue: Vec<Key>,
    asked: usize,
    flushed: usize,
    /// How many belong to the flush that has begun; zero between two flushes.
    flushing: usize,
    /// Whether a consumer may want to be asked. Nearly always none does.
    asks: bool,
}

impl Flushes {
    /// `asks` is whether its consumer may want to be asked.
    #[inline]
    pub(crate) fn push(&mut self, key: Key, asks: bool) {
        self.queue.push(key);
        self.asks |= asks;
    }

    /// The consumer of a connection that waits already may want to be asked.
    pub(crate) fn ask(&mut self) {
        self.asks = true;
    }

    /// Whether no connection waits for a flush, not even for the one that has begun.
    pub(crate) fn are_none(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether no connection waits for a flush that has not begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.len() == self.flushing
    }

    /// The next connection whose consumer is to be asked.
    #[inline]
    pub(crate) fn next_to_ask(&mut self) -> Option<Key> {
        if !self.asks {
            return None;
        }
        let key = *self.queue.get(self.asked)?;
        self.asked += 1;
        Some(key)
    }

    /// Begins the flush: all were asked.
    pub(crate) fn begin(&mut self) {
        (self.asked, self.flushed, self.asks) = (0, 0, false);
        self.flushing = self.queue.len();
    }

    /// The next connection to flush. `None` says that the flush is over.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Key> {
        if self.flushed == self.flushing {
            let over = std::mem::take(&mut self.flushing);
            self.flushed = 0;
            if over == self.queue.len() {
                self.queue.clear();
            } else {
                self.queue.drain(..over);
            }
            return None;
        }
        self.flushed += 1;
        self.queue.get(self.flushed - 1).copied()
    }
}
