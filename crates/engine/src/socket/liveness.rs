//! How soon TCP gives up a peer that does not answer.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::net::sockopt;

use super::local_name;
use crate::config::{Config, KeepAlive, PortOptions};
use crate::name::Name;

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
