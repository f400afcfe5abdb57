//! select(2): three bit sets in user space, handed over up to the highest registered number.
//!
//! It cannot tell an end from data, so `closed` is set only for descriptors that were closed without being removed. The
//! third set, "exceptional conditions", is not used: on Linux it means out-of-band data and nothing else, which no one
//! here reads, so that it would be reported for ever.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{FdSetElement, FdSetIter, fd_set_bound, fd_set_insert, fd_set_remove};
use rustix::io::Errno;

use super::{Interest, Poller, Readiness, timespec};

/// The name in [`BACKENDS`](super::BACKENDS).
pub(super) const NAME: &str = "select";

/// `FD_SETSIZE` of every C library in use: the first descriptor number that an `fd_set` cannot hold.
///
/// The system calls of some kernels take more, but then this would no longer be the portable select(2) that was asked
/// for; epoll and poll are the better way past the limit.
const FD_SETSIZE: RawFd = 1024;

/// A descriptor number that select(2) cannot take: the payload of the [`io::Error`] (of kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput)) from [`Poller::add`].
///
/// The descriptor itself is sound, and what is registered already is not touched. A server that accepts connections
/// can close it and go on:
///
/// ```
/// # let limit = trochee::poller::FdLimit { fd: 1024, limit: 1024 };
/// # let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, limit);
/// use trochee::poller::FdLimit;
/// let hit = error.get_ref().and_then(|inner| inner.downcast_ref::<FdLimit>());
/// assert_eq!(hit.map(|hit| hit.limit), Some(1024));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("descriptor {fd} is past the limit of select(2) ({limit}); use epoll or poll")]
pub struct FdLimit {
    /// The number that was refused.
    pub fd: RawFd,
    /// The first number that cannot be used.
    pub limit: RawFd,
}

/// Opens a poller; this cannot fail, for select(2) needs nothing beforehand.
pub(super) fn open() -> io::Result<Box<dyn Poller>> {
    Ok(Box::new(Select {
        registrations: [None; FD_SETSIZE as usize],
        wanted: Sets::default(),
    }))
}

struct Select {
    /// By descriptor number.
    registrations: [Option<Registration>; FD_SETSIZE as usize],
    /// The interests of all registrations, in the form that select(2) takes.
    wanted: Sets,
}

#[derive(Clone, Copy)]
struct Registration {
    token: u64,
    interest: Interest,
}

impl Poller for Select {
    #[allow(unsafe_code)] // as declared: who adds keeps it open
    unsafe fn add(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        if fd >= FD_SETSIZE {
            let limit = FdLimit {
                fd,
                limit: FD_SETSIZE,
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, limit));
        }
        if self.registration(fd).is_some() {
            return Err(Errno::EXIST.into());
        }
        self.set(fd, Some(Registration { token, interest }));
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        self.registration(fd).ok_or(Errno::NOENT)?;
        self.set(fd, Some(Registration { token, interest }));
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        self.registration(fd).ok_or(Errno::NOENT)?;
        self.set(fd, None);
        Ok(())
    }

    fn wait(&mut self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()> {
        // select(2) overwrites its arguments with the result.
        let mut sets = self.wanted;
        match sets.select(timeout) {
            Ok(0) => {}
            Ok(_) => self.report(&sets, ready),
            Err(Errno::BADF) => self.report_despite_closed(ready)?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

impl Select {
    fn registration(&self, fd: RawFd) -> Option<Registration> {
        self.registrations.get(fd as usize).copied().flatten()
    }

    /// Registers or forgets `fd`, which is below [`FD_SETSIZE`].
    fn set(&mut self, fd: RawFd, registration: Option<Registration>) {
        self.registrations[fd as usize] = registration;
        self.wanted.set(
            fd,
            registration.map_or(Interest::NONE, |registration| registration.interest),
        );
    }

    /// Appends what is in `sets`, ascending.
    fn report(&self, sets: &Sets, ready: &mut Vec<Readiness>) {
        let mut readable = FdSetIter::new(&sets.readable).peekable();
        let mut writable = FdSetIter::new(&sets.writable).peekable();
        while let Some(fd) = readable
            .peek()
            .into_iter()
            .chain(writable.peek())
            .copied()
            .min()
        {
            let found = Readiness {
                token: 0,
                readable: readable.next_if_eq(&fd).is_some(),
                writable: writable.next_if_eq(&fd).is_some(),
                closed: false,
            };
            if let Some(registration) = self.registration(fd) {
                ready.push(Readiness {
                    token: registration.token,
                    ..found
                });
            }
        }
    }

    /// Recovers from EBADF: somebody closed a descriptor without removing it, and select(2) does not say which.
    ///
    /// One such mistake must not end the service of all the others. So the culprits are found and reported closed, as
    /// poll(2) does by itself, and the rest is looked at without them.
    ///
    /// # Errors
    ///
    /// EBADF if every descriptor is open after all.
    fn report_despite_closed(&self, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let before = ready.len();
        let mut sets = self.wanted;
        for (fd, registration) in (0..).zip(&self.registrations) {
            let Some(Registration { token, interest }) = *registration else {
                continue;
            };
            if interest != Interest::NONE && !is_open(fd) {
                sets.set(fd, Interest::NONE);
                ready.push(Readiness {
                    token,
                    readable: true,
                    writable: true,
                    closed: true,
                });
            }
        }
        if ready.len() == before {
            return Err(Errno::BADF.into());
        }
        if sets.select(Some(Duration::ZERO)).is_ok() {
            self.report(&sets, ready);
        }
        Ok(())
    }
}

/// The two `fd_set`s of select(2): a bit for each number below [`FD_SETSIZE`].
#[derive(Clone, Copy, Default)]
struct Sets {
    readable: [FdSetElement; ELEMENTS],
    writable: [FdSetElement; ELEMENTS],
}

const ELEMENTS: usize = FD_SETSIZE as usize / (size_of::<FdSetElement>() * 8);

impl Sets {
    /// Puts `fd`, which is below [`FD_SETSIZE`], into the sets that `interest` names and takes it out of the others.
    fn set(&mut self, fd: RawFd, interest: Interest) {
        let put = |set: &mut [FdSetElement], wanted| {
            if wanted {
                fd_set_insert(set, fd)
            } else {
                fd_set_remove(set, fd)
            }
        };
        put(&mut self.readable, interest.readable);
        put(&mut self.writable, interest.writable);
    }

    /// Calls select(2), which leaves in the sets what is ready, and gives the number of bits set. After an error the
    /// sets hold nothing of use.
    #[allow(unsafe_code)]
    fn select(&mut self, timeout: Option<Duration>) -> Result<i32, Errno> {
        // The call takes microseconds, and rustix rounds up to them.
        let timeout = timeout.map(|timeout| timespec(timeout, 1));
        let bound = fd_set_bound(&self.readable).max(fd_set_bound(&self.writable));
        let (readable, writable) = (Some(&mut self.readable[..]), Some(&mut self.writable[..]));
        // SAFETY: registered descriptors stay open until `remove`, by the contract of `Poller`; one that did not is a number
        // shown to select(2), which answers EBADF. Both sets hold FD_SETSIZE bits, and `bound` is no more.
        unsafe { rustix::event::select(bound, readable, writable, None, timeout.as_ref()) }
    }
}

/// Whether any open file has this number.
#[allow(unsafe_code)]
fn is_open(fd: RawFd) -> bool {
    // SAFETY: the number may be closed, which is the question; F_GETFD reads a flag and changes nothing, whoever owns it.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_getfd(fd).is_ok()
}
