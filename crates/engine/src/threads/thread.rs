//! An I/O thread as the loop sees it: begun, written to, read from, and waited for at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::io_thread::IoThread;
use super::messages::{Channel, Message, Report};
use crate::batch::{Batch, Reading};
use crate::config::Config;
use crate::error::Error;
use crate::reactor::{Common, Reactor};
use crate::signals;
use crate::waker::Waker;

/// A thread as the loop sees it.
pub(super) struct Thread {
    pub(super) channel: Arc<Channel>,
    waker: Waker,
    pub(super) outgoing: Batch<Message>,
    pub(super) reports: Reading<Report>,
    pub(super) newcomers: Reading<(u8, Report)>,
    handle: Option<JoinHandle<()>>,
    /// What [`Stats`](crate::Stats) has of the loop's posts to this thread.
    pub(super) batches: u64,
    pub(super) wakes: u64,
}

impl Thread {
    /// Starts one that gives keys with `number`, with a poller like `backend`, and wakes the loop through `home`.
    pub(super) fn start(
        index: usize,
        number: u8,
        backend: &str,
        config: Config,
        common: Common,
        home: &Waker,
    ) -> Result<Thread, Error> {
        let mut reactor = Reactor::on_credit(number);
        reactor.set_backend(backend)?;
        reactor.join(common);
        reactor.configure(config);
        let waker = reactor.waker()?;
        let channel = Arc::new(Channel::new(home.clone()));
        let io_thread = IoThread::new(reactor, Arc::clone(&channel));
        let failed = Arc::clone(&channel);
        let handle = signals::without_signals(|| {
            std::thread::Builder::new()
                .name(format!("trochee-io-{index}"))
                .spawn(move || {
                    let run = std::panic::AssertUnwindSafe(|| io_thread.run());
                    if std::panic::catch_unwind(run).is_err() {
                        let mut batch = Batch::new();
                        batch.push(Report::Died);
                        failed.reports.post(&mut batch);
                        failed.home.wake();
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

    /// Hands over what was said, and wakes the thread if it waits.
    pub(super) fn post(&mut self) {
        if !self.outgoing.is_empty() {
            self.channel.messages.post(&mut self.outgoing);
            self.batches += 1;
            self.wakes += u64::from(self.waker.end_the_wait());
        }
    }
}

impl Drop for Thread {
    /// Waits for the thread, which ends after the turn that it is in.
    fn drop(&mut self) {
        self.post();
        self.channel.stop.store(true, Ordering::Release);
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
    use crate::registry::Key;

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
        let common = Reactor::new().common();
        let thread = Thread::start(0, 1, "select", Config::default(), common, &home);
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
