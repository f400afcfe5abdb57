//! Descriptors that Lua knows by number, such as those of LuaSocket's objects.
#![allow(unsafe_code)] // a number says nothing about who owns the descriptor

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{SocketType, sockopt};
use trochee::{Error, EventLoop, Interest, Key};

/// A copy of the descriptor that the engine owns. So nobody who closes the original can close what has got its number meanwhile.
pub(crate) fn duplicate(fd: RawFd) -> Result<OwnedFd, String> {
    // SAFETY: a number that Lua gives; that it gets a copy changes nothing for whoever owns it.
    let fd = unsafe { borrow(fd)? };
    fcntl_dupfd_cloexec(fd, 0).map_err(|errno| Error::from(errno).to_string())
}

/// Whether it is a socket for datagrams.
pub(crate) fn is_datagram(fd: RawFd) -> bool {
    // SAFETY: a number that Lua gives; to ask for its type changes nothing for whoever owns it.
    unsafe { borrow(fd) }.is_ok_and(|fd| sockopt::socket_type(fd) == Ok(SocketType::DGRAM))
}

/// Where an inherited socket listens, `None` if it is no listening TCP socket. Programs that the server starts do not inherit
/// it from now on.
///
/// # Errors
///
/// What the system says about a number that names no descriptor.
pub(crate) fn inherited(fd: RawFd) -> Result<Option<SocketAddr>, String> {
    // SAFETY: a number that Lua gives for a socket that this process inherited, which only close-on-exec is set on.
    let fd = unsafe { borrow(fd)? };
    fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|errno| Error::from(errno).to_string())?;
    let listens = sockopt::socket_acceptconn(fd) == Ok(true)
        && sockopt::socket_type(fd) == Ok(SocketType::STREAM);
    let address = listens.then(|| rustix::net::getsockname(fd).ok()).flatten();
    Ok(address.and_then(|address| SocketAddr::try_from(address).ok()))
}

/// Watches a descriptor that stays Lua's.
///
/// # Errors
///
/// As [`EventLoop::watch`].
pub(crate) fn watch(reactor: &mut EventLoop, fd: RawFd, interest: Interest) -> Result<Key, Error> {
    // SAFETY: Lua closes a watch before the descriptor, as with every backend of Prosody's. Where it does not, it is told when
    // whatever has the number now is ready; nothing is read from that or written to it.
    unsafe { reactor.watch(fd, interest) }
}

/// Lends a descriptor that Lua knows by its number.
///
/// # Errors
///
/// A text for a negative number.
///
/// # Safety
///
/// The descriptor must be open for `'a`, or the number may only go into a system call that does no harm to a descriptor of
/// somebody else.
pub(crate) unsafe fn borrow<'a>(fd: RawFd) -> Result<BorrowedFd<'a>, String> {
    if fd < 0 {
        return Err("invalid fd".into());
    }
    // SAFETY: the number is not -1, the one value that is not allowed; the rest is the caller's promise.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
