//! epoll for a load, whose clients have numbers.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::usage::Server;

/// Most events of a turn.
const EVENTS: usize = 512;

/// What the connections are watched by.
pub struct Poller {
    epoll: OwnedFd,
    patience: Duration,
}

/// The clients that can go on.
pub struct Ready(Vec<epoll::Event>);

impl Poller {
    /// One whose turns wait for a moment, if they may.
    pub fn open(server: Server) -> Result<Self, String> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(sentence)?,
            patience: Duration::from_millis(if may_sleep(server) { 100 } else { 0 }),
        })
    }

    /// Watches the connection of a client until it is closed.
    pub fn add(
        &self,
        client: usize,
        connection: &impl AsFd,
        flags: epoll::EventFlags,
    ) -> Result<(), String> {
        let data = epoll::EventData::new_u64(client as u64);
        epoll::add(&self.epoll, connection, data, flags).map_err(sentence)
    }

    /// Looks who is ready.
    pub fn turn(&self, ready: &mut Ready) -> Result<(), String> {
        self.wait(ready, self.patience)
    }

    /// Waits for somebody to be ready, so long at most, in whole milliseconds.
    pub fn wait(&self, ready: &mut Ready, most: Duration) -> Result<(), String> {
        ready.0.clear();
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: most.as_nanos().min(999_000_000).next_multiple_of(1_000_000) as _,
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut ready.0), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(why) => Err(sentence(why)),
        }
    }
}

impl Ready {
    /// Nobody.
    pub fn new() -> Self {
        Self(Vec::with_capacity(EVENTS))
    }

    /// By their numbers.
    pub fn clients(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|event| event.data.u64() as usize)
    }
}

/// Whoever wakes a sleeping process pays for it, in a virtual machine more than for the handshake. A load that slept would
/// put that on the server's bill, and most on that of the slowest server, for which it waits longest. On a core of its own
/// it never sleeps; on a shared core it must, or the server would not run.
fn may_sleep(server: Server) -> bool {
    let (Ok(own), Ok(servers)) = (sched_getaffinity(None), sched_getaffinity(Some(server.0)))
    else {
        return true;
    };
    (0..CpuSet::MAX_CPU).any(|core| own.is_set(core) && servers.is_set(core))
}

fn sentence(why: Errno) -> String {
    format!("epoll: {why}")
}
