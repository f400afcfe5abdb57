//! The loop runs the turns of its threads' reactors itself while there is little to do, and waits for their pollers with its own.
#![allow(unsafe_code)] // descriptors that the poller keeps by their numbers

use std::os::fd::AsFd as _;
use std::time::Duration;

use super::Threads;
use super::io_thread::{IoThread, Served};
use super::load::Change;
use super::thread::Inline;
use crate::clock;
use crate::reactor::{Reactor, Step, shorter};

impl Threads {
    /// The loop is about to wait: says how long it may, for the reactors whose turns it runs.
    pub(super) fn prepare_wait(&mut self, local: &mut Reactor) -> Option<Duration> {
        let now = clock::now();
        self.choose(now);
        let mut longest = None;
        for index in 0..self.threads.len() {
            let of_one = self.prepare_one(local, index, now);
            longest = shorter(longest, of_one);
        }
        self.pulse.beat();
        longest
    }

    fn prepare_one(&mut self, local: &mut Reactor, index: usize, now: u64) -> Option<Duration> {
        let thread = &mut self.threads[index];
        let inline = thread.inline.as_mut()?;
        let Some(longest) = thread.slot.with(IoThread::time_to_wait) else {
            self.leave_alone(local, index);
            return None;
        };
        inline.due = longest.map(|longest| now + clock::nanoseconds(longest));
        if inline.is_watched {
            return longest;
        }
        // SAFETY: the thread has it for as long as it is watched.
        match unsafe { local.watch_companion(index, inline.fd.as_fd()) } {
            Ok(()) => {
                // Whatever was said to the thread and has happened meanwhile.
                (inline.is_watched, inline.is_ready) = (true, true);
                Some(Duration::ZERO)
            }
            // The system is short of what that takes.
            Err(_) => {
                self.give_to_threads(now);
                None
            }
        }
    }

    /// The thread has its reactor: the loop's poller has nothing to do with it.
    pub(super) fn leave_alone(&mut self, local: &mut Reactor, index: usize) {
        if let Some(inline) = &mut self.threads[index].inline {
            inline.is_ready = false;
            if inline.is_watched {
                inline.is_watched = !local.forget_companion(inline.fd.as_fd());
            }
        }
    }

    /// The loop has waited.
    pub(super) fn end_wait(&mut self, now: u64, waited: u64) {
        self.pulse.beat();
        self.work.waited = waited;
        for thread in &mut self.threads {
            if let Some(inline) = &mut thread.inline
                && inline.is_watched
            {
                thread.slot.rouse();
                inline.is_ready |= inline.due.is_some_and(|due| due <= now);
            }
        }
    }

    /// The poller of a reactor has something.
    pub(super) fn note_ready(&mut self, index: usize) {
        let thread = self.threads.get_mut(index);
        if let Some(inline) = thread.and_then(|thread| thread.inline.as_mut()) {
            inline.is_ready = true;
        }
    }

    /// Whether the loop has a reactor with something to do.
    pub(super) fn is_any_ready(&self) -> bool {
        let mut all = self.threads.iter();
        all.any(|thread| thread.inline.as_ref().is_some_and(|inline| inline.is_ready))
    }

    /// Has a reactor that has something to do serve some of those who wait. Gives the event if it is data; what else there is to tell is
    /// among the reports.
    pub(super) fn serve_ready(&mut self, local: &mut Reactor) -> Option<Step> {
        let is_ready = |inline: &&mut Inline| inline.is_ready;
        let mut all = self.threads.iter_mut().enumerate();
        let (index, slot, inline) = all.find_map(|(index, thread)| {
            let inline = thread.inline.as_mut().filter(is_ready)?;
            Some((index, &thread.slot, inline))
        })?;
        match slot.with(|io_thread| io_thread.serve(local)) {
            Some(Served::Some) => {}
            Some(Served::Data { key, len, end }) => {
                self.work.reports += 1;
                return self.data(index, key, len, end, local);
            }
            // Or the thread has it.
            Some(Served::All) | None => inline.is_ready = false,
            Some(Served::Crowded) => self.give_to_threads(clock::now()),
        }
        None
    }

    /// Looks at the load, and has the threads serve or the loop.
    fn choose(&mut self, now: u64) {
        let work = std::mem::take(&mut self.work);
        match self.load.turn(now, work) {
            Some(Change::Loop) => self.ask_for_reactors(),
            Some(Change::Threads) => self.give_all(),
            None if self.load.is_on_threads() => {}
            None => {
                // One was taken by its thread, for somebody had held the loop.
                let mut all = self.threads.iter();
                if all.any(|thread| thread.inline.is_some() && !thread.is_inline()) {
                    self.give_to_threads(now);
                }
            }
        }
    }

    fn ask_for_reactors(&mut self) {
        self.taken_from_threads += 1;
        for thread in &mut self.threads {
            if thread.inline.is_some() {
                thread.ask_for_reactor();
            }
        }
    }

    /// From now on the threads serve.
    fn give_to_threads(&mut self, now: u64) {
        self.load.give_to_threads(now);
        self.give_all();
    }

    fn give_all(&mut self) {
        self.given_to_threads += 1;
        for thread in &mut self.threads {
            if thread.is_inline() {
                thread.slot.give();
            }
        }
    }
}

#[cfg(test)]
impl Threads {
    /// Has those serve who do not.
    pub(crate) fn switch(&mut self) {
        let now = clock::now();
        if self.load.is_on_threads() {
            self.load.give_to_loop(now);
            self.ask_for_reactors();
        } else {
            self.give_to_threads(now);
        }
    }

    /// Has one thread take its reactor, as it does where the loop is held.
    pub(crate) fn lose_to_thread(&mut self, index: usize) {
        self.threads[index].slot.give();
    }
}
