//! What goes to the peers: flushing the out-queues, and the ends of connections.
#![allow(unsafe_code)] // a descriptor that the poller is to forget

use super::{Reactor, Source};
use crate::config::SocketKind;
use crate::connection::{Connection, Flush, OwnSide, State};
use crate::error::Reason;
use crate::event::Event;
use crate::registry::Key;
use crate::socket;
use crate::stage::Authentication;

impl Reactor {
    /// Has `key` flushed at the start of the next turn.
    pub(super) fn queue_flush(&mut self, key: Key) {
        if let Some(Source::Connection(connection)) = self.sources.get_mut(key) {
            let asks = connection.notify;
            if !std::mem::replace(&mut connection.in_flush, true) {
                self.flushes.push(key, asks);
            } else if asks {
                self.flushes.ask();
            }
        }
    }

    pub(super) fn wants_predrain(&mut self, key: Key) -> bool {
        self.connection(key).is_some_and(|connection| {
            connection.notify
                && connection.tls.as_ref().is_none_or(|tls| tls.is_secured())
                && connection.may_flush()
                && !connection.blocked
                && connection.state != State::Closing
        })
    }

    /// Sends what one connection has queued. The event, if any, is that the queue is empty.
    #[inline(always)] // there is one caller
    pub(super) fn flush(&mut self, key: Key) -> Option<Event<'static>> {
        if let Some(Source::Connection(connection)) = self.sources.get_mut(key)
            && connection.sends_straight()
        {
            connection.in_flush = false;
            let before = connection.sent;
            let flush = connection.flush_stream(&mut self.spares);
            if let Flush::Done = flush {
                self.stats.sent_bytes += connection.sent - before;
                return None;
            }
            connection.note_flush();
            return self.end_flush_of(key, flush, before);
        }
        self.flush_rare(key)
    }

    /// The same where more than sending is to be seen to.
    #[inline(never)]
    fn flush_rare(&mut self, key: Key) -> Option<Event<'static>> {
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return None;
        };
        connection.in_flush = false;
        if connection.blocked || !connection.may_flush() {
            self.recount(key);
            return None;
        }
        let before = connection.sent;
        let flush = connection.flush(&mut self.spares);
        self.end_flush_of(key, flush, before)
    }

    /// What a flush leads to, before which the system had taken so many bytes.
    #[inline(never)]
    fn end_flush_of(&mut self, key: Key, flush: Flush, before: u64) -> Option<Event<'static>> {
        let connection = self.connection(key)?;
        let sent = connection.sent - before;
        let change = connection.recount();
        let precedence = connection.precedence();
        self.stats.sent_bytes += sent;
        self.account_for(change, precedence);
        let connection = self.connection(key)?;
        match flush {
            Flush::Done => {
                let state = connection.state;
                if state == State::Closing {
                    self.end(key, Reason::Local);
                } else if connection.own_side == OwnSide::Finishing {
                    connection.own_side = OwnSide::Finished;
                    if matches!(state, State::HalfClosed | State::Draining) {
                        self.end(key, Reason::PeerClosed);
                    } else {
                        socket::shutdown_write(&connection.fd);
                    }
                } else if std::mem::take(&mut connection.notify) {
                    if state == State::Draining {
                        // Whoever refills the queue when it is empty may go on until there is nothing left to send.
                        self.queue_flush(key);
                    }
                    if let Some(connection) = self.connection(key) {
                        connection.tell_drain();
                    }
                    return Some(Event::Drain { key });
                } else if state == State::Draining && !connection.has_untold() {
                    self.end(key, Reason::PeerClosed);
                }
            }
            Flush::Blocked => {
                self.stats.blocked_writes += 1;
                self.want(key);
            }
            Flush::More => self.queue_flush(key),
            Flush::Held => {
                if connection.state == State::Closing {
                    self.end(key, Reason::Local);
                }
            }
            Flush::Failed(errno) => self.end(key, Reason::Os(errno)),
        }
        None
    }

    /// Ends a connection and has the consumer told, if it has heard of the connection.
    pub(crate) fn end(&mut self, key: Key, reason: Reason) {
        let is_failure = matches!(reason, Reason::Tls(_) | Reason::HandshakeTimeout);
        if is_failure {
            self.stats.tls_failures += 1;
            self.tallies
                .failed_tls
                .add(reason.text().unwrap_or_default());
        }
        self.tell_failed_handshake(key, &reason);
        self.end_untold(key, reason);
    }

    /// The same without a word in the log.
    pub(super) fn end_untold(&mut self, key: Key, reason: Reason) {
        let unheard = self.connection(key).is_some_and(|it| it.is_unheard());
        // An error of TLS is told to the peer by an alert, which a reset would destroy.
        let orderly =
            reason.is_orderly() || matches!(reason, Reason::Tls(_) | Reason::HandshakeTimeout);
        let graceful = orderly || !self.has_unsent(key);
        if let Some(connection) = self.connection(key) {
            connection.span.ends(&reason);
        }
        let info = self.end_info(key).unwrap_or_default();
        if self.remove(key, graceful) {
            let timed_out = matches!(
                reason,
                Reason::ConnectTimeout
                    | Reason::HandshakeTimeout
                    | Reason::WriteTimeout
                    | Reason::NewcomerSilent
                    | Reason::NewcomerTimeout
            );
            self.stats.ended += 1;
            self.tallies.closed_connections.add(reason.kind());
            self.stats.timed_out += u64::from(timed_out);
            if unheard {
                self.sources.free(key);
            } else {
                self.untold.push(Event::Closed { key, reason, info });
            }
        }
    }

    /// Frees what `key` names. `graceful` says goodbye to the peer as TCP wants it. Otherwise a stream of which something is not
    /// sent ends with a reset: the peer must not take what it got for the whole.
    pub(super) fn remove(&mut self, key: Key, graceful: bool) -> bool {
        if let Some(source) = self.sources.get(key) {
            // SAFETY: a source owns its descriptor, or whoever called `watch` keeps it open.
            unsafe { self.polling.forget(key, source.raw_fd()) };
        }
        // A consumer that answers later still uses the key of a connection, and says when it does not.
        let source = if self.on_credit && self.connection(key).is_some() {
            self.sources.retire(key)
        } else {
            self.sources.remove(key)
        };
        let Some(source) = source else {
            return false;
        };
        if let Some(timer) = source.timer() {
            self.timers.cancel(timer);
        }
        match source {
            Source::Connection(mut connection) => {
                self.account(connection.counted(), 0);
                connection.span.end(connection.received, connection.sent);
                let aborting = connection.is_aborting();
                let is_connecting = connection.state == State::Connecting;
                if graceful && !is_connecting {
                    connection.say_goodbye();
                } else if connection.abortive || connection.has_unsent() {
                    socket::make_abortive(&connection.fd);
                }
                let Connection {
                    fd,
                    kind,
                    has_place,
                    listener,
                    authentication,
                    ..
                } = *connection;
                if graceful && kind == SocketKind::Stream && !is_connecting {
                    self.part(fd, aborting);
                } else {
                    drop(fd);
                }
                // Only now is the descriptor free for those who wait for one.
                self.connection_left(listener, authentication, has_place);
            }
            Source::Listener(_) | Source::Watch(_) | Source::Datagrams(_) => {}
            // Dropping the handler has restored the signal's action.
            Source::Signal(_) => self.signals.retain(|signal| *signal != key),
            Source::Lingering(_) => self.lingering.retain(|other| *other != key),
        }
        true
    }

    /// The consumer ends a connection, if it is one.
    pub(super) fn count_closed(&mut self, key: Key, reason: &'static str) {
        if self.connection(key).is_some() {
            self.tallies.closed_connections.add(reason);
        }
    }

    fn has_unsent(&mut self, key: Key) -> bool {
        self.connection(key)
            .is_some_and(|connection| connection.has_unsent())
    }

    /// Frees what `key` names, and the key with it: nobody is told.
    pub(super) fn discard(&mut self, key: Key) -> bool {
        let found = self.remove(key, false);
        self.sources.free(key);
        found
    }

    /// A descriptor is free, and perhaps a place with it.
    fn connection_left(
        &mut self,
        listener: Option<Key>,
        authentication: Authentication,
        has_place: bool,
    ) {
        if has_place {
            self.leave_place();
        }
        if let Some(key) = listener
            && let Some(Source::Listener(listener)) = self.sources.get_mut(key)
        {
            listener.open -= 1;
            if authentication.is_newcomer() {
                listener.newcomers -= 1;
                if listener.newcomers + 1 == self.config.max_newcomers {
                    self.want(key);
                }
            }
        }
        while let Some(key) = self.resting.pop() {
            self.end_rest(key);
        }
    }
}
