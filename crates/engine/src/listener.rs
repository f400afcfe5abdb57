//! Accepting: in batches, with a reserved descriptor for the moment when there are none left.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::config::ReadSize;
use crate::poller::Interest;
use crate::socket;
use crate::timers::TimerId;

/// Connections that one listener hands out per turn, so that a burst of connects does not silence those who are in.
pub(crate) const BATCH: usize = 64;

pub(crate) struct Listener {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) read_size: ReadSize,
    /// Connections of this listener that live.
    pub(crate) connections: usize,
    pub(crate) paused: bool,
    /// Somebody else bound it and may use it again: it is closed here, and not shut down for all.
    pub(crate) adopted: bool,
    /// The I/O threads accept for it.
    pub(crate) lent: bool,
    /// Resting after a refusal of the system; the timer ends the rest.
    pub(crate) resting: Option<TimerId>,
    pub(crate) armed: Option<Interest>,
    pub(crate) in_ready: bool,
    pub(crate) in_interest: bool,
    /// Connections that it may still accept in this turn.
    pub(crate) budget: usize,
}

/// What an attempt to accept found.
pub(crate) enum Accept {
    Connection(OwnedFd, Option<SocketAddr>),
    /// Nobody waits.
    Nothing,
    /// No descriptor is left, here or in the whole system.
    NoDescriptor(Errno),
    /// No descriptor was left: the peer was turned away.
    TurnedAway(Option<SocketAddr>),
    /// The system refuses, and trying again at once would not help.
    Refused(Errno),
}

impl Listener {
    pub(crate) fn new(fd: Arc<OwnedFd>, read_size: ReadSize) -> Listener {
        Listener {
            fd,
            read_size,
            connections: 0,
            paused: false,
            adopted: false,
            lent: false,
            resting: None,
            armed: None,
            in_ready: false,
            in_interest: false,
            budget: 0,
        }
    }

    pub(crate) fn wants_accept(&self, max_connections: usize) -> bool {
        !self.lent && !self.paused && self.resting.is_none() && self.connections < max_connections
    }

    /// Accepts one connection.
    pub(crate) fn accept(&self) -> Accept {
        loop {
            return match socket::accept(&self.fd) {
                Ok((fd, peer)) => Accept::Connection(fd, peer),
                Err(Errno::AGAIN) => Accept::Nothing,
                // Another thread has shut it, and says so in a moment.
                Err(Errno::INVAL) => Accept::Nothing,
                // The peer gave up, or its network failed it, while it waited: accept(2) says to go on.
                Err(
                    Errno::INTR
                    | Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH
                    | Errno::NOPROTOOPT
                    | Errno::OPNOTSUPP
                    | Errno::NONET,
                ) => continue,
                Err(errno @ (Errno::MFILE | Errno::NFILE)) => Accept::NoDescriptor(errno),
                Err(errno) => Accept::Refused(errno),
            };
        }
    }

    /// Without a free descriptor the kernel would report the waiting peer for ever and nobody could take it: `reserve` is
    /// given up for as long as it takes to accept the peer and hang up.
    pub(crate) fn turn_away(&self, reserve: &mut Option<OwnedFd>, errno: Errno) -> Accept {
        if reserve.take().is_none() {
            return Accept::Refused(errno);
        }
        // Closes the peer's descriptor, if there is one, before the reserve is taken again.
        let turned_away = socket::accept(&self.fd).map(|(_fd, peer)| peer);
        *reserve = reserved_descriptor();
        match turned_away {
            Ok(peer) => Accept::TurnedAway(peer),
            Err(Errno::AGAIN) => Accept::Nothing,
            Err(_) => Accept::Refused(errno),
        }
    }
}

/// A descriptor to give up when there are no others.
pub(crate) fn reserved_descriptor() -> Option<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
