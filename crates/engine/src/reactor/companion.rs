//! Who else takes part in the turn of a reactor, with sources of their own: what the turn asks of them, and when.

use super::{Reactor, Step};
use crate::registry::Key;

/// Has a part in each step of the [turn](crate#the-turn) beside the reactor's own sources.
pub(crate) trait Companion {
    /// Whether there is anybody, so that step 1 comes between the shares of step 5 though the reactor has nothing queued.
    fn takes_part(&self) -> bool;

    /// Step 1: the next connection that wants [`Event::Predrain`](crate::Event).
    fn next_predrain(&mut self) -> Option<Key>;

    /// The end of step 1: sends what is queued.
    fn flush(&mut self);

    /// Steps 3 and 5: whether there is an event, which no wait may delay.
    fn has_events(&self) -> bool;

    /// Step 5: one share, of which no event may come. Data goes to the [read buffer](Reactor::read_buffer).
    fn next_share(&mut self, reactor: &mut Reactor) -> Option<Step>;

    /// The turn is over, and there may be no next one.
    fn end_turn(&mut self);
}

/// Nobody.
pub(super) struct Alone;

impl Companion for Alone {
    fn takes_part(&self) -> bool {
        false
    }

    fn next_predrain(&mut self) -> Option<Key> {
        None
    }

    fn flush(&mut self) {}

    fn has_events(&self) -> bool {
        false
    }

    fn next_share(&mut self, _: &mut Reactor) -> Option<Step> {
        None
    }

    fn end_turn(&mut self) {}
}
