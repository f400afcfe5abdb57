//! Memory of the whole process: how much there is, how much connections hold, and what goes back to the system.
#![allow(unsafe_code)] // a question to the allocator

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sync::{Mutex, lock};
use crate::waker::Waker;

/// When connections hold so many bytes fewer than they did, it is worth while to give memory back.
const BURST: usize = 8 << 20;

/// What the connections of all threads hold together.
#[derive(Default)]
pub(crate) struct Account {
    held: AtomicUsize,
    /// The most since memory was given back last.
    most: AtomicUsize,
    /// Whether a thread is about to give memory back.
    gives_back: AtomicBool,
    threads: Mutex<Vec<Holder>>,
}

/// Who ends first when all hold too much, the greatest first: those that have to authenticate and have not, and among these and
/// among the others those that hold most, in bytes.
pub(crate) type Precedence = (bool, usize);

/// A thread, and the first of its connections to end, at least as far as it knows.
struct Holder {
    thread: u8,
    first: Precedence,
    waker: Option<Waker>,
}

impl Account {
    /// One of connections that hold so many bytes already.
    pub(crate) fn new(held: usize) -> Account {
        let account = Account::default();
        account.change(0, held);
        account
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A connection holds another number of bytes than before. Says whether the caller is to give memory back in a while.
    pub(crate) fn change(&self, before: usize, now: usize) -> bool {
        if now >= before {
            let held = self.held.fetch_add(now - before, Ordering::Relaxed) + (now - before);
            self.most.fetch_max(held, Ordering::Relaxed);
            return false;
        }
        let held = self.held.fetch_sub(before - now, Ordering::Relaxed);
        let held = held.saturating_sub(before - now);
        self.most.load(Ordering::Relaxed).saturating_sub(held) >= BURST
            && !self.gives_back.swap(true, Ordering::Relaxed)
    }

    /// Gives back what was freed.
    pub(crate) fn give_back(&self) {
        self.gives_back.store(false, Ordering::Relaxed);
        self.most.store(self.held(), Ordering::Relaxed);
        give_back();
    }

    /// Has the others hear of this thread, and wake it.
    pub(crate) fn join(&self, thread: u8, waker: Option<Waker>) {
        lock(&self.threads).push(Holder {
            thread,
            first: Precedence::default(),
            waker,
        });
    }

    /// Notes which connection of a thread is the first to end. Whether it is no other thread's turn; whose turn it is is woken.
    pub(crate) fn is_turn_of(&self, thread: u8, first: Precedence) -> bool {
        let mut is_turn = true;
        for holder in lock(&self.threads).iter_mut() {
            if holder.thread == thread {
                holder.first = first;
            } else if holder.first > first {
                is_turn = false;
                if let Some(waker) = &holder.waker {
                    waker.wake();
                }
            }
        }
        is_turn
    }

    /// A connection of a thread has grown to this.
    pub(crate) fn grow(&self, thread: u8, grown: Precedence) {
        let mut threads = lock(&self.threads);
        if let Some(holder) = threads.iter_mut().find(|holder| holder.thread == thread) {
            holder.first = holder.first.max(grown);
        }
    }
}

/// A quarter of the memory that this process may have: of the machine's, or of what its control group is allowed.
pub(crate) fn quarter() -> usize {
    static QUARTER: OnceLock<usize> = OnceLock::new();
    *QUARTER.get_or_init(|| {
        let limits = [of_machine(), of_group()];
        limits.into_iter().flatten().min().unwrap_or(usize::MAX) / 4
    })
}

fn of_machine() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The least limit of the control groups that it is in, cgroups(7).
fn of_group() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().filter_map(least_of_group).min()
}

fn least_of_group(line: &str) -> Option<usize> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let (mount, name) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        controllers if controllers.split(',').any(|it| it == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let limit = |group: &Path| -> Option<usize> {
        let folder = Path::new(mount).join(group.strip_prefix("/").ok()?);
        let text = std::fs::read_to_string(folder.join(name)).ok()?;
        text.trim().parse().ok()
    };
    Path::new(group).ancestors().filter_map(limit).min()
}

/// Gives back to the system what the process has freed. glibc keeps it otherwise, for as long as anything that is still in use lies
/// behind it.
///
/// This looks at all free memory, so it is for the end of a burst. Other allocators give back by themselves, and nothing happens.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it reads and writes nothing but the allocator's own books and what is free, under the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
