//! epoll(7): the kernel keeps the set and returns only what is ready.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{Interest, Poller, Readiness, timespec};

/// The name in [`BACKENDS`](super::BACKENDS).
pub(super) const NAME: &str = "epoll";

/// Events fetched by one call at first, and at most. A full buffer means that more may be waiting, so it grows: under
/// load one call then does the work of four. 16 384 events are 192 KiB.
const FIRST_BATCH: usize = 256;
const LARGEST_BATCH: usize = 16_384;

/// Opens an epoll instance that programs started later do not inherit.
///
/// A forked child shares it with its parent, changes included, so a process that forks opens its poller afterwards.
pub(super) fn open() -> io::Result<Box<dyn Poller>> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    Ok(Box::new(Epoll {
        epoll,
        batch: Batch(Vec::with_capacity(FIRST_BATCH)),
    }))
}

struct Epoll {
    epoll: OwnedFd,
    batch: Batch,
}

/// Where the kernel writes. Empty between waits; its capacity is the batch size.
struct Batch(Vec<Event>);

// SAFETY: `Event` is not `Send` because it may carry a pointer; the events here carry tokens, which are integers.
#[allow(unsafe_code)]
unsafe impl Send for Batch {}

impl Poller for Epoll {
    #[allow(unsafe_code)] // as declared: who adds keeps it open
    unsafe fn add(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(token),
            flags(interest),
        )?)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            fd,
            EventData::new_u64(token),
            flags(interest),
        )?)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    fn wait(&mut self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()> {
        // Whole milliseconds keep to epoll_pwait(2). The nanoseconds of epoll_pwait2(2) need Linux 5.11, and sandboxes
        // that do not know it kill the process.
        let timeout = timeout.map(|timeout| timespec(timeout, NANOS_PER_MILLI));
        let events = &mut self.batch.0;
        epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref())?;

        let filled = events.len() == events.capacity();
        ready.extend(
            events
                .drain(..)
                .map(|event| readiness(event.data.u64(), event.flags)),
        );
        if filled && events.capacity() < LARGEST_BATCH {
            events.reserve_exact(events.capacity() * 4);
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

const NANOS_PER_MILLI: u32 = 1_000_000;

/// RDHUP goes with reading only: a consumer that does not read has no use for news of the peer's FIN, and level
/// triggering would repeat it in every wait.
fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN | EventFlags::RDHUP, interest.readable);
    flags.set(EventFlags::OUT, interest.writable);
    flags
}

fn readiness(token: u64, flags: EventFlags) -> Readiness {
    if flags == EventFlags::IN {
        // Nearly always
        return Readiness {
            token,
            readable: true,
            writable: false,
            closed: false,
        };
    }
    // Both directions, whatever was asked for: the next read or write fetches the error.
    let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
    Readiness {
        token,
        readable: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
        writable: broken || flags.contains(EventFlags::OUT),
        closed: broken || flags.contains(EventFlags::RDHUP),
    }
}
