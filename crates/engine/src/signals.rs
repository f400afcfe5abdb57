//! Signals as events: signalfd(2).
#![allow(unsafe_code)] // sigprocmask and signalfd, which rustix does not offer

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// Keeps `signal` from its default action in this thread, for a descriptor to report it instead.
pub(crate) fn block(signal: i32, blocked: bool) -> io::Result<()> {
    let set = set_of(signal)?;
    let how = if blocked {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    // SAFETY: `set` is a signal set made by sigemptyset; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A descriptor that is readable while `signal` is pending. The signal must be blocked.
pub(crate) fn open(signal: i32) -> io::Result<OwnedFd> {
    let set = set_of(signal)?;
    // SAFETY: `set` is a signal set made by sigemptyset; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one pending signal; whether there was one.
pub(crate) fn take(fd: &OwnedFd) -> bool {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    matches!(rustix::io::read(fd, &mut info), Ok(count) if count == info.len())
}

fn set_of(signal: i32) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that it is given.
    let result = unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sigemptyset has initialised it.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: `set` is an initialised signal set.
    if unsafe { libc::sigaddset(&raw mut set, signal) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(set)
}
