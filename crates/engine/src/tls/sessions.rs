//! What a client's context remembers of servers, to resume sessions with them.
//!
//! rustls keeps the server's whole chain with each ticket, and the server decides how long both are and how many tickets it sends. So one
//! ticket of each server is remembered: a server has one connection to another, and each handshake brings a new ticket.

use std::collections::VecDeque;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::sync::{Mutex, lock};

/// How many servers a context remembers; the one that has been known for longest goes first.
const SERVERS: usize = 32;

/// Of one context.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<VecDeque<Server>>);

#[derive(Debug)]
struct Server {
    name: ServerName<'static>,
    /// What it wants a key for.
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Option<Tls13ClientSessionValue>,
}

impl Sessions {
    /// Changes what is known of a server.
    fn note(&self, name: ServerName<'static>, change: impl FnOnce(&mut Server)) {
        let mut servers = lock(&self.0);
        if let Some(server) = servers.iter_mut().find(|server| server.name == name) {
            return change(server);
        }
        let mut server = Server {
            name,
            group: None,
            tls12: None,
            tls13: None,
        };
        change(&mut server);
        if servers.len() == SERVERS {
            servers.pop_front();
        }
        servers.push_back(server);
    }

    /// Looks up what is known of a server.
    fn known<T>(
        &self,
        name: &ServerName<'_>,
        what: impl FnOnce(&mut Server) -> Option<T>,
    ) -> Option<T> {
        let mut servers = lock(&self.0);
        let server = servers.iter_mut().find(|server| server.name == *name)?;
        what(server)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.note(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.known(name, |server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.note(name, |server| server.tls12 = Some(session));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.known(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.known(name, |server| server.tls12.take());
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.note(name, |server| server.tls13 = Some(ticket));
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.known(name, |server| server.tls13.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_has_been_known_for_longest_is_forgotten_first() {
        let sessions = Sessions::default();
        let name = |number: usize| ServerName::try_from(format!("{number}.test")).unwrap();
        for number in 0..=SERVERS {
            sessions.set_kx_hint(name(number), NamedGroup::X25519);
            // Who is known is not there twice.
            sessions.set_kx_hint(name(number), NamedGroup::secp256r1);
        }
        assert_eq!(sessions.kx_hint(&name(0)), None);
        for number in 1..=SERVERS {
            let hint = sessions.kx_hint(&name(number));
            assert_eq!(hint, Some(NamedGroup::secp256r1), "{number}");
        }
    }
}
