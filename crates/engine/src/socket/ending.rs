//! The ends of streams: what may still be on its way, and what closing would destroy.
#![allow(unsafe_code)] // system calls

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};

use super::receive;

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
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `info`, which lives across the call; `fd` is open.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return None;
    }
    // SAFETY: numbers alone, for which zeros are valid, and the system has written over some of them.
    let info = unsafe { info.assume_init() };
    Some(Duration::from_millis(info.tcpi_last_data_sent.into()))
}

/// Ends our side of a stream that the peer may go on sending on. Where the peer is gone, the next read tells.
pub(crate) fn shutdown_write(fd: &OwnedFd) {
    let _ = rustix::net::shutdown(fd, Shutdown::Write);
}

/// Bytes that were sent and that the peer's system has not acknowledged: SIOCOUTQ, tcp(7).
pub(crate) fn unacknowledged(fd: &OwnedFd) -> libc::c_int {
    let mut count: libc::c_int = 0;
    // SAFETY: the request writes one int, to a place that is one.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result == 0 { count } else { 0 }
}
