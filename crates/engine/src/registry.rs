//! Generational slots: who a key belongs to, and whether it still does.

use std::fmt;
use std::num::NonZeroU64;

/// Names one source of events of a [`Reactor`](crate::Reactor): a connection, a listener, a watched descriptor or a signal.
///
/// A key is never used twice. A late event, a reused descriptor or a handle that somebody kept after the end
/// finds nothing under its key; it cannot reach whoever came next. A key carries the number of the thread that gave it, so
/// that the keys of an [`EventLoop`](crate::EventLoop) and of its threads never clash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(NonZeroU64);

const INDEX_BITS: u32 = 24;
const THREAD_BITS: u32 = 7;
const GENERATION_BITS: u32 = 22;
const GENERATION_SHIFT: u32 = INDEX_BITS + THREAD_BITS;
const MOST_SLOTS: usize = 1 << INDEX_BITS;
/// The number of the last thread that keys have room for.
pub(crate) const LAST_THREAD: u8 = (1 << THREAD_BITS) - 1;
/// A slot that has been used so often is not used again.
const LAST_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
// The numbers of Lua before 5.3 are floating-point ones, which hold whole numbers of 53 bits.
const _: () = assert!(GENERATION_SHIFT + GENERATION_BITS <= f64::MANTISSA_DIGITS);

impl Key {
    /// Names nothing.
    pub(crate) const NONE: Key = Key::from_bits(u64::MAX);

    fn new(generation: u32, thread: u8, index: usize) -> Key {
        let (generation, thread) = (u64::from(generation), u64::from(thread));
        Key::from_bits(generation << GENERATION_SHIFT | thread << INDEX_BITS | index as u64)
    }

    pub(crate) fn index(self) -> usize {
        self.to_bits() as usize & (MOST_SLOTS - 1)
    }

    /// The number of the thread whose registry gave the key.
    pub(crate) fn thread(self) -> u8 {
        (self.to_bits() >> INDEX_BITS) as u8 & LAST_THREAD
    }

    fn generation(self) -> u32 {
        (self.to_bits() >> GENERATION_SHIFT) as u32
    }

    /// The key of whoever has the same slot next; `None` for the last one that the slot has.
    fn next(self) -> Option<Key> {
        let generation = self.generation();
        (generation < LAST_GENERATION)
            .then(|| Key::new(generation + 1, self.thread(), self.index()))
    }

    /// The key as a number; it fits 53 bits, and with that the numbers of every Lua.
    pub const fn to_bits(self) -> u64 {
        self.0.get() - 1
    }

    /// The key that [`Key::to_bits`] gave this number. Any other number is a key that names nothing.
    pub const fn from_bits(bits: u64) -> Key {
        // One is added, so that an `Option` of a key takes no more memory than the key.
        match NonZeroU64::new(bits.wrapping_add(1)) {
            Some(number) => Key(number),
            None => Key(NonZeroU64::MAX),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (thread, index) = (self.thread(), self.index());
        write!(f, "Key({thread}:{index}v{})", self.generation())
    }
}

/// A map by keys that one registry gave, those of connections that are over included. So two of them may have the same slot: the later
/// one is found by its slot, the earlier one by a search among the few that there are for a moment.
pub(crate) struct KeyMap<T> {
    newest: Vec<Option<(Key, T)>>,
    earlier: Vec<(Key, T)>,
    len: usize,
}

impl<T> KeyMap<T> {
    pub(crate) fn new() -> KeyMap<T> {
        KeyMap {
            newest: Vec::new(),
            earlier: Vec::new(),
            len: 0,
        }
    }

