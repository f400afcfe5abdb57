//! What the threads have told, in the order in which the loop hears of it: those who are in do not wait for all who log in at
//! the same time. See [`ready`](crate::reactor) for the same on one thread.

use super::messages::Report;
use super::newcomers::Newcomers;
use super::thread::Thread;
use crate::reactor::NEWCOMERS_SHARE;

pub(super) struct Reports {
    /// Whose reports are being read.
    reading: usize,
    newcomers: Newcomers,
    /// What the last report speaks of, if it was a newcomer's.
    bytes: Option<Box<[u8]>>,
    shares: u32,
}

impl Reports {
    pub(super) fn new() -> Reports {
        Reports {
            reading: 0,
            newcomers: Newcomers::new(),
            bytes: None,
            shares: 0,
        }
    }

    /// Whether there are any that were not read.
    pub(super) fn has_any(&self, threads: &[Thread]) -> bool {
        !self.newcomers.is_empty() || threads.iter().any(Thread::has_told)
    }

    /// The next report, with the index of its thread.
    pub(super) fn next(&mut self, threads: &mut [Thread]) -> Option<(usize, Report)> {
        self.shares = self.shares.wrapping_add(1);
        if self.shares.is_multiple_of(NEWCOMERS_SHARE) {
            self.next_of_newcomers(threads)
                .or_else(|| self.next_of_established(threads))
        } else {
            self.next_of_established(threads)
                .or_else(|| self.next_of_newcomers(threads))
        }
    }

    /// Of one thread what it has handed over, then of the next one.
    fn next_of_established(&mut self, threads: &mut [Thread]) -> Option<(usize, Report)> {
        self.bytes = None;
        for _ in 0..=threads.len() {
            if let Some(report) = threads.get_mut(self.reading)?.reports.next() {
                return Some((self.reading, report));
            }
            self.reading = (self.reading + 1) % threads.len();
            let thread = &mut threads[self.reading];
            if thread.reports.is_empty() {
                thread.reports.take(&thread.channel.reports);
            }
        }
        None
    }

    fn next_of_newcomers(&mut self, threads: &mut [Thread]) -> Option<(usize, Report)> {
        for (index, thread) in threads.iter_mut().enumerate() {
            if thread.newcomers.take(&thread.channel.newcomers) {
                self.newcomers.sort(index, &mut thread.newcomers);
            }
        }
        let (thread, report, bytes) = self.newcomers.next()?;
        self.bytes = Some(bytes);
        Some((thread, report))
    }

    /// The bytes that the report speaks of that was read last.
    pub(super) fn bytes<'a>(
        &'a self,
        threads: &'a mut [Thread],
        thread: usize,
        len: usize,
    ) -> &'a [u8] {
        match &self.bytes {
            Some(bytes) => bytes,
            None => threads[thread].reports.bytes(len),
        }
    }

    /// A thread that has failed has told nothing.
    pub(super) fn forget(&mut self, thread: usize) {
        self.newcomers.forget(thread);
    }
}
