//! A connection that a proxy has made for a client: what the proxy says first.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Connection, State};
use crate::clock::nanoseconds;
use crate::config::Config;
use crate::proxy_protocol::{Header, Parser, Proxied};
use crate::socket;

/// What is known of the proxy.
pub(super) enum Proxy {
    /// Its header is to come; since when.
    Expected(Parser, u64),
    /// It has spoken.
    Told(Arc<Proxied>),
}

/// What an attempt to read the header found.
pub(crate) enum HeaderRead {
    Complete,
    /// More is to come.
    Partial,
    /// The proxy has left without a header, as some health checks do.
    Left,
    /// What came is no header, for this reason.
    Refused(&'static str),
    Failed(Errno),
}

impl Connection {
    fn proxy(&self) -> Option<&Proxy> {
        self.rare()?.proxy.as_ref()
    }

    /// Nothing else is read before a PROXY header.
    pub(crate) fn expect_header(&mut self, now: u64) {
        self.rare_mut().proxy = Some(Proxy::Expected(Parser::default(), now));
    }

    /// Whether a PROXY header is to come.
    pub(crate) fn expects_header(&self) -> bool {
        self.state == State::Open && matches!(self.proxy(), Some(Proxy::Expected(..)))
    }

    /// Whether the consumer does not know of it: a listener of ours has accepted it, and the proxy has not said who the client is.
    pub(crate) fn is_unheard(&self) -> bool {
        self.listener.is_some() && matches!(self.proxy(), Some(Proxy::Expected(..)))
    }

    /// What a proxy has told of the client.
    pub(crate) fn proxied(&self) -> Option<&Arc<Proxied>> {
        match self.proxy()? {
            Proxy::Told(proxied) => Some(proxied),
            Proxy::Expected(..) => None,
        }
    }

    /// What the client has connected to, as the proxy tells it.
    pub(crate) fn told_destination(&self) -> Option<SocketAddr> {
        Some(self.proxied()?.header.ends?.destination)
    }

    /// When the header has taken too long.
    pub(crate) fn header_deadline(&self, config: &Config) -> Option<u64> {
        match self.proxy()? {
            Proxy::Expected(_, since) if self.state == State::Open => {
                Some(since.saturating_add(nanoseconds(config.proxy_protocol.timeout)))
            }
            _ => None,
        }
    }

    /// Reads of the header what is there, and nothing behind it. `buffer` is at least [`Parser::LONGEST`] long.
    pub(crate) fn read_header(&mut self, buffer: &mut [u8], now: u64) -> HeaderRead {
        let proxy = self.rare.as_mut().and_then(|rare| rare.proxy.as_mut());
        let Some(Proxy::Expected(parser, _)) = proxy else {
            return HeaderRead::Partial;
        };
        self.readable = false;
        let there = match socket::look_at(&self.fd, &mut buffer[..Parser::LONGEST]) {
            Ok(0) => return HeaderRead::Left,
            Ok(count) => count,
            Err(Errno::AGAIN) => {
                self.hung_up = false;
                return HeaderRead::Partial;
            }
            Err(errno) => return HeaderRead::Failed(errno),
        };
        let (taken, result) = parser.take(&buffer[..there]);
        // It is there, so all of it comes.
        if let Err(errno) = socket::receive(&self.fd, &mut buffer[..taken]) {
            return HeaderRead::Failed(errno);
        }
        match result {
            Ok(None) => HeaderRead::Partial,
            Ok(Some(header)) => {
                self.take_told(header, now);
                HeaderRead::Complete
            }
            Err(why) => HeaderRead::Refused(why),
        }
    }

    /// From here on the client counts.
    fn take_told(&mut self, header: Header, now: u64) {
        let proxy = self.peer();
        if let Some(ends) = header.ends {
            self.set_peer(Some(ends.source));
        }
        self.rare_mut().proxy = Some(Proxy::Told(Arc::new(Proxied { proxy, header })));
        self.read_since = now;
    }
}
