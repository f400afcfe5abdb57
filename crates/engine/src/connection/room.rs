//! How much one read takes.

use super::Connection;
use crate::config::{Config, ReadSize};

/// The largest read. With it a fast sender costs few system calls. An idle connection costs no memory: there is one buffer for all.
pub(crate) const LARGEST_READ: usize = 64 * 1024;

/// What that buffer has room for: a read, and behind it what is received of a TLS session and decrypted.
pub(crate) const READ_BUFFER: usize = LARGEST_READ + RECEIVED;

/// Four of the longest records that are sent (RFC 8446, section 5.1; RFC 5246, section 6.2.3), which are a [`LARGEST_READ`] of plaintext.
pub(super) const RECEIVED: usize = 4 * (5 + 16 * 1024 + 24);

/// A [`ReadSize`] in little memory, and what has become of it.
#[derive(Clone, Copy)]
pub(super) struct ReadRoom {
    /// Bytes of a read, or of the first one if it grows. What is more than a read can be stands for all that is there.
    size: u32,
    /// How often that has doubled. `None`: it does not grow.
    grown: Option<u8>,
}

impl ReadRoom {
    pub(super) fn new(size: ReadSize) -> ReadRoom {
        let (size, grown) = match size {
            ReadSize::UpTo(size) => (size, None),
            ReadSize::Growing(size) => (size, Some(0)),
            ReadSize::All => (usize::MAX, None),
        };
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        ReadRoom { size, grown }
    }

    fn wanted(self) -> usize {
        self.size as usize
    }
}

impl Connection {
    /// Another read size, from now on.
    pub(crate) fn set_read_size(&mut self, size: ReadSize) {
        self.read_room = ReadRoom::new(size);
    }

    /// How much a read may take for the consumer's part.
    #[inline]
    pub(super) fn wanted_room(&self) -> usize {
        let size = self.read_room.wanted();
        match self.read_room.grown {
            None => size,
            // Not more in a turn than without growing.
            Some(times) => grown(size, times).min(self.budget as usize).max(size),
        }
    }

    /// How much of that there is room for.
    #[inline]
    pub(super) fn room(&mut self, wanted: usize, config: &Config, now: u64) -> usize {
        let room = wanted
            .min(config.max_receive_buffer_size)
            .clamp(1, LARGEST_READ);
        match self.limit_mut() {
            Some(limit) => room.min(limit.allowance(now)),
            None => room,
        }
    }

    /// Takes note of how much a read that might have taken `wanted` has taken.
    #[inline]
    pub(super) fn adapt_room(&mut self, len: usize, wanted: usize) {
        let size = self.read_room.wanted();
        if let Some(times) = &mut self.read_room.grown {
            if len >= wanted && grown(size, *times) < LARGEST_READ {
                *times += 1;
            } else if len < wanted / 2 {
                *times = times.saturating_sub(1);
            }
        }
    }

    /// Takes what it has read off its part of this turn.
    #[inline]
    pub(crate) fn spend_budget(&mut self, len: usize) {
        self.budget = self.budget.saturating_sub(len as u32);
    }
}

fn grown(size: usize, times: u8) -> usize {
    size.saturating_mul(1 << times).min(LARGEST_READ)
}
