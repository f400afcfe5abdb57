//! What a key names.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::config::Config;
use crate::connection::Connection;
use crate::listener::Listener;
use crate::poller::Interest;
use crate::registered::Registered;
use crate::signals::SignalHandler;
use crate::timers::TimerId;

pub(super) enum Source {
    Connection(Box<Connection>),
    Listener(Box<Listener>),
    Watch(Watch),
    Signal(Box<SignalHandler>),
    Lingering(Box<Lingering>),
    Datagrams(DatagramSocket),
}

/// A descriptor of somebody else.
pub(super) struct Watch {
    pub(super) fd: RawFd,
    pub(super) interest: Interest,
    pub(super) ready: Interest,
    pub(super) registered: Registered,
}

/// A descriptor that outlives its connection for a moment.
pub(super) struct Lingering {
    pub(super) fd: OwnedFd,
    /// When it is closed in any case, in nanoseconds.
    pub(super) until: u64,
    /// Bytes that are still read and discarded.
    pub(super) discards: usize,
    pub(super) timer: Option<TimerId>,
    pub(super) registered: Registered,
}

/// Datagrams of one socket in a turn. Then everybody else has their turn.
const BUDGET: u8 = 16;

/// A UDP socket without a peer of its own.
pub(super) struct DatagramSocket {
    pub(super) fd: OwnedFd,
    pub(super) registered: Registered,
    pub(super) paused: bool,
    /// Datagrams that it may still deliver in this turn.
    pub(super) budget: u8,
}

impl DatagramSocket {
    pub(super) fn renew_budget(&mut self) {
        self.budget = BUDGET;
    }
}

impl Source {
    /// -1 for a signal, which has none.
    pub(super) fn raw_fd(&self) -> RawFd {
        match self {
            Source::Connection(connection) => connection.fd.as_raw_fd(),
            Source::Listener(listener) => listener.fd.as_raw_fd(),
            Source::Watch(watch) => watch.fd,
            Source::Signal(_) => -1,
            Source::Lingering(lingering) => lingering.fd.as_raw_fd(),
            Source::Datagrams(datagrams) => datagrams.fd.as_raw_fd(),
        }
    }

    /// What is noted of its registration; a signal has none.
    pub(super) fn registered(&mut self) -> Option<&mut Registered> {
        match self {
            Source::Connection(connection) => Some(&mut connection.registered),
            Source::Listener(listener) => Some(&mut listener.registered),
            Source::Watch(watch) => Some(&mut watch.registered),
            Source::Lingering(lingering) => Some(&mut lingering.registered),
            Source::Datagrams(datagrams) => Some(&mut datagrams.registered),
            Source::Signal(_) => None,
        }
    }

    /// The timer that it has set for itself.
    pub(super) fn timer(&self) -> Option<TimerId> {
        match self {
            Source::Connection(connection) => connection.timer,
            Source::Listener(listener) => listener.resting,
            Source::Lingering(lingering) => lingering.timer,
            Source::Watch(_) | Source::Signal(_) | Source::Datagrams(_) => None,
        }
    }

    /// What the poller should be told; `None` for nothing at all. `has_room` is whether one more connection may be accepted.
    pub(super) fn wanted(&self, config: &Config, has_room: bool) -> Option<Interest> {
        match self {
            Source::Connection(connection) => connection.wanted(),
            Source::Listener(listener) => listener
                .wants_accept(config, has_room)
                .then_some(Interest::READ),
            Source::Watch(watch) => (watch.interest != Interest::NONE).then_some(watch.interest),
            Source::Datagrams(datagrams) => (!datagrams.paused).then_some(Interest::READ),
            Source::Lingering(lingering) => (lingering.discards > 0).then_some(Interest::READ),
            Source::Signal(_) => None,
        }
    }
}
