//! What the reactors of one process have in common: the counts by address, and the account of what connections hold.

use std::sync::Arc;

use super::{Reactor, Source};
use crate::addresses::Addresses;
use crate::memory::Account;

/// What several reactors count together.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) addresses: Arc<Addresses>,
    memory: Arc<Account>,
}

impl Reactor {
    /// For others that are to count together with this one.
    pub(crate) fn common(&self) -> Common {
        Common {
            addresses: Arc::clone(&self.gate.addresses),
            memory: Arc::clone(&self.memory),
        }
    }

    /// Has this reactor and others count together. To be called before there are connections.
    pub(crate) fn join(&mut self, common: Common) {
        self.gate.addresses = common.addresses;
        self.memory = common.memory;
        // Without one it sheds when it turns next.
        let waker = self.waker().ok();
        self.memory.join(self.sources.thread(), waker);
    }

    /// In a child of fork(2): what the threads of the parent had locked stays so, and this reactor counts for itself.
    pub(crate) fn count_alone(&mut self) {
        self.gate.addresses = Addresses::new();
        let held = self.sources.iter().map(|(_, source)| match source {
            Source::Connection(connection) => connection.counted(),
            _ => 0,
        });
        self.memory = Arc::new(Account::new(held.sum()));
    }
}
