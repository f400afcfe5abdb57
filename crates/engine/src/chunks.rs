//! What an out-queue has, where it has anything.

use std::collections::VecDeque;

use crate::append::append;

/// Chunks of bytes, in order. Nearly always it is one.
#[derive(Default)]
pub(crate) struct Chunks {
    first: Vec<u8>,
    /// Bytes of the first that are sent already.
    sent: usize,
    /// Bytes of all that are not sent.
    len: usize,
    /// Those behind the first.
    rest: VecDeque<Vec<u8>>,
}

impl Chunks {
    pub(crate) fn of(first: Vec<u8>) -> Chunks {
        Chunks {
            len: first.len(),
            first,
            ..Chunks::default()
        }
    }

    /// Takes the first bytes into what was [cleared](Chunks::clear).
    #[inline]
    pub(crate) fn begin(&mut self, data: &[u8]) {
        self.first.extend_from_slice(data);
        self.len = data.len();
    }

    /// Forgets the bytes. Whether all the memory that is left is room for at most so many.
    #[inline]
    pub(crate) fn clear(&mut self, most: usize) -> bool {
        self.first.clear();
        (self.sent, self.len) = (0, 0);
        self.first.capacity() <= most && self.rest.capacity() == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_one(&self) -> bool {
        self.rest.is_empty()
    }

    /// The unsent part of the first.
    #[inline]
    pub(crate) fn front(&self) -> &[u8] {
        &self.first[self.sent..]
    }

    /// The unsent parts of all.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.front()).chain(self.rest.iter().map(Vec::as_slice))
    }

    /// Appends to the last chunk, if it then has no more than `most` bytes.
    pub(crate) fn append(&mut self, data: &[u8], most: usize) -> bool {
        let last = self.rest.back_mut().unwrap_or(&mut self.first);
        let fits = last.len() + data.len() <= most;
        if fits {
            append(last, data, most);
            self.len += data.len();
        }
        fits
    }

    pub(crate) fn push_back(&mut self, chunk: Vec<u8>) {
        self.len += chunk.len();
        self.rest.push_back(chunk);
    }

    /// So many bytes of the first are sent, and not all.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        self.len -= count;
    }

    /// Forgets the first. False: it was the only one, and is still here.
    pub(crate) fn pop_front(&mut self) -> bool {
        let Some(next) = self.rest.pop_front() else {
            return false;
        };
        self.len -= self.front().len();
        (self.first, self.sent) = (next, 0);
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
        true
    }
}
