//! A listener with as many newcomers as it may have: others wait in its backlog, so nobody may hold a place for nothing.
//!
//! Without this, a stranger who opens `max_newcomers` connections and says nothing keeps everybody else out for as long as each of
//! them may be silent.

use super::Reactor;
use crate::registry::Key;

impl Reactor {
    /// Has all newcomers of a listener hurry: the times are in connection/newcomer.rs. Those that are accepted while it
    /// is crowded hurry, too.
    pub(super) fn hurry(&mut self, listener: Key) {
        for key in self.awaited(listener) {
            if let Some(connection) = self.connection(key) {
                connection.hurried = true;
            }
            // Has its alarm set anew.
            self.want(key);
        }
    }
}
