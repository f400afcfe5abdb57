//! What readiness becomes: connections established, data, the ends that the peers bring about.

use super::polling::WAKE_TOKEN;
use super::ready::{Origin, Rank};
use super::{Reactor, Source, Step};
use crate::config::SocketKind;
use crate::connection::{LARGEST_READ, OwnSide, Read, State};
use crate::error::Reason;
use crate::event::{Chunk, Event};
use crate::listener;
use crate::poller::{Interest, Readiness};
use crate::registry::Key;
use crate::socket;

/// Bytes that one connection may deliver per turn. A flooding peer gets that much, then everybody else has their turn.
pub(super) const READ_BUDGET: u32 = LARGEST_READ as u32;

impl Reactor {
    /// Notes what the poller said, where that is more than that an established connection has something to read.
    pub(super) fn note_rare(&mut self, ready: Readiness) {
        if ready.token == WAKE_TOKEN {
            return self.polling.clear_waker();
        }
        let key = Key::from_bits(ready.token);
        let mut silenced = false;
        let mut rank = Rank::ESTABLISHED;
        let registered = match self.sources.get_mut(key) {
            Some(Source::Connection(connection)) => {
                connection.readable |= ready.readable;
                silenced = ready.readable && connection.silence();
                connection.writable |= ready.writable;
                connection.hung_up |= ready.closed;
                connection.budget = READ_BUDGET;
                rank = Rank::of(connection);
                // It waits for its turn with nothing to read: the poller would tell again and again that the peer left.
                silenced |= ready.closed
                    && connection.waits_for_answer()
                    && !std::mem::replace(&mut connection.detached, true);
                &mut connection.registered
            }
            Some(Source::Listener(listener)) => {
                listener.budget = listener::BATCH;
                rank = Rank::NEW;
                &mut listener.registered
            }
            Some(Source::Watch(watch)) => {
                watch.ready = Interest {
                    readable: ready.readable && (watch.interest.readable || ready.closed),
                    writable: ready.writable && watch.interest.writable,
                };
                &mut watch.registered
            }
            Some(Source::Lingering(lingering)) => &mut lingering.registered,
            Some(Source::Datagrams(datagrams)) => {
                datagrams.renew_budget();
                &mut datagrams.registered
            }
            Some(Source::Signal(_)) | None => return,
        };
        if registered.enter_ready() {
            self.enqueue(key, rank);
        }
        if silenced {
            self.want(key);
        }
    }

    /// Queues a connection or a listener to be served in this turn, in the order of the ranks. One that is queued already stays
    /// where it is.
    pub(super) fn serve_in_turn(&mut self, key: Key) {
        let (registered, rank) = match self.sources.get_mut(key) {
            Some(Source::Connection(connection)) => {
                let rank = Rank::of(connection);
                (&mut connection.registered, rank)
            }
            Some(Source::Listener(listener)) => (&mut listener.registered, Rank::NEW),
            Some(Source::Datagrams(datagrams)) => (&mut datagrams.registered, Rank::ESTABLISHED),
            _ => return,
        };
        if registered.enter_ready() {
            self.enqueue(key, rank);
        }
    }

    /// Puts a source into the queue of those that are ready.
    #[inline]
    pub(super) fn enqueue(&mut self, key: Key, rank: Rank) {
        if rank >= Rank::NEW {
            self.ready.push(key, rank);
        } else {
            self.enqueue_handshake(key, rank);
        }
    }

    #[inline(never)]
    fn enqueue_handshake(&mut self, key: Key, rank: Rank) {
        if let Some(connection) = self.connection(key) {
            let origin = Origin::of(connection);
            self.ready.push_handshake(key, rank, origin);
        }
    }

    /// Serves a source of which more is to be seen to than reading.
    #[inline(never)]
    pub(super) fn next_rare(&mut self, key: Key) -> Option<Step> {
        let source = self.sources.get_mut(key)?;
        source.registered()?.in_ready = false;
        match source {
            Source::Connection(connection) if connection.overdue => self.serve_overdue(key),
            Source::Connection(_) => {
                let step = self.serve(key);
                self.recount(key);
                step
            }
            Source::Listener(_) => self.accept(key),
            Source::Watch(watch) => {
                (watch.ready != Interest::NONE).then_some(Step::Event(Event::Ready {
                    key,
                    readable: watch.ready.readable,
                    writable: watch.ready.writable,
                }))
            }
            Source::Datagrams(_) => self.next_datagram(key),
            Source::Lingering(_) => {
                self.read_in_vain(key);
                None
            }
            Source::Signal(_) => None,
        }
    }

    /// Acts on the readiness of one connection.
    pub(super) fn serve(&mut self, key: Key) -> Option<Step> {
        let mut connection = self.connection(key)?;
        if connection.state == State::Connecting {
            return self.establish(key).map(Step::Event);
        }
        if connection.expects_header() {
            return self.read_header(key);
        }
        if std::mem::take(&mut connection.writable) && connection.blocked {
            connection.blocked = false;
            self.want(key);
            self.queue_flush(key);
            connection = self.connection(key)?;
        }
        let (held, awaiting) = (connection.holds_input(), connection.is_awaiting());
        let taken_back = connection.has_taken_back();
        if let Some(session) = &mut connection.tls {
            if session.waits_for_answer() {
                return self.answer_hello(key);
            }
            if session.wants_handshake() && connection.state == State::Open && !awaiting {
                return if connection.readable || taken_back {
                    self.handshake(key)
                } else {
                    None
                };
            }
            if session.is_secured() && std::mem::take(&mut session.tell_connected) {
                return Some(Step::Event(self.tell_connected(key)));
            }
        }
        if !connection.wants_read() || awaiting {
            // Who holds it only for a moment reads without asking the poller again.
            connection.readable &= awaiting;
            if connection.hung_up {
                self.hung_up(key);
            }
            return None;
        }
        if connection.readable || held {
            self.read(key)
        } else {
            None
        }
    }

