//! What happened between the events of a turn, and the consumer was not told yet.

use std::collections::VecDeque;

use crate::event::Event;
use crate::registry::Key;

/// Events that are told before anything else, in the order in which they happened.
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

    pub(super) fn push(&mut self, event: Event<'static>) {
        self.0.push_back(event);
    }

    /// Discards what was to be told of `key`, because its consumer has destroyed it. Says whether there was anything.
    pub(super) fn withdraw(&mut self, key: Key) -> bool {
        let untold = self.0.len();
        self.0.retain(|event| event.key() != Some(key));
        self.0.len() < untold
    }
}
