//! Events and spans of `tracing`.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tracing::field::{Empty, display};
use tracing::{Span, debug, debug_span, error, info, warn};

use crate::error::Reason;
use crate::event::Level;
use crate::registry::Key;
use crate::tls::Info;

/// The span of one connection. It is empty until the connection begins.
#[derive(Default)]
pub(crate) struct ConnectionSpan(Option<Box<Begun>>);

struct Begun {
    span: Span,
    at: Instant,
    handshake: Option<Instant>,
    /// Why it ends, unless the consumer has ended it.
    reason: Option<Reason>,
}

impl ConnectionSpan {
    /// A connection begins. A listener that accepted it may be another thread's, which has no name here.
    pub(crate) fn begin(
        &mut self,
        key: Key,
        accepted: bool,
        listener: Option<Key>,
        peer: Option<SocketAddr>,
    ) {
        // One that goes on another thread was here before.
        if self.0.is_some() {
            return;
        }
        let span = debug_span!(
            target: "trochee",
            "connection",
            key = key.to_bits(),
            peer = Empty,
            client = Empty,
        );
        if let Some(peer) = peer {
            span.record("peer", display(peer));
        }
        if accepted {
            let listener = listener.map(Key::to_bits);
            debug!(target: "trochee", parent: &span, counter = "accepted", listener, "accepted");
        } else {
            debug!(target: "trochee", parent: &span, "begun");
        }
        self.0 = Some(Box::new(Begun {
            span,
            at: Instant::now(),
            handshake: None,
            reason: None,
        }));
    }

    /// A proxy has said whom it speaks for; none where it speaks for itself.
    pub(crate) fn is_client(&self, client: Option<SocketAddr>) {
        if let Some(begun) = &self.0 {
            if let Some(client) = client {
                begun.span.record("client", display(client));
            }
            debug!(target: "trochee", parent: &begun.span, counter = "proxy_headers", "proxied");
        }
    }

    pub(crate) fn begin_handshake(&mut self) {
        if let Some(begun) = &mut self.0 {
            begun.handshake = Some(Instant::now());
            debug!(target: "trochee", parent: &begun.span, "handshake begun");
        }
    }

    pub(crate) fn secured(&mut self, info: impl FnOnce() -> Option<Info>) {
        let Some(begun) = &mut self.0 else {
            return;
        };
        let seconds = begun.handshake.take().map(|at| at.elapsed().as_secs_f64());
        if begun.span.is_disabled() {
            return;
        }
        let Some(info) = info() else {
            return;
        };
        debug!(
            target: "trochee",
            parent: &begun.span,
            counter = "handshakes",
            protocol = info.protocol,
            cipher = info.cipher,
            group = info.group,
            server_name = info.server_name,
            resumed = info.resumed,
            seconds,
            "handshake done"
        );
    }

    /// It is going to end, and not because the consumer has ended it.
    pub(crate) fn ends(&mut self, reason: &Reason) {
        if let Some(begun) = &mut self.0 {
            begun.reason = Some(reason.clone());
        }
    }

    /// It is over, after so many bytes from the peer, and to it.
    pub(crate) fn end(&mut self, received: u64, sent: u64) {
        let Some(begun) = self.0.take() else {
            return;
        };
        let Begun {
            span,
            at,
            handshake,
            reason,
        } = *begun;
        let by_itself = reason.is_some();
        let reason = reason.unwrap_or(Reason::Local);
        let in_handshake = handshake.map(|at| at.elapsed().as_secs_f64());
        if let (Some(seconds), false) = (in_handshake, reason == Reason::Local) {
            let by_tls = matches!(reason, Reason::Tls(_) | Reason::HandshakeTimeout);
            debug!(
                target: "trochee",
                parent: &span,
                counter = by_tls.then_some("tls_failures"),
                reason = %reason,
                seconds,
                "handshake failed"
            );
        }
        debug!(
            target: "trochee",
            parent: &span,
            counter = by_itself.then_some("ended"),
            reason = %reason,
            kind = ?reason,
            orderly = reason.is_orderly(),
            received,
            sent,
            seconds = at.elapsed().as_secs_f64(),
            "closed"
        );
    }
}

/// A connection was refused, for what this counter counts.
pub(crate) fn refused(address: IpAddr, counter: &'static str) {
    debug!(target: "trochee", counter, address = %address, "refused");
}

/// There was no descriptor for a connection.
pub(crate) fn turned_away(peer: Option<SocketAddr>) {
    let peer = peer.map(display);
    debug!(target: "trochee", counter = "turned_away", peer, "refused");
}

/// What the log is told.
pub(crate) fn notice(level: Level, text: &str) {
    match level {
        Level::Debug => debug!(target: "trochee", "{text}"),
        Level::Info => info!(target: "trochee", "{text}"),
        Level::Warn => warn!(target: "trochee", "{text}"),
        Level::Error => error!(target: "trochee", "{text}"),
    }
}
