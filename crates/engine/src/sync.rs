//! What the threads share, by one name: `tests/interleavings.rs` puts loom's in its place.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};

/// Locks a mutex. What it protects is whole at any time, so a panic of another holder spoils nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
