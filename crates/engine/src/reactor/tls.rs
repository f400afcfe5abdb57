//! TLS: beginning it, the handshake's steps in the turn, and what a connection tells of its session.

use super::input::READ_BUDGET;
use super::{Reactor, Source, Step};
use crate::clock;
use crate::config::SocketKind;
use crate::connection::State;
use crate::error::{Error, Reason};
use crate::event::Event;
use crate::name::Name;
use crate::registry::Key;
use crate::tls::session::{Progress, Session};
use crate::tls::{Context, Info, Start, VerifyError};

/// How much of a handshake is read at a time: what rustls takes in one go.
const HANDSHAKE_READ: usize = 4096;

/// TLS. A stale key, or a connection without TLS, gives nothing.
impl Reactor {
    pub(super) fn begin_tls(&mut self, key: Key, start: Start) -> Result<(), Error> {
        let connection = self.found(key)?;
        if connection.tls.is_some() {
            return Err(Error::TlsActive);
        }
        if connection.kind == SocketKind::Datagram {
            return Err(Error::Unsupported);
        }
        let connecting = match connection.state {
            State::Connecting => true,
            State::Open => false,
            State::HalfClosed | State::Draining | State::Closing => return Err(Error::Closed),
        };
        // On a connection in the making nothing was promised to be plaintext.
        let before = if connecting {
            Default::default()
        } else {
            std::mem::take(&mut connection.out)
        };
        let mut session = Session::new(start, before);
        session.tell_connected = connecting;
        connection.tls = Some(Box::new(session));
        if !connecting {
            self.begin_handshake(key);
        }
        Ok(())
    }

    /// Begins the handshake of a connection that stands.
    pub(super) fn begin_handshake(&mut self, key: Key) {
        let now = clock::now();
        let peer = match self.peer_name(key) {
            Some(Name::Inet(address)) => Some(address.ip()),
            _ => None,
        };
        let Some(connection) = self.connection(key) else {
            return;
        };
        let Some(session) = &mut connection.tls else {
            return;
        };
        connection.span.begin_handshake();
        if let Err(text) = session.begin(peer, now) {
            self.end(key, Reason::Tls(text));
            return;
        }
        self.queue_flush(key);
        self.want(key);
    }

    pub(super) fn choose_tls(
        &mut self,
        key: Key,
        context: Context,
        alpn: Option<Vec<Vec<u8>>>,
    ) -> Result<(), Error> {
        if context.mode() != crate::tls::Mode::Server {
            return Err(Error::Unsupported);
        }
        let session = self.asked(key)?;
        match session.accept(context, alpn) {
            Ok(()) => self.admit(key),
            Err(text) => self.fail_tls(key, text),
        }
        Ok(())
    }

    pub(super) fn asked(&mut self, key: Key) -> Result<&mut Session, Error> {
        match &mut self.found(key)?.tls {
            Some(session) if session.is_asked() => Ok(session),
            _ => Err(Error::Unsupported),
        }
    }

