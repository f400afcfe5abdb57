//! The ends of streams: what may still be on its way, and what closing would destroy.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};

use super::receive;
use super::tcp::{tcp_info, unacknowledged};

/// What [`finish`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// The peer has ended its side as well, or has received all that was sent: closing destroys nothing.
    Said,
    /// The peer may still be sending while it has not received all: closing would be a reset (RFC 2525, section 2.17).
    Pending {
        /// Bytes that were read in vain.
        discarded: usize,
    },
}

/// Ends our side of a stream, and takes what the peer sent in vain so far, as much as `scratch` has room for. Bytes that were
/// sent within `recent` may be on their way to whoever reads there, though the peer's system has them.
pub(crate) fn finish(fd: &OwnedFd, scratch: &mut [u8], recent: Duration) -> Goodbye {
    let received = unacknowledged(fd) == 0;
    let nothing_left = received && silent_since(fd).is_some_and(|since| since > recent);
    if rustix::net::shutdown(fd, Shutdown::Write).is_err() || nothing_left {
        return Goodbye::Said;
    }
    let mut discarded = 0;
    while discarded < scratch.len() {
        match receive(fd, &mut scratch[discarded..]) {
            Ok(count) if count > 0 => discarded += count,
            Err(Errno::AGAIN) => break,
            Ok(_) | Err(_) => return Goodbye::Said,
        }
    }
    if received && discarded == 0 {
        Goodbye::Said
    } else {
        Goodbye::Pending { discarded }
    }
}

/// Makes closing `fd` a reset: SO_LINGER with a time of 0, socket(7). A UNIX socket has no such thing.
pub(crate) fn make_abortive(fd: &OwnedFd) {
    let _ = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

/// How long ago data were last sent over a TCP connection: TCP_INFO, tcp(7). `None` for other sockets.
fn silent_since(fd: &OwnedFd) -> Option<Duration> {
    let info = tcp_info(fd)?;
    Some(Duration::from_millis(info.tcpi_last_data_sent.into()))
}

/// Ends our side of a stream that the peer may go on sending on. Where the peer is gone, the next read tells.
pub(crate) fn shutdown_write(fd: &OwnedFd) {
    let _ = rustix::net::shutdown(fd, Shutdown::Write);
}
