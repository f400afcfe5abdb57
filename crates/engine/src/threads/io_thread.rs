//! What runs on a thread: a reactor of its own, whose consumer is the loop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::messages::{Accepted, Channel, Facts, Message, Report};
use crate::batch::{Batch, Reading};
use crate::clock;
use crate::command::{Close, Command};
use crate::connection::NEWCOMER_READS;
use crate::connection_info::EndInfo;
use crate::error::{Error, Reason};
use crate::event::{Chunk, Event};
use crate::reactor::{Reactor, Step};
use crate::registry::{Key, Table};

mod inline;

pub(super) use inline::Served;

/// This many reports are handed over at once while there is more to do. Fewer would wake the loop more often than it has work
/// for. More would let it wait for what is there already.
const REPORTS: usize = 64;

/// Reports are handed over when the first of them is this old, in nanoseconds, even if there are fewer.
const AGE: u64 = 500_000;

pub(super) struct IoThread {
    reactor: Reactor,
    channel: Arc<Channel>,
    messages: Reading<Message>,
    reports: Batch<Report>,
    of_newcomers: Batch<(u8, Report)>,
    /// When the first of the waiting reports was seen, in nanoseconds of the [clock](clock::now).
    since: Option<u64>,
    newcomers: Table<Newcomer>,
}

/// A connection that was accepted and is not established yet.
#[derive(Default)]
struct Newcomer {
    /// How far it had got, of what the loop had dealt with, when its reports last changed their rank.
    rank: u8,
    /// Nothing was reported of it since its last read.
    read_is_last: bool,
}

impl IoThread {
    pub(super) fn new(reactor: Reactor, channel: Arc<Channel>) -> IoThread {
        IoThread {
            reactor,
            channel,
            messages: Reading::new(),
            reports: Batch::new(),
            of_newcomers: Batch::new(),
            since: None,
            newcomers: Table::new(),
        }
    }

    /// Serves until the loop ends, or is to have the reactor. False: it ends, and everything is done.
    pub(super) fn run(&mut self) -> bool {
        let mut looked = false;
        self.reactor.look_at_clock();
        while !self.channel.stop.load(Ordering::Acquire) {
            self.read_messages();
            if self.channel.inline.load(Ordering::Acquire) && !self.is_busy() {
                self.hand_over();
                return true;
            }
            // To wake the loop is dear, to look whether there is more to tell of is not. The look may use up a wake, so what
            // that was about is seen to before the wait.
            let look = !looked && self.waiting() > 0 && self.channel.home.is_waiting();
            let told = self.turn(look.then_some(Duration::ZERO));
            looked = look && !told;
        }
        // What was said before the end still counts, and what can be sent without waiting is.
        self.read_messages();
        self.turn(Some(Duration::ZERO));
        self.hand_over();
        false
    }

    /// Whether the loop should not have the reactor: handshakes wait.
    fn is_busy(&self) -> bool {
        self.reactor.waiting_handshakes() > 0
    }

    /// Runs one turn, and says whether there was anything to report. A message that comes after the messages were read ends the
    /// wait of this turn, or keeps it from beginning.
    fn turn(&mut self, max_wait: Option<Duration>) -> bool {
        let waits = max_wait.is_none();
        let mut told = false;
        if waits {
            self.hand_over();
        }
        self.reactor.begin_turn(max_wait);
        while self.tell_next() {
            told = true;
            if self.is_due() || waits && self.reactor.is_before_wait() {
                self.hand_over();
            }
            self.read_messages();
        }
        told
    }

    /// Reports the next event of the turn. False: it is over.
    fn tell_next(&mut self) -> bool {
        let step = self.reactor.next_step();
        self.tell_of(step)
    }

    /// Reports what a step has brought. False: it was none.
    fn tell_of(&mut self, step: Option<Step>) -> bool {
        let event = match step {
            None => return false,
            Some(Step::Data { key, len, end }) => {
                self.data(key, len, end);
                return true;
            }
            // No such socket is here.
            Some(Step::Datagram { .. }) => return true,
            Some(Step::Event(event)) => event,
        };
        match event {
            Event::Accepted { listener, key } => self.accepted(listener, key),
            Event::Connected { key } => {
                let local = self.reactor.local_name(key);
                self.tell(key, Report::Connected { key, local });
            }
            Event::Secured { key } => {
                let facts = Facts::of(&self.reactor, key);
                self.tell(key, Report::Secured { key, facts });
            }
            Event::Closed { key, reason, info } => self.closed(key, reason, info),
            // The loop has its own; the rest it does not ask of a thread.
            Event::Predrain { .. }
            | Event::Ready { .. }
            | Event::Datagram { .. }
            | Event::DatagramError { .. }
            | Event::Signal { .. }
            | Event::Timer { .. } => {}
            event => self.tell(event.key().unwrap_or(Key::NONE), Report::Event(event)),
        }
        true
    }

    fn data(&mut self, key: Key, len: usize, end: Chunk) {
        let data = &self.reactor.read_buffer()[..len];
        let report = Report::Data { key, len, end };
        match self.newcomers.get_mut(key) {
            Some(newcomer) => {
                newcomer.read_is_last = true;
                let report = (newcomer.rank, report);
                self.of_newcomers.push_with(report, data);
            }
            None => self.reports.push_with(report, data),
        }
    }

    /// The loop hears of a read by itself.
    fn note_read(&mut self, key: Key) {
        if let Some(newcomer) = self.newcomers.get_mut(key) {
            newcomer.read_is_last = true;
        }
    }

