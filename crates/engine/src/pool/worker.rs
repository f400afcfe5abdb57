//! An I/O thread: a reactor of its own, whose consumer is another thread.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::mailbox::{Batch, Reading};
use super::{Command, Post, Report, Tag, What};
use crate::clock;
use crate::connection::NEWCOMER_READS;
use crate::error::Reason;
use crate::event::Event;
use crate::reactor::{Close, Reactor};
use crate::registry::Key;
use crate::socket::Name;

/// So many reports are handed over at once, while more is to be done. Fewer would wake the loop more often than it has
/// work for; more would let it wait for what is there already.
const REPORTS: usize = 64;

/// And so old is the first of them at most, in nanoseconds, when what comes next is told of.
const AGE: u64 = 500_000;

pub(super) struct Worker {
    pub(super) reactor: Reactor,
    pub(super) post: Arc<Post>,
    commands: Reading<Command>,
    reports: Batch<Report>,
    of_newcomers: Batch<(u8, Report)>,
    /// Since when reports wait.
    since: Option<u64>,
    newcomers: HashMap<Key, Newcomer>,
    /// What the loop has named, by its name: listeners and outgoing connections. Accepted ones go by ours.
    ours: HashMap<Key, Key>,
    theirs: HashMap<Key, Key>,
}

/// A connection that was accepted and has not delivered much yet.
#[derive(Default)]
struct Newcomer {
    reads: u8,
    /// How many of them the loop had dealt with when its reports last changed their rank.
    rank: u8,
    /// The loop was told of nothing since the last read.
    read_is_last: bool,
}

/// What is told of a connection that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) fd: RawFd,
    pub(crate) peer: Option<Name>,
    pub(crate) local: Option<Name>,
    pub(crate) sent: Arc<AtomicU64>,
}

impl Worker {
    pub(super) fn new(reactor: Reactor, post: Arc<Post>) -> Worker {
        Worker {
            reactor,
            post,
            commands: Reading::new(),
            reports: Batch::new(),
            of_newcomers: Batch::new(),
            since: None,
            newcomers: HashMap::new(),
            ours: HashMap::new(),
            theirs: HashMap::new(),
        }
    }

    /// Serves until the pool ends.
    pub(super) fn run(mut self) {
        let mut looked = false;
        while !self.post.stop.load(Ordering::Acquire) {
            self.obey();
            // To wake the loop is dear, to look whether there is more to tell of is not. The look may use up a wake, so what
            // that was about is seen to before the wait.
            let look = !looked && self.waiting() > 0 && self.post.home.is_waiting();
            let told = self.turn(look.then_some(Duration::ZERO));
            looked = look && !told;
        }
        // What was said before the end still counts, and what can be sent without waiting is.
        self.obey();
        self.turn(Some(Duration::ZERO));
        self.hand_over();
    }

    /// A post that comes once the commands are read ends the wait of the turn, or keeps it from beginning. Whether there
    /// was anything to tell of.
    fn turn(&mut self, max_wait: Option<Duration>) -> bool {
        let waits = max_wait.is_none();
        let mut told = false;
        if waits {
            self.hand_over();
        }
        self.reactor.begin_turn(max_wait);
        while let Some(event) = self.reactor.next_event() {
            told = true;
            let report = match event {
                Event::Data { key, data, end } => {
                    let from = tag(&self.theirs, key);
                    let len = data.len();
                    let report = Report {
                        from,
                        what: What::Data { len, end },
                    };
                    match self.newcomers.get_mut(&key) {
                        Some(newcomer) => {
                            newcomer.reads = newcomer.reads.saturating_add(1);
                            newcomer.read_is_last = true;
                            let report = (newcomer.rank, report);
                            self.of_newcomers.push_with(report, data);
                        }
                        None => self.reports.push_with(report, data),
                    }
                    None
                }
                Event::Accepted { listener, key } => {
                    self.newcomers.insert(key, Newcomer::default());
                    Some((key, self.accepted(listener, key)))
                }
                Event::Connected { key } => {
                    let local = self.reactor.local_name(key);
                    Some((key, What::Connected { local }))
                }
                Event::ClientHello {
                    key,
                    server_name,
                    alpn,
                } => Some((key, What::ClientHello(Box::new((server_name, alpn))))),
                Event::Secured { key } => Some((key, What::Secured(self.reactor.facts(key)))),
                Event::Ended { key } => Some((key, What::Ended)),
                Event::ReadTimeout { key } => Some((key, What::ReadTimeout)),
                Event::Drain { key } => Some((key, What::Drain)),
                Event::Closed { key, reason } => Some((key, What::Closed(reason))),
                Event::Notice { level, text } => {
                    let what = What::Notice(level, text.into());
                    self.reports.push(Report {
                        from: Tag::Thread(Key::from_bits(u64::MAX)),
                        what,
                    });
                    None
                }
                // The loop has its own; the rest it does not ask of a thread.
                Event::Predrain { .. }
                | Event::Ready { .. }
                | Event::Signal { .. }
                | Event::Timer { .. } => None,
            };
            if let Some((key, what)) = report {
                self.report(key, what);
            }
            if self.is_due() || waits && self.reactor.is_before_wait() {
                self.hand_over();
            }
            self.obey();
        }
        told
    }

    fn report(&mut self, key: Key, what: What) {
        let from = tag(&self.theirs, key);
        let closed = matches!(what, What::Closed(_));
        let report = Report { from, what };
        match self.newcomers.get_mut(&key) {
            Some(newcomer) => {
                newcomer.read_is_last = false;
                self.of_newcomers.push((newcomer.rank, report));
            }
            None => self.reports.push(report),
        }
        if closed {
            self.forget(key);
        }
    }

