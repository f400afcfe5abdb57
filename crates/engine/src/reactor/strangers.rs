//! What is told of strangers that are refused, and of those whose TLS handshake fails. The log of a server may be read by a program
//! that bans addresses, so the address stands at the same place in each of these lines.

use std::net::IpAddr;

use super::{Alarm, Reactor, Source};
use crate::addresses::{INTERVAL, Noted, Refusal};
use crate::clock;
use crate::error::Reason;
use crate::event::Level;
use crate::name::Name;
use crate::registry::Key;
use crate::tls::Mode;

impl Reactor {
    /// The address of the peer of a connection, where it has one.
    pub(super) fn peer_address(&self, key: Key) -> Option<IpAddr> {
        match self.peer_name(key)? {
            Name::Inet(address) => Some(address.ip()),
            Name::Unix(_) | Name::Abstract(_) => None,
        }
    }

    /// Counts a connection that was refused, and tells the log if it is time.
    pub(super) fn tell_refusal(&mut self, peer: IpAddr, refusal: Refusal) {
        refusal.count(&mut self.stats);
        let noted = self.gate.addresses.refused(refusal, peer, self.turn.now);
        self.tell_noted(noted);
    }

    /// Tells how a stranger has failed. False: its address is exempt, or it has none.
    pub(super) fn tell_failure(&mut self, key: Key, what: &str) -> bool {
        let Some(peer) = self.peer_address(key) else {
            return false;
        };
        let addresses = &self.gate.addresses;
        if addresses.exempts(peer) {
            return false;
        }
        let noted = addresses.failed(peer, what, self.turn.now);
        self.tell_noted(noted);
        true
    }

    /// Tells why a handshake failed with which the connection that is about to end has not begun.
    pub(super) fn tell_failed_handshake(&mut self, key: Key, reason: &Reason) {
        let session = match self.sources.get(key) {
            Some(Source::Connection(connection)) => connection.tls.as_ref(),
            _ => None,
        };
        let Some(session) = session.filter(|session| !session.is_secured()) else {
            return;
        };
        // An end of our own is nobody's failure.
        let Some(why) = reason.text() else {
            return;
        };
        let is_server = session.context().mode() == Mode::Server;
        let Some(peer) = self.peer_address(key) else {
            return;
        };
        // Who only leaves may be somebody who looks whether the port is open.
        let is_fault = matches!(reason, Reason::Tls(_) | Reason::HandshakeTimeout);
        if !(is_server && is_fault && self.tell_failure(key, &format!("TLS handshake: {why}"))) {
            let text = format!("TLS handshake with {peer} failed: {why}");
            self.notice(Level::Debug, text);
        }
    }

    /// An interval is over.
    pub(super) fn report_strangers(&mut self) {
        let noted = self.gate.addresses.report(self.turn.now);
        self.tell_noted(noted);
    }

    fn tell_noted(&mut self, noted: Noted) {
        for (level, text) in noted.lines {
            self.notice(level, text);
        }
        if noted.report_later {
            let deadline = clock::now() + INTERVAL;
            self.timers.insert(deadline, Alarm::STRANGERS);
        }
    }
}
