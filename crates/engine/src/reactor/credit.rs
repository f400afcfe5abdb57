//! The reactor of a consumer that answers later: see [`Credit`](crate::connection::Credit) for what that one gets, and when.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::turn::{Part, Stage};
use super::{Reactor, Source};
use crate::config::ReadSize;
use crate::connection::{Connection, Credit, OwnSide, State};
use crate::connection_info::EndInfo;
use crate::error::{Error, Reason};
use crate::event::Event;
use crate::listener::Listener;
use crate::name::Name;
use crate::registry::Key;
use crate::socket;

/// The side that serves.
impl Reactor {
    /// Makes a reactor that gives keys with this thread number. Its connections read on only after [`release`](Reactor::release).
    pub(crate) fn on_credit(thread: u8) -> Reactor {
        Reactor {
            on_credit: true,
            ..Reactor::numbered(thread)
        }
    }

    /// Whether this turn may still wait. What it has told by then must not be kept back.
    pub(crate) fn is_before_wait(&self) -> bool {
        self.turn.part == Part::Beginning
            && matches!(self.turn.stage, Stage::Predrain | Stage::Flush)
    }

    /// The consumer has dealt with the last thing that it was given of this connection.
    pub(crate) fn release(&mut self, key: Key) {
        let now = self.turn.now;
        let Some(connection) = self.connection(key) else {
            return;
        };
        let interest_differs = connection.release(now);
        let goes_on = connection.readable || connection.holds_input();
        if connection.state == State::Draining {
            self.queue_flush(key);
        }
        if interest_differs {
            self.want(key);
        }
        if goes_on {
            self.backlog.push(key);
        }
    }

    /// Queues what the consumer has written. It has seen to the limit, and has been told of what else can be wrong, or will be.
    pub(crate) fn queue(&mut self, key: Key, data: Cow<'_, [u8]>) {
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return;
        };
        if connection.state != State::Closing && connection.own_side == OwnSide::Open {
            connection.count_written(data.len());
            connection.out.push_chunk(data, &mut self.spares);
            self.queue_flush(key);
        }
    }

    /// The same, and sends at once what the system takes: the bytes are many, and need not be copied for that.
    pub(crate) fn write_on_credit(&mut self, key: Key, data: &[u8]) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if connection.state != State::Closing && connection.own_side == OwnSide::Open {
            connection.count_written(data.len());
            self.write_through(key, data);
        }
    }

    /// The consumer has heard that the queue was empty.
    pub(crate) fn release_drain(&mut self, key: Key) {
        if let Some(connection) = self.connection(key) {
            connection.release_drain();
            if connection.state == State::Draining {
                self.queue_flush(key);
            }
        }
    }

    /// Sends at once what can be sent: the consumer has more than there is room for.
    pub(crate) fn catch_up(&mut self, key: Key) {
        if let Some(Source::Connection(connection)) = self.sources.get_mut(key)
            && connection.may_flush()
        {
            // An error is met again by the flush that is due.
            let _ = connection.flush(&mut self.spares);
            self.want(key);
        }
    }

    /// Takes back bytes that were read too early. The TLS handshake begins with them.
    pub(crate) fn take_back(&mut self, key: Key, bytes: Vec<u8>) {
        if let Some(connection) = self.connection(key) {
            connection.take_back(bytes);
        }
    }

    /// The counter of the bytes that the system takes from this connection.
    pub(crate) fn sent(&self, key: Key) -> Option<Arc<AtomicU64>> {
        match self.sources.get(key)? {
            Source::Connection(connection) => Some(connection.sent()),
            _ => None,
        }
    }

    /// Accepts on a socket that other reactors share. The listener has the key that the reactor gave which opened it.
    pub(crate) fn share_listener(
        &mut self,
        key: Key,
        fd: Arc<OwnedFd>,
        read_size: ReadSize,
    ) -> Result<(), Error> {
        let listener = Box::new(Listener::new(fd, read_size));
        self.sources.insert_as(key, Source::Listener(listener));
        self.begin_serving(key)
    }

    /// Takes over a connection that is being made. It keeps the key that it has from the reactor that began it.
    pub(crate) fn take_over(&mut self, key: Key, connection: Box<Connection>) -> Result<(), Error> {
        self.sources.insert_as(key, Source::Connection(connection));
        self.begin_serving(key)
    }
}

/// The side that hands over what others are to serve.
impl Reactor {
    /// The connections that can be handed over. These are TCP connections that are being made and that the poller does not know.
    pub(crate) fn outgoing(&self) -> Vec<Key> {
        let keys = self.sources.iter().map(|(key, _)| key);
        keys.filter(|key| self.is_outgoing(*key)).collect()
    }

    fn is_outgoing(&self, key: Key) -> bool {
        match self.sources.get(key) {
            Some(Source::Connection(connection)) => connection.is_outgoing(),
            _ => false,
        }
    }

    /// Takes in a connection that is to be handed over.
    pub(crate) fn take_in(&mut self, connection: Connection) -> Key {
        let (listener, peer) = (connection.listener, connection.peer());
        // One that is begun or adopted is told of later.
        let accepted = connection.state != State::Connecting;
        let connection = Source::Connection(Box::new(connection));
        let key = self.sources.insert(connection);
        if let Some(connection) = self.connection(key) {
            connection.span.begin(key, accepted, listener, peer);
        }
        key
    }

    /// Gives a connection away. Its key stays taken until [`free`](Reactor::free).
    pub(crate) fn hand_over(&mut self, key: Key) -> Option<Box<Connection>> {
        let Source::Connection(mut connection) = self.sources.retire(key)? else {
            return None;
        };
        // The queues and timers that it is in are those of this reactor.
        connection.in_flush = false;
        connection.registered.in_changed = false;
        connection.registered.in_refused = false;
        if let Some(timer) = connection.timer.take() {
            self.timers.cancel(timer);
        }
        connection.credit = Some(Credit::of_outgoing(connection.pending()));
        Some(connection)
    }

    /// Has the key of a connection that was handed over used again: nobody needs it any more.
    pub(crate) fn free(&mut self, key: Key) {
        self.sources.free(key);
    }

    /// Has the consumer told that a connection that was handed over has ended.
    pub(crate) fn tell_end(&mut self, key: Key, reason: Reason, info: EndInfo) {
        self.untold.push(Event::Closed { key, reason, info });
    }

    /// Where [`next_share`](super::Companion::next_share) puts data.
    pub(crate) fn read_buffer(&mut self) -> &mut [u8] {
        &mut self.read_buffer
    }

    /// The keys of all listeners on TCP ports.
    pub(crate) fn tcp_listeners(&self) -> Vec<Key> {
        let tcp = |source: &Source| match source {
            Source::Listener(listener) => {
                matches!(socket::local_name(&listener.fd), Some(Name::Inet(_)))
            }
            _ => false,
        };
        let found = self.sources.iter().filter(|(_, source)| tcp(source));
        found.map(|(key, _)| key).collect()
    }

    /// The listener under this key, for those that share its socket.
    pub(crate) fn listener_of(&self, key: Key) -> Option<&Listener> {
        match self.sources.get(key)? {
            Source::Listener(listener) => Some(listener),
            _ => None,
        }
    }
}
