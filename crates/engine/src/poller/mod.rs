//! The pollers: one trait over the readiness calls of the operating system, one file for each call.
//!
//! A [`Poller`] answers one question, "which of these descriptors can be read or written without blocking?", and owns
//! no policy: it neither reads nor writes, holds no timers and calls nobody. [`open`] picks one by name at run time, or
//! the best that works.
//!
//! To add one: write a file beside this one, give it a row in [`BACKENDS`] and a line in each of
//! `tests/poller_conformance.rs` and `tests/reactor_conformance.rs`. Where it differs from the others, `Traits` in
//! `tests/conformance/mod.rs` says how.
//!
//! # The contract
//!
//! What every poller guarantees, and what a portable caller may rely on:
//!
//! - Readiness is *level-triggered*. A descriptor is reported by every wait for as long as the condition lasts.
//! - Readiness is a promise to look, not of success: reading or writing may still give `WouldBlock`, because a
//!   datagram had a bad checksum or because somebody else emptied the socket first.
//! - What was added, modified or removed counts from the next wait on. No wait reports a removed descriptor, or the
//!   token of a registration that has since been replaced. Reports already in the caller's list are the caller's:
//!   tokens should carry a generation so that stale ones can be told.
//! - The end of the stream makes a descriptor readable: the read then gives 0 bytes or the error. If only
//!   [`Interest::WRITE`] is asked for, a broken connection makes it writable: the write then gives the error.
//! - No report has all its flags clear, and a registration appears at most once in a wait. The order is not defined.
//! - Tokens are opaque: they come back as they were given, and need not be unique.
//! - One wait may report only some of what is ready. The rest follows in the next waits, and no descriptor starves.
//!
//! What a caller owes: a descriptor stays open from `add` until `remove`, that is, **remove comes before close**. A
//! breach is a mistake that no poller can hide, for kernels treat it differently. epoll forgets the descriptor (unless
//! a duplicate of it is open, which then keeps the old token alive); poll and select report it readable, writable and
//! closed in every wait until it is removed. It never corrupts memory.
//!
//! # Notes on each poller
//!
//! These are measured on Linux 6.18, not promised. `R` readable, `W` writable, `C` closed, `–` silence:
//!
//! | what happened                          | asked for    | epoll, poll | select, libevent |
//! |----------------------------------------|--------------|-------------|------------------|
//! | peer sent FIN (TCP, or UNIX half-close)| read         | `R C`       | `R`              |
//! |                                        | write        | `W`         | `W`              |
//! |                                        | read + write | `R W C`     | `R W`            |
//! |                                        | none         | –           | –                |
//! | RST (TCP), UNIX peer gone, both ends   | read         | `R W C`     | `R`              |
//! | shut down, refused connect             | write        | `R W C`     | `W`              |
//! |                                        | read + write | `R W C`     | `R W`            |
//! |                                        | none         | `R W C`     | –                |
//! | pipe, the writer is gone               | read         | `R W C`     | `R`              |
//! | pipe, the reader is gone               | write        | `R W C`     | `W`              |
//! | ICMP error on a connected UDP socket   | read         | `R W C`     | `R`              |
//! | TCP socket that never connected        | read         | `R W C`     | `R`              |
//!
//! - A regular file: `EPERM` from `add` of epoll, and of libevent, which stands on epoll; poll and select report what was
//!   asked for.
//! - An end that [`Interest::NONE`] reports comes back in every wait, so a caller that leaves it there spins: remove the
//!   descriptor instead.
//! - epoll costs in proportion to what is ready, poll to what is registered, select to the highest number registered.
//!   libevent costs what its choice does, and a second look and two changes of the signal mask for each wait that finds
//!   nothing at once.
//! - While libevent waits, signals are blocked in its thread. One that is sent to the process goes to another thread, if there
//!   is one that does not block it, and then does not end the wait.
//! - Out-of-band data (TCP's urgent pointer) is never asked for and wakes nobody.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::Timespec;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
#[cfg(all(feature = "libevent", any(target_os = "linux", target_os = "android")))]
mod libevent;
mod poll;
mod select;
#[cfg(test)]
mod tests;

pub(crate) use poll::look;
pub use select::FdLimit;

