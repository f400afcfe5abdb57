//! That a queue neither loses nor mixes up. How two threads may meet in it, `tests/interleavings.rs` tries.

use crate::batch::{Batch, BatchQueue, Reading};
use proptest::prelude::*;

proptest! {
    /// Whatever is posted when: the reader gets every message once, in order, with its bytes.
    #[test]
    fn nothing_is_lost_or_mixed_up(
        steps in prop::collection::vec((0u8..5, prop::collection::vec(any::<u8>(), 0..40), 0u8..8), 0..200)
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
                let bytes = match number % 2 {
                    0 => reading.bytes(len).to_vec(),
                    _ => reading.take_bytes(len).into_owned(),
                };
                received.push((number, bytes));
            }
        };
        for (step, mut bytes, size) in steps {
            // Some do not fit into what others are in.
            if size == 0 {
                bytes.resize(bytes.len() * 2500, 7);
            }
            match step {
                0 => read_all(&mut reading, bytes.len() % 40),
                1 => queue.post(&mut batch),
                2 => {
                    let more = |(_, len): &mut (usize, usize)| {
                        *len += bytes.len();
                        true
                    };
                    if batch.extend_last(&bytes, more) {
                        let last: &mut (usize, Vec<u8>) = sent.last_mut().expect("the last one");
                        last.1.extend(bytes);
                    }
                }
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

/// What is read is not kept, and a large message not until the next one comes.
#[test]
fn what_was_read_takes_no_memory() {
    const LARGE: usize = 1_000_000;
    let queue = BatchQueue::new();
    let (mut batch, mut reading) = (Batch::new(), Reading::new());
    for _ in 0..3 {
        batch.push_with(LARGE, &vec![1; LARGE]);
        batch.push_with(10, &[2; 10]);
    }
    queue.post(&mut batch);
    assert!(batch.room() < LARGE);
    assert!(reading.take(&queue));
    for left in [3, 2, 1] {
        for len in [LARGE, 10] {
            assert_eq!(reading.next(), Some(len));
            assert_eq!(reading.bytes(len).len(), len);
        }
        let room = reading.room();
        assert!(room <= left * LARGE + LARGE / 4, "{room}, {left} left");
    }
    assert_eq!(reading.next(), None);
    assert!(reading.room() < LARGE / 4, "{}", reading.room());
}
