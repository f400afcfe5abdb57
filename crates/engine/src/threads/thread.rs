//! An I/O thread as the loop sees it: begun, written to, read from, and waited for at the end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::io_thread::IoThread;
use super::messages::{Channel, Message, Report};
use super::slot::{Pulse, Slot};
use crate::batch::{Batch, Reading};
use crate::config::Config;
use crate::error::Error;
use crate::reactor::{Common, Reactor};
use crate::registry::Key;
use crate::signals;
use crate::waker::Waker;

/// A thread as the loop sees it.
pub(super) struct Thread {
    pub(super) channel: Arc<Channel>,
    waker: Waker,
    pub(super) outgoing: Batch<Message>,
    pub(super) reports: Reading<Report>,
    pub(super) newcomers: Reading<(u8, Report)>,
    /// Where its reactor is while the loop has it.
    pub(super) slot: Arc<Slot>,
    /// `None`: its poller is one that the loop cannot wait for, so the reactor is always the thread's.
    pub(super) inline: Option<Inline>,
    handle: Option<JoinHandle<()>>,
    /// What [`Stats`](crate::Stats) has of the loop's posts to this thread.
    pub(super) batches: u64,
    pub(super) wakes: u64,
}

/// What the loop knows of the reactor while it runs the turns.
pub(super) struct Inline {
    /// The descriptor of the reactor's poller: one more of the same, which stays open whatever becomes of the reactor.
    pub(super) fd: OwnedFd,
    /// The loop's poller watches it.
    pub(super) is_watched: bool,
    /// There is something for it to do in this turn of the loop.
    pub(super) is_ready: bool,
    /// When there will be, in nanoseconds, as far as that is known.
    pub(super) due: Option<u64>,
    /// It has to flush what nothing was said of.
    has_written: bool,
}

/// What a thread is made of.
pub(super) struct Plan<'a> {
    pub(super) index: usize,
    /// That of the keys which it gives.
    pub(super) number: u8,
    /// What its poller is like.
    pub(super) backend: &'a str,
    pub(super) config: Config,
    pub(super) common: Common,
    /// Wakes the loop.
    pub(super) home: &'a Waker,
    /// How the loop gets on.
    pub(super) pulse: &'a Arc<Pulse>,
    /// Whether the loop runs its turns at first, if it can.
    pub(super) inline: bool,
}