    /// Adds an entry; there is none under this key.
    pub(crate) fn insert(&mut self, key: Key, entry: T) {
        let index = key.index();
        if self.newest.len() <= index {
            self.newest.resize_with(index + 1, || None);
        }
        let earlier = self.newest[index].replace((key, entry));
        self.earlier.extend(earlier);
        self.len += 1;
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.newest.get(key.index()) {
            Some(Some((found, entry))) if *found == key => Some(entry),
            _ => {
                let mut earlier = self.earlier.iter();
                earlier
                    .find(|(found, _)| *found == key)
                    .map(|(_, entry)| entry)
            }
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.newest.get_mut(key.index()) {
            Some(Some((found, entry))) if *found == key => Some(entry),
            _ => {
                let mut earlier = self.earlier.iter_mut();
                earlier
                    .find(|(found, _)| *found == key)
                    .map(|(_, entry)| entry)
            }
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.newest.get_mut(key.index())?;
        let removed = match slot.take_if(|(found, _)| *found == key) {
            Some(removed) => removed,
            None => {
                let place = self.earlier.iter().position(|(found, _)| *found == key)?;
                self.earlier.swap_remove(place)
            }
        };
        self.len -= 1;
        Some(removed.1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let newest = self.newest.iter().flatten();
        newest.chain(&self.earlier).map(|(key, _)| *key)
    }
}

struct Slot<T> {
    /// Of what is in there, or was, or will be next.
    key: Key,
    entry: Option<T>,
}

/// A table from keys that a [`Registry`] gave to `T`; insert, find and remove take constant time.
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    len: usize,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table {
            slots: Vec::new(),
            len: 0,
        }
    }

    /// Takes the slot of `key`, which has to be free: two keys that share one do not live at the same time.
    pub(crate) fn insert(&mut self, key: Key, entry: T) {
        let index = key.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot {
                key: Key::NONE,
                entry: None,
            });
        }
        let entry = Some(entry);
        let earlier = std::mem::replace(&mut self.slots[index], Slot { key, entry });
        debug_assert!(earlier.entry.is_none(), "{key:?} takes an occupied slot");
        self.len += usize::from(earlier.entry.is_none());
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index())?;
        if slot.key == key {
            slot.entry.as_ref()
        } else {
            None
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.key == key {
            slot.entry.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.key != key {
            return None;
        }
        let entry = slot.entry.take()?;
        self.len -= 1;
        Some(entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((slot.key, slot.entry.as_ref()?)))
    }
}

/// What lives on one thread, by key: under keys of its own, and under keys that another thread has given.
pub(crate) struct Registry<T> {
    thread: u8,
    own: Table<T>,
    given: Table<T>,
    free: Vec<u32>,
}

impl<T> Registry<T> {
    /// That of the thread with this number.
    pub(crate) fn new(thread: u8) -> Registry<T> {
        Registry {
            thread,
            own: Table::new(),
            given: Table::new(),
            free: Vec::new(),
        }
    }

    /// How many bytes it takes, without what its entries point to.
    pub(crate) fn memory(&self) -> usize {
        let slots = self.own.slots.capacity() + self.given.slots.capacity();
        slots * size_of::<Slot<T>>() + self.free.capacity() * size_of::<u32>()
    }

    /// The number of the thread.
    pub(crate) fn thread(&self) -> u8 {
        self.thread
    }

    pub(crate) fn insert(&mut self, entry: T) -> Key {
        let own = &mut self.own;
        let key = match self.free.pop() {
            Some(index) => own.slots[index as usize].key,
            None => {
                // The system runs out of memory for sockets before a thread has so many.
                assert!(own.slots.len() < MOST_SLOTS, "too many sources");
                Key::new(0, self.thread, own.slots.len())
            }
        };
        own.insert(key, entry);
        key
    }

    /// Takes something in under a key that another thread has given.
    pub(crate) fn insert_as(&mut self, key: Key, entry: T) {
        self.given.insert(key, entry);
    }

    // A key of another thread is never found among our own, where most are: so these are tried without asking whose it is.

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.own.get(key).or_else(|| self.given.get(key))
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.own.get_mut(key).or_else(|| self.given.get_mut(key))
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.retire(key);
        self.free(key);
        entry
    }

    /// Removes an entry whose slot stays taken until [`free`](Registry::free): somebody still uses the key.
    pub(crate) fn retire(&mut self, key: Key) -> Option<T> {
        self.own.remove(key).or_else(|| self.given.remove(key))
    }

