//! Generational slots: who a key belongs to, and whether it still does.

use std::fmt;

/// Names one source of events of a [`Reactor`](crate::Reactor): a connection, a listener, a watched descriptor or a signal.
///
/// A key is never used twice. A late event, a reused descriptor or a handle that somebody kept after the end
/// finds nothing under its key; it cannot reach whoever came next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64);

const INDEX_BITS: u32 = 32;
/// Keeps [`Key::to_bits`] within the positive numbers of an `i64`, the integer type of Lua.
const GENERATION_MASK: u32 = i32::MAX as u32;

impl Key {
    fn new(index: u32, generation: u32) -> Key {
        Key(u64::from(generation) << INDEX_BITS | u64::from(index))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> INDEX_BITS) as u32
    }

    /// The key as a number; it fits a positive `i64`.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The key that [`Key::to_bits`] gave this number. Any other number is a key that names nothing.
    pub fn from_bits(bits: u64) -> Key {
        Key(bits)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}v{})", self.index(), self.generation())
    }
}

struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

/// A table from [`Key`] to `T`; insert, find and remove take constant time.
pub(crate) struct Registry<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Registry<T> {
    pub(crate) fn new() -> Registry<T> {
        Registry {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, entry: T) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.entry = Some(entry);
            return Key::new(index, slot.generation);
        }
        // The kernel runs out of descriptors long before 2^32 slots are taken.
        let index = self.slots.len() as u32;
        self.slots.push(Slot {
            generation: 0,
            entry: Some(entry),
        });
        Key::new(index, 0)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index())?;
        if slot.generation == key.generation() {
            slot.entry.as_ref()
        } else {
            None
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation == key.generation() {
            slot.entry.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1) & GENERATION_MASK;
        self.free.push(key.index() as u32);
        Some(entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let entry = slot.entry.as_ref()?;
            Some((Key::new(index as u32, slot.generation), entry))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_stale_key_never_reaches_the_next_owner_of_the_slot() {
        let mut registry = Registry::new();
        let old = registry.insert("old");
        assert_eq!(registry.remove(old), Some("old"));
        let new = registry.insert("new");
        assert_eq!(old.index(), new.index());
        assert_eq!(registry.get(old), None);
        assert_eq!(registry.remove(old), None);
        assert_eq!(registry.get(new), Some(&"new"));
    }

    #[test]
    fn keys_fit_a_positive_lua_integer() {
        let key = Key::new(u32::MAX, GENERATION_MASK);
        assert!(i64::try_from(key.to_bits()).is_ok());
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_with_keys_that_never_repeat(steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>()), 1..300)) {
            let mut registry = Registry::new();
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
