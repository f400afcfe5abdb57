//! What the threads share, by one name: `tests/interleavings.rs` puts loom's in its place.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic};