    /// Has the slot of a key that was retired used again.
    pub(crate) fn free(&mut self, key: Key) {
        if let Some(slot) = self.own.slots.get_mut(key.index())
            && slot.key == key
            && slot.entry.is_none()
        {
            match key.next() {
                Some(next) => {
                    slot.key = next;
                    self.free.push(key.index() as u32);
                }
                // One slot of millions of connections stays empty.
                None => slot.key = Key::NONE,
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.given.len()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.own.iter().chain(self.given.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_stale_key_never_reaches_the_next_owner_of_the_slot() {
        let mut registry = Registry::new(0);
        let old = registry.insert("old");
        assert_eq!(registry.remove(old), Some("old"));
        let new = registry.insert("new");
        assert_eq!(old.index(), new.index());
        assert_eq!(registry.get(old), None);
        assert_eq!(registry.remove(old), None);
        assert_eq!(registry.get(new), Some(&"new"));
    }

    #[test]
    fn keys_fit_the_numbers_of_every_lua() {
        let key = Key::new(LAST_GENERATION, LAST_THREAD, MOST_SLOTS - 1);
        assert_eq!(key.to_bits() as f64 as u64, key.to_bits());
        assert_eq!(Key::from_bits(key.to_bits()), key);
        let (index, thread) = (key.index(), key.thread());
        assert_eq!((index, thread), (MOST_SLOTS - 1, LAST_THREAD));
        assert_eq!(size_of::<Option<Key>>(), size_of::<Key>());
    }

    #[test]
    fn an_exhausted_slot_is_not_used_again() {
        let mut registry = Registry::new(1);
        let first = registry.insert("first");
        registry.own.slots[0].key = Key::new(LAST_GENERATION, 1, 0);
        let last = registry.own.slots[0].key;
        assert_eq!(registry.remove(last), Some("first"));
        let next = registry.insert("next");
        assert_eq!((next.index(), registry.get(last)), (1, None));
        assert_eq!((registry.get(first), registry.len()), (None, 1));
        assert_eq!(registry.get(Key::NONE), None);
    }

    #[test]
    fn a_retired_slot_has_no_next_owner_before_it_is_freed() {
        let mut registry = Registry::new(3);
        let old = registry.insert("old");
        assert_eq!(registry.retire(old), Some("old"));
        assert_eq!((registry.get(old), registry.len()), (None, 0));
        let other = registry.insert("other");
        assert_ne!(other.index(), old.index());
        registry.free(other);
        assert_eq!(registry.get(other), Some(&"other"), "it is in use");
        registry.free(old);
        registry.free(old);
        let next = registry.insert("next");
        assert_eq!((next.index(), next.thread()), (old.index(), 3));
        registry.free(old);
        assert_ne!(registry.insert("last").index(), next.index());
    }

    #[test]
    fn keys_of_two_threads_do_not_clash() {
        let (mut one, mut two) = (Registry::new(0), Registry::new(1));
        let key = one.insert("one's");
        let own = two.insert("two's");
        two.insert_as(key, "one's, on two");
        assert_eq!(
            (two.get(key), two.get(own)),
            (Some(&"one's, on two"), Some(&"two's"))
        );
        assert_eq!((one.get(own), two.len()), (None, 2));
        assert_eq!(two.remove(key), Some("one's, on two"));
        assert_eq!((two.get(key), two.get(own)), (None, Some(&"two's")));
    }

    #[test]
    fn a_map_finds_both_of_two_keys_with_one_slot() {
        let (mut registry, mut map) = (Registry::new(1), KeyMap::new());
        let old = registry.insert(());
        map.insert(old, "old");
        registry.remove(old);
        let new = registry.insert(());
        map.insert(new, "new");
        assert_eq!(old.index(), new.index());
        assert_eq!((map.get(old), map.get(new)), (Some(&"old"), Some(&"new")));
        assert_eq!(map.keys().collect::<Vec<_>>(), [new, old]);
        assert_eq!(map.remove(old), Some("old"));
        assert!(map.get_mut(old).is_none() && map.remove(old).is_none());
        assert_eq!((map.remove(new), map.is_empty()), (Some("new"), true));
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_with_keys_that_never_repeat(steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>()), 1..300)) {
            let mut registry = Registry::new(0);
            let mut model: HashMap<Key, usize> = HashMap::new();
            let mut ever: Vec<Key> = Vec::new();
            for (step, (verb, pick)) in steps.into_iter().enumerate() {
                if verb == 0 || ever.is_empty() {
                    let key = registry.insert(step);
                    prop_assert!(!ever.contains(&key));
                    ever.push(key);
                    model.insert(key, step);
                } else {
                    let key = ever[pick.index(ever.len())];
                    if verb == 1 {
                        prop_assert_eq!(registry.remove(key), model.remove(&key));
                    } else {
                        prop_assert_eq!(registry.get(key), model.get(&key));
                    }
                }
                prop_assert_eq!(registry.len(), model.len());
            }
        }
    }
}
