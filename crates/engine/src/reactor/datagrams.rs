//! UDP with any number of peers: a socket of its own kind, which no error of one peer ends.
//!
//! [`connect`](Reactor::connect) makes a UDP socket that has one peer and behaves as Prosody expects of a connection: an error
//! ends it, and an empty datagram is nothing. Here each datagram comes with its sender, and an error is an event.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::source::DatagramSocket;
use super::{Reactor, Source, Step};
use crate::config::SocketKind;
use crate::error::Error;
use crate::event::Event;
use crate::registered::Registered;
use crate::registry::Key;
use crate::socket;

impl Reactor {
    /// Opens a UDP socket on this address; port 0 takes a free one, which [`local_name`](Reactor::local_name) tells. Each datagram, an
    /// empty one too, is an [`Event::Datagram`] with its sender.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system refuses, [`Error::Poller`] if the poller cannot hold the descriptor.
    pub fn bind_datagrams(&mut self, address: SocketAddr) -> Result<Key, Error> {
        self.adopt_datagrams(socket::bind_datagrams(address)?)
    }

    /// The same for a UDP socket that somebody else made, such as one with options of its own. If it is connected, the system
    /// delivers datagrams of its peer alone.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if it is no datagram socket, [`Error::Poller`] if the poller cannot hold the descriptor.
    pub fn adopt_datagrams(&mut self, fd: OwnedFd) -> Result<Key, Error> {
        if socket::adopt(&fd)? != SocketKind::Datagram {
            return Err(Error::Os(Errno::PROTOTYPE));
        }
        let key = self.sources.insert(Source::Datagrams(DatagramSocket {
            fd,
            registered: Registered::default(),
            paused: false,
            budget: 0,
        }));
        self.begin_serving(key)?;
        Ok(key)
    }

    /// Sends one datagram at once; nothing is queued. Gives its length.
    ///
    /// # Errors
    ///
    /// [`Error::Os`], none of which ends the socket: EAGAIN where the system has no room now, EMSGSIZE for what is too large, or an
    /// error that the system has kept from an earlier datagram, such as ECONNREFUSED. [`Error::Closed`] for a stale key,
    /// [`Error::Unsupported`] for a key of something else.
    pub fn send_to(&mut self, key: Key, data: &[u8], to: SocketAddr) -> Result<usize, Error> {
        match self.sources.get(key) {
            Some(Source::Datagrams(datagrams)) => Ok(socket::send_to(&datagrams.fd, data, to)?),
            Some(_) => Err(Error::Unsupported),
            None => Err(Error::Closed),
        }
    }

    /// One datagram, or one error.
    pub(super) fn next_datagram(&mut self, key: Key) -> Option<Step> {
        let Some(Source::Datagrams(datagrams)) = self.sources.get_mut(key) else {
            return None;
        };
        if datagrams.paused || datagrams.budget == 0 {
            // The poller reports it again.
            return None;
        }
        datagrams.budget -= 1;
        let received = socket::receive_from(&datagrams.fd, &mut self.read_buffer);
        if matches!(received, Err(Errno::AGAIN)) {
            return None;
        }
        self.serve_in_turn(key);
        Some(match received {
            Ok((len, from)) => {
                self.stats.reads += 1;
                self.stats.received_bytes += len as u64;
                Step::Datagram { key, len, from }
            }
            Err(errno) => Step::Event(Event::DatagramError {
                key,
                error: Error::Os(errno),
            }),
        })
    }
}