/// Keeps a set of descriptors and tells which of them are ready.
///
/// See the [module documentation](self) for what all implementations promise. A poller has one owner: other threads
/// reach it through a waker's descriptor, never through a shared reference.
pub trait Poller: Send {
    /// Starts to watch `fd`, and reports it under `token`.
    ///
    /// # Safety
    ///
    /// The descriptor must stay open until [`remove`](Self::remove), or until the poller is dropped. The borrow ends with this
    /// call, so the compiler does not check what comes after. What a breach leads to is described in the
    /// [module documentation](self#the-contract).
    ///
    /// # Errors
    ///
    /// - `EEXIST` ([`AlreadyExists`](io::ErrorKind::AlreadyExists)): this descriptor number is registered already.
    /// - `EPERM` ([`PermissionDenied`](io::ErrorKind::PermissionDenied)): epoll, also below libevent, does not watch
    ///   regular files and directories.
    /// - [`FdLimit`], inside an [`io::Error`]: the number is too high for select.
    /// - `ENOMEM`, `ENOSPC`: the kernel's own limits (`max_user_watches`).
    #[allow(unsafe_code)] // a borrow that is used after its end
    unsafe fn add(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()>;

    /// Replaces both the token and the interest of `fd`.
    ///
    /// # Errors
    ///
    /// `ENOENT` ([`NotFound`](io::ErrorKind::NotFound)): the descriptor is not registered.
    fn modify(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()>;

    /// Stops watching `fd`.
    ///
    /// # Errors
    ///
    /// `ENOENT` ([`NotFound`](io::ErrorKind::NotFound)): the descriptor is not registered.
    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Waits until a descriptor is ready, `timeout` has passed or a signal arrives, and appends what is ready to
    /// `ready`.
    ///
    /// `None` waits for ever, and [`Duration::ZERO`] only looks, entering the kernel all the same. Any other timeout
    /// is rounded *up* to what the system call can express: a wait that finds nothing does not return early, so a
    /// caller that sleeps until its next timer finds that timer due and never spins. Timeouts past
    /// 2³¹ − 1 ms (24.8 days) are cut to that.
    ///
    /// After an error `ready` is as it was before.
    ///
    /// # Errors
    ///
    /// `EINTR` ([`Interrupted`](io::ErrorKind::Interrupted)): a signal handler ran. What the signal asks for is the
    /// caller's to know, so the wait is not resumed here. Other errors (`ENOMEM`) are those of the system call.
    fn wait(&mut self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()>;

    /// A descriptor that is readable whenever a wait would report something: epoll's own. Others have none.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The name as in [`BACKENDS`], for logs. A backend that wraps a choice of its own names that as well, after a
    /// space.
    fn name(&self) -> &'static str;
}

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Report when a read would not block: data, a connection to accept, or the end.
    pub readable: bool,
    /// Report when a write would not block.
    pub writable: bool,
}

impl Interest {
    /// Nothing. The descriptor stays registered; hang-ups and errors may be reported all the same.
    pub const NONE: Self = Self {
        readable: false,
        writable: false,
    };
    /// Reading only.
    pub const READ: Self = Self {
        readable: true,
        writable: false,
    };
    /// Writing only.
    pub const WRITE: Self = Self {
        readable: false,
        writable: true,
    };
    /// Reading and writing.
    pub const BOTH: Self = Self {
        readable: true,
        writable: true,
    };
}

/// One entry of a wait's result: at least one of its flags is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The token of the last [`add`](Poller::add) or [`modify`](Poller::modify).
    pub token: u64,
    /// A read is worth trying.
    pub readable: bool,
    /// A write is worth trying.
    pub writable: bool,
    /// A hint that an end or an error is near: the peer sent FIN (there may still be data before it), both directions
    /// are shut, or an error is pending. The next read or write tells which.
    ///
    /// Not every poller can tell (select and libevent cannot), and it need not be final: a UDP socket lives on after its error.
    pub closed: bool,
}

/// A row of [`BACKENDS`]: a poller that can be asked for by name.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// The name in configuration and logs.
    pub name: &'static str,
    /// `"auto"` takes the highest that opens.
    pub preference: u8,
    /// What it stands on and where its limits are, in one line.
    pub summary: &'static str,
    /// Opens a poller with nothing registered.
    ///
    /// # Errors
    ///
    /// Why it is not available here: `ENOSYS` from the kernel, `EMFILE`, a library that was not found.
    pub open: fn() -> io::Result<Box<dyn Poller>>,
}

