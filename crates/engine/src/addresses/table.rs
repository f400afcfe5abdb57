//! The counts by place. Who has connections is kept for as long as they last; who has left is remembered until they may come
//! as before, and not more than a bounded number of them.

use std::collections::HashMap;

use super::Refusal;

/// Entries without connections, at most: some 5 MiB. Beyond that, whoever left first is forgotten.
pub(super) const MOST_IDLE: usize = 65_536;

/// Entries that are looked at when one is left, to see whether they may be forgotten.
const SWEEP: usize = 2;

/// Where a connection counts: a listener or all of them, an address or a site.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) scope: u64,
    pub(super) block: u64,
}

/// How much one place may have.
pub(super) struct Allowance {
    most: u32,
    /// Nanoseconds from one connection to the next, at the rate.
    interval: u64,
    /// How far ahead of the rate connections may come, in nanoseconds.
    ahead: u64,
}

impl Allowance {
    pub(super) fn new(most: usize, rate: usize, burst: usize) -> Allowance {
        let interval = match rate as u64 {
            0 => u64::MAX / 4,
            rate => 1_000_000_000 / rate,
        };
        let burst = burst.max(1) as u64 - 1;
        Allowance {
            most: u32::try_from(most).unwrap_or(u32::MAX),
            interval,
            ahead: interval.saturating_mul(burst).min(u64::MAX / 4),
        }
    }
}

/// The number of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    pub(super) const NONE: Slot = Slot(u32::MAX);
}

struct Entry {
    place: Place,
    /// Connections that last.
    live: u32,
    /// When the connections so far will have come at the rate and no faster (the generic cell rate algorithm): a token
    /// bucket in one number. It is full again then.
    until: u64,
    /// Neighbours among the entries without connections, in the order in which they were left. Of a free entry, the next free one.
    before: Slot,
    after: Slot,
}

pub(super) struct Table {
    index: HashMap<Place, Slot>,
    entries: Vec<Entry>,
    free: Slot,
    first_idle: Slot,
    last_idle: Slot,
    idle: usize,
}

impl Table {
    pub(super) fn new() -> Table {
        Table {
            index: HashMap::new(),
            entries: Vec::new(),
            free: Slot::NONE,
            first_idle: Slot::NONE,
            last_idle: Slot::NONE,
            idle: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether one more connection is allowed there.
    pub(super) fn check(
        &self,
        place: Place,
        allowance: &Allowance,
        now: u64,
    ) -> Result<(), Refusal> {
        let entry = self.index.get(&place).and_then(|slot| self.entry(*slot));
        let (live, until) = entry.map_or((0, 0), |entry| (entry.live, entry.until));
        if live >= allowance.most {
            return Err(Refusal::Count);
        }
        if until > now.saturating_add(allowance.ahead) {
            return Err(Refusal::Rate);
        }
        Ok(())
    }

    /// Counts one there.
    pub(super) fn enter(&mut self, place: Place, allowance: &Allowance, now: u64) -> Slot {
        let slot = match self.index.get(&place) {
            Some(slot) => *slot,
            None => self.insert(place),
        };
        if self.entry(slot).is_some_and(|entry| entry.live == 0) {
            self.unlink(slot);
        }
        if let Some(entry) = self.entry_mut(slot) {
            entry.live += 1;
            entry.until = entry.until.max(now).saturating_add(allowance.interval);
        }
        slot
    }

    /// The connection that was counted there is over.
    pub(super) fn leave(&mut self, slot: Slot, now: u64) {
        let Some(entry) = self.entry_mut(slot) else {
            return;
        };
        entry.live -= 1;
        if entry.live > 0 {
            return;
        }
        self.link(slot);
        for _ in 0..SWEEP {
            let first = self.first_idle;
            let is_over = |entry: &Entry| entry.until <= now;
            if self.idle > MOST_IDLE || self.entry(first).is_some_and(is_over) {
                self.remove(first);
            }
        }
        if self.index.is_empty() {
            // What a crowd has taken goes back.
            *self = Table::new();
        }
    }

    fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.0 as usize)
    }

