//! What is behind a state of util.poll, without Lua.
#![allow(unsafe_code)] // descriptors given as numbers

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use trochee::poller::{self, Readiness};
use trochee::{Interest, Poller, fork_generation};

use crate::descriptor;

/// What a state is: a poller, and the events that it has reported and `wait` has not returned yet.
pub(super) struct State {
    /// The name by which the poller was asked for.
    name: String,
    poller: Box<dyn Poller>,
    /// The process that opened the poller. A child opens its own, because a change to the parent's would change both.
    process: u32,
    /// Whether a wait of 0 seconds asks the system, as in Prosody 0.12, or only returns what is left, as in 13.0.
    asks: bool,
    /// By descriptor number.
    registrations: Vec<Registration>,
    ready: Vec<Readiness>,
}

#[derive(Clone, Copy, Default)]
struct Registration {
    /// Counts the registrations of this number. By this, an event that was reported for an earlier one is recognised.
    generation: u32,
    wanted: Option<Interest>,
}

impl Registration {
    fn token(self, fd: RawFd) -> u64 {
        u64::from(self.generation) << 32 | u64::from(fd as u32)
    }
}

impl State {
    pub(super) fn open(name: &str, asks: bool) -> std::result::Result<State, poller::OpenError> {
        Ok(State {
            name: name.to_owned(),
            poller: poller::open(name)?,
            process: fork_generation(),
            asks,
            registrations: Vec::new(),
            ready: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.follow_fork()?;
        let descriptor = borrow(fd)?;
        // poll and select would take any number, and make room for it.
        rustix::io::fcntl_getfd(descriptor)?;
        let index = fd as usize;
        let mut registration = self.registrations.get(index).copied().unwrap_or_default();
        registration.generation = registration.generation.wrapping_add(1);
        registration.wanted = Some(interest);
        // SAFETY: as Prosody's util.poll has it, Lua removes a descriptor before it closes it. Where it does not, the poller
        // reports what has the number, and Lua is told so.
        unsafe {
            self.poller
                .add(descriptor, registration.token(fd), interest)?
        };
        if index >= self.registrations.len() {
            self.registrations
                .resize(index + 1, Registration::default());
        }
        self.registrations[index] = registration;
        Ok(())
    }

    pub(super) fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.follow_fork()?;
        let descriptor = borrow(fd)?;
        let known = self.registrations.get_mut(fd as usize);
        let token = known.as_ref().map_or(0, |known| known.token(fd));
        self.poller.modify(descriptor, token, interest)?;
        if let Some(known) = known {
            known.wanted = Some(interest);
        }
        Ok(())
    }

    pub(super) fn del(&mut self, fd: RawFd) -> io::Result<()> {
        self.follow_fork()?;
        let descriptor = borrow(fd)?;
        if let Some(known) = self.registrations.get_mut(fd as usize) {
            known.wanted = None;
        }
        self.poller.remove(descriptor)
    }

    /// The next event that is still of interest: descriptor, readable, writable.
    pub(super) fn buffered(&mut self) -> Option<(RawFd, bool, bool)> {
        while let Some(report) = self.ready.pop() {
            let fd = report.token as u32 as RawFd;
            let registration = self.registrations.get(fd as usize).copied();
            let registration = registration.unwrap_or_default();
            let Some(wanted) = registration.wanted else {
                continue;
            };
            // An end that nobody asked for is readable, as on stock epoll, but not writable.
            let writable = report.writable && wanted.writable;
            if registration.token(fd) == report.token && (report.readable || writable) {
                return Some((fd, report.readable, writable));
            }
        }
        None
    }

    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<Option<(RawFd, bool, bool)>> {
        if timeout.is_zero() && !self.asks {
            return Ok(None);
        }
        self.follow_fork()?;
        self.poller.wait(&mut self.ready, Some(timeout))?;
        Ok(self.buffered())
    }

    /// epoll's own descriptor; another poller has none.
    pub(super) fn fd(&mut self) -> io::Result<Option<RawFd>> {
        self.follow_fork()?;
        Ok(self.poller.fd().map(|fd| fd.as_raw_fd()))
    }

    /// What the poller calls itself.
    pub(super) fn api(&self) -> &'static str {
        self.poller.name()
    }

    fn follow_fork(&mut self) -> io::Result<()> {
        if self.process == fork_generation() {
            return Ok(());
        }
        let mut own = poller::open(&self.name).map_err(io::Error::other)?;
        for (fd, registration) in (0..).zip(&self.registrations) {
            if let (Some(wanted), Ok(descriptor)) = (registration.wanted, borrow(fd)) {
                // One that was closed since cannot be added, and has nothing to report.
                // SAFETY: as in `add`.
                let _ = unsafe { own.add(descriptor, registration.token(fd), wanted) };
            }
        }
        self.ready.clear();
        self.poller = own;
        self.process = fork_generation();
        Ok(())
    }
}

/// Lends a descriptor that Lua knows by its number.
fn borrow<'a>(fd: RawFd) -> io::Result<BorrowedFd<'a>> {
    // SAFETY: the number only goes to a poller, and to a system call that asks whether it is open.
    unsafe { descriptor::borrow(fd) }.map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
}
