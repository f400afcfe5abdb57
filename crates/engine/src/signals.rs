//! Signals as events: a handler that notes the signal and wakes the loop.
//!
//! signalfd(2) would need the signals blocked, and a program that the server starts, be it by `io.popen`, would inherit
//! that: nobody could end it with SIGTERM. A handler is not inherited across execve(2).
#![allow(unsafe_code)] // sigaction, and what may be called from a handler

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Linux has 64 signals, numbered from 1.
const SIGNALS: usize = 65;

/// Signals that arrived and were not taken yet.
static ARRIVED: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];

/// The eventfd that ends the wait of the loop; -1 while there is none.
static WAKE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(signal: libc::c_int) {
    if let Some(arrived) = usize::try_from(signal)
        .ok()
        .and_then(|signal| ARRIVED.get(signal))
    {
        arrived.store(true, Ordering::Release);
    }
    let fd = WAKE.load(Ordering::Acquire);
    if fd >= 0 {
        let one = 1u64.to_ne_bytes();
        // SAFETY: write(2) may be called in a handler, and `one` is as long as it says. A full eventfd wakes as well. errno
        // belongs to whoever was interrupted, so it is put back.
        unsafe {
            let errno = *libc::__errno_location();
            // Two attempts, for it may be interrupted. What fails for longer is seen with the next event.
            for _ in 0..2 {
                if libc::write(fd, one.as_ptr().cast(), one.len()) > 0 {
                    break;
                }
            }
            *libc::__errno_location() = errno;
        }
    }
}

/// Runs `spawn` with all signals blocked, which the threads that it starts inherit (pthread_sigmask(3)): signals are for the others.
/// What was blocked before is blocked again when it returns.
pub fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes `all` and always succeeds; pthread_sigmask reads it and writes `before`, and fails only
    // for a first argument that is none of its three.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = spawn();
    // SAFETY: `before` was written above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

/// A signal that is noted for as long as this lives. Dropping it restores what was to happen before.
pub(crate) struct SignalHandler {
    pub(crate) signal: i32,
    previous: libc::sigaction,
}

impl SignalHandler {
    pub(crate) fn install(signal: i32) -> io::Result<SignalHandler> {
        let mut previous = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: all zeroes is a valid sigaction: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: `action` is initialised, and its handler does only what handlers may do.
        if unsafe { libc::sigaction(signal, &raw const action, previous.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: sigaction has succeeded, and so has written it.
        let previous = unsafe { previous.assume_init() };
        Ok(SignalHandler { signal, previous })
    }

    /// Whether the signal has arrived since this was last asked.
    pub(crate) fn take(&self) -> bool {
        usize::try_from(self.signal)
            .ok()
            .and_then(|signal| ARRIVED.get(signal))
            .is_some_and(|arrived| arrived.swap(false, Ordering::AcqRel))
    }
}

impl Drop for SignalHandler {
    fn drop(&mut self) {
        // SAFETY: `previous` is what sigaction reported for this signal.
        unsafe { libc::sigaction(self.signal, &raw const self.previous, std::ptr::null_mut()) };
    }
}

/// Has signals end the wait of the loop, through the eventfd of its [`Waker`](crate::Waker); of two loops in one process, the
/// later one's. To be dropped before the eventfd is closed.
pub(crate) struct Wake(RawFd);

impl Wake {
    pub(crate) fn through(eventfd: RawFd) -> Wake {
        WAKE.store(eventfd, Ordering::Release);
        Wake(eventfd)
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let _ = WAKE.compare_exchange(self.0, -1, Ordering::AcqRel, Ordering::Relaxed);
    }
}
