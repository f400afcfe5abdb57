//! Signals while libevent waits: blocked, and readable from a descriptor.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// A signalfd(2) that becomes readable when a signal arrives of which somebody outside would have heard.
pub(super) struct Signals {
    pub(super) descriptor: OwnedFd,
    /// What is blocked outside of waits; the descriptor is for the rest.
    blocked: libc::sigset_t,
}

impl Signals {
    pub(super) fn new() -> io::Result<Signals> {
        let blocked = change_mask(libc::SIG_BLOCK, &set_of(&[]));
        let descriptor = signalfd(-1, &unblocked(&blocked))?;
        Ok(Signals {
            // SAFETY: just opened, and nobody else has the number.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
            blocked,
        })
    }

    /// Whether one waits that is more than a formality. The kernel keeps also those that it would not deliver: they are
    /// blocked, and might be wanted later.
    pub(super) fn any_to_deliver(&self) -> bool {
        let mut pending = set_of(&[]);
        // SAFETY: the set is initialised.
        unsafe { libc::sigpending(&raw mut pending) };
        (1..=libc::SIGRTMAX()).any(|signal| {
            // SAFETY: both sets are initialised, and the number is a signal's.
            let blocked_by_us = unsafe {
                libc::sigismember(&pending, signal) == 1
                    && libc::sigismember(&self.blocked, signal) == 0
            };
            blocked_by_us && !is_ignored(signal)
        })
    }

    /// Blocks signals until the guard is dropped.
    pub(super) fn block(&mut self) -> io::Result<Mask> {
        let mask = Mask(change_mask(libc::SIG_BLOCK, &unblocked(&set_of(&[]))));
        if !same(&mask.0, &self.blocked) {
            signalfd(self.descriptor.as_raw_fd(), &unblocked(&mask.0))?;
            self.blocked = mask.0;
        }
        Ok(mask)
    }
}

/// What was blocked before; dropping it returns to that.
pub(super) struct Mask(libc::sigset_t);

impl Drop for Mask {
    fn drop(&mut self) {
        change_mask(libc::SIG_SETMASK, &self.0);
    }
}

/// Those that say that this very instruction failed: they cannot wait.
const FAULTS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// Ignored because somebody said so, or because nobody said anything.
fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroes are valid for this plain data, which the call fills in.
    let handler = unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction
    };
    match handler {
        libc::SIG_IGN => true,
        libc::SIG_DFL => matches!(
            signal,
            libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH
        ),
        _ => false,
    }
}

/// A set has room for more signals than there are, and the C library leaves the rest as it was: it is zero here.
fn set_of(signals: &[c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::zeroed();
    // SAFETY: zeroes are valid for this plain data; the first call makes it a set, the others take valid numbers.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// All signals but [`FAULTS`] and those in `blocked`.
fn unblocked(blocked: &libc::sigset_t) -> libc::sigset_t {
    let mut set = MaybeUninit::zeroed();
    // SAFETY: as in `set_of`; the C library's own signals are left out.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for signal in 1..=libc::SIGRTMAX() {
            if FAULTS.contains(&signal) || libc::sigismember(blocked, signal) == 1 {
                libc::sigdelset(set.as_mut_ptr(), signal);
            }
        }
        set.assume_init()
    }
}

/// Changes what this thread blocks; gives what it was.
fn change_mask(how: c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = set_of(&[]);
    // SAFETY: both sets are initialised. It fails for an unknown `how` only.
    unsafe { libc::pthread_sigmask(how, set, &raw mut before) };
    before
}

fn same(one: &libc::sigset_t, other: &libc::sigset_t) -> bool {
    // SAFETY: plain data, and initialised throughout: `set_of` makes them, and the system fills them in.
    let bytes =
        |set: &libc::sigset_t| unsafe { ptr::from_ref(set).cast::<[u8; SET_SIZE]>().read() };
    bytes(one) == bytes(other)
}

const SET_SIZE: usize = size_of::<libc::sigset_t>();

/// Opens a signalfd(2), or changes an open one.
fn signalfd(fd: RawFd, set: &libc::sigset_t) -> io::Result<RawFd> {
    // SAFETY: the set is initialised.
    match unsafe { libc::signalfd(fd, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) } {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd),
    }
}