    /// A connection that is being made is ready: it is established, or it has failed.
    fn establish(&mut self, key: Key) -> Option<Event<'static>> {
        let now = self.turn.now;
        let connection = self.connection(key)?;
        if !connection.writable {
            return None;
        }
        connection.writable = false;
        if let Err(errno) = socket::take_error(&connection.fd) {
            self.end(key, Reason::Os(errno));
            return None;
        }
        connection.state = State::Open;
        connection.read_since = now;
        if connection.tls.is_some() {
            connection.readable = false;
            self.begin_handshake(key);
            return None;
        }
        // Whoever has nothing queued is told as well that there is room: some begin to write at that.
        connection.notify = true;
        // What the poller said of reading came with the connection itself; it will say so again.
        connection.readable = false;
        self.queue_flush(key);
        self.want(key);
        Some(Event::Connected { key })
    }

    /// The end of a direct TLS handshake is what the connection waited for.
    fn tell_connected(&mut self, key: Key) -> Event<'static> {
        if let Some(connection) = self.connection(key) {
            connection.notify = true;
        }
        self.queue_flush(key);
        if let Some(connection) = self.connection(key)
            && (connection.readable || connection.holds_input())
        {
            self.serve_in_turn(key);
        }
        Event::Connected { key }
    }

    fn read(&mut self, key: Key) -> Option<Step> {
        let now = self.turn.now;
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return None;
        };
        let read = connection.read(&mut self.read_buffer, &self.config, now);
        self.end_read(key, read)
    }

    /// What a read leads to.
    #[inline(never)]
    pub(super) fn end_read(&mut self, key: Key, read: Read) -> Option<Step> {
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return None;
        };
        match read {
            Read::Data { len, full, last } => {
                connection.count_read(len, &mut self.stats);
                if connection.is_over_newcomer_budget(&self.config) {
                    self.end_newcomer(key, Reason::NewcomerBudget);
                    return None;
                }
                let again = connection.readable && connection.budget > 0 && connection.wants_read();
                let throttled = !connection.paused && !connection.wants_read();
                let more = connection.holds_input() && connection.wants_read();
                if again {
                    connection.registered.in_ready = true;
                    self.ready.push(key, Rank::of(connection));
                } else {
                    // The poller reports it again if there is more.
                    connection.readable = false;
                    if more {
                        self.backlog.push(key);
                    }
                }
                if self.on_credit {
                    connection.await_consumer();
                }
                if connection.has_records() {
                    self.queue_flush(key);
                }
                if last {
                    self.drain(key);
                } else if throttled {
                    self.want(key);
                }
                let end = match (last, full) {
                    (true, _) => Chunk::Last,
                    (false, true) => Chunk::Full,
                    (false, false) => Chunk::Short,
                };
                Some(Step::Data { key, len, end })
            }
            Read::Nothing => {
                connection.readable = false;
                if connection.has_records() {
                    self.queue_flush(key);
                }
                None
            }
            Read::End => {
                connection.readable = false;
                if connection.half_open {
                    return self.peer_ended(key);
                }
                if !connection.has_unsent() {
                    self.end(key, Reason::PeerClosed);
                } else {
                    self.drain(key);
                }
                None
            }
            Read::Truncated => {
                self.end(key, Reason::Truncated);
                None
            }
            Read::Failed(errno) => {
                self.end(key, Reason::Os(errno));
                None
            }
            Read::Broken(text) => {
                self.fail_tls(key, text);
                None
            }
        }
    }

    /// The peer has ended its side: what is queued, and what the consumer answers right now, is sent before the end.
    fn drain(&mut self, key: Key) {
        if let Some(connection) = self.connection(key) {
            connection.state = State::Draining;
            self.queue_flush(key);
            self.want(key);
        }
    }

    /// The peer has ended its side of a connection whose sides end one by one. If our side has ended before, the connection ends.
    fn peer_ended(&mut self, key: Key) -> Option<Step> {
        let connection = self.connection(key)?;
        if connection.own_side == OwnSide::Finished {
            self.end(key, Reason::PeerClosed);
            return None;
        }
        connection.state = State::HalfClosed;
        self.want(key);
        Some(Step::Event(Event::Ended { key }))
    }

    /// The peer is gone while nobody reads. What it sent is kept until somebody does; where there is nothing left to
    /// read the end is told at once.
    fn hung_up(&mut self, key: Key) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        match socket::peek(&connection.fd) {
            _ if connection.holds_input() => {
                connection.detached = true;
                self.want(key);
            }
            Ok(_) if connection.kind == SocketKind::Stream => {
                connection.detached = true;
                self.want(key);
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN) => connection.hung_up = false,
            Err(errno) => self.end(key, Reason::Os(errno)),
        }
    }
}
