//! What begins: settings, and what can be listened to, connected to, adopted and watched.

use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

use super::Reactor;
use super::proxied::is_proxy;
use super::source::{Source, Watch};
use crate::addresses::Visit;
use crate::clock;
use crate::config::{Config, ReadSize, SocketKind};
use crate::connection::{Connection, State};
use crate::error::Error;
use crate::listener::Listener;
use crate::network::Network;
use crate::poller::Interest;
use crate::registered::Registered;
use crate::registry::Key;
use crate::signals::SignalHandler;
use crate::socket;
use crate::waker::Waker;

impl Reactor {
    /// Replaces the settings. Listeners take over the options of their sockets; timeouts and limits count at once, for
    /// connections that are established already as well.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
        self.gate.addresses.configure(&self.config);
        if self.has_begun() {
            self.count_places();
        }
        for key in self.sources.keys() {
            if let Some(Source::Listener(listener)) = self.sources.get(key) {
                socket::set_listener_options(&listener.fd, &self.config);
            }
            self.want(key);
        }
    }

    /// Listens for TCP connections; each arrives as [`Event::Accepted`](crate::Event).
    ///
    /// `host` is `"*"` for every IPv4 address, `"::"` for every IPv6 address (and no IPv4 one, so that both can listen on
    /// one port), an address, or a name, which is looked up while the caller waits. `port` 0 takes a free one; see
    /// [`local_name`](Reactor::local_name). Connections deliver at most `read_size` at a time.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownHost`], or [`Error::Os`] in the words that Prosody looks for: `"address already in use"`,
    /// `"permission denied"`.
    pub fn listen(&mut self, host: &str, port: u16, read_size: ReadSize) -> Result<Key, Error> {
        let fd = socket::listen(host, port, &self.config)?;
        self.add_listener(Arc::new(fd), read_size)
    }

    /// Listens on a socket that somebody else bound and put into listening: TCP or a UNIX stream socket.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if it is no socket, [`Error::NotListening`], [`Error::Poller`] if the poller cannot hold its number.
    pub fn listen_on(&mut self, fd: OwnedFd, read_size: ReadSize) -> Result<Key, Error> {
        socket::adopt_listener(&fd)?;
        socket::set_listener_options(&fd, &self.config);
        let key = self.add_listener(Arc::new(fd), read_size)?;
        if let Some(listener) = self.listener(key) {
            listener.adopted = true;
        }
        Ok(key)
    }

    fn add_listener(&mut self, fd: Arc<OwnedFd>, read_size: ReadSize) -> Result<Key, Error> {
        let listener = Box::new(Listener::new(fd, read_size));
        let key = self.sources.insert(Source::Listener(listener));
        self.begin_serving(key)?;
        Ok(key)
    }

    /// Connects to `peer`; [`Event::Connected`](crate::Event) or [`Event::Closed`](crate::Event) follows.
    ///
    /// What is written meanwhile is sent once the connection stands.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system refuses at once, [`Error::Poller`] if the poller cannot hold the descriptor.
    pub fn connect(
        &mut self,
        peer: SocketAddr,
        kind: SocketKind,
        read_size: ReadSize,
    ) -> Result<Key, Error> {
        let connection = self.connecting(peer, kind, read_size)?;
        self.add(connection)
    }

    /// The connection that [`connect`](Reactor::connect) adds, before it is added.
    pub(crate) fn connecting(
        &mut self,
        peer: SocketAddr,
        kind: SocketKind,
        read_size: ReadSize,
    ) -> Result<Connection, Error> {
        let fd = socket::connect(peer, kind, &self.config)?;
        let mut connection = Connection::new(fd, kind, State::Connecting, read_size, clock::now());
        connection.set_peer(Some(peer));
        Ok(connection)
    }

    /// Takes over a stream or datagram socket that somebody else made, connected or connecting.
    /// [`Event::Connected`](crate::Event) follows as for [`connect`](Reactor::connect).
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if it is no such socket, [`Error::Poller`] if the poller cannot hold its number.
    pub fn adopt(&mut self, fd: OwnedFd, read_size: ReadSize) -> Result<Key, Error> {
        let connection = self.adopting(fd, read_size)?;
        self.add(connection)
    }

    /// The connection that [`adopt`](Reactor::adopt) adds, before it is added.
    pub(crate) fn adopting(
        &mut self,
        fd: OwnedFd,
        read_size: ReadSize,
    ) -> Result<Connection, Error> {
        let kind = socket::adopt(&fd)?;
        if kind == SocketKind::Stream {
            socket::set_default_options(&fd, &self.config);
        }
        Ok(Connection::new(
            fd,
            kind,
            State::Connecting,
            read_size,
            clock::now(),
        ))
    }

    /// Takes over a connection that somebody else accepted. No event tells of its beginning, unless a PROXY header comes first: then
    /// it is [`Event::Connected`](crate::Event). `fronts` go before [`Config::proxy_protocol`](crate::Config).
    pub(crate) fn adopt_accepted(
        &mut self,
        fd: OwnedFd,
        peer: Option<SocketAddr>,
        visit: Option<Visit>,
        read_size: ReadSize,
        fronts: &[Network],
    ) -> Result<Key, Error> {
        let now = clock::now();
        let mut connection = Connection::new(fd, SocketKind::Stream, State::Open, read_size, now);
        connection.set_peer(peer);
        connection.is_accepted = true;
        connection.visit = visit;
        let expects_header = if fronts.is_empty() {
            is_proxy(&self.config.proxy_protocol, &connection)
        } else {
            peer.is_none_or(|peer| fronts.iter().any(|front| front.contains(peer.ip())))
        };
        if expects_header {
            connection.expect_header(now);
        }
        self.add(connection)
    }

    /// Reports when `fd` is ready, as [`Event::Ready`](crate::Event), for as long as it is.
    ///
    /// The descriptor stays the caller's.
    ///
    /// # Safety
    ///
    /// `fd` must stay open until the watch is [closed](Self::close), or until the reactor is dropped. If its number comes to belong
    /// to another descriptor meanwhile, that one is watched in its place. The reactor neither reads, writes nor closes it.
    ///
    /// # Errors
    ///
    /// [`Error::Poller`]: the poller cannot watch it, such as a regular file on epoll. Before the first turn such a
    /// refusal arrives as a [`Event::Notice`](crate::Event).
    #[allow(unsafe_code)] // a descriptor that somebody else owns
    pub unsafe fn watch(&mut self, fd: RawFd, interest: Interest) -> Result<Key, Error> {
        let key = self.sources.insert(Source::Watch(Watch {
            fd,
            interest,
            registered: Registered::default(),
            ready: Interest::NONE,
        }));
        self.begin_serving(key)?;
        Ok(key)
    }

    /// Changes what a watch reports; [`Interest::NONE`] silences it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] for a stale key, [`Error::Unsupported`] for a key of something else.
    pub fn set_watch(&mut self, key: Key, interest: Interest) -> Result<(), Error> {
        match self.sources.get_mut(key) {
            Some(Source::Watch(watch)) => {
                watch.interest = interest;
                // What was noted in this turn and is not wanted any more is not told either.
                watch.ready.readable &= interest.readable;
                watch.ready.writable &= interest.writable;
            }
            Some(_) => return Err(Error::Unsupported),
            None => return Err(Error::Closed),
        }
        self.want(key);
        Ok(())
    }

    /// Reports a signal as [`Event::Signal`](crate::Event) instead of its usual action, signal(7).
    ///
    /// The handler is the process's: of two reactors that watch one signal the later one hears of it. Closing restores the
    /// action that the signal had before.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: there is no such signal, or it cannot be caught.
    pub fn watch_signal(&mut self, signal: i32) -> Result<Key, Error> {
        let handler = SignalHandler::install(signal).map_err(|error| {
            Error::Os(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
        })?;
        let key = self.sources.insert(Source::Signal(Box::new(handler)));
        self.signals.push(key);
        self.wake_by_signals();
        Ok(key)
    }

    /// What ends the wait of this reactor from other threads. To be taken after the process was forked, not before.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: out of descriptors. [`Error::Poller`]: the poller cannot hold its number.
    pub fn waker(&mut self) -> Result<Waker, Error> {
        self.polling.waker()
    }

    /// Takes a connection in; if the poller cannot hold it, says why and drops it.
    pub(crate) fn add(&mut self, connection: Connection) -> Result<Key, Error> {
        let key = self.take_in(connection);
        self.begin_serving(key)?;
        Ok(key)
    }

    /// Has the poller told of a source that was just taken in. One that it cannot hold is dropped.
    pub(super) fn begin_serving(&mut self, key: Key) -> Result<(), Error> {
        if !self.has_begun() {
            self.want(key);
        } else if let Err(error) = self.reconcile(key) {
            self.explain_fd_limit(&error);
            self.discard(key);
            return Err(Error::Poller(error));
        }
        Ok(())
    }

    /// How many sources there are: connections, listeners, watches and signals.
    pub fn len(&self) -> usize {
        self.sources.len() - self.lingering.len()
    }

    /// Whether descriptors of ended connections wait for their peers to receive the last bytes.
    pub(crate) fn is_lingering(&self) -> bool {
        !self.lingering.is_empty()
    }

    /// Whether there is no source.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
