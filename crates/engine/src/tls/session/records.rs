//! Where records are made that are to be sent. The memory is that of the thread: the system nearly always takes them at once, and then
//! they cost none of the connection's.

use std::cell::Cell;

/// More memory than this is not kept: records of so much as may wait for the system, or a long chain of certificates.
const KEPT: usize = 128 * 1024;

/// Records behind each other.
#[derive(Default)]
pub(super) struct Records {
    room: Vec<u8>,
    len: usize,
}

thread_local! {
    static SHARED: Cell<Records> = const { Cell::new(Records { room: Vec::new(), len: 0 }) };
}

impl Records {
    /// Lends those of this thread, with nothing in them.
    pub(super) fn lend<R>(f: impl FnOnce(&mut Records) -> R) -> R {
        let mut records = SHARED.take();
        records.len = 0;
        let result = f(&mut records);
        if records.room.len() <= KEPT {
            SHARED.set(records);
        }
        result
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.room[..self.len]
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends what `fill` writes into `most` bytes; it says how many it used. After an error, nothing.
    pub(super) fn push_with<E>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let end = self.len + most;
        if end > self.room.len() {
            self.room.resize(end, 0);
        }
        self.len += fill(&mut self.room[self.len..end])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_stands_behind_what_was_there_and_nothing_of_a_failure_does() {
        let all = Records::lend(|records| {
            assert!(records.is_empty());
            let fill = |byte: u8, used: usize| {
                move |room: &mut [u8]| {
                    room.fill(byte);
                    if used == 0 { Err(()) } else { Ok(used) }
                }
            };
            records.push_with(10, fill(1, 3)).unwrap();
            records.push_with(10, fill(2, 0)).unwrap_err();
            records.push_with(2 * KEPT, fill(3, 2)).unwrap();
            assert_eq!(records.len(), 5);
            // Whoever is called meanwhile has others.
            Records::lend(|others| assert!(others.is_empty()));
            records.bytes().to_vec()
        });
        assert_eq!(all, [1, 1, 1, 3, 3]);
        Records::lend(|records| assert!(records.room.len() <= KEPT));
    }
}
