//! What happened between the events of a turn, and the consumer was not told yet.

use std::collections::VecDeque;

use crate::error::Reason;
use crate::event::{Event, Level};
use crate::registry::Key;

/// Told in the order in which it happened, before anything else.
pub(super) struct Untold(VecDeque<Event<'static>>);

impl Untold {
    pub(super) fn new() -> Untold {
        Untold(VecDeque::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<Event<'static>> {
        self.0.pop_front()
    }

    pub(super) fn closed(&mut self, key: Key, reason: Reason) {
        self.0.push_back(Event::Closed { key, reason });
    }

    pub(super) fn signal(&mut self, key: Key, signal: i32) {
        self.0.push_back(Event::Signal { key, signal });
    }

    pub(super) fn notice(&mut self, level: Level, text: String) {
        self.0.push_back(Event::Notice { level, text });
    }

    /// Whoever destroyed `key` is not told of its end. Whether that was still to be told.
    pub(super) fn withdraw(&mut self, key: Key) -> bool {
        let untold = self.0.len();
        self.0.retain(|event| event.key() != Some(key));
        self.0.len() < untold
    }
}
