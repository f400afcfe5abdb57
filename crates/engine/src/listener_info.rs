//! What is known of one listener at one moment.

use crate::name::Name;
use crate::registry::Key;

/// What is known of one listener at one moment: see [`Reactor::listeners`](crate::Reactor::listeners).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerInfo {
    /// The listener.
    pub key: Key,
    /// Where it listens.
    pub name: Option<Name>,
    /// Connections that it accepted.
    pub accepted: u64,
    /// Connections that it accepted and refused at once: their addresses have or open too many, or no descriptor was free.
    pub refused: u64,
    /// Of the accepted ones, those that are not over.
    pub open: u64,
}

impl ListenerInfo {
    /// Adds what another thread has counted that accepts for the same listener.
    pub(crate) fn add_thread(&mut self, other: &ListenerInfo) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.open += other.open;
    }
}
