//! Descriptors that Lua knows by number, such as those of LuaSocket's objects.
#![allow(unsafe_code)] // a number says nothing about who owns the descriptor

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{SocketType, sockopt};

/// A copy of the descriptor, the engine's own: whoever closes the original can then never hit a reused number.
pub(crate) fn duplicate(fd: RawFd) -> Result<OwnedFd, String> {
    let fd = borrow(fd)?;
    fcntl_dupfd_cloexec(fd, 0).map_err(|errno| trochee::Error::from(errno).to_string())
}

/// Whether every write to it is one datagram.
pub(crate) fn is_datagram(fd: RawFd) -> bool {
    borrow(fd).is_ok_and(|fd| sockopt::socket_type(fd) == Ok(SocketType::DGRAM))
}

/// Where an inherited socket listens, `None` if it is no listening TCP socket. From now on programs that the server starts
/// do not inherit it in turn.
///
/// # Errors
///
/// What the system says about a number that names no descriptor.
pub(crate) fn inherited(fd: RawFd) -> Result<Option<SocketAddr>, String> {
    let fd = borrow(fd)?;
    fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|errno| trochee::Error::from(errno).to_string())?;
    let listens = sockopt::socket_acceptconn(fd) == Ok(true)
        && sockopt::socket_type(fd) == Ok(SocketType::STREAM);
    let address = listens.then(|| rustix::net::getsockname(fd).ok()).flatten();
    Ok(address.and_then(|address| SocketAddr::try_from(address).ok()))
}

pub(crate) fn borrow<'a>(fd: RawFd) -> Result<BorrowedFd<'a>, String> {
    if fd < 0 {
        return Err("invalid fd".into());
    }
    // SAFETY: -1, the one value that is not allowed, was refused; the number only goes into a system call, which
    // answers EBADF if it names nothing.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
