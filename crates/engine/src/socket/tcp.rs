//! What the system knows of a TCP connection.
#![allow(unsafe_code)] // system calls

use std::os::fd::{AsRawFd, OwnedFd};

/// TCP_INFO, tcp(7). `None` for other sockets.
pub(crate) fn tcp_info(fd: &OwnedFd) -> Option<libc::tcp_info> {
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
    Some(unsafe { info.assume_init() })
}

/// Bytes that were sent and that the peer's system has not acknowledged: SIOCOUTQ, tcp(7).
pub(crate) fn unacknowledged(fd: &OwnedFd) -> libc::c_int {
    let mut count: libc::c_int = 0;
    // SAFETY: the request writes one int, to a place that is one.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result == 0 { count } else { 0 }
}
