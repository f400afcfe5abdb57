//! Memory that is used again, so that a message does not allocate for its answer.

/// How many are kept: as many as are in use between two flushes of a busy turn.
const MOST: usize = 16;

/// A buffer with room for more bytes than this is freed instead.
const LARGEST: usize = 4096;

/// Empty buffers of one thread, with room for at most 64 KiB in all.
#[derive(Default)]
pub(crate) struct Spares(Vec<Vec<u8>>);

impl Spares {
    /// A buffer with these bytes.
    #[inline]
    pub(crate) fn filled(&mut self, data: &[u8]) -> Vec<u8> {
        if data.len() > LARGEST {
            return data.to_vec();
        }
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.extend_from_slice(data);
        buffer
    }

    /// Takes a buffer that nobody needs any more.
    #[inline]
    pub(crate) fn keep(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= LARGEST && self.0.len() < MOST {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_used_again() {
        let mut spares = Spares::default();
        let first = spares.filled(b"first");
        let memory = first.as_ptr();
        spares.keep(first);
        let second = spares.filled(b"2nd");
        assert_eq!((second.as_ptr(), &second[..]), (memory, &b"2nd"[..]));
        assert_eq!(spares.filled(b""), b"");
    }

    #[test]
    fn many_and_large_ones_are_freed() {
        let mut spares = Spares::default();
        spares.keep(spares_of(LARGEST + 1));
        assert!(spares.0.is_empty());
        for _ in 0..2 * MOST {
            spares.keep(spares_of(LARGEST));
        }
        assert_eq!(spares.0.len(), MOST);
        let large = vec![7; 3 * LARGEST];
        assert_eq!(spares.filled(&large), large);
        assert_eq!(spares.0.len(), MOST, "a small one does not help there");
    }

    fn spares_of(room: usize) -> Vec<u8> {
        Vec::with_capacity(room)
    }
}
