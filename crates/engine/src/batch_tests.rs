//! That a queue neither loses nor mixes up. How two threads may meet in it, `tests/interleavings.rs` tries.

use crate::batch::{Batch, BatchQueue, Reading};
use proptest::prelude::*;

proptest! {
    /// Whatever is posted when: the reader gets every message once, in order, with its bytes.
    #[test]
    fn nothing_is_lost_or_mixed_up(
        steps in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..40)), 0..200)
    ) {
        let queue = BatchQueue::new();
        let (mut batch, mut reading) = (Batch::new(), Reading::new());
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let mut read_all = |reading: &mut Reading<(usize, usize)>, most: usize| {
            for _ in 0..most {
                if reading.is_empty() && !reading.take(&queue) {
                    break;
                }
                let (number, len) = reading.next().expect("it is not empty");
                let bytes = reading.bytes(len).to_vec();
                received.push((number, bytes));
            }
        };
        for (step, bytes) in steps {
            match step {
                0 => read_all(&mut reading, bytes.len()),
                1 => queue.post(&mut batch),
                _ => {
                    batch.push_with((sent.len(), bytes.len()), &bytes);
                    sent.push((sent.len(), bytes));
                }
            }
        }
        queue.post(&mut batch);
        read_all(&mut reading, usize::MAX);
        prop_assert_eq!(sent, received);
        prop_assert!(queue.is_empty());
    }
}

/// Two threads, as fast as they can.
#[test]
fn a_reader_in_another_thread_gets_all_in_order() {
    const LETTERS: u32 = if cfg!(miri) { 200 } else { 100_000 };
    let queue = std::sync::Arc::new(BatchQueue::new());
    let writer = std::thread::spawn({
        let queue = queue.clone();
        move || {
            let mut batch = Batch::new();
            for number in 0..LETTERS {
                batch.push_with(number, &number.to_ne_bytes());
                if number % 7 == 0 || number + 1 == LETTERS {
                    queue.post(&mut batch);
                }
            }
        }
    });
    let mut reading = Reading::new();
    let mut expected = 0;
    while expected < LETTERS {
        if reading.is_empty() && !reading.take(&queue) {
            std::thread::yield_now();
            continue;
        }
        let number: u32 = reading.next().expect("it is not empty");
        assert_eq!(number, expected);
        assert_eq!(reading.bytes(4), number.to_ne_bytes());
        expected += 1;
    }
    writer.join().expect("the writer");
}
