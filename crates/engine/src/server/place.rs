//! What the connections of one listener get, and how many there may be.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Contexts, Factory};
use crate::config::ReadSize;
use crate::network::Network;
use crate::waker::Waker;

/// What the connections of one listener get.
pub(super) struct Plan {
    pub(super) factory: Factory,
    pub(super) contexts: Option<Contexts>,
    pub(super) read_size: ReadSize,
    /// Who has to begin with a PROXY header.
    pub(super) fronts: Vec<Network>,
}

/// The connections of all listeners that live.
pub(super) struct Places {
    taken: AtomicUsize,
    /// The acceptor waits for one to become free.
    awaited: AtomicBool,
    waker: Arc<OnceLock<Waker>>,
}

impl Places {
    /// Those of an acceptor that `waker` wakes.
    pub(super) fn new(waker: &Arc<OnceLock<Waker>>) -> Arc<Places> {
        Arc::new(Places {
            taken: AtomicUsize::new(0),
            awaited: AtomicBool::new(false),
            waker: Arc::clone(waker),
        })
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Whether the acceptor is woken when one becomes free.
    pub(super) fn wait_for_one(&self, waits: bool) {
        self.awaited.store(waits, Ordering::SeqCst);
    }

    pub(super) fn take(self: &Arc<Places>) -> Place {
        self.taken.fetch_add(1, Ordering::SeqCst);
        Place(Arc::clone(self))
    }
}

/// One connection's place; dropping it makes room.
pub(super) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        if self.0.awaited.load(Ordering::SeqCst)
            && let Some(waker) = self.0.waker.get()
        {
            waker.wake();
        }
    }
}
