//! One thread of a server, as what runs there sees it.

use std::fmt;
use std::time::Duration;

use super::worker::{Awaits, Entry};
use super::{Conn, Handler, Thread};
use crate::config::{ReadSize, SocketKind};
use crate::error::Error;
use crate::name::Name;
use crate::registry::Key;
use crate::socket;
use crate::timers::TimerId;

impl Thread<'_> {
    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.worker.index
    }

    /// Connects to `peer`; `handler` serves the connection on this thread. [`Handler::on_connect`] or
    /// [`Handler::on_disconnect`] follows, in no case before this returns. What is written meanwhile is sent then.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system refuses at once, [`Error::Poller`] if the poller cannot hold the descriptor,
    /// [`Error::Closed`] at the end of the server.
    pub fn connect(&mut self, peer: &Name, handler: impl Handler) -> Result<Key, Error> {
        if self.worker.is_over() {
            return Err(Error::Closed);
        }
        let reactor = &mut self.worker.reactor;
        let key = match peer {
            Name::Inet(address) => reactor.connect(*address, SocketKind::Stream, ReadSize::All)?,
            Name::Unix(_) | Name::Abstract(_) => {
                reactor.adopt(socket::connect_unix(peer)?, ReadSize::All)?
            }
        };
        let mut entry = Entry::new(Box::new(handler), None);
        entry.set_awaits(Some(Awaits::Connection));
        self.worker.entries.insert(key, entry);
        Ok(key)
    }

    /// The view of a connection of this thread. Of one that is over or belongs to another thread, all is too late.
    pub fn conn(&mut self, key: Key) -> Conn<'_> {
        Conn {
            worker: self.worker,
            key,
        }
    }

    /// The connections of this thread, in no order.
    pub fn keys(&self) -> Vec<Key> {
        self.worker.keys()
    }

    /// Calls `then` after this time, once, unless the server ends before.
    pub fn set_timer(
        &mut self,
        after: Duration,
        then: impl FnOnce(&mut Thread<'_>) + 'static,
    ) -> TimerId {
        self.worker.set_thread_timer(after, Box::new(then))
    }

    /// Takes a timer back that [`set_timer`](Thread::set_timer) has given. False if it is none, or was called already.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.worker.cancel_thread_timer(timer)
    }
}

impl fmt::Debug for Thread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thread({})", self.worker.index)
    }
}