impl Thread {
    /// Starts one.
    pub(super) fn start(plan: Plan<'_>) -> Result<Thread, Error> {
        let mut reactor = Reactor::on_credit(plan.number);
        reactor.set_backend(plan.backend)?;
        reactor.join(plan.common);
        reactor.configure(plan.config);
        let waker = reactor.waker()?;
        let inline = Inline::of(&mut reactor);
        let is_inline = plan.inline && inline.is_some();
        let channel = Arc::new(Channel::new(plan.home.clone(), is_inline));
        let io_thread = Box::new(IoThread::new(reactor, Arc::clone(&channel)));
        let pulse = Arc::clone(plan.pulse);
        let slot = Arc::new(Slot::new(io_thread, Arc::clone(&channel), pulse));
        let (place, failed) = (Arc::clone(&slot), Arc::clone(&channel));
        let handle = signals::without_signals(|| {
            std::thread::Builder::new()
                .name(format!("trochee-io-{}", plan.index))
                .spawn(move || {
                    let run = std::panic::AssertUnwindSafe(|| place.run());
                    if std::panic::catch_unwind(run).is_err() {
                        failed.tell_of_failure();
                    }
                })
        })
        .map_err(|error| Error::Thread(error.to_string()))?;
        Ok(Thread {
            channel,
            waker,
            outgoing: Batch::new(),
            reports: Reading::new(),
            newcomers: Reading::new(),
            slot,
            inline,
            handle: Some(handle),
            batches: 0,
            wakes: 0,
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether it has told of something that was not read.
    pub(super) fn has_told(&self) -> bool {
        !self.reports.is_empty()
            || !self.channel.reports.is_empty()
            || !self.channel.newcomers.is_empty()
    }

    /// Whether the loop runs its turns, or will as soon as the thread gives up its reactor.
    pub(super) fn is_inline(&self) -> bool {
        self.channel.inline.load(Ordering::Acquire)
    }

    /// Has the thread give its reactor to the loop, as soon as it has come to the end of its turn.
    pub(super) fn ask_for_reactor(&mut self) {
        self.channel.inline.store(true, Ordering::Release);
        self.wakes += u64::from(self.waker.end_the_wait());
    }

    /// Hands over what was said, and has it carried out: by the thread, which is woken if it waits, or here.
    pub(super) fn post(&mut self) {
        self.post_and(IoThread::hear);
    }

    /// The same, where that is to be sent as well.
    pub(super) fn flush(&mut self) {
        let inline = self.inline.as_mut();
        let has_written = inline.is_some_and(|inline| std::mem::take(&mut inline.has_written));
        if has_written && self.outgoing.is_empty() {
            // If the thread has it, it flushes.
            self.slot.with(IoThread::flush);
        }
        self.post_and(IoThread::flush);
    }

    /// Writes much, if the loop has the reactor: it need not be copied for the other thread.
    pub(super) fn write(&mut self, key: Key, data: &[u8], notify: bool) -> bool {
        let Some(inline) = &mut self.inline else {
            return false;
        };
        inline.has_written = true;
        self.post();
        let written = self
            .slot
            .with(|io_thread| io_thread.write(key, data, notify));
        written.is_some()
    }

    fn post_and(&mut self, carry_out: fn(&mut IoThread)) {
        if self.outgoing.is_empty() {
            return;
        }
        self.channel.messages.post(&mut self.outgoing);
        self.batches += 1;
        if self.slot.with(carry_out).is_none() {
            self.wakes += u64::from(self.waker.end_the_wait());
        }
    }
}

impl Inline {
    /// That of a reactor, if there is a descriptor to wait for, and one more to have it twice.
    fn of(reactor: &mut Reactor) -> Option<Inline> {
        let fd = reactor.poller_fd()?.try_clone_to_owned().ok()?;
        Some(Inline {
            fd,
            is_watched: false,
            is_ready: false,
            due: None,
            has_written: false,
        })
    }
}

impl Drop for Thread {
    /// Waits for the thread, which ends after the turn that it is in.
    fn drop(&mut self) {
        self.post();
        self.slot.end();
        self.waker.wake();
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::clock;
    use crate::config::{ReadSize, SocketKind};
    use crate::connection::{Connection, State};

    /// Something that the thread has to tell of without being asked again: select(2) cannot hold such a number.
    fn hand_over_a_file(thread: &mut Thread, key: u64) {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let file = rustix::io::fcntl_dupfd_cloexec(&file, 1100).expect("a number above 1024");
        let (kind, state) = (SocketKind::Stream, State::Connecting);
        let connection = Connection::new(file, kind, state, ReadSize::All, clock::now());
        let message = Message::Connect(Key::from_bits(key), Box::new(connection));
        thread.outgoing.push(message);
        thread.post();
    }

    /// A thread that has something to tell, and would have to wake the loop for it, looks for more first. What is said to it
    /// at that moment must not wait for something else to happen.
    #[test]
    fn what_a_thread_is_told_while_it_looks_for_more_is_heard() {
        let home = Waker::open().expect("an eventfd");
        crate::reactor::raise_descriptor_limit();
        let thread = Thread::start(Plan {
            index: 0,
            number: 1,
            backend: "select",
            config: Config::default(),
            common: Reactor::new().common(),
            home: &home,
            pulse: &Arc::default(),
            inline: true,
        });
        let mut thread = thread.expect("a thread");
        for round in 0..2000 {
            while !home.begin_wait() {
                home.end_wait();
            }
            hand_over_a_file(&mut thread, 1);
            for _ in 0..round % 500 {
                std::hint::spin_loop();
            }
            hand_over_a_file(&mut thread, 2);
            let give_up = Instant::now() + Duration::from_secs(10);
            let mut told = 0;
            while told < 2 {
                assert!(Instant::now() < give_up, "told of {told} in round {round}");
                thread.reports.take(&thread.channel.reports);
                told += std::iter::from_fn(|| thread.reports.next()).count();
                std::thread::yield_now();
            }
        }
    }
}
