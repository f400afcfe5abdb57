//! How soon TCP gives up a peer that does not answer, and what it knows of one.
#![allow(unsafe_code)] // what tcp(7) knows, which rustix does not offer

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::net::sockopt;

use super::{Name, local_name, unacknowledged};
use crate::config::{Config, KeepAlive, PortOptions};

/// What TCP knows of a connection, tcp(7). Times are as precise as the system's clock of TCP, some milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Bytes that were handed to the system, and that the peer's system has not acknowledged.
    pub unacknowledged: usize,
    /// For how long bytes have waited for their acknowledgement: zero where none do. Once something was sent again, it is the time
    /// since the last acknowledgement of whatever, and so an upper bound.
    pub unacknowledged_for: Duration,
    /// How often the oldest of these bytes were sent again.
    pub retransmits: u32,
    /// Since the peer's system last acknowledged anything.
    pub since_acknowledged: Duration,
    /// Since something was last sent.
    pub since_sent: Duration,
    /// Since something last came.
    pub since_received: Duration,
    /// The round-trip time, smoothed.
    pub round_trip: Duration,
}

/// What TCP knows of a connection; `None` for other sockets.
pub(crate) fn tcp_info(fd: &OwnedFd) -> Option<TcpInfo> {
    // SAFETY: integers alone, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointers describe `info` and `length`, which live across the call; `fd` is open.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return None;
    }
    let milliseconds = |count: u32| Duration::from_millis(count.into());
    let unacknowledged = usize::try_from(unacknowledged(fd)).unwrap_or(0);
    let since_acknowledged = milliseconds(info.tcpi_last_ack_recv);
    let since_sent = milliseconds(info.tcpi_last_data_sent);
    let unacknowledged_for = match (unacknowledged, info.tcpi_retransmits) {
        (0, _) => Duration::ZERO,
        (_, 0) => since_sent,
        _ => since_acknowledged,
    };
    Some(TcpInfo {
        unacknowledged,
        unacknowledged_for,
        retransmits: info.tcpi_retransmits.into(),
        since_acknowledged,
        since_sent,
        since_received: milliseconds(info.tcpi_last_data_recv),
        round_trip: Duration::from_micros(info.tcpi_rtt.into()),
    })
}

/// What a socket has of which nothing was asked.
struct Defaults {
    idle: Duration,
    interval: Duration,
    count: u32,
}

impl Defaults {
    /// Those of this system when it was first asked; `None` where no socket could be made.
    fn of_system() -> Option<&'static Defaults> {
        static DEFAULTS: OnceLock<Option<Defaults>> = OnceLock::new();
        let read = || {
            let socket = TcpListener::bind("127.0.0.1:0").ok()?;
            Some(Defaults {
                idle: sockopt::tcp_keepidle(&socket).ok()?,
                interval: sockopt::tcp_keepintvl(&socket).ok()?,
                count: sockopt::tcp_keepcnt(&socket).ok()?,
            })
        };
        DEFAULTS.get_or_init(read).as_ref()
    }
}

/// Sets how soon TCP gives up a peer, for a socket of which nothing was asked before.
pub(super) fn set_limits(fd: &OwnedFd, config: &Config) {
    set(fd, config, PortOptions::default(), None);
}

/// The same for a listener, whose connections inherit it. What was set before and is not any more gets the system's value.
pub(super) fn set_limits_of_listener(fd: &OwnedFd, config: &Config) {
    let own = match local_name(fd) {
        Some(Name::Inet(address)) => config.port_options.get(&address.port()),
        _ => None,
    };
    set(
        fd,
        config,
        own.copied().unwrap_or_default(),
        Defaults::of_system(),
    );
}

/// Other sockets than those of TCP do not have these options.
fn set(fd: impl AsFd, config: &Config, own: PortOptions, defaults: Option<&Defaults>) {
    let keepalive = own.tcp_keepalive.unwrap_or(config.tcp_keepalive);
    let idle = match keepalive {
        KeepAlive::Idle(after) => Some(after),
        KeepAlive::On | KeepAlive::Off => None,
    };
    let interval = own.tcp_keepalive_interval.or(config.tcp_keepalive_interval);
    let count = own.tcp_keepalive_count.or(config.tcp_keepalive_count);
    let timeout = own.tcp_user_timeout.or(config.tcp_user_timeout);
    let _ = sockopt::set_socket_keepalive(&fd, keepalive != KeepAlive::Off);
    if let Some(idle) = idle.or(defaults.map(|defaults| defaults.idle)) {
        let _ = sockopt::set_tcp_keepidle(&fd, idle);
    }
    if let Some(interval) = interval.or(defaults.map(|defaults| defaults.interval)) {
        let _ = sockopt::set_tcp_keepintvl(&fd, interval);
    }
    if let Some(count) = count.or(defaults.map(|defaults| defaults.count)) {
        let _ = sockopt::set_tcp_keepcnt(&fd, count);
    }
    if timeout.is_some() || defaults.is_some() {
        let _ = set_user_timeout(&fd, timeout.unwrap_or_default());
    }
}

/// Zero is the system's.
pub(super) fn set_user_timeout(fd: impl AsFd, after: Duration) -> rustix::io::Result<()> {
    // The system takes an int.
    let milliseconds = after.as_millis().min(i32::MAX as u128) as u32;
    sockopt::set_tcp_user_timeout(fd, milliseconds)
}
