//! An I/O thread as the loop sees it: begun, written to, read from, and waited for at the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::mailbox::{Batch, Reading};
use super::worker::Worker;
use super::{Command, Post, Report, Tag, What};
use crate::config::Config;
use crate::error::Error;
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::signals;
use crate::waker::Waker;

/// A thread as the loop sees it.
pub(super) struct Thread {
    pub(super) post: Arc<Post>,
    pub(super) waker: Waker,
    pub(super) outgoing: Batch<Command>,
    pub(super) reports: Reading<Report>,
    pub(super) newcomers: Reading<(u8, Report)>,
    /// The loop's key of each connection that the thread accepted, and the thread's, by the index of that.
    pub(super) accepted: Vec<Option<(Key, Key)>>,
    /// The same for those whose index has got another owner, of whom the loop has heard before it heard of their end.
    pub(super) overtaken: HashMap<Key, Key>,
    pub(super) handle: Option<JoinHandle<()>>,
}

impl Thread {
    pub(super) fn start(
        index: usize,
        backend: &str,
        config: Config,
        home: &Waker,
    ) -> Result<Thread, Error> {
        let mut reactor = Reactor::new();
        reactor.set_backend(backend)?;
        reactor.configure(config);
        reactor.answer_later();
        let waker = reactor.waker()?;
        let post = Arc::new(Post::new(home.clone()));
        let worker = Worker::new(reactor, Arc::clone(&post));
        let failed = Arc::clone(&post);
        let handle = signals::blocked(|| {
            std::thread::Builder::new()
                .name(format!("trochee-io-{index}"))
                .spawn(move || {
                    let run = std::panic::AssertUnwindSafe(|| worker.run());
                    if std::panic::catch_unwind(run).is_err() {
                        let mut batch = Batch::new();
                        batch.push(Report {
                            from: Tag::Thread(Key::from_bits(u64::MAX)),
                            what: What::Died,
                        });
                        failed.reports.post(&mut batch);
                        failed.home.wake();
                    }
                })
        })
        .map_err(|error| Error::Thread(error.to_string()))?;
        Ok(Thread {
            post,
            waker,
            outgoing: Batch::new(),
            reports: Reading::new(),
            newcomers: Reading::new(),
            accepted: Vec::new(),
            overtaken: HashMap::new(),
            handle: Some(handle),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(super) fn post(&mut self) {
        if !self.outgoing.is_empty() {
            self.post.commands.post(&mut self.outgoing);
            self.waker.wake();
        }
    }
}

impl Drop for Thread {
    /// Waits for the thread, which ends after the turn that it is in.
    fn drop(&mut self) {
        self.post();
        self.post.stop.store(true, Ordering::Release);
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

    /// Something that the thread has to tell of without being asked again: it can not hold a file.
    fn hand_over_a_file(thread: &mut Thread) {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let (kind, state) = (SocketKind::Stream, State::Connecting);
        let connection = Connection::new(file.into(), kind, state, ReadSize::All, clock::now());
        thread.outgoing.push(Command::Connect {
            name: Key::from_bits(1),
            connection: Box::new(connection),
        });
        thread.post();
    }

    /// A thread that has something to tell, and would have to wake the loop for it, looks for more first. What is said to it
    /// at that moment must not wait for something else to happen.
    #[test]
    fn what_a_thread_is_told_while_it_looks_for_more_is_heard() {
        let home = Waker::open().expect("an eventfd");
        let mut thread = Thread::start(0, "epoll", Config::default(), &home).expect("a thread");
        for round in 0..2000 {
            while !home.begin_wait() {
                home.end_wait();
            }
            hand_over_a_file(&mut thread);
            for _ in 0..round % 500 {
                std::hint::spin_loop();
            }
            hand_over_a_file(&mut thread);
            let give_up = Instant::now() + Duration::from_secs(10);
            let mut told = 0;
            while told < 2 {
                assert!(Instant::now() < give_up, "told of {told} in round {round}");
                thread.reports.take(&thread.post.reports);
                told += std::iter::from_fn(|| thread.reports.next()).count();
                std::thread::yield_now();
            }
        }
    }
}