/// Every poller of this build, best first.
pub static BACKENDS: &[Backend] = &[
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Backend {
        name: epoll::NAME,
        preference: 30,
        summary: "epoll(7): Linux; the cost of a wait depends only on what is ready",
        open: epoll::open,
    },
    Backend {
        name: poll::NAME,
        preference: 20,
        summary: "poll(2): any Unix; the cost of a wait grows with what is registered",
        open: poll::open,
    },
    Backend {
        name: select::NAME,
        preference: 10,
        summary: "select(2): any Unix; descriptors below 1024 only",
        open: select::open,
    },
    // Last, so that "auto", which finds select everywhere, never takes a library that nobody asked for.
    #[cfg(all(feature = "libevent", any(target_os = "linux", target_os = "android")))]
    Backend {
        name: libevent::NAME,
        preference: 5,
        summary: "libevent 2.1, which chooses by itself (EVENT_NOEPOLL and the like); opened at run time",
        open: libevent::open,
    },
];

/// Opens the poller called `name`; `"auto"` stands for the one with the highest [`preference`](Backend::preference)
/// that opens.
///
/// # Errors
///
/// See [`OpenError`]. A poller asked for by name is never silently replaced by another.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use trochee::poller::{self, Interest};
///
/// let mut poller = poller::open("auto")?;
/// let (reader, mut writer) = std::io::pipe()?;
/// // SAFETY: the reader is open until after it is removed.
/// unsafe { poller.add(reader.as_fd(), 7, Interest::READ)? };
/// writer.write_all(b"x")?;
///
/// let mut ready = Vec::new();
/// poller.wait(&mut ready, None)?;
/// assert!(ready[0].token == 7 && ready[0].readable);
/// poller.remove(reader.as_fd())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(name: &str) -> Result<Box<dyn Poller>, OpenError> {
    open_among(BACKENDS, name)
}

/// Why [`open`] gave no poller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No poller of this build has that name.
    #[error("unknown poller \"{name}\"; this build has {}", quoted(.known))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names there are, with `"auto"` first.
        known: Vec<&'static str>,
    },
    /// The poller is known but does not work here.
    #[error("poller \"{name}\" is not available: {reason}")]
    Unavailable {
        /// The name that was asked for.
        name: &'static str,
        /// What [`Backend::open`] said.
        #[source]
        reason: io::Error,
    },
    /// `"auto"` was asked for and nothing works.
    #[error("no poller is available: {}", reasons(.refused))]
    NoneAvailable {
        /// Each name with what its [`Backend::open`] said, best first.
        refused: Vec<(&'static str, io::Error)>,
    },
}

/// [`open`] over a given table, so that tests can make backends fail.
fn open_among(backends: &[Backend], name: &str) -> Result<Box<dyn Poller>, OpenError> {
    if name == AUTO {
        return open_best(backends);
    }
    match backends.iter().find(|backend| backend.name == name) {
        Some(backend) => (backend.open)().map_err(|reason| OpenError::Unavailable {
            name: backend.name,
            reason,
        }),
        None => Err(OpenError::Unknown {
            name: name.to_owned(),
            known: std::iter::once(AUTO)
                .chain(backends.iter().map(|backend| backend.name))
                .collect(),
        }),
    }
}

fn open_best(backends: &[Backend]) -> Result<Box<dyn Poller>, OpenError> {
    let mut by_preference: Vec<&Backend> = backends.iter().collect();
    by_preference.sort_by_key(|backend| std::cmp::Reverse(backend.preference));

    let mut refused = Vec::new();
    for backend in by_preference {
        match (backend.open)() {
            Ok(poller) => return Ok(poller),
            Err(reason) => refused.push((backend.name, reason)),
        }
    }
    Err(OpenError::NoneAvailable { refused })
}

pub(crate) const AUTO: &str = "auto";

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

fn reasons(refused: &[(&str, io::Error)]) -> String {
    refused
        .iter()
        .map(|(name, reason)| format!("{name}: {reason}"))
        .collect::<Vec<_>>()
        .join("; ")
}

/// The longest timeout passed to any system call: what the `int` of epoll_wait(2), in milliseconds, can hold.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// `timeout` for a system call, cut to [`LONGEST_TIMEOUT`] and rounded up to a multiple of `granularity` nanoseconds
/// (which divides a second).
fn timespec(timeout: Duration, granularity: u32) -> Timespec {
    let timeout = timeout.min(LONGEST_TIMEOUT);
    let nanos = timeout.subsec_nanos().next_multiple_of(granularity);
    Timespec {
        // Fits: LONGEST_TIMEOUT is some two million seconds.
        tv_sec: (timeout.as_secs() + u64::from(nanos / NANOS_PER_SEC)) as _,
        tv_nsec: (nanos % NANOS_PER_SEC) as _,
    }
}

const NANOS_PER_SEC: u32 = 1_000_000_000;
