//! Deadlines, a million of them: an indexed four-way heap.
//!
//! # What is guaranteed
//!
//! - Timers come out in the order of their deadlines, and timers with the same deadline in the order in which they were
//!   put in (a rescheduled timer counts as put in anew).
//! - *Timers that are due are set aside before any of them runs.* [`Timers::begin_due`] draws a line: what is inserted or
//!   rescheduled after it waits for the next line, even with a deadline long past, so that a timer that re-arms itself
//!   with no delay cannot hold up the turn. Due timers stay in the heap until they are popped, and can therefore be
//!   cancelled by those that run before them.
//! - A stale [`TimerId`] names nothing, for ever: no later timer gets the same one.
//!
//! # Shape and cost
//!
//! The heap is one array of entries ordered by (deadline, sequence number), payloads included. A table of slots, eight bytes
//! each, says where in the heap a timer is, so that it can be found by its id. Four children to a node instead of two
//! halve the depth, and the four lie side by side in memory.
//!
//! | operation                                        | cost                         |
//! |--------------------------------------------------|------------------------------|
//! | `insert`, `reschedule`                           | O(log n), mostly O(1) for deadlines later than most |
//! | `cancel`, `pop`                                  | O(log n)                     |
//! | `get`, `deadline`, `next_deadline`, `begin_due`  | O(1)                         |
//!
//! After a burst the heap gives its memory back when it is three quarters empty. The slots, which hold the generations
//! that make ids unique, stay: 8 MB for a peak of a million timers.

use std::fmt;
use std::num::NonZeroU64;

/// Names one timer; it names nothing once that timer has run or was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(NonZeroU64);

impl TimerId {
    fn new(slot: u32, generation: u32) -> Self {
        Self::from_bits(u64::from(generation) << SLOT_BITS | u64::from(slot))
    }

    fn slot(self) -> u32 {
        self.to_bits() as u32 & (MOST_SLOTS - 1)
    }

    fn generation(self) -> u64 {
        self.to_bits() >> SLOT_BITS
    }

    /// The id as a number; it fits 53 bits, and with that the numbers of every Lua.
    pub const fn to_bits(self) -> u64 {
        self.0.get() - 1
    }

    /// The id that [`TimerId::to_bits`] gave this number. Any other number is an id that names nothing.
    pub const fn from_bits(bits: u64) -> Self {
        // As a `Key` does it.
        match NonZeroU64::new(bits.wrapping_add(1)) {
            Some(number) => Self(number),
            None => Self(NonZeroU64::MAX),
        }
    }
}

impl fmt::Debug for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerId({}v{})", self.slot(), self.generation())
    }
}

/// The timers that [`Timers::begin_due`] found due, as a line drawn through the heap: those that are due at its time and
/// were put in before it.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    now: u64,
    /// The first sequence number that came too late.
    limit: u64,
}

/// A set of deadlines, each with a payload.
///
/// Deadlines are nanoseconds of a clock that never goes back, `CLOCK_MONOTONIC`. This type reads no clock itself.
pub struct Timers<T> {
    /// A heap: no entry sorts before its parent, the one at (index - 1) / 4.
    heap: Vec<Entry<T>>,
    slots: Vec<Slot>,
    /// The first of the free slots, which are linked.
    free: Option<u32>,
    /// The sequence number of the next entry. At one a nanosecond it lasts for 584 years.
    next_sequence: u64,
    /// The latest time given to `begin_due`; see `stamp`.
    floor: u64,
    /// How long before that time the deadline was that was popped last.
    lateness: u64,
}

struct Entry<T> {
    deadline: u64,
    sequence: u64,
    slot: u32,
    payload: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (u64, u64) {
        (self.deadline, self.sequence)
    }
}

struct Slot {
    /// Goes up by one when the timer in this slot ends. A slot that reaches `GENERATIONS` is never used again.
    generation: u32,
    /// In use: where in the heap. Free: the next free slot, or `NO_SLOT`.
    link: u32,
}

const SLOT_BITS: u32 = 28;
const MOST_SLOTS: u32 = 1 << SLOT_BITS;
/// What is left of the 53 bits that the numbers of Lua before 5.3 hold.
const GENERATIONS: u32 = 1 << (f64::MANTISSA_DIGITS - SLOT_BITS);
const NO_SLOT: u32 = u32::MAX;

