//! What the engine is told of the options: timeouts, and how many connections there may be.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use trochee::{Config, KeepAlive, Networks};

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
    let mut config = Config::default();
    config.read_timeout = server.idle_timeout.limit().unwrap_or(Duration::MAX);
    config.tcp_keepalive = keepalive;
    config.tcp_keepalive_interval =
        Some(Duration::from_secs(server.keepalive_interval.get().into()));
    config.tcp_keepalive_count = Some(server.keepalive_count.get().into());
    config.send_timeout = server.send_timeout.0;
    config.connect_timeout = server.connect_timeout.0;
    config.tls_handshake_timeout = server.handshake_timeout.0;
    config.proxy_protocol.timeout = server.handshake_timeout.0;
    config.max_connections = Some(most);
    config.max_connections_per_address = server.max_connections_per_address.get();
    config.connection_rate_per_address = server.connection_rate_per_address.get();
    config.connection_burst_per_address = server.connection_burst_per_address.get();
    config.exempt_addresses = exempt;
    // One side is paused above `buffer`, and what was read before that goes on top.
    config.max_send_buffer_size = server.buffer.saturating_add(1 << 20);
    config.max_queued_memory = server.max_queued_memory.map(NonZeroUsize::get);
    config.min_send_rate = (server.min_send_rate > 0).then_some(server.min_send_rate);
    Ok(config)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_zero_is_none() {
        let rate = |min_send_rate| {
            let server = Server {
                min_send_rate,
                ..Server::default()
            };
            config(&server).unwrap().min_send_rate
        };
        assert_eq!(rate(0), None);
        assert_eq!(rate(5), Some(5));
    }
}
