//! What threads tell of newcomers, on the loop's side: whoever has got furthest goes first, so that of a crowd that logs in
//! some are done before others begin.

use super::messages::Report;
use crate::batch::Reading;
use crate::connection::NEWCOMER_READS;
use crate::ranked::Ranked;

/// Reports by how many reads of their connection were dealt with when they were made.
pub(super) struct Newcomers(Ranked<Told, { NEWCOMER_READS as usize }>);

struct Told {
    thread: usize,
    report: Report,
    bytes: Box<[u8]>,
}

impl Newcomers {
    pub(super) fn new() -> Newcomers {
        Newcomers(Ranked::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in all that a thread has handed over.
    pub(super) fn sort(&mut self, thread: usize, reading: &mut Reading<(u8, Report)>) {
        while let Some((rank, report)) = reading.next() {
            let rank = usize::from(rank.min(NEWCOMER_READS - 1));
            let bytes = reading.bytes(report.len()).into();
            self.0.push(
                rank,
                Told {
                    thread,
                    report,
                    bytes,
                },
            );
        }
    }

    /// The next one, with its thread and the bytes that it speaks of.
    pub(super) fn next(&mut self) -> Option<(usize, Report, Box<[u8]>)> {
        let rank = self.0.highest_below(NEWCOMER_READS.into())?;
        let told = self.0.pop(rank)?;
        Some((told.thread, told.report, told.bytes))
    }

    /// Forgets what a thread has told that is no more.
    pub(super) fn forget(&mut self, thread: usize) {
        self.0.retain(|told| told.thread != thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, BatchQueue};
    use crate::event::{Chunk, Event};
    use crate::registry::Key;

    /// Has a thread tell of data, with the number of its connection as the only byte, and of ends.
    fn tell(newcomers: &mut Newcomers, thread: usize, reports: &[(u8, u8, bool)]) {
        let (queue, mut reading) = (BatchQueue::new(), Reading::new());
        let mut batch = Batch::new();
        for &(rank, connection, data) in reports {
            let key = Key::from_bits(connection.into());
            if data {
                let (len, end) = (1, Chunk::Short);
                batch.push_with((rank, Report::Data { key, len, end }), &[connection]);
            } else {
                batch.push((rank, Report::Event(Event::Ended { key })));
            }
        }
        queue.post(&mut batch);
        reading.take(&queue);
        newcomers.sort(thread, &mut reading);
        assert!(reading.is_empty());
    }

    fn order(newcomers: &mut Newcomers) -> Vec<(usize, u64)> {
        std::iter::from_fn(|| newcomers.next())
            .map(|(thread, report, bytes)| {
                let key = match &report {
                    Report::Data { key, .. } => *key,
                    Report::Event(event) => event.key().unwrap(),
                    _ => unreachable!("none of the others was told"),
                };
                if report.len() > 0 {
                    assert_eq!(*bytes, [key.to_bits() as u8]);
                }
                (thread, key.to_bits())
            })
            .collect()
    }

    #[test]
    fn whoever_has_got_furthest_goes_first_and_else_the_order_stays() {
        let mut newcomers = Newcomers::new();
        tell(
            &mut newcomers,
            0,
            &[(0, 1, true), (0, 1, false), (3, 2, true), (200, 3, true)],
        );
        tell(&mut newcomers, 1, &[(3, 4, true), (0, 5, true)]);
        assert!(!newcomers.is_empty());
        let expected = [(0, 3), (0, 2), (1, 4), (0, 1), (0, 1), (1, 5)];
        assert_eq!(order(&mut newcomers), expected);
        assert!(newcomers.is_empty());
    }

    #[test]
    fn a_thread_that_failed_has_told_nothing() {
        let mut newcomers = Newcomers::new();
        tell(&mut newcomers, 0, &[(0, 1, true), (5, 2, true)]);
        tell(&mut newcomers, 1, &[(0, 3, true)]);
        newcomers.forget(0);
        assert_eq!(order(&mut newcomers), [(1, 3)]);
        assert!(newcomers.is_empty());
    }
}
