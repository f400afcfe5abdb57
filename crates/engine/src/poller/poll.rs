//! poll(2): the set is an array in user space, handed over whole in every wait.
//!
//! `entries` is what the kernel reads, so it is dense; `positions` finds an entry by its descriptor number. A removal
//! moves the last entry into the hole. All three changes are O(1); a wait is O(registered).
//!
//! With thousands of descriptors of which few are in use, nearly all of the cost of a server is that the kernel looks at all of them in
//! every wait. So those that were ready of late stand in front, and most waits look at these alone: [`SHORT_LOOKS`] times in succession,
//! as long as any of them becomes ready soon. This saves the user's part as well, for what is ready is found in front.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::{Interest, Poller, Readiness, timespec};

/// The name in [`BACKENDS`](super::BACKENDS).
pub(super) const NAME: &str = "poll";

/// How many waits may look at the busy descriptors alone before one looks at all. So that is how many turns of a busy loop a descriptor
/// waits at most that was silent before.
const SHORT_LOOKS: u8 = 4;

/// How long such a wait is at most: less than it takes to look at some thousand descriptors, which would be for nothing if the next message
/// is about to come.
const SHORT: Duration = Duration::from_micros(50);

/// Of fewer descriptors, all are looked at in each wait.
const MANY: usize = 128;

