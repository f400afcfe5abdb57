//! What the engine is told of the options: timeouts, and how many connections there may be.

use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use trochee::{Config, KeepAlive, Networks, ProxyProtocol};

use super::options::Server;

/// Descriptors that are no connection's: listeners, pollers, standard streams, and some to spare.
const OTHER_DESCRIPTORS: u64 = 64;

/// How many threads serve unless the operator says.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The settings of the engine.
///
/// # Errors
///
/// The option that makes no sense, and why.
pub fn config(server: &Server) -> Result<Config, String> {
    for (name, timeout) in [
        ("connect-timeout", server.connect_timeout),
        ("handshake-timeout", server.handshake_timeout),
        ("send-timeout", server.send_timeout),
    ] {
        if timeout.0.is_zero() {
            return Err(format!(
                "{name} 0 leaves no time at all; only idle-timeout and half-close-timeout take 0 for no limit"
            ));
        }
    }
    for (name, value, most) in [
        ("keepalive", server.keepalive, 32_767),
        (
            "keepalive-interval",
            server.keepalive_interval.get(),
            32_767,
        ),
        ("keepalive-count", server.keepalive_count.get().into(), 127),
    ] {
        if value > most {
            return Err(format!(
                "{name} {value} is more than the system takes: {most}, see tcp(7)"
            ));
        }
    }
    let keepalive = match server.keepalive {
        0 => KeepAlive::Off,
        idle => KeepAlive::Idle(Duration::from_secs(idle.into())),
    };
    let exempt = if server.exempt_addresses.is_empty() {
        Networks::loopback_and_private()
    } else {
        let names = server.exempt_addresses.iter().map(String::as_str);
        Networks::named(names).map_err(|error| format!("exempt-addresses: {error}"))?
    };
    let most = match server.max_connections {
        Some(most) => most.get(),
        None => most()?,
    };
    Ok(Config {
        read_timeout: server.idle_timeout.limit().unwrap_or(Duration::MAX),
        tcp_keepalive: keepalive,
        tcp_keepalive_interval: Some(Duration::from_secs(server.keepalive_interval.get().into())),
        tcp_keepalive_count: Some(server.keepalive_count.get().into()),
        send_timeout: server.send_timeout.0,
        connect_timeout: server.connect_timeout.0,
        tls_handshake_timeout: server.handshake_timeout.0,
        proxy_protocol: ProxyProtocol {
            timeout: server.handshake_timeout.0,
            ..ProxyProtocol::default()
        },
        max_connections: Some(most),
        max_connections_per_address: server.max_connections_per_address.get(),
        connection_rate_per_address: server.connection_rate_per_address.get(),
        connection_burst_per_address: server.connection_burst_per_address.get(),
        exempt_addresses: exempt,
        // One side is paused above `buffer`, and what was read before that goes on top.
        max_send_buffer_size: server.buffer.saturating_add(1 << 20),
        ..Config::default()
    })
}

/// A client takes two descriptors: its own, and one to the server behind.
///
/// # Errors
///
/// There are too few for anybody.
fn most() -> Result<usize, String> {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let clients = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    match usize::try_from(clients).unwrap_or(usize::MAX) {
        0 => Err(format!(
            "{descriptors} file descriptors are too few: raise the limit (LimitNOFILE in systemd, ulimit -n)"
        )),
        most => Ok(most),
    }
}
