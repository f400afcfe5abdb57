//! Connections that a proxy has made for a client: nobody hears of them before the proxy has said who the client is.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Reactor, Source, Step};
use crate::config::ProxyProtocol;
use crate::connection::{Connection, Credit, HeaderRead};
use crate::error::Reason;
use crate::event::{Event, Level};
use crate::name::Name;
use crate::proxy_protocol::Proxied;
use crate::registry::Key;
use crate::socket;

/// Whether a connection that was accepted is one of a proxy, which has to say so first.
pub(super) fn is_proxy(settings: &ProxyProtocol, connection: &Connection) -> bool {
    let trusts = |peer: SocketAddr| settings.trusted.contains(peer.ip());
    if !connection.peer().is_some_and(trusts) {
        return false;
    }
    match (&settings.ports, socket::local_name(&connection.fd)) {
        (None, _) => true,
        (Some(ports), Some(Name::Inet(local))) => ports.contains(&local.port()),
        (Some(_), _) => false,
    }
}

impl Reactor {
    /// What a proxy has told of the client; `None` for a connection that none has made. The names of the connection are those of
    /// the client then.
    pub fn proxied(&self, key: Key) -> Option<Arc<Proxied>> {
        match self.sources.get(key)? {
            Source::Connection(connection) => connection.proxied().map(Arc::clone),
            _ => None,
        }
    }

    /// Whether a PROXY header is to come.
    pub(crate) fn expects_header(&self, key: Key) -> bool {
        matches!(self.sources.get(key), Some(Source::Connection(it)) if it.expects_header())
    }

    /// Reads of a PROXY header what is there. The event, if any, is that the connection begins.
    pub(super) fn read_header(&mut self, key: Key) -> Option<Step> {
        let now = self.turn.now;
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return None;
        };
        match connection.read_header(&mut self.read_buffer, now) {
            HeaderRead::Partial => None,
            HeaderRead::Complete => self.begin_proxied(key),
            HeaderRead::Left => {
                self.end(key, Reason::PeerClosed);
                None
            }
            HeaderRead::Failed(errno) => {
                self.end(key, Reason::Os(errno));
                None
            }
            HeaderRead::Refused(why) => {
                self.refuse_header(key, why);
                None
            }
        }
    }

    fn begin_proxied(&mut self, key: Key) -> Option<Step> {
        self.stats.proxy_headers += 1;
        let on_credit = self.on_credit;
        let connection = self.connection(key)?;
        connection.credit = on_credit.then(Credit::of_newcomer);
        let listener = connection.listener;
        // Without ends it has no client: the proxy looks whether we live.
        let ends = connection.proxied().and_then(|it| it.header.ends);
        connection.span.is_client(ends.map(|ends| ends.source));
        let has_client = ends.is_some();
        if has_client && !self.admit_client(key) {
            return None;
        }
        self.want(key);
        let Some(listener) = listener else {
            return Some(Step::Event(Event::Connected { key }));
        };
        if self.listener(listener).is_none() {
            // It was closed meanwhile, and whoever listened would not know whose this is.
            self.discard(key);
            return None;
        }
        Some(Step::Event(Event::Accepted { listener, key }))
    }

    /// Counts a connection on the address of the client that its proxy has told. False: that address has too many, and the
    /// connection is over.
    fn admit_client(&mut self, key: Key) -> bool {
        let Some(peer) = self.peer_address(key) else {
            return true;
        };
        let now = self.turn.now;
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return false;
        };
        // Those that somebody else has accepted count as those of one listener.
        let number = connection.listener.map_or(0, Key::to_bits);
        match self.gate.addresses.admit(number, peer, now) {
            Ok(visit) => {
                connection.visit = visit;
                true
            }
            Err(refusal) => {
                socket::make_abortive(&connection.fd);
                let heard = connection.listener.is_none();
                self.tell_refusal(peer, refusal);
                if heard {
                    let text = format!("{peer} has too many connections");
                    self.end_untold(key, Reason::ProxyHeader(text));
                } else {
                    self.discard(key);
                }
                false
            }
        }
    }

    /// Ends a connection of a proxy that has sent no header.
    pub(super) fn refuse_header(&mut self, key: Key, why: &str) {
        self.stats.proxy_refused += 1;
        let peer = self
            .connection(key)
            .and_then(|connection| connection.peer());
        let from = peer.map_or_else(|| "a UNIX socket".to_owned(), |peer| peer.to_string());
        let text = format!("{from}: {why}");
        if self.connection(key).is_some_and(|it| it.is_unheard())
            && self.header_notice.is_due(self.turn.now)
        {
            self.notice(
                Level::Warn,
                format!(
                    "{text}; the connection was closed. Whoever is in proxy_protocol_trusted has to begin with a header of the \
                     PROXY protocol (in HAProxy: send-proxy-v2)"
                ),
            );
        }
        self.end(key, Reason::ProxyHeader(text));
    }
}
