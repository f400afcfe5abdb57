//! A handler's view of its connection.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::{Conn, Contexts, Handle, Handler, Thread};
use crate::config::{ReadSize, SocketOption};
use crate::connection_info::TcpInfo;
use crate::error::Error;
use crate::name::Name;
use crate::proxy_protocol::Proxied;
use crate::registry::Key;
use crate::stage::Authentication;
use crate::timers::TimerId;
use crate::tls::{Context, Info, Start, VerifyError};

/// Writing, closing, flow control.
impl Conn<'_> {
    /// Queues `data`; returns its length. It is sent with whatever else is queued when the thread gets there, soon.
    ///
    /// # Errors
    ///
    /// As [`Reactor::write`](crate::Reactor::write): above all [`Error::SendBufferFull`] for a peer that does not read,
    /// whose connection ends. [`pending`](Conn::pending) tells in time.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.worker.reactor.write(self.key, data)
    }

    /// Bytes that are queued and not sent.
    pub fn pending(&self) -> usize {
        self.worker.reactor.pending(self.key)
    }

    /// Has [`Handler::on_predrain`] called before the next flush and [`Handler::on_drain`] when the queue is empty, be it
    /// already. Once.
    pub fn notify_flush(&mut self) {
        self.worker.reactor.notify_flush(self.key, true);
    }

    /// Sends what is queued, then ends the connection; nothing more is read. [`Handler::on_disconnect`] follows.
    pub fn close(&mut self) {
        self.worker.close(self.key);
    }

    /// Ends the connection at once; what is queued is lost, and a reset tells the peer if that is anything. [`Handler::on_disconnect`] follows.
    pub fn destroy(&mut self) {
        self.worker.destroy(self.key);
    }

    /// Stops reading, so that the peer has to wait.
    pub fn pause(&mut self) -> bool {
        self.worker.reactor.pause(self.key)
    }

    /// Reads again.
    pub fn resume(&mut self) -> bool {
        self.worker.reactor.resume(self.key)
    }

    /// Queues what is written without sending it.
    pub fn pause_writes(&mut self) -> bool {
        self.worker.reactor.pause_writes(self.key)
    }

    /// Sends again what is written, beginning with what was queued meanwhile.
    pub fn resume_writes(&mut self) -> bool {
        self.worker.reactor.resume_writes(self.key)
    }

    /// Has the two sides of the stream end one by one: [`Handler::on_end`] tells of the peer's,
    /// [`finish`](Conn::finish) ends ours. Without it the connection ends when the peer has ended its side and all is sent.
    pub fn set_half_open(&mut self, on: bool) -> bool {
        self.worker.reactor.set_half_open(self.key, on)
    }

    /// Ends our side once all that is queued is sent; the peer is still read, until it ends its own.
    pub fn finish(&mut self) -> bool {
        self.worker.reactor.finish(self.key)
    }

    /// Has [`close`](Conn::close) tell the peer that this is no orderly end: what is queued is sent, and then a reset takes the
    /// place of close_notify and FIN. For a proxy, where the other side was cut off ([`Reason::is_orderly`](crate::Reason::is_orderly)).
    pub fn set_abortive(&mut self, on: bool) -> bool {
        self.worker.reactor.set_abortive(self.key, on)
    }

    /// Limits reading to so many bytes a second; zero or less removes the limit.
    pub fn set_rate_limit(&mut self, bytes_per_second: f64) -> bool {
        self.worker
            .reactor
            .set_rate_limit(self.key, bytes_per_second)
    }

    /// Changes how much [`Handler::on_incoming`] gets at a time.
    pub fn set_read_size(&mut self, size: ReadSize) -> bool {
        self.worker.reactor.set_read_size(self.key, size)
    }

    /// A read timeout of its own, counted from now; `None` for none at all.
    pub fn set_read_timeout(&mut self, after: Option<Duration>) -> bool {
        self.worker.reactor.set_read_timeout(self.key, after)
    }

    /// A timeout of its own for connecting and sending, counted from now; `None` for none at all.
    pub fn set_write_timeout(&mut self, after: Option<Duration>) -> bool {
        self.worker.reactor.set_write_timeout(self.key, after)
    }

    /// Tells whether it has authenticated, or has to: see [`Reactor::set_authentication`](crate::Reactor::set_authentication).
    pub fn set_authentication(&mut self, authentication: Authentication) -> bool {
        self.worker
            .reactor
            .set_authentication(self.key, authentication)
    }

    /// What TCP knows of the connection: see [`Reactor::tcp_info`](crate::Reactor::tcp_info).
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        self.worker.reactor.tcp_info(self.key)
    }

    /// Sets an option of the socket.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], or [`Error::Os`] where the socket does not have the option.
    pub fn set_option(&mut self, option: SocketOption) -> Result<(), Error> {
        self.worker.reactor.set_option(self.key, option)
    }
}

