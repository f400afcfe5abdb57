//! What a thread keeps for each of its connections, beside the reactor.

use std::sync::Arc;

use crate::error::Reason;
use crate::server::mailbox::Link;
use crate::server::place::Place;
use crate::server::{Contexts, Handler};
use crate::timers::TimerId;

/// One connection.
pub(in crate::server) struct Entry {
    /// `None` while it is called.
    pub(super) handler: Option<Box<dyn Handler>>,
    /// What most connections do without.
    pub(super) more: Option<Box<More>>,
    _place: Option<Place>,
}

/// What [`Handler::on_connect`] waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Awaits {
    /// The other end, which we connect to.
    Connection,
    /// The PROXY header. All else waits for it as well.
    Header,
    /// The handshake.
    Tls,
}

#[derive(Default)]
pub(super) struct More {
    pub(super) awaits: Option<Awaits>,
    pub(super) link: Option<Arc<Link>>,
    pub(super) timers: Vec<TimerId>,
    pub(super) contexts: Option<Contexts>,
    /// Why we closed it, where that is not [`Reason::Local`].
    pub(super) why: Option<Reason>,
}

impl Entry {
    pub(in crate::server) fn new(handler: Box<dyn Handler>, place: Option<Place>) -> Entry {
        Entry {
            handler: Some(handler),
            more: None,
            _place: place,
        }
    }

    /// Says what [`Handler::on_connect`] waits for; `None`: for nothing more.
    pub(in crate::server) fn set_awaits(&mut self, awaits: Option<Awaits>) {
        if awaits.is_some() || self.more.is_some() {
            self.more().awaits = awaits;
        }
    }

    pub(super) fn awaits(&self) -> Option<Awaits> {
        self.more.as_ref()?.awaits
    }

    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(super) fn take_contexts(&mut self) -> Option<Contexts> {
        self.more.as_mut()?.contexts.take()
    }

    /// A silent connection keeps no memory for what is over.
    pub(super) fn release(&mut self) {
        self.more.take_if(|more| more.is_empty());
    }
}

impl More {
    fn is_empty(&self) -> bool {
        let More {
            awaits,
            link,
            timers,
            contexts,
            why,
        } = self;
        awaits.is_none()
            && link.is_none()
            && timers.is_empty()
            && contexts.is_none()
            && why.is_none()
    }
}

#[test]
fn an_entry_takes_little_room() {
    // With its key.
    assert!(size_of::<(crate::Key, Entry)>() <= 40);
}
