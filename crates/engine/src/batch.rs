//! What two threads say to each other: whole batches, handed over by swapping two queues under a lock.

use std::collections::VecDeque;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

/// Spare room beyond this many bytes is freed, so that one large transfer does not keep its memory.
const KEPT: usize = 256 * 1024;

/// Messages in the order of sending, and behind each other the bytes that some of them speak of.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    messages: VecDeque<T>,
    bytes: Vec<u8>,
}

impl<T> Batch<T> {
    pub(crate) fn new() -> Batch<T> {
        Batch {
            messages: VecDeque::new(),
            bytes: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, message: T) {
        self.messages.push_back(message);
    }

    /// A message that speaks of bytes: it has to say how many.
    pub(crate) fn push_with(&mut self, message: T, bytes: &[u8]) {
        self.messages.push_back(message);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.bytes.clear();
        self.messages.shrink_to(KEPT / size_of::<T>().max(1));
        self.bytes.shrink_to(KEPT);
    }
}

/// One direction between two threads. Who posts also wakes the other side; see [`Waker`](crate::Waker).
#[derive(Debug)]
pub(crate) struct BatchQueue<T> {
    posted: Mutex<Batch<T>>,
    /// Whether there is something in `posted`: a look without the lock.
    full: AtomicBool,
}

impl<T> BatchQueue<T> {
    pub(crate) fn new() -> BatchQueue<T> {
        BatchQueue {
            posted: Mutex::new(Batch::new()),
            full: AtomicBool::new(false),
        }
    }

    /// Hands over what is in `batch`, behind what was not taken yet, and leaves it empty.
    pub(crate) fn post(&self, batch: &mut Batch<T>) {
        let mut posted = lock(&self.posted);
        if posted.is_empty() {
            std::mem::swap(&mut *posted, batch);
        } else {
            posted.messages.append(&mut batch.messages);
            posted.bytes.append(&mut batch.bytes);
        }
        self.full.store(true, Ordering::Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }
}

/// The reading end of a [`BatchQueue`]: what was taken out of it, message by message.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    batch: Batch<T>,
    /// How many bytes of the batch belong to messages that were read.
    read: usize,
}

impl<T> Reading<T> {
    pub(crate) fn new() -> Reading<T> {
        Reading {
            batch: Batch::new(),
            read: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Takes what was posted, once all that was taken before is read. False: there is nothing.
    pub(crate) fn take(&mut self, queue: &BatchQueue<T>) -> bool {
        debug_assert!(self.is_empty());
        if queue.is_empty() {
            return false;
        }
        self.batch.clear();
        self.read = 0;
        let mut posted = lock(&queue.posted);
        std::mem::swap(&mut *posted, &mut self.batch);
        queue.full.store(false, Ordering::Release);
        drop(posted);
        !self.is_empty()
    }

    pub(crate) fn next(&mut self) -> Option<T> {
        self.batch.messages.pop_front()
    }

    /// The bytes that the message speaks of that was read last: to be called once for each that has any.
    pub(crate) fn bytes(&mut self, len: usize) -> &[u8] {
        let start = self.read;
        self.read = (start + len).min(self.batch.bytes.len());
        &self.batch.bytes[start..self.read]
    }
}
