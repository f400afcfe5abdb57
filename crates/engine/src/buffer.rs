//! What a connection still has to send: a queue of chunks.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::IoSlice;

use crate::append::append;
use crate::spares::Spares;

/// Small writes are gathered into chunks of this many bytes, so that one vectored write carries hundreds of stanzas.
const CHUNK: usize = 16 * 1024;

/// Large writes are cut into chunks of this many bytes: a chunk is freed when all of it is sent.
pub(crate) const LARGEST_CHUNK: usize = 64 * 1024;

/// Whether `more` bytes are too many beside those that are queued. A single write into an empty queue is not, whatever its
/// size: its memory is the caller's already.
pub(crate) fn overflows(queued: usize, more: usize, limit: usize) -> bool {
    queued > 0 && queued.saturating_add(more) > limit
}

/// The chunks of a queue, in order. Nearly always there is one at most, which takes no memory beside its own.
#[derive(Default)]
struct Chunks {
    first: Option<Vec<u8>>,
    /// Those behind the first. There are none without a first.
    #[allow(clippy::box_collection)]
    // the box, for which there is nearly never anything, is smaller than the ring
    rest: Option<Box<VecDeque<Vec<u8>>>>,
}

impl Chunks {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn front(&self) -> Option<&Vec<u8>> {
        self.first.as_ref()
    }

    fn back_mut(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.rest {
            Some(rest) => rest.back_mut(),
            None => self.first.as_mut(),
        }
    }

    fn push_back(&mut self, chunk: Vec<u8>) {
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.rest.get_or_insert_default().push_back(chunk);
        }
    }

    fn pop_front(&mut self) {
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        self.release();
    }

    /// Nothing behind the first takes no memory.
    fn release(&mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.first
            .iter()
            .chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }
}

/// Bytes waiting to be sent, in order.
///
/// Appending copies once; taking from the front moves an offset and never the bytes behind it, so a slow reader
/// costs no more per byte than a fast one. An empty queue holds no memory.
#[derive(Default)]
pub(crate) struct OutQueue {
    chunks: Chunks,
    /// Bytes of the first chunk that are sent already.
    sent: usize,
    len: usize,
}

impl OutQueue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The same as [`push`](OutQueue::push), in memory that is used again where that is enough.
    #[inline]
    pub(crate) fn push_into(&mut self, data: &[u8], spares: &mut Spares) {
        if self.is_empty() && (1..=CHUNK).contains(&data.len()) {
            self.len = data.len();
            self.chunks.first = Some(spares.filled(data));
        } else {
            self.push(data);
        }
    }

    /// Appends a piece of a stream; its boundary means nothing.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.len += data.len();
        if let Some(last) = self.chunks.back_mut()
            && last.len() + data.len() <= CHUNK
        {
            return append(last, data, CHUNK);
        }
        for part in data.chunks(LARGEST_CHUNK) {
            self.chunks.push_back(part.to_vec());
        }
    }

    /// The same, without copying what is a chunk of its own already.
    pub(crate) fn push_chunk(&mut self, data: Cow<'_, [u8]>) {
        match data {
            Cow::Owned(chunk) => {
                self.len += chunk.len();
                self.chunks.push_back(chunk);
            }
            Cow::Borrowed(data) => self.push(data),
        }
    }

    /// Appends a datagram; it stays a chunk of its own, empty or not.
    pub(crate) fn push_datagram(&mut self, data: &[u8]) {
        self.len += data.len();
        self.chunks.push_back(data.to_vec());
    }

    /// The first bytes, as many slices as `slices` has room for. Returns how many were filled.
    pub(crate) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut offset = self.sent;
        for (slice, chunk) in slices.iter_mut().zip(self.chunks.iter()) {
            *slice = IoSlice::new(&chunk[offset..]);
            offset = 0;
            filled += 1;
        }
        filled
    }

    /// All there is, if it is one slice.
    #[inline]
    pub(crate) fn only(&self) -> Option<&[u8]> {
        if self.chunks.rest.is_none() {
            self.front()
        } else {
            None
        }
    }

    /// The unsent part of the first chunk.
    pub(crate) fn front(&self) -> Option<&[u8]> {
        self.chunks.front().map(|chunk| &chunk[self.sent..])
    }

    /// The same as [`consume`](OutQueue::consume). The memory of what is sent is used again.
    #[inline(always)] // nearly always it is all
    pub(crate) fn consume_into(&mut self, count: usize, spares: &mut Spares) {
        if count < self.len || self.chunks.rest.is_some() {
            return self.consume(count);
        }
        (self.sent, self.len) = (0, 0);
        if let Some(chunk) = self.chunks.first.take() {
            spares.keep(chunk);
        }
    }

    /// Forgets the first `count` bytes, which are sent.
    pub(crate) fn consume(&mut self, mut count: usize) {
        self.len = self.len.saturating_sub(count);
        while let Some(front) = self.chunks.front() {
            let left = front.len() - self.sent;
            if count < left {
                self.sent += count;
                return;
            }
            count -= left;
            self.pop_front();
        }
    }

    /// Forgets the first datagram, sent or refused.
    pub(crate) fn pop_datagram(&mut self) {
        if let Some(front) = self.chunks.front() {
            self.len -= front.len();
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        self.chunks.pop_front();
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn front_bytes(queue: &OutQueue, slices: usize) -> Vec<u8> {
        let mut room = vec![IoSlice::new(&[]); slices];
        let filled = queue.fill(&mut room);
        room[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sends_what_was_written_in_order(
            steps in prop::collection::vec((0usize..40_000, 0usize..60_000), 1..40)
        ) {
            let (mut queue, mut spares) = (OutQueue::default(), Spares::default());
            let mut written = Vec::new();
            let mut sent = 0;
            for (size, take) in steps {
                // A period that no chunk size is a multiple of: a byte out of place is a byte that differs.
                let data: Vec<u8> = (written.len()..written.len() + size).map(|i| (i % 251) as u8).collect();
                if size % 2 == 0 {
                    queue.push(&data);
                } else {
                    queue.push_into(&data, &mut spares);
                }
                written.extend(data);
                prop_assert_eq!(queue.len(), written.len() - sent);
                let front = front_bytes(&queue, 64);
                prop_assert_eq!(&front[..], &written[sent..sent + front.len()]);
                let take = take.min(queue.len());
                if size % 3 == 0 {
                    queue.consume(take);
                } else {
                    queue.consume_into(take, &mut spares);
                }
                sent += take;
                prop_assert_eq!(queue.len(), written.len() - sent);
                prop_assert_eq!(queue.is_empty(), sent == written.len());
            }
        }

        #[test]
        fn keeps_the_boundaries_of_datagrams(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..30)) {
            let mut queue = OutQueue::default();
            for datagram in &datagrams {
                queue.push_datagram(datagram);
            }
            for datagram in &datagrams {
                prop_assert_eq!(queue.front(), Some(&datagram[..]));
                queue.pop_datagram();
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(queue.len(), 0);
        }
    }
}
