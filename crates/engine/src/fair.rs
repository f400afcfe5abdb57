//! A queue in which each gets a turn: whoever has many in it waits for itself, and nobody else does.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

/// What waits, in its order.
pub(crate) trait Line<T> {
    /// Where in the line something belongs.
    type Path;

    fn len(&self) -> usize;

    fn push(&mut self, path: Self::Path, entry: T);

    /// Who is next.
    fn pop(&mut self) -> Option<T>;

    /// Who came last of those who have most.
    fn pop_last(&mut self) -> Option<T>;
}

impl<T> Line<T> for VecDeque<T> {
    type Path = ();

    fn len(&self) -> usize {
        VecDeque::len(self)
    }

    fn push(&mut self, (): (), entry: T) {
        self.push_back(entry);
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn pop_last(&mut self) -> Option<T> {
        self.pop_back()
    }
}

/// Lines that get their turns one after the other, by owner.
pub(crate) struct Fair<K, L> {
    lines: HashMap<K, L>,
    /// The owners of lines, in the order of their turns.
    turns: VecDeque<K>,
    /// The same by what they have.
    sizes: BTreeSet<(usize, K)>,
    len: usize,
}

impl<K, L> Default for Fair<K, L> {
    fn default() -> Self {
        Fair {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            sizes: BTreeSet::new(),
            len: 0,
        }
    }
}

impl<K: Copy + Eq + Hash + Ord, L> Fair<K, L> {
    /// How much of this owner is in it.
    pub(crate) fn of<T>(&self, owner: K) -> usize
    where
        L: Line<T>,
    {
        self.lines.get(&owner).map_or(0, L::len)
    }

    /// Takes one out of a line that has one.
    fn take<T>(&mut self, owner: K, which: impl FnOnce(&mut L) -> Option<T>) -> Option<T>
    where
        L: Line<T>,
    {
        let line = self.lines.get_mut(&owner)?;
        let before = line.len();
        let entry = which(line);
        let left = line.len();
        self.sizes.remove(&(before, owner));
        self.len -= before - left;
        if left == 0 {
            self.lines.remove(&owner);
        } else {
            self.sizes.insert((left, owner));
        }
        entry
    }
}

impl<T, K: Copy + Eq + Hash + Ord, L: Line<T> + Default> Line<T> for Fair<K, L> {
    type Path = (K, L::Path);

    fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, (owner, path): (K, L::Path), entry: T) {
        let line = self.lines.entry(owner).or_default();
        let before = line.len();
        line.push(path, entry);
        if before == 0 {
            self.turns.push_back(owner);
        } else {
            self.sizes.remove(&(before, owner));
        }
        self.sizes.insert((before + 1, owner));
        self.len += 1;
    }

    fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let entry = self.take(owner, L::pop);
        if self.lines.contains_key(&owner) {
            self.turns.push_back(owner);
        }
        entry
    }

    fn pop_last(&mut self) -> Option<T> {
        let &(size, owner) = self.sizes.last()?;
        if size > 1 {
            return self.take(owner, L::pop_last);
        }
        // All have one.
        let owner = self.turns.pop_back()?;
        self.take(owner, L::pop_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Queue = Fair<u8, Fair<u8, VecDeque<u32>>>;

    fn queue(entries: &[(u8, u8, u32)]) -> Queue {
        let mut queue = Queue::default();
        for &(site, address, entry) in entries {
            queue.push((site, (address, ())), entry);
        }
        queue
    }

    fn order(mut queue: Queue) -> Vec<u32> {
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(queue.len(), 0);
        assert!(queue.lines.is_empty() && queue.sizes.is_empty() && queue.turns.is_empty());
        order
    }

    #[test]
    fn one_who_has_many_waits_for_itself() {
        let flood = (0..100).map(|entry| (1, 1, entry));
        let mut entries: Vec<_> = flood.collect();
        entries.extend([(2, 2, 200), (3, 3, 300), (2, 2, 201)]);
        let order = order(queue(&entries));
        assert_eq!(order[..6], [0, 200, 300, 1, 201, 2]);
        assert_eq!(order.len(), 103);
    }

    #[test]
    fn many_addresses_of_one_site_are_one_owner_and_equals_within_it() {
        let flood = (0..100).map(|entry| (1, entry as u8, entry));
        let mut entries: Vec<_> = flood.collect();
        entries.extend([(1, 0, 100), (2, 0, 200), (2, 0, 201)]);
        let order = order(queue(&entries));
        assert_eq!(order[..5], [0, 200, 1, 201, 2]);
        assert_eq!(order[101], 99);
        assert_eq!(order[102], 100, "of the address that had its turn");
    }

    #[test]
    fn whoever_has_most_gives_up_the_last() {
        let mut queue = queue(&[(1, 1, 1), (2, 1, 2), (2, 1, 3), (2, 2, 4), (3, 1, 5)]);
        assert_eq!((queue.of(1), queue.of(2), queue.of(9)), (1, 3, 0));
        assert_eq!(queue.pop_last(), Some(3));
        assert_eq!(queue.len(), 4);
        assert_eq!(queue.of(2), 2);
        let left: Vec<u32> = std::iter::from_fn(|| queue.pop_last()).collect();
        assert_eq!(left.len(), 4);
        assert!(queue.turns.is_empty() && queue.pop().is_none());
    }
}
