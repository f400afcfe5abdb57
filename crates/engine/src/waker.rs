//! Ends the wait of a reactor from another thread.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::sync::Arc;
use wait::Wait;

mod wait;

/// Ends the wait of a [`Reactor`](crate::Reactor) from any thread: the current one, or else the next.
///
/// Wakes coalesce: only the first one after the reactor has begun to wait costs a system call (a write to an
/// eventfd(2)). What the wake is about has to be where the consumer looks at the beginning of its next turn, before
/// [`wake`](Waker::wake) is called.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wait: Wait,
    fd: OwnedFd,
}

/// How often a write is tried, with a millisecond in between.
const ATTEMPTS: u32 = 1000;

impl Shared {
    /// Whether the wait was ended. Nothing but a sandbox should refuse this, but what is said to a thread that is not woken may wait
    /// for ever.
    fn write(&self) -> bool {
        for _ in 0..ATTEMPTS {
            match rustix::io::write(&self.fd, &1u64.to_ne_bytes()) {
                // A counter that is full wakes as well.
                Ok(_) | Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        false
    }
}

impl Waker {
    pub(crate) fn open() -> rustix::io::Result<Waker> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Waker(Arc::new(Shared {
            wait: Wait::new(),
            fd,
        })))
    }

    /// Ends the wait. Once the reactor is gone, or its process forked, it does nothing.
    ///
    /// Should the system refuse, it is tried again for up to a second. The next wake tries it anew.
    pub fn wake(&self) {
        self.end_the_wait();
    }

    /// The same. Whether it took a system call.
    pub(crate) fn end_the_wait(&self) -> bool {
        let waits = self.0.wait.wake();
        if waits && !self.0.write() {
            self.0.wait.take_back();
        }
        waits
    }

    /// Whether a wake would cost a system call, at the moment.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.wait.is_waiting()
    }

    /// Says that the reactor is going to wait. False: somebody has asked it not to.
    pub(crate) fn begin_wait(&self) -> bool {
        self.0.wait.begin_wait()
    }

    /// Says that it waits no more.
    pub(crate) fn end_wait(&self) {
        self.0.wait.end_wait();
    }

    /// Makes the descriptor unreadable again.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0.fd, &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}
