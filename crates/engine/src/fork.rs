//! Whether this process was forked since somebody last looked, without a system call a turn.
#![allow(unsafe_code)] // pthread_atfork

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A number that differs between a process and the children it forks with fork(2), from the first call on.
///
/// A [`Poller`](crate::Poller) serves the process that opened it; who keeps one across a fork opens another when this has changed.
pub fn generation() -> u32 {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // SAFETY: the function stays mapped (the Lua module is linked never to be unloaded) and only adds to an atomic.
        // It fails for want of memory only, at the start of a program.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    FORKS.load(Ordering::Relaxed)
}