/// Where more than one of so many descriptors are busy, all are looked at in each wait.
const BUSY_SHARE: usize = 4;

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
    /// For each of the busy entries, which are the first ones: whether it was ready since the last look at all.
    busy: Vec<bool>,
    short_looks: u8,
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
        let position = self.calm(position);
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
        if self.may_look_short() {
            self.short_looks -= 1;
            let busy = self.busy.len();
            let short = timespec(timeout.unwrap_or(SHORT).min(SHORT), 1);
            let left = rustix::event::poll(&mut self.entries[..busy], Some(&short))?;
            if left > 0 {
                self.report(left, ready);
                return Ok(());
            }
        }
        // ppoll(2) takes nanoseconds; where there is only poll(2), rustix rounds up to milliseconds.
        let timeout = timeout.map(|timeout| timespec(timeout, 1));
        let left = rustix::event::poll(&mut self.entries, timeout.as_ref())?;
        self.report(left, ready);
        self.calm_silent();
        self.short_looks = SHORT_LOOKS;
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

    fn may_look_short(&self) -> bool {
        let (busy, all) = (self.busy.len(), self.entries.len());
        self.short_looks > 0 && busy > 0 && all >= MANY && busy * BUSY_SHARE <= all
    }

    /// Appends the `left` entries that poll(2) has found ready, which are busy from now on.
    fn report(&mut self, mut left: usize, ready: &mut Vec<Readiness>) {
        let mut position = 0;
        while left > 0
            && let Some(entry) = self.entries.get(position)
        {
            let flags = entry.revents();
            if !flags.is_empty() {
                left -= 1;
                ready.push(readiness(self.tokens[position], flags));
                match self.busy.get_mut(position) {
                    Some(was_ready) => *was_ready = true,
                    None => {
                        // What comes from there was looked at.
                        self.swap(position, self.busy.len());
                        self.busy.push(true);
                    }
                }
            }
            position += 1;
        }
    }

    /// Those that were not ready since the last look at all are not busy any more.
    fn calm_silent(&mut self) {
        for position in (0..self.busy.len()).rev() {
            if !std::mem::take(&mut self.busy[position]) {
                self.calm(position);
            }
        }
    }

    /// An entry is not busy any more. Gives the index that it has then.
    fn calm(&mut self, position: usize) -> usize {
        if position >= self.busy.len() {
            return position;
        }
        self.busy.swap_remove(position);
        let last = self.busy.len();
        self.swap(position, last);
        last
    }

    fn swap(&mut self, one: usize, other: usize) {
        if one != other {
            self.entries.swap(one, other);
            self.tokens.swap(one, other);
            for position in [one, other] {
                let number = number(self.entries[position].as_fd());
                self.positions[number] = Position::new(position);
            }
        }
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

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read, Write};

    use super::*;

    /// A poller with so many pipes, whose tokens are their indices.
    #[allow(unsafe_code)]
    fn pipes(count: usize) -> (Poll, Vec<(PipeReader, PipeWriter)>) {
        let mut poll = Poll::default();
        let pipes: Vec<_> = (0..count).map(|_| io::pipe().unwrap()).collect();
        for (token, (reader, _)) in pipes.iter().enumerate() {
            // SAFETY: the pipes live for as long as the poller.
            unsafe {
                poll.add(reader.as_fd(), token as u64, Interest::READ)
                    .unwrap()
            };
        }
        (poll, pipes)
    }

    fn wait(poll: &mut Poll) -> Vec<u64> {
        let mut ready = Vec::new();
        poll.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        let mut tokens: Vec<u64> = ready.iter().map(|ready| ready.token).collect();
        tokens.sort_unstable();
        tokens
    }

    fn send(pipe: &mut (PipeReader, PipeWriter)) {
        pipe.1.write_all(b"x").unwrap();
    }

    fn take(pipe: &mut (PipeReader, PipeWriter)) {
        pipe.0.read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn whoever_was_silent_waits_for_few_looks_at_the_busy_ones() {
        let (mut poll, mut pipes) = pipes(2 * MANY);
        for busy in [5, 200] {
            send(&mut pipes[busy]);
        }
        assert_eq!(wait(&mut poll), [5, 200]);
        send(&mut pipes[77]);
        for _ in 0..SHORT_LOOKS {
            assert_eq!(wait(&mut poll), [5, 200]);
        }
        assert_eq!(wait(&mut poll), [5, 77, 200]);
        assert_eq!(wait(&mut poll), [5, 77, 200], "it is one of them now");
    }

    #[test]
    fn when_no_busy_one_is_ready_all_are_looked_at() {
        let (mut poll, mut pipes) = pipes(2 * MANY);
        send(&mut pipes[5]);
        assert_eq!(wait(&mut poll), [5]);
        take(&mut pipes[5]);
        send(&mut pipes[77]);
        assert_eq!(wait(&mut poll), [77]);
        assert_eq!(poll.busy.len(), 1, "the other one is not busy any more");
    }

    #[test]
    fn few_descriptors_or_many_busy_ones_are_all_looked_at_in_each_wait() {
        let (mut poll, mut few) = pipes(MANY - 1);
        send(&mut few[5]);
        assert_eq!(wait(&mut poll), [5]);
        send(&mut few[77]);
        assert_eq!(wait(&mut poll), [5, 77]);

        let (mut poll, mut many) = pipes(MANY);
        let busy = MANY / BUSY_SHARE + 1;
        many[..busy].iter_mut().for_each(send);
        assert_eq!(wait(&mut poll).len(), busy);
        send(&mut many[100]);
        assert_eq!(wait(&mut poll).len(), busy + 1);
    }

    #[test]
    fn busy_ones_that_are_removed_are_forgotten() {
        let (mut poll, mut pipes) = pipes(2 * MANY);
        pipes[..8].iter_mut().for_each(send);
        assert_eq!(wait(&mut poll).len(), 8);
        take(&mut pipes[0]);
        assert_eq!(wait(&mut poll), [1, 2, 3, 4, 5, 6, 7]);
        for (reader, _) in &pipes[1..] {
            poll.remove(reader.as_fd()).unwrap();
        }
        assert_eq!(wait(&mut poll), [0u64; 0]);
        send(&mut pipes[0]);
        assert_eq!(wait(&mut poll), [0]);
        assert_eq!(poll.busy, [false]);
    }

    /// Whatever is busy, each descriptor is found under its own token.
    #[test]
    fn what_comes_and_goes_does_not_mix_them_up() {
        let (mut poll, mut pipes) = pipes(2 * MANY);
        for step in 0..2000usize {
            let pipe = step * 31 % pipes.len();
            send(&mut pipes[pipe]);
            let mut waits = 0;
            while !wait(&mut poll).contains(&(pipe as u64)) {
                waits += 1;
                assert!(waits <= SHORT_LOOKS, "{pipe} in step {step}");
            }
            if step % 3 == 0 {
                let fd = pipes[pipe].0.as_fd();
                poll.remove(fd).unwrap();
                assert!(!wait(&mut poll).contains(&(pipe as u64)));
                // SAFETY: as above.
                #[allow(unsafe_code)]
                unsafe {
                    poll.add(fd, pipe as u64, Interest::READ).unwrap();
                }
            }
            take(&mut pipes[pipe]);
            if step % 5 == 0 {
                assert_eq!(wait(&mut poll), [0u64; 0]);
            }
        }
    }
}