/// TLS.
impl Conn<'_> {
    /// Begins TLS with one context, on either end: see [`Reactor::start_tls`](crate::Reactor::start_tls).
    /// [`Handler::on_status`] says that it is there. [`Start::choose`] has no effect.
    ///
    /// # Errors
    ///
    /// As [`Reactor::start_tls`](crate::Reactor::start_tls).
    pub fn start_tls(&mut self, start: Start) -> Result<(), Error> {
        let choose = false;
        self.worker
            .reactor
            .start_tls(self.key, Start { choose, ..start })
    }

    /// Begins TLS as the server, with the context of the name that the client asks for.
    ///
    /// # Errors
    ///
    /// As [`Reactor::start_tls`](crate::Reactor::start_tls).
    pub fn serve_tls(&mut self, contexts: &Contexts) -> Result<(), Error> {
        self.worker.serve_tls(self.key, contexts)
    }

    /// What was agreed on; `None` before the handshake is complete.
    pub fn tls_info(&self) -> Option<Info> {
        self.worker.reactor.tls_info(self.key)
    }

    /// Whether TLS was begun; the handshake need not be complete.
    pub fn is_tls(&self) -> bool {
        self.worker.reactor.is_tls(self.key)
    }

    /// The context in use: the one that TLS was begun with, or that was chosen since.
    pub fn tls_context(&self) -> Option<Context> {
        self.worker.reactor.tls_context(self.key)
    }

    /// What is wrong with the peer's certificates: see [`Reactor::peer_verification`](crate::Reactor::peer_verification).
    pub fn peer_verification(&self) -> Vec<Vec<VerifyError>> {
        self.worker.reactor.peer_verification(self.key)
    }

    /// Keying material that both ends can derive: see [`Reactor::export_keying_material`](crate::Reactor::export_keying_material).
    pub fn export_keying_material(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        length: usize,
    ) -> Option<Vec<u8>> {
        let reactor = &self.worker.reactor;
        reactor.export_keying_material(self.key, label, context, length)
    }

    /// The certificates that the peer sent, in DER, its own first.
    pub fn peer_certificates(&mut self) -> Vec<Vec<u8>> {
        self.worker.reactor.peer_certificates(self.key)
    }
}

/// Names, timers, and the others.
impl Conn<'_> {
    /// Names the connection: no other connection of the server has this key or will have it.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Its thread, which also has what belongs to no connection.
    pub fn thread(&mut self) -> Thread<'_> {
        Thread {
            worker: self.worker,
        }
    }

    /// The number of its descriptor, for the log. `None` where it is over.
    pub fn fd(&self) -> Option<RawFd> {
        self.worker.reactor.fd(self.key)
    }

    /// For use from other threads. `None` where the connection is over.
    pub fn handle(&mut self) -> Option<Handle> {
        let link = self.worker.link(self.key)?;
        Some(Handle::new(Arc::clone(link)))
    }

    /// The address of the other end.
    pub fn peer_name(&self) -> Option<Name> {
        self.worker.reactor.peer_name(self.key)
    }

    /// The address of our end.
    pub fn local_name(&self) -> Option<Name> {
        self.worker.reactor.local_name(self.key)
    }

    /// What a proxy has told of the client: see [`Listen::proxy_protocol`](super::Listen::proxy_protocol).
    pub fn proxied(&self) -> Option<Arc<Proxied>> {
        self.worker.reactor.proxied(self.key)
    }

    /// Has [`Handler::on_timer`] called after this time, once, unless the connection ends before. `None` where it is over.
    pub fn set_timer(&mut self, after: Duration) -> Option<TimerId> {
        self.worker.set_timer(self.key, after)
    }

    /// Takes a timer back. False if it is none of this connection.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.worker.cancel_timer(self.key, timer)
    }

    /// Moves a timer to this time from now. False if it is none of this connection.
    pub fn reset_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        self.worker.owns(self.key, timer) && self.worker.reactor.reset_timer(timer, after)
    }

    /// Connects to `peer`, on this thread; `handler` serves it. [`Handler::on_connect`] or
    /// [`Handler::on_disconnect`] follows, in no case before this returns. What is written meanwhile is sent then.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system refuses at once, [`Error::Poller`] if the poller cannot hold the descriptor,
    /// [`Error::Closed`] at the end of the server.
    pub fn connect(&mut self, peer: &Name, handler: impl Handler) -> Result<Key, Error> {
        self.thread().connect(peer, handler)
    }

    /// The view of another connection of this thread, such as the other end of a proxied one.
    pub fn other(&mut self, key: Key) -> Conn<'_> {
        Conn {
            worker: self.worker,
            key,
        }
    }
}
