//! What the owner of a source notes of its registration with the poller, and of the queues that it is in.

use crate::poller::Interest;

#[derive(Default)]
pub(crate) struct Registered {
    /// What the poller was last told; `None` while it does not know the descriptor.
    pub(crate) armed: Option<Interest>,
    /// It waits to be served.
    pub(crate) in_ready: bool,
    /// It waits for its interest to be compared.
    pub(crate) in_changed: bool,
    /// The system has refused to watch it for now.
    pub(crate) in_refused: bool,
}

impl Registered {
    /// Notes that it waits to be served. False: it does already.
    pub(crate) fn enter_ready(&mut self) -> bool {
        !std::mem::replace(&mut self.in_ready, true)
    }

    /// Notes that its interest may have changed. False: that is known.
    pub(crate) fn enter_changed(&mut self) -> bool {
        !std::mem::replace(&mut self.in_changed, true)
    }
}
