//! What the connections of one listener get, and how many there may be.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
    /// Where its connections take places; `None` for a UNIX socket, whose connections take none.
    pub(super) places: Option<Arc<Places>>,
    /// What is counted of the listener.
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) open: AtomicU64,
}

impl Plan {
    /// A connection that is accepted now.
    pub(super) fn take_place(self: &Arc<Plan>) -> Place {
        if let Some(places) = &self.places {
            places.taken.fetch_add(1, Ordering::SeqCst);
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(self))
    }
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

    fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst)
            && let Some(waker) = self.waker.get()
        {
            waker.wake();
        }
    }
}

/// One connection of a listener; dropping it makes room.
pub(super) struct Place(Arc<Plan>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(places) = &self.0.places {
            places.leave();
        }
    }
}
