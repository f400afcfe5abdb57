//! poll(2): the set is an array in user space, handed over whole in every wait.
//!
//! `entries` is what the kernel reads, so it is dense; `positions` finds an entry by its descriptor number. A removal
//! moves the last entry into the hole. All three changes are O(1); a wait is O(registered).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::{Interest, Poller, Readiness, timespec};

/// The name in [`BACKENDS`](super::BACKENDS).
pub(super) const NAME: &str = "poll";

/// Opens a poller; this cannot fail, for poll(2) needs nothing beforehand.
pub(super) fn open() -> io::Result<Box<dyn Poller>> {
    Ok(Box::new(Poll::default()))
}

/// Whether one descriptor is ready at this moment, whatever poller watches it.
pub(crate) fn look(fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Option<Readiness> {
    let mut entries = [PollFd::from_borrowed_fd(fd, flags(interest))];
    loop {
        match rustix::event::poll(&mut entries, Some(&Timespec::default())) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            // Nobody knows, so whoever asks has to try.
            Err(_) => {
                return Some(Readiness {
                    token,
                    readable: interest.readable,
                    writable: interest.writable,
                    closed: false,
                });
            }
        }
    }
    let found = entries[0].revents();
    (!found.is_empty()).then(|| readiness(token, found))
}

#[derive(Default)]
struct Poll {
    /// Passed to poll(2). The lifetimes are not really static: the caller of `add` keeps the descriptors open.
    entries: Vec<PollFd<'static>>,
    /// The token of the entry at the same index.
    tokens: Vec<u64>,
    /// By descriptor number: the index of its entry. As long as the highest number seen, 4 bytes each.
    positions: Vec<Option<Position>>,
}

impl Poller for Poll {
    #[allow(unsafe_code)] // as declared: who adds keeps it open
    unsafe fn add(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let number = number(fd);
        if self.position(number).is_some() {
            return Err(Errno::EXIST.into());
        }
        // poll(2) takes no more entries than the limit on open files, an int, so the index fits; if it does not, that
        // is the caller's table of descriptors gone wrong.
        let position = Position::new(self.entries.len()).ok_or(Errno::MFILE)?;
        if number >= self.positions.len() {
            self.positions.resize(number + 1, None);
        }
        self.positions[number] = Some(position);
        self.entries.push(entry(fd, interest));
        self.tokens.push(token);
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let position = self.position(number(fd)).ok_or(Errno::NOENT)?;
        self.entries[position] = entry(fd, interest);
        self.tokens[position] = token;
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let number = number(fd);
        let position = self.position(number).ok_or(Errno::NOENT)?;
        self.positions[number] = None;
        self.entries.swap_remove(position);
        self.tokens.swap_remove(position);
        if let Some(moved) = self.entries.get(position) {
            let moved = self::number(moved.as_fd());
            self.positions[moved] = Position::new(position);
        }
        Ok(())
    }

    fn wait(&mut self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()> {
        // ppoll(2) takes nanoseconds; where there is only poll(2), rustix rounds up to milliseconds.
        let timeout = timeout.map(|timeout| timespec(timeout, 1));
        let mut left = rustix::event::poll(&mut self.entries, timeout.as_ref())?;
        for (entry, &token) in self.entries.iter().zip(&self.tokens) {
            if left == 0 {
                break;
            }
            let flags = entry.revents();
            if !flags.is_empty() {
                left -= 1;
                ready.push(readiness(token, flags));
            }
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

impl Poll {
    /// The index of the entry for a descriptor number.
    fn position(&self, number: usize) -> Option<usize> {
        self.positions
            .get(number)
            .copied()
            .flatten()
            .map(Position::index)
    }
}

/// An index into the entries, plus one, so that an `Option` of it takes four bytes.
#[derive(Clone, Copy)]
struct Position(std::num::NonZeroU32);

impl Position {
    fn new(index: usize) -> Option<Self> {
        u32::try_from(index + 1)
            .ok()
            .and_then(std::num::NonZeroU32::new)
            .map(Self)
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The descriptor number, as an index.
fn number(fd: BorrowedFd<'_>) -> usize {
    // Not negative: an open descriptor never is, and `BorrowedFd` excludes -1.
    fd.as_raw_fd() as usize
}

#[allow(unsafe_code)]
fn entry(fd: BorrowedFd<'_>, interest: Interest) -> PollFd<'static> {
    // SAFETY: a registered descriptor stays open until `remove`, by the contract of `Poller`; should it not, the number is
    // only ever shown to poll(2), which answers NVAL.
    let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
    PollFd::from_borrowed_fd(fd, flags(interest))
}

/// RDHUP exists on Linux only; elsewhere the end of the stream is IN alone. It goes with reading, as in `epoll.rs`.
fn flags(interest: Interest) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN | RDHUP, interest.readable);
    flags.set(PollFlags::OUT, interest.writable);
    flags
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const RDHUP: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RDHUP: PollFlags = PollFlags::empty();

fn readiness(token: u64, flags: PollFlags) -> Readiness {
    // NVAL: closed without having been removed. Said aloud, so that the owner meets EBADF and removes it.
    let broken = flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
    Readiness {
        token,
        readable: broken || flags.intersects(PollFlags::IN | RDHUP),
        writable: broken || flags.contains(PollFlags::OUT),
        closed: broken || flags.intersects(RDHUP),
    }
}
