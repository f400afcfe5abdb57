//! Memory that is used again, so that a message does not allocate for its answer.

use crate::chunks::Chunks;

/// How many are kept: as many as are in use between two flushes of a busy turn.
const MOST: usize = 16;

/// A buffer with room for more bytes than this is freed instead.
const LARGEST: usize = 4096;

/// Empty buffers of one thread, with room for at most 64 KiB in all.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a box goes from here into a queue and back")]
pub(crate) struct Spares(Vec<Box<Chunks>>);

impl Spares {
    /// A buffer with these bytes.
    #[inline]
    pub(crate) fn filled(&mut self, data: &[u8]) -> Box<Chunks> {
        let spare = (data.len() <= LARGEST).then(|| self.0.pop()).flatten();
        let mut chunks = spare.unwrap_or_default();
        chunks.begin(data);
        chunks
    }

    /// Takes a buffer that nobody needs any more.
    #[inline]
    pub(crate) fn keep(&mut self, mut chunks: Box<Chunks>) {
        if chunks.clear(LARGEST) && self.0.len() < MOST {
            self.0.push(chunks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_used_again() {
        let mut spares = Spares::default();
        let mut first = spares.filled(b"first");
        first.advance(2);
        let memory = first.front().as_ptr().wrapping_sub(2);
        spares.keep(first);
        let second = spares.filled(b"2nd");
        assert_eq!((second.front(), second.len()), (&b"2nd"[..], 3));
        assert_eq!(second.front().as_ptr(), memory);
    }

    #[test]
    fn many_and_large_ones_are_freed() {
        let mut spares = Spares::default();
        spares.keep(of(LARGEST + 1));
        assert!(spares.0.is_empty());
        for _ in 0..2 * MOST {
            spares.keep(of(LARGEST));
        }
        assert_eq!(spares.0.len(), MOST);
        let large = vec![7; 3 * LARGEST];
        assert_eq!(spares.filled(&large).front(), large);
        assert_eq!(spares.0.len(), MOST, "a small one does not help there");
    }

    #[test]
    fn one_with_room_for_many_chunks_is_freed() {
        let mut spares = Spares::default();
        let mut chunks = of(1);
        chunks.push_back(vec![7]);
        spares.keep(chunks);
        assert!(spares.0.is_empty());
    }

    fn of(room: usize) -> Box<Chunks> {
        Box::new(Chunks::of(Vec::with_capacity(room)))
    }
}
