//! What a connection still has to send: a queue of chunks.

use std::borrow::Cow;
use std::io::IoSlice;

use crate::chunks::Chunks;
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

/// Bytes waiting to be sent, in order.
///
/// Appending copies once; taking from the front moves an offset and never the bytes behind it, so a slow reader
/// costs no more per byte than a fast one. An empty queue, which silent connections have, takes no memory but a pointer's.
#[derive(Default)]
pub(crate) struct OutQueue(Option<Box<Chunks>>);

impl OutQueue {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chunks| chunks.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The same as [`push`](OutQueue::push), in memory that is used again where that is enough.
    #[inline]
    pub(crate) fn push_into(&mut self, data: &[u8], spares: &mut Spares) {
        if self.is_empty() && (1..=CHUNK).contains(&data.len()) {
            self.0 = Some(spares.filled(data));
        } else {
            self.push(data);
        }
    }

    /// Appends a piece of a stream; its boundary means nothing.
    pub(crate) fn push(&mut self, data: &[u8]) {
        if let Some(chunks) = &mut self.0
            && chunks.append(data, CHUNK)
        {
            return;
        }
        for part in data.chunks(LARGEST_CHUNK) {
            self.push_back(part.to_vec());
        }
    }

    /// The same as [`push_into`](OutQueue::push_into), without copying what is a chunk of its own already.
    pub(crate) fn push_chunk(&mut self, data: Cow<'_, [u8]>, spares: &mut Spares) {
        match data {
            Cow::Owned(chunk) => self.push_back(chunk),
            Cow::Borrowed(data) => self.push_into(data, spares),
        }
    }

    /// Appends a datagram; it stays a chunk of its own, empty or not.
    pub(crate) fn push_datagram(&mut self, data: &[u8]) {
        self.push_back(data.to_vec());
    }

    fn push_back(&mut self, chunk: Vec<u8>) {
        match &mut self.0 {
            Some(chunks) => chunks.push_back(chunk),
            None => self.0 = Some(Box::new(Chunks::of(chunk))),
        }
    }

    /// The first bytes, as many slices as `slices` has room for. Returns how many were filled.
    pub(crate) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let all = self.0.iter().flat_map(|chunks| chunks.iter());
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    /// All there is, if it is one slice.
    #[inline]
    pub(crate) fn only(&self) -> Option<&[u8]> {
        match &self.0 {
            Some(chunks) if chunks.is_one() => Some(chunks.front()),
            _ => None,
        }
    }

    /// The unsent part of the first chunk.
    pub(crate) fn front(&self) -> Option<&[u8]> {
        self.0.as_ref().map(|chunks| chunks.front())
    }

    /// The same as [`consume`](OutQueue::consume). The memory of what is sent is used again.
    #[inline(always)] // nearly always it is all
    pub(crate) fn consume_into(&mut self, count: usize, spares: &mut Spares) {
        match &self.0 {
            Some(chunks) if count >= chunks.len() && chunks.is_one() => {
                if let Some(chunks) = self.0.take() {
                    spares.keep(chunks);
                }
            }
            _ => self.consume(count),
        }
    }

    /// Forgets the first `count` bytes, which are sent.
    pub(crate) fn consume(&mut self, mut count: usize) {
        while let Some(chunks) = &mut self.0 {
            let left = chunks.front().len();
            if count < left {
                return chunks.advance(count);
            }
            count -= left;
            self.pop_front();
        }
    }

    /// Forgets the first datagram, sent or refused.
    pub(crate) fn pop_datagram(&mut self) {
        self.pop_front();
    }

    /// Forgets the first chunk.
    fn pop_front(&mut self) {
        if let Some(chunks) = &mut self.0
            && !chunks.pop_front()
        {
            self.0 = None;
        }
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