/// Below this capacity the heap is not worth shrinking.
const SMALL_HEAP: usize = 1024;

impl<T> Timers<T> {
    /// No timers; allocates nothing.
    pub const fn new() -> Self {
        Self {
            heap: Vec::new(),
            slots: Vec::new(),
            free: None,
            next_sequence: 0,
            floor: 0,
            lateness: 0,
        }
    }

    /// Adds a timer.
    ///
    /// A deadline before the last [`begin_due`](Self::begin_due) is moved up to that time: it comes as soon as possible,
    /// but after what was due by then.
    ///
    /// # Panics
    ///
    /// With 2²⁸ timers, for which ten gigabytes of memory would be needed.
    pub fn insert(&mut self, deadline: u64, payload: T) -> TimerId {
        let position = self.heap.len();
        let slot = self.take_slot();
        let (deadline, sequence) = self.stamp(deadline);
        self.heap.push(Entry {
            deadline,
            sequence,
            slot,
            payload,
        });
        self.sift_up(position);
        TimerId::new(slot, self.slots[slot as usize].generation)
    }

    /// Removes a timer and gives its payload back; `None` for a stale id. A timer that is due but was not popped yet will
    /// not be.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let position = self.position(id)?;
        Some(self.remove(position).1)
    }

    /// Moves a timer to another deadline, earlier or later, as if it was inserted anew but under the same id. False for a
    /// stale id.
    pub fn reschedule(&mut self, id: TimerId, deadline: u64) -> bool {
        let Some(position) = self.position(id) else {
            return false;
        };
        let (deadline, sequence) = self.stamp(deadline);
        let entry = &mut self.heap[position];
        let earlier = deadline < entry.deadline;
        (entry.deadline, entry.sequence) = (deadline, sequence);
        if earlier {
            self.sift_up(position)
        } else {
            self.sift_down(position)
        }
        true
    }

    /// The payload of a timer; `None` for a stale id.
    pub fn get(&self, id: TimerId) -> Option<&T> {
        self.position(id)
            .map(|position| &self.heap[position].payload)
    }

    /// The deadline of a timer, as [`insert`](Self::insert) kept it; `None` for a stale id.
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        self.position(id)
            .map(|position| self.heap[position].deadline)
    }

    /// The earliest deadline: until then a loop can sleep.
    pub fn next_deadline(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Sets aside what is due at `now`, for [`pop`](Self::pop).
    ///
    /// The result stays valid; it does not matter whether all of it gets popped. What is left over is due again at the
    /// next call.
    pub fn begin_due(&mut self, now: u64) -> Due {
        self.floor = self.floor.max(now);
        Due {
            now,
            limit: self.next_sequence,
        }
    }

    /// Takes out the first of the timers that were set aside.
    pub fn pop(&mut self, due: Due) -> Option<(TimerId, T)> {
        // Looking at the first entry is enough. Whatever came after the line was drawn has, by `stamp`, a deadline no
        // earlier than `due.now` and a higher sequence number: it sorts behind everything that was set aside.
        let first = self.heap.first()?;
        if first.deadline > due.now || first.sequence >= due.limit {
            return None;
        }
        self.lateness = due.now - first.deadline;
        Some(self.remove(0))
    }

    /// How late the timer was that was popped last: from its deadline to the time of its [`Due`].
    pub fn lateness(&self) -> u64 {
        self.lateness
    }

    /// How many timers there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// How many bytes they take.
    pub fn memory(&self) -> usize {
        self.heap.capacity() * size_of::<Entry<T>>() + self.slots.capacity() * size_of::<Slot>()
    }

    /// The key of an entry that is inserted now: the next sequence number, and a deadline that is not before the line drawn
    /// last.
    fn stamp(&mut self, deadline: u64) -> (u64, u64) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        (deadline.max(self.floor), sequence)
    }

    /// Where in the heap the timer is, if it still is.
    fn position(&self, id: TimerId) -> Option<usize> {
        let slot = self.slots.get(id.slot() as usize)?;
        // The link of a free slot is no position. That the entry there points back tells, even for ids made up.
        let entry = self.heap.get(slot.link as usize)?;
        (u64::from(slot.generation) == id.generation() && entry.slot == id.slot())
            .then_some(slot.link as usize)
    }

    fn take_slot(&mut self) -> u32 {
        if let Some(slot) = self.free {
            let next = self.slots[slot as usize].link;
            self.free = (next != NO_SLOT).then_some(next);
            return slot;
        }
        assert!(self.slots.len() < MOST_SLOTS as usize, "too many timers");
        let slot = self.slots.len() as u32;
        self.slots.push(Slot {
            generation: 0,
            link: NO_SLOT,
        });
        slot
    }

    /// Ends the ids of the timer in `slot`.
    fn release_slot(&mut self, slot: u32) {
        let released = &mut self.slots[slot as usize];
        released.generation += 1;
        released.link = NO_SLOT;
        if released.generation < GENERATIONS {
            released.link = self.free.replace(slot).unwrap_or(NO_SLOT);
        }
    }

    /// Takes an entry out of the heap.
    fn remove(&mut self, position: usize) -> (TimerId, T) {
        let entry = self.heap.swap_remove(position);
        if position < self.heap.len() {
            // The last entry came here; it may belong higher or lower, for it comes from another branch.
            if self.heap[position].key() < entry.key() {
                self.sift_up(position);
            } else {
                self.sift_down(position);
            }
        }
        if self.heap.capacity() > SMALL_HEAP && self.heap.len() < self.heap.capacity() / 4 {
            // Twice what is needed, so that the next insertions do not grow it again.
            self.heap.shrink_to(self.heap.len() * 2);
        }
        let id = TimerId::new(entry.slot, self.slots[entry.slot as usize].generation);
        self.release_slot(entry.slot);
        (id, entry.payload)
    }

    /// Moves an entry towards the root until its parent is earlier.
    fn sift_up(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 4;
            if self.heap[parent].key() < self.heap[position].key() {
                break;
            }
            self.heap.swap(parent, position);
            self.note_position(position);
            position = parent;
        }
        self.note_position(position);
    }

    /// Moves an entry away from the root until its children are later.
    fn sift_down(&mut self, mut position: usize) {
        loop {
            let first = position * 4 + 1;
            let last = (first + 4).min(self.heap.len());
            let earliest = (first..last).min_by_key(|&child| self.heap[child].key());
            let Some(child) =
                earliest.filter(|&child| self.heap[child].key() < self.heap[position].key())
            else {
                break;
            };
            self.heap.swap(child, position);
            self.note_position(position);
            position = child;
        }
        self.note_position(position);
    }

    /// Tells the slot of the entry at `position` where it is.
    fn note_position(&mut self, position: usize) {
        let slot = self.heap[position].slot;
        // No more entries than slots, and those are counted in u32.
        self.slots[slot as usize].link = position as u32;
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Timers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("len", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn() {
        let mut timers = Timers::new();
        let idle = timers.insert(1_000, "close it");
        timers.insert(500, "ping");
        timers.reschedule(idle, 2_000);

        let due = timers.begin_due(1_500);
        assert_eq!(timers.pop(due).map(|(_, what)| what), Some("ping"));
        assert_eq!(timers.lateness(), 1_000);
        timers.insert(0, "at once, that is, in the next turn");
        assert_eq!(timers.pop(due), None);
        assert_eq!(timers.next_deadline(), Some(1_500));
    }

    #[test]
    fn an_exhausted_slot_is_retired() {
        let mut timers = Timers::new();
        let first = timers.insert(1, ());
        timers.cancel(first);
        timers.slots[0].generation = GENERATIONS - 1;

        let last = timers.insert(1, ());
        assert_eq!(last.slot(), 0);
        assert_eq!(last.to_bits() as f64 as u64, last.to_bits());
        timers.cancel(last);

        let next = timers.insert(1, ());
        assert_eq!(next.slot(), 1);
        assert_eq!(timers.get(last), None);
        assert_eq!(timers.cancel(TimerId::new(0, GENERATIONS)), None);
    }

    #[test]
    fn the_heap_shrinks_after_a_burst() {
        let mut timers = Timers::new();
        let ids: Vec<_> = (0..100_000)
            .map(|deadline| timers.insert(deadline, [0_u64; 4]))
            .collect();
        let burst = timers.heap.capacity();
        for id in &ids[10..] {
            timers.cancel(*id);
        }
        assert!(
            timers.heap.capacity() <= SMALL_HEAP,
            "{} after {burst}",
            timers.heap.capacity()
        );
        assert!(ids[..10].iter().all(|id| timers.get(*id).is_some()));
    }
}
