//! What contexts have in common is in memory once: Prosody makes a dozen contexts for each host.

use std::collections::HashMap;
use std::sync::Weak;

use aws_lc_rs::digest::{self, SHA256};

use crate::sync::{Arc, Mutex, lock};

/// Things by the bytes that they were made from, as long as somebody holds them.
pub(super) struct Interned<T>(Mutex<Option<HashMap<[u8; 32], Weak<T>>>>);

impl<T> Interned<T> {
    pub(super) const fn new() -> Interned<T> {
        Interned(Mutex::new(None))
    }

    /// What was made from the same parts, or else what `make` makes of them now.
    ///
    /// # Errors
    ///
    /// Those of `make`. Nothing is kept then.
    pub(super) fn get<'a, E>(
        &self,
        parts: impl IntoIterator<Item = &'a [u8]>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let mut digest = digest::Context::new(&SHA256);
        for part in parts {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut content = [0; 32];
        content.copy_from_slice(digest.finish().as_ref());
        let mut known = lock(&self.0);
        let known = known.get_or_insert_default();
        if let Some(thing) = known.get(&content).and_then(Weak::upgrade) {
            return Ok(thing);
        }
        let thing = Arc::new(make()?);
        known.retain(|_, thing| thing.strong_count() > 0);
        known.insert(content, Arc::downgrade(&thing));
        Ok(thing)
    }
}
