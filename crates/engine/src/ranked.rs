//! A queue with precedence: the higher rank goes first, and within a rank whoever came first.

use std::collections::VecDeque;

/// Of `RANKS` ranks, 0 is the lowest; there are at most 32.
pub(crate) struct Ranked<T, const RANKS: usize> {
    queues: [VecDeque<T>; RANKS],
    /// A bit for each rank that has somebody.
    occupied: u32,
}

impl<T, const RANKS: usize> Ranked<T, RANKS> {
    pub(crate) fn new() -> Self {
        Ranked {
            queues: std::array::from_fn(|_| VecDeque::new()),
            occupied: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// The highest rank that has somebody, of those below `limit`.
    pub(crate) fn highest_below(&self, limit: usize) -> Option<usize> {
        let below = self.occupied & !(u32::MAX << limit);
        Some(below.checked_ilog2()? as usize)
    }

    /// The lowest rank that has somebody.
    pub(crate) fn lowest(&self) -> Option<usize> {
        (!self.is_empty()).then(|| self.occupied.trailing_zeros() as usize)
    }

    #[inline]
    pub(crate) fn push(&mut self, rank: usize, entry: T) {
        self.queues[rank].push_back(entry);
        self.occupied |= 1 << rank;
    }

    /// It is the first of its rank.
    pub(crate) fn push_front(&mut self, rank: usize, entry: T) {
        self.queues[rank].push_front(entry);
        self.occupied |= 1 << rank;
    }

    /// Who came first of this rank.
    #[inline]
    pub(crate) fn pop(&mut self, rank: usize) -> Option<T> {
        let entry = self.queues[rank].pop_front()?;
        self.note_empty(rank);
        Some(entry)
    }

    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&T) -> bool) {
        for rank in 0..RANKS {
            self.queues[rank].retain(&mut stays);
            self.note_empty(rank);
        }
    }

    fn note_empty(&mut self, rank: usize) {
        if self.queues[rank].is_empty() {
            self.occupied &= !(1 << rank);
        }
    }
}
