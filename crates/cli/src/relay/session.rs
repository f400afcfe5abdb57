//! The client's end of a relayed connection.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use trochee::proxy_protocol::{self, Ends};
use trochee::server::Status;
use trochee::{Conn, Handler, Name, Reason, TimerId};

use super::behind;
use super::common::Relay;
use super::options::Version;
use super::pair::Pair;

/// The client's end.
pub struct Client {
    relay: Arc<Relay>,
    phase: Phase,
    peer: Option<Name>,
}

enum Phase {
    /// Nothing has been said, or a PROXY header is to come.
    New,
    Handshake,
    /// To a server behind, or on its way there.
    Relayed(Rc<Pair>),
}

impl Client {
    pub fn new(relay: Arc<Relay>) -> Client {
        relay.clients.fetch_add(1, Ordering::Relaxed);
        Client {
            relay,
            phase: Phase::New,
            peer: None,
        }
    }

    fn tell(&self, what: &str) {
        match &self.peer {
            Some(name) => self.relay.log.tell(&format!("{name}: {what}")),
            // Gone before anybody could ask.
            None => self.relay.log.tell(&format!("a client: {what}")),
        }
    }

    /// The client itself speaks from here on.
    fn begin(&mut self, conn: &mut Conn<'_>) {
        match &self.relay.contexts {
            Some(contexts) => {
                self.phase = Phase::Handshake;
                if let Err(error) = conn.serve_tls(contexts) {
                    self.tell(&format!("TLS: {error}"));
                    conn.destroy();
                }
            }
            None => self.connect(conn),
        }
    }

    fn connect(&mut self, conn: &mut Conn<'_>) {
        // Until a server has accepted: what is read belongs to that one.
        conn.pause();
        let header = self.header(conn);
        let pair = Rc::new(Pair::new(Arc::clone(&self.relay), conn.key(), header));
        self.phase = Phase::Relayed(Rc::clone(&pair));
        behind::connect(&pair, conn);
    }

    /// What the server behind is told first.
    fn header(&self, conn: &Conn<'_>) -> Vec<u8> {
        let Some(version) = self.relay.proxy_protocol else {
            return Vec::new();
        };
        let ends = match (conn.peer_name(), conn.local_name()) {
            (Some(Name::Inet(source)), Some(Name::Inet(destination))) => Some(Ends {
                source,
                destination,
            }),
            _ => None,
        };
        match version {
            Version::V1 => proxy_protocol::version_1(ends),
            Version::V2 => proxy_protocol::version_2(ends, conn.tls_info().as_ref()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.relay.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handler for Client {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        conn.set_half_open(true);
        self.peer = match conn.peer_name() {
            // The client has no name, but the socket that it came to has.
            Some(Name::Unix(_)) => conn.local_name(),
            peer => peer,
        };
        if !self.relay.fronts.is_empty() && conn.proxied().is_none() {
            self.tell("turned away: not in accept-proxy-protocol");
            return conn.destroy();
        }
        self.begin(conn);
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        if let Phase::Relayed(pair) = &self.phase {
            pair.forward(conn, data);
        }
    }

    fn on_status(&mut self, conn: &mut Conn<'_>, _status: Status) {
        self.connect(conn);
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, _timer: TimerId) {
        if let Phase::Relayed(pair) = &self.phase {
            // A name was to be looked up first.
            behind::connect(pair, conn);
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        if let Phase::Relayed(pair) = &self.phase {
            pair.read_on(conn);
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        match &self.phase {
            Phase::Relayed(pair) => pair.finish(conn),
            _ => conn.close(),
        }
    }

    fn on_read_timeout(&mut self, conn: &mut Conn<'_>) -> bool {
        match &self.phase {
            Phase::Relayed(pair) => pair.stays(conn),
            _ => false,
        }
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        match (&self.phase, reason) {
            (Phase::Relayed(pair), _) => {
                pair.over.set(true);
                pair.close(conn, reason);
            }
            (Phase::New, Reason::ProxyHeader(text)) => self.relay.log.tell(text),
            (Phase::Handshake, Reason::Tls(error)) => self.tell(&format!("TLS: {error}")),
            (Phase::Handshake, Reason::HandshakeTimeout) => {
                self.tell("TLS: no handshake in time");
            }
            _ => {}
        }
    }

    /// What is relayed may go on until the deadline, and what goes on then is cut off; what is not yet, need not begin.
    fn on_shutdown(&mut self, conn: &mut Conn<'_>, _deadline: Instant) {
        if matches!(self.phase, Phase::Relayed(_)) {
            conn.set_abortive(true);
        } else {
            conn.close();
        }
    }
}