    fn entry_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.entries.get_mut(slot.0 as usize)
    }

    /// A new entry, without connections, at the end of those.
    fn insert(&mut self, place: Place) -> Slot {
        let entry = Entry {
            place,
            live: 0,
            until: 0,
            before: Slot::NONE,
            after: Slot::NONE,
        };
        let slot = self.free;
        let slot = match self.entry_mut(slot) {
            Some(free) => {
                let next = free.after;
                *free = entry;
                self.free = next;
                slot
            }
            None => {
                self.entries.push(entry);
                Slot(self.entries.len() as u32 - 1)
            }
        };
        self.index.insert(place, slot);
        self.link(slot);
        slot
    }

    /// Forgets an entry without connections.
    fn remove(&mut self, slot: Slot) {
        self.unlink(slot);
        let free = self.free;
        if let Some(entry) = self.entry_mut(slot) {
            entry.after = free;
            let place = entry.place;
            self.free = slot;
            self.index.remove(&place);
        }
    }

    fn link(&mut self, slot: Slot) {
        let last = self.last_idle;
        if let Some(entry) = self.entry_mut(slot) {
            (entry.before, entry.after) = (last, Slot::NONE);
        }
        match self.entry_mut(last) {
            Some(entry) => entry.after = slot,
            None => self.first_idle = slot,
        }
        self.last_idle = slot;
        self.idle += 1;
    }

    fn unlink(&mut self, slot: Slot) {
        let Some(&Entry { before, after, .. }) = self.entry(slot) else {
            return;
        };
        match self.entry_mut(before) {
            Some(entry) => entry.after = after,
            None => self.first_idle = after,
        }
        match self.entry_mut(after) {
            Some(entry) => entry.before = before,
            None => self.last_idle = before,
        }
        self.idle -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn place(block: u64) -> Place {
        Place { scope: 1, block }
    }

    #[test]
    fn whoever_left_is_forgotten_once_it_may_come_as_before() {
        let mut table = Table::new();
        let allowance = Allowance::new(10, 2, 4);
        let slots: Vec<Slot> = (0..100)
            .map(|block| table.enter(place(block), &allowance, SECOND))
            .collect();
        for slot in slots {
            table.leave(slot, SECOND);
        }
        assert_eq!(table.len(), 100, "their second is not over");
        for n in 0..60 {
            let slot = table.enter(place(1000), &allowance, (2 + n) * SECOND);
            table.leave(slot, (2 + n) * SECOND);
        }
        assert_eq!(table.len(), 1);
        let slot = table.enter(place(1000), &allowance, 100 * SECOND);
        table.leave(slot, 200 * SECOND);
        assert!(table.len() == 0 && table.entries.is_empty());
    }

    #[test]
    fn whoever_has_connections_is_not_forgotten() {
        let mut table = Table::new();
        let allowance = Allowance::new(1, 1, 1);
        let held = table.enter(place(0), &allowance, 0);
        for block in 1..=2 * MOST_IDLE as u64 {
            let slot = table.enter(place(block), &allowance, 0);
            table.leave(slot, 0);
        }
        assert_eq!(table.len(), MOST_IDLE + 1);
        let taken = table.check(place(0), &allowance, 100 * SECOND);
        assert_eq!(taken, Err(Refusal::Count));
        table.leave(held, 0);
        assert_eq!(table.check(place(0), &allowance, 0), Err(Refusal::Rate));
        assert_eq!(table.check(place(0), &allowance, SECOND), Ok(()));
        // Those who left first were forgotten first.
        assert_eq!(table.check(place(1), &allowance, 0), Ok(()));
        let last = place(2 * MOST_IDLE as u64);
        assert_eq!(table.check(last, &allowance, 0), Err(Refusal::Rate));
    }
}
