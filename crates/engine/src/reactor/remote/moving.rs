//! Connections that the loop begins: they go to a thread before anything has happened to them.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Remote, RemoteTls};
use crate::config::SocketKind;
use crate::connection::{Connection, OwnSide, State};
use crate::pool::{Command, Tag};
use crate::reactor::{Reactor, Source};
use crate::registry::Key;
use crate::socket::{self, Name};

impl Reactor {
    /// Whether there are threads, and a connection is of the kind that is theirs.
    pub(in crate::reactor) fn is_for_threads(&self, connection: &Connection) -> bool {
        self.pool.is_some()
            && connection.state == State::Connecting
            && connection.kind == SocketKind::Stream
            && matches!(socket::local_name(&connection.fd), Some(Name::Inet(_)))
    }

    /// Gives a connection that is being made to a thread, with all that was said of it.
    pub(in crate::reactor) fn hand_over(&mut self, key: Key) {
        let (peer, local) = (self.peer_name(key), self.local_name(key));
        let (Some(source), Some(pool)) = (self.sources.get_mut(key), &mut self.pool) else {
            return;
        };
        let Source::Connection(connection) = source else {
            return;
        };
        let thread = pool.choose();
        let sent = Arc::new(AtomicU64::new(0));
        let mut remote = Remote::new(thread, Tag::Loop(key), Arc::clone(&sent));
        remote.state = super::State::Connecting;
        remote.fd = connection.fd.as_raw_fd();
        (remote.peer, remote.local) = (peer, local);
        remote.written = connection.written;
        remote.paused = connection.paused;
        remote.writes_paused = connection.writes_paused;
        remote.finished = connection.own_side != OwnSide::Open;
        remote.notify = connection.notify;
        let tls = connection.tls.as_ref();
        remote.tls = tls.map(|session| Box::new(RemoteTls::new(session.context().clone())));
        // The queues and timers that it is in are those of this reactor.
        remote.in_flush = std::mem::take(&mut connection.in_flush);
        connection.in_interest = false;
        if let Some(timer) = connection.timer.take() {
            self.timers.cancel(timer);
        }
        connection.sent = Some(sent);
        let moved = std::mem::replace(source, Source::Remote(Box::new(remote)));
        if let Source::Connection(connection) = moved {
            let name = key;
            pool.tell(thread, Command::Connect { name, connection });
        }
    }
}