    fn tell(&mut self, key: Key, report: Report) {
        match self.newcomers.get_mut(key) {
            Some(newcomer) => {
                newcomer.read_is_last = false;
                self.of_newcomers.push((newcomer.rank, report));
            }
            None => self.reports.push(report),
        }
    }

    fn accepted(&mut self, listener: Key, key: Key) {
        let Some(sent) = self.reactor.sent(key) else {
            return;
        };
        let accepted = Box::new(Accepted {
            fd: self.reactor.fd(key).unwrap_or(-1),
            peer: self.reactor.peer_name(key),
            local: self.reactor.local_name(key),
            proxied: self.reactor.proxied(key),
            sent,
        });
        self.newcomers.insert(key, Newcomer::default());
        let report = Report::Accepted {
            listener,
            key,
            accepted,
        };
        self.tell(key, report);
    }

    fn closed(&mut self, key: Key, reason: Reason, info: EndInfo) {
        self.tell(key, Report::Event(Event::Closed { key, reason, info }));
        self.newcomers.remove(key);
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

    /// Gives the loop what there is to tell, and wakes it.
    fn hand_over(&mut self) {
        if self.post() {
            let woke = self.channel.home.end_the_wait();
            self.reactor.count_batch(woke);
        }
    }

    /// Puts what there is to tell where the loop finds it. False: there is nothing.
    fn post(&mut self) -> bool {
        self.since = None;
        if self.waiting() == 0 {
            return false;
        }
        if !self.reports.is_empty() {
            self.channel.reports.post(&mut self.reports);
        }
        if !self.of_newcomers.is_empty() {
            self.channel.newcomers.post(&mut self.of_newcomers);
        }
        true
    }

    /// Carries out what the loop has said since.
    fn read_messages(&mut self) {
        loop {
            while let Some(message) = self.messages.next() {
                self.carry_out(message);
            }
            if !self.messages.take(&self.channel.messages) {
                return;
            }
        }
    }

    fn carry_out(&mut self, message: Message) {
        match message {
            Message::Write { key, len, notify } => {
                if notify {
                    self.reactor.notify_flush(key, true);
                }
                self.reactor.queue(key, self.messages.take_bytes(len));
            }
            Message::Release(key) => {
                self.advance(key);
                self.reactor.release(key);
            }
            Message::ReleaseDrain(key) => self.reactor.release_drain(key),
            Message::Apply(key, command) => self.apply(key, command),
            Message::TakeBack(key, bytes) => self.reactor.take_back(key, bytes),
            Message::Ask(key, question) => question(&mut self.reactor, key),
            Message::Listen {
                key,
                fd,
                read_size,
                paused,
            } => {
                // If the poller cannot hold it, its notice says why.
                if self.reactor.share_listener(key, fd, read_size).is_ok() && paused {
                    self.reactor.pause(key);
                }
            }
            Message::Connect(key, connection) => {
                if let Err(error) = self.reactor.take_over(key, connection) {
                    self.closed(key, Reason::Poller(error.to_string()), EndInfo::default());
                }
            }
            Message::Configure(config) => self.reactor.configure(*config),
        }
    }

    fn apply(&mut self, key: Key, command: Command) {
        let begins_tls = matches!(command, Command::StartTls(_));
        if matches!(command, Command::Destroy) {
            self.newcomers.remove(key);
        }
        if matches!(command, Command::Close) {
            // All may have been sent since the loop said so, and the loop waits for the end.
            let info = self.reactor.end_info(key).unwrap_or_default();
            if self.reactor.close(key) == Close::Done {
                self.closed(key, Reason::Local, info);
            }
            return;
        }
        match self.reactor.apply(key, command) {
            // What can be refused the loop has refused, but to a peer that has ended its side: there is no plaintext any more.
            Err(Error::Closed | Error::TlsActive | Error::Unsupported) if begins_tls => {
                self.reactor.end(key, Reason::PeerClosed);
            }
            _ => {}
        }
    }

    /// The loop has dealt with a read. What it is told of the connection next may overtake others' reports, as long as
    /// none of its own is before the loop.
    fn advance(&mut self, key: Key) {
        if let Some(newcomer) = self.newcomers.get_mut(key)
            && newcomer.read_is_last
            && let Some(progress) = self.reactor.progress(key)
        {
            newcomer.rank = progress;
            if newcomer.rank >= NEWCOMER_READS {
                self.newcomers.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waker::Waker;

    #[test]
    fn reports_are_handed_over_once_there_are_many_or_one_is_old() {
        let channel = Arc::new(Channel::new(Waker::open().unwrap(), false));
        let mut thread = IoThread::new(Reactor::new(), Arc::clone(&channel));
        let key = Key::from_bits(1);
        assert!(!thread.is_due(), "there is nothing");
        thread.tell(key, Report::Event(Event::Ended { key }));
        assert!(!thread.is_due(), "it is new");
        std::thread::sleep(Duration::from_nanos(AGE));
        assert!(thread.is_due(), "it is old");
        thread.hand_over();
        assert!(!thread.is_due(), "it is gone");
        assert!(!channel.reports.is_empty());

        thread.tell(key, Report::Event(Event::Ended { key }));
        assert!(!thread.is_due(), "the age is that of the first one since");
        // The others are a newcomer's, and wait in a batch of their own.
        thread.newcomers.insert(key, Newcomer::default());
        for _ in 1..REPORTS {
            thread.tell(key, Report::Event(Event::Ended { key }));
        }
        assert!(thread.is_due(), "there are many");
    }
}