    /// Reads what the peer sends for the handshake.
    pub(super) fn handshake(&mut self, key: Key) -> Option<Step> {
        let now = self.turn.now;
        loop {
            let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
                return None;
            };
            if connection.budget == 0 {
                // The poller reports it again.
                connection.readable = false;
                break;
            }
            let received = connection.receive_handshake(&mut self.read_buffer[..HANDSHAKE_READ]);
            let len = match received {
                Ok(0) => {
                    self.end(key, Reason::PeerClosed);
                    return None;
                }
                Ok(len) => len,
                Err(rustix::io::Errno::AGAIN) => {
                    connection.readable = false;
                    break;
                }
                Err(errno) => {
                    self.end(key, Reason::Os(errno));
                    return None;
                }
            };
            connection.spend_budget(len);
            connection.readable =
                len == HANDSHAKE_READ || connection.hung_up || connection.has_taken_back();
            let session = connection.tls.as_mut()?;
            match session.handshake(&mut self.read_buffer[..len], now) {
                Ok(Progress::More) => {}
                Ok(Progress::Waits) => {
                    self.admit(key);
                    return None;
                }
                Ok(Progress::Asked { server_name, alpn }) => {
                    connection.await_consumer();
                    self.want(key);
                    return Some(Step::Event(Event::ClientHello {
                        key,
                        server_name,
                        alpn,
                    }));
                }
                Ok(Progress::Done) => return Some(self.secured(key)),
                Err(text) => {
                    self.fail_tls(key, text);
                    return None;
                }
            }
            if !self.connection(key)?.readable {
                break;
            }
        }
        self.queue_flush(key);
        self.want(key);
        None
    }

    /// The handshake is complete: what was written meanwhile can go, what arrived behind it is delivered.
    pub(super) fn secured(&mut self, key: Key) -> Step {
        let now = self.turn.now;
        self.count_handshake(key);
        self.queue_flush(key);
        self.want(key);
        let secured = Step::Event(Event::Secured { key });
        let Some(connection) = self.connection(key) else {
            return secured;
        };
        connection.read_since = now;
        let session = connection.tls.as_ref();
        connection.span.secured(|| session?.info());
        let session_waits = connection.holds_input();
        if (session_waits || connection.readable) && connection.registered.enter_ready() {
            // Connected belongs right behind Secured.
            self.ready.push_next(key);
        }
        secured
    }

    fn count_handshake(&mut self, key: Key) {
        self.stats.handshakes += 1;
        if let Some(session) = self.session(key) {
            let took = clock::now().saturating_sub(session.begun());
            self.stats.handshake_seconds.took(took);
        }
        if let Some(info) = self.tls_info(key) {
            self.stats.handshakes_resumed += u64::from(info.resumed);
            self.tallies.agreed_ciphers.add(info.cipher);
            match info.protocol {
                "TLSv1.2" => self.stats.handshakes_tls12 += 1,
                _ => self.stats.handshakes_tls13 += 1,
            }
        }
    }

    /// Ends a connection whose TLS session has failed. The alert for the peer is sent if the system takes it at once.
    pub(super) fn fail_tls(&mut self, key: Key, text: String) {
        if let Some(Source::Connection(connection)) = self.sources.get_mut(key) {
            let _ = connection.flush(&mut self.spares);
        }
        self.end(key, Reason::Tls(text));
    }

    /// Serves a connection in the next step 5, for it has input that the poller does not know of.
    pub(super) fn serve_later(&mut self, key: Key) {
        if let Some(connection) = self.connection(key)
            && connection.holds_input()
        {
            self.backlog.push(key);
        }
    }

    /// Step 5 begins. Connections whose TLS session has input of its own are ready as well.
    pub(super) fn note_backlog(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        for key in std::mem::take(&mut self.backlog) {
            if let Some(connection) = self.connection(key) {
                connection.budget = READ_BUDGET;
                self.serve_in_turn(key);
            }
        }
    }

    fn session(&self, key: Key) -> Option<&Session> {
        match self.sources.get(key)? {
            Source::Connection(connection) => connection.tls.as_deref(),
            _ => None,
        }
    }

    /// Whether TLS was begun; the handshake need not be complete.
    pub fn is_tls(&self, key: Key) -> bool {
        self.session(key).is_some()
    }

    /// What was agreed on; `None` before [`Event::Secured`].
    pub fn tls_info(&self, key: Key) -> Option<Info> {
        self.session(key)?.info()
    }

    /// The context in use: the one that TLS was begun with, or that was chosen since.
    pub fn tls_context(&self, key: Key) -> Option<Context> {
        self.session(key).map(|session| session.context().clone())
    }

    /// The certificates that the peer sent, in DER, its own first; none if it sent none.
    pub fn peer_certificates(&self, key: Key) -> Vec<Vec<u8>> {
        self.session(key)
            .map(Session::peer_certificates)
            .unwrap_or_default()
    }

    /// What is wrong with them: a list for each depth, the peer's own certificate first. Empty where nothing is wrong or
    /// nothing was sent. Without `lsec_continue` it is the first error alone.
    pub fn peer_verification(&self, key: Key) -> Vec<Vec<VerifyError>> {
        let errors = self.session(key).map(Session::errors);
        errors.cloned().unwrap_or_default()
    }

    /// Keying material that both ends can derive (RFC 5705; RFC 8446, section 7.5), e.g. for `tls-exporter`
    /// (RFC 9266). `None` before [`Event::Secured`], for a length of 0 or more than 4096 bytes.
    pub fn export_keying_material(
        &self,
        key: Key,
        label: &[u8],
        context: Option<&[u8]>,
        length: usize,
    ) -> Option<Vec<u8>> {
        self.session(key)?.export(label, context, length)
    }
}
