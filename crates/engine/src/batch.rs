//! What two threads say to each other: whole batches, handed over by swapping two queues under a lock.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::append::append;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

/// Bytes are kept in pieces of so many: a piece is freed when it is read, or goes to the reader as it is. So no more than one is
/// there twice while the reader takes what is in a large batch. One is kept for the next batch.
const PIECE: usize = 64 * 1024;

/// A message with this many bytes has a piece of its own. To copy fewer costs less than to allocate for them.
const OWN_PIECE: usize = 4 * 1024;

/// Spare room for more messages than fit into this many bytes is freed.
const KEPT: usize = 256 * 1024;

/// Messages in the order of sending, and behind each other the bytes that some of them speak of.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    messages: VecDeque<T>,
    /// The bytes of a message are in one piece.
    pieces: VecDeque<Vec<u8>>,
}

impl<T> Batch<T> {
    pub(crate) fn new() -> Batch<T> {
        Batch {
            messages: VecDeque::new(),
            pieces: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, message: T) {
        self.messages.push_back(message);
    }

    /// A message that speaks of bytes: it has to say how many.
    pub(crate) fn push_with(&mut self, message: T, bytes: &[u8]) {
        self.messages.push_back(message);
        match self.pieces.back_mut() {
            Some(last) if bytes.len() < OWN_PIECE && last.len() + bytes.len() <= PIECE => {
                append(last, bytes, PIECE);
            }
            _ => self.pieces.push_back(bytes.to_vec()),
        }
    }

    /// Adds bytes to those of the last message. False: there is no room beside them, or `takes` says that they are not of this message,
    /// which it is to count them in.
    pub(crate) fn extend_last(&mut self, bytes: &[u8], takes: impl FnOnce(&mut T) -> bool) -> bool {
        let (Some(message), Some(piece)) = (self.messages.back_mut(), self.pieces.back_mut())
        else {
            return false;
        };
        let goes = piece.len() + bytes.len() <= PIECE && takes(message);
        if goes {
            append(piece, bytes, PIECE);
        }
        goes
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Empties it, and keeps no more than a batch of small messages needs.
    fn clear(&mut self) {
        self.messages.clear();
        self.messages.shrink_to(KEPT / size_of::<T>().max(1));
        self.pieces.truncate(1);
        match self.pieces.front_mut() {
            Some(piece) if piece.capacity() <= PIECE => piece.clear(),
            _ => self.pieces = VecDeque::new(),
        }
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
            posted.pieces.append(&mut batch.pieces);
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
    /// How many bytes of the first piece belong to messages that were read.
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
        self.clear();
        let mut posted = lock(&queue.posted);
        std::mem::swap(&mut *posted, &mut self.batch);
        queue.full.store(false, Ordering::Release);
        drop(posted);
        !self.is_empty()
    }

    fn clear(&mut self) {
        self.batch.clear();
        self.read = 0;
    }

    /// The next message. `None`: all were read, and what they took is freed.
    pub(crate) fn next(&mut self) -> Option<T> {
        let message = self.batch.messages.pop_front();
        if message.is_none() {
            self.clear();
        }
        message
    }

    /// The bytes that the message speaks of that was read last: this, or [`take_bytes`](Reading::take_bytes), is to be called once for
    /// each that has any.
    pub(crate) fn bytes(&mut self, len: usize) -> &[u8] {
        self.pass_by();
        let start = self.read;
        let piece = self.batch.pieces.front().map(Vec::as_slice);
        let piece = piece.unwrap_or_default();
        self.read = (start + len).min(piece.len());
        &piece[start..self.read]
    }

    /// The same, for a reader who keeps them.
    pub(crate) fn take_bytes(&mut self, len: usize) -> Cow<'_, [u8]> {
        self.pass_by();
        let pieces = &mut self.batch.pieces;
        let is_whole = self.read == 0 && pieces.front().is_some_and(|piece| piece.len() == len);
        if len >= OWN_PIECE
            && is_whole
            && let Some(piece) = pieces.pop_front()
        {
            return Cow::Owned(piece);
        }
        Cow::Borrowed(self.bytes(len))
    }

    /// Frees the first piece if it is read and not the last one.
    fn pass_by(&mut self) {
        let pieces = &mut self.batch.pieces;
        while pieces.len() > 1 && pieces.front().is_some_and(|piece| piece.len() == self.read) {
            pieces.pop_front();
            self.read = 0;
        }
    }
}

#[cfg(test)]
impl<T> Batch<T> {
    /// How many bytes there is room for, used or not.
    pub(crate) fn room(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
impl<T> Reading<T> {
    /// How many bytes there is room for, used or not.
    pub(crate) fn room(&self) -> usize {
        self.batch.room()
    }
}
