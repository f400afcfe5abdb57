//! How much one read takes.

use super::Connection;
use crate::config::{Config, ReadSize};

/// The largest read. With it a fast sender costs few system calls. An idle connection costs no memory: there is one buffer for all.
pub(crate) const LARGEST_READ: usize = 64 * 1024;

/// What that buffer has room for: a read, and behind it what is received of a TLS session and decrypted.
pub(crate) const READ_BUFFER: usize = LARGEST_READ + RECEIVED;

/// Four of the longest records that are sent (RFC 8446, section 5.1; RFC 5246, section 6.2.3), which are a [`LARGEST_READ`] of plaintext.
pub(super) const RECEIVED: usize = 4 * (5 + 16 * 1024 + 24);

impl Connection {
    /// Another read size, from now on.
    pub(crate) fn set_read_size(&mut self, size: ReadSize) {
        (self.read_size, self.grown) = (size, 0);
    }

    /// How much a read may take for the consumer's part.
    #[inline]
    pub(super) fn wanted_room(&self) -> usize {
        match self.read_size {
            ReadSize::UpTo(size) => size,
            // Not more in a turn than without growing.
            ReadSize::Growing(size) => grown(size, self.grown).min(self.budget).max(size),
            ReadSize::All => usize::MAX,
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
        if let ReadSize::Growing(size) = self.read_size {
            if len >= wanted && grown(size, self.grown) < LARGEST_READ {
                self.grown += 1;
            } else if len < wanted / 2 {
                self.grown = self.grown.saturating_sub(1);
            }
        }
    }
}

fn grown(size: usize, times: u8) -> usize {
    size.saturating_mul(1 << times).min(LARGEST_READ)
}