    fn accepted(&mut self, listener: Key, key: Key) -> What {
        let accepted = Accepted {
            fd: self.reactor.fd(key).unwrap_or(-1),
            peer: self.reactor.peer_name(key),
            local: self.reactor.local_name(key),
            sent: self.reactor.count_sent(key),
        };
        What::Accepted {
            listener: self.theirs.get(&listener).copied().unwrap_or(listener),
            accepted: Box::new(accepted),
        }
    }

    fn waiting(&self) -> usize {
        self.reports.len() + self.of_newcomers.len()
    }

    /// Whether the loop should have the reports now, though there will be more.
    fn is_due(&mut self) -> bool {
        let waiting = self.waiting();
        if waiting == 0 {
            return false;
        }
        let now = clock::now();
        waiting >= REPORTS || now - *self.since.get_or_insert(now) >= AGE
    }

    fn hand_over(&mut self) {
        self.since = None;
        if self.waiting() == 0 {
            return;
        }
        if !self.reports.is_empty() {
            self.post.reports.post(&mut self.reports);
        }
        if !self.of_newcomers.is_empty() {
            self.post.newcomers.post(&mut self.of_newcomers);
        }
        self.post.home.wake();
    }

    /// Carries out what the loop has said since.
    fn obey(&mut self) {
        loop {
            while let Some(command) = self.commands.next() {
                self.carry_out(command);
            }
            if !self.commands.take(&self.post.commands) {
                return;
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Write { to, len, notify } => {
                let data = self.commands.bytes(len);
                if let Some(key) = find(&self.ours, to) {
                    if notify {
                        self.reactor.notify_flush(key, true);
                    }
                    // What can be wrong with it the loop has been told of, or will be.
                    let _ = self.reactor.write(key, data);
                }
            }
            Command::Release { of, drain } => {
                if let Some(key) = find(&self.ours, of) {
                    if !drain {
                        self.advance(key);
                    }
                    self.reactor.release(key, drain);
                }
            }
            Command::Close(of) => {
                if let Some(key) = find(&self.ours, of)
                    && self.reactor.close(key) == Close::Done
                {
                    self.report(key, What::Closed(Reason::Local));
                }
            }
            Command::Destroy(of) => {
                if let Some(key) = find(&self.ours, of) {
                    self.reactor.destroy(key);
                    self.forget(key);
                }
            }
            Command::Run(on, job) => {
                if let Some(key) = find(&self.ours, on) {
                    job(&mut self.reactor, key);
                }
            }
            Command::Listen {
                name,
                fd,
                read_size,
                paused,
            } => {
                // If the poller can not hold it, its notice says why.
                if let Ok(key) = self.reactor.share_listener(fd, read_size) {
                    self.call(key, name);
                    if paused {
                        self.reactor.pause(key);
                    }
                }
            }
            Command::Connect { name, connection } => match self.reactor.take_over(*connection) {
                Ok(key) => self.call(key, name),
                Err(error) => self.reports.push(Report {
                    from: Tag::Loop(name),
                    what: What::Closed(Reason::Poller(error.to_string())),
                }),
            },
            Command::Configure(config) => self.reactor.configure(*config),
        }
    }

    /// The loop has dealt with a read. What it is told of the connection next may overtake others' reports, as long as
    /// none of its own is before the loop.
    fn advance(&mut self, key: Key) {
        if let Some(newcomer) = self.newcomers.get_mut(&key)
            && newcomer.read_is_last
        {
            newcomer.rank = newcomer.reads;
            if newcomer.rank >= NEWCOMER_READS {
                self.newcomers.remove(&key);
            }
        }
    }

    fn call(&mut self, key: Key, name: Key) {
        self.ours.insert(name, key);
        self.theirs.insert(key, name);
    }

    fn forget(&mut self, key: Key) {
        self.newcomers.remove(&key);
        if let Some(name) = self.theirs.remove(&key) {
            self.ours.remove(&name);
        }
    }
}

fn tag(theirs: &HashMap<Key, Key>, key: Key) -> Tag {
    theirs
        .get(&key)
        .map_or(Tag::Thread(key), |name| Tag::Loop(*name))
}

fn find(ours: &HashMap<Key, Key>, tag: Tag) -> Option<Key> {
    match tag {
        Tag::Thread(key) => Some(key),
        Tag::Loop(name) => ours.get(&name).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waker::Waker;

    #[test]
    fn reports_are_handed_over_once_there_are_many_or_one_is_old() {
        let post = Arc::new(Post::new(Waker::open().unwrap()));
        let mut worker = Worker::new(Reactor::new(), Arc::clone(&post));
        let key = Key::from_bits(1);
        assert!(!worker.is_due(), "there is nothing");
        worker.report(key, What::Ended);
        assert!(!worker.is_due(), "it is new");
        std::thread::sleep(Duration::from_nanos(AGE));
        assert!(worker.is_due(), "it is old");
        worker.hand_over();
        assert!(!worker.is_due(), "it is gone");
        assert!(!post.reports.is_empty());

        worker.report(key, What::Ended);
        assert!(!worker.is_due(), "the age is that of the first one since");
        // The others are a newcomer's, and wait in a batch of their own.
        worker.newcomers.insert(key, Newcomer::default());
        for _ in 1..REPORTS {
            worker.report(key, What::Ended);
        }
        assert!(worker.is_due(), "there are many");
    }
}
