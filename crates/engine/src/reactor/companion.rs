//! What a reactor asks of somebody who takes part in its turn with sources of their own, as the I/O threads do.

use std::time::Duration;

use super::{Reactor, Step};
use crate::registry::Key;

/// Has a part in each step of the [turn](crate#the-turn) beside the reactor's own sources. The default of each
/// method is to have no part.
pub(crate) trait Companion {
    /// Whether step 1 has to come between the shares of step 5 even where the reactor itself has nothing queued.
    fn takes_part(&self) -> bool {
        false
    }

    /// Step 1: the next connection that wants [`Event::Predrain`](crate::Event).
    fn next_predrain(&mut self) -> Option<Key> {
        None
    }

    /// The end of step 1: sends what is queued.
    fn flush(&mut self) {}

    /// Step 3: there will be a wait. Gives how long it may be at most; `None` for as long as the reactor likes.
    fn before_wait(&mut self, _reactor: &mut Reactor) -> Option<Duration> {
        None
    }

    /// Step 4: the wait has found that the descriptor can be read that
    /// [`watch_companion`](Reactor::watch_companion) has under this number.
    fn can_be_read(&mut self, _number: usize) {}

    /// Step 4: the wait is over; it took so many nanoseconds.
    fn after_wait(&mut self, _now: u64, _waited: u64) {}

    /// Steps 3 and 5: whether there is an event, which no wait may delay.
    fn has_events(&self) -> bool {
        false
    }

    /// Step 5: serves one share, which need not bring an event. Data goes to the [read buffer](Reactor::read_buffer).
    fn next_share(&mut self, _reactor: &mut Reactor) -> Option<Step> {
        None
    }

    /// The turn is over, and there may be no next one.
    fn end_turn(&mut self) {}

    /// Whether the turn is left where it is: it goes on there when it is asked for the next event again.
    fn pauses(&self, _reactor: &Reactor) -> bool {
        false
    }
}

/// Nobody.
pub(super) struct Alone;

impl Companion for Alone {}
