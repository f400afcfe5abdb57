//! How long Lua takes for an event: one in so many is measured, for to look at the clock twice for each would cost more than all the rest
//! that is counted.

use std::cell::Cell;

use crate::blocked::clock;

/// One in so many. It is a prime, so that events that come in a pattern all have their turn.
const ONE_IN: u8 = 17;

/// The event that is measured, and how many come before the next one.
pub(crate) struct Sample {
    /// When Lua was given it, by the clock; 0 while none is measured.
    began: Cell<i64>,
    left: Cell<u8>,
}

impl Sample {
    pub(crate) const fn new() -> Sample {
        Sample {
            began: Cell::new(0),
            left: Cell::new(ONE_IN),
        }
    }

    /// Lua is given an event.
    #[inline]
    pub(crate) fn begin(&self) {
        let left = self.left.get() - 1;
        self.left.set(left);
        if left == 0 {
            self.left.set(ONE_IN);
            self.began.set(clock());
        }
    }

    /// Lua has dealt with it. For how many nanoseconds, if it was measured.
    #[inline]
    pub(crate) fn end(&self) -> Option<u64> {
        let began = self.began.get();
        if began == 0 {
            return None;
        }
        self.began.set(0);
        Some((clock() - began).unsigned_abs())
    }

    /// Nobody knows how long it took: an error may have left it long ago.
    pub(crate) fn give_up(&self) {
        self.began.set(0);
    }
}
