//! One thread: a reactor, its connections, and the calls of their handlers.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailbox::{Link, Mailbox, Request};
use super::{Conn, Contexts, Handler, Notice, Start, Status, Thread, tell};
use crate::command::Close;
use crate::error::{Error, Reason};
use crate::event::{Event, Level};
use crate::reactor::{Reactor, Step, read_buffer};
use crate::read_buffer::ReadBuffer;
use crate::registry::{Key, KeyMap};
use crate::timers::TimerId;

mod entry;
mod timers;

use entry::More;
pub(super) use entry::{Awaits, Entry};
use timers::{Owner, TimerHasher};

const HANDLER_PANICKED: &str = "a handler panicked, and its connection was closed";

pub(super) struct Worker {
    /// The number of the thread.
    pub(super) index: usize,
    pub(super) reactor: Reactor,
    pub(super) entries: KeyMap<Entry>,
    timers: HashMap<TimerId, Owner, BuildHasherDefault<TimerHasher>>,
    /// Ends of our own making, which the reactor does not tell of.
    over: VecDeque<(Key, Reason)>,
    mailbox: Arc<Mailbox>,
    notice: Notice,
    deadline: Option<Instant>,
    /// The deadline has passed: nothing begins any more.
    cut: bool,
    /// Takes turns with the reactor's read buffer: the handler has the one while the reactor, which it may use, has the other.
    data: ReadBuffer,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        reactor: Reactor,
        mailbox: Arc<Mailbox>,
        notice: Notice,
    ) -> Worker {
        Worker {
            index,
            reactor,
            entries: KeyMap::new(),
            timers: HashMap::default(),
            over: VecDeque::new(),
            mailbox,
            notice,
            deadline: None,
            cut: false,
            data: read_buffer(),
        }
    }

    /// Serves until the server ends.
    pub(super) fn run(mut self, on_start: Option<Start>) {
        if let Some(on_start) = on_start {
            self.run_task(|thread| on_start(thread));
        }
        let mut requests = Vec::new();
        loop {
            self.mailbox.take(&mut requests);
            for request in requests.drain(..) {
                self.carry_out(request);
            }
            self.settle();
            let left = self
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                Some(_) if self.is_done() => break,
                Some(Duration::ZERO) => {
                    self.end_all();
                    break;
                }
                _ => self.turn(left),
            }
        }
        self.mailbox.close();
    }

    /// Whether the server ends and nothing is left of it here.
    fn is_done(&self) -> bool {
        self.deadline.is_some() && self.entries.is_empty() && !self.reactor.is_lingering()
    }

    fn turn(&mut self, max_wait: Option<Duration>) {
        self.reactor.begin_turn(max_wait);
        // The last connection may end before the turn waits, and then nothing would end the wait.
        while !self.is_done() && self.step() {
            self.settle();
        }
    }

    /// One event, for the handler that it concerns.
    fn step(&mut self) -> bool {
        match self.reactor.next_step() {
            Some(Step::Data { key, len, .. }) => self.data(key, len),
            Some(Step::Event(event)) => self.event(event),
            // Sockets for datagrams are not here.
            Some(Step::Datagram { .. }) => {}
            None => return false,
        }
        true
    }

    fn data(&mut self, key: Key, len: usize) {
        let other = std::mem::take(&mut self.data);
        let data = self.reactor.exchange_read_buffer(other);
        self.call(key, |handler, conn| handler.on_incoming(conn, &data[..len]));
        self.data = data;
    }

    fn awaits(&self, key: Key) -> Option<Awaits> {
        self.entries.get(key)?.awaits()
    }

    fn event(&mut self, event: Event<'static>) {
        match event {
            Event::Connected { key } => {
                if self.awaits(key) == Some(Awaits::Header) {
                    self.begin(key);
                } else {
                    self.connected(key);
                }
            }
            Event::ClientHello {
                key, server_name, ..
            } => self.choose(key, server_name.as_deref()),
            Event::Secured { key } => self.secured(key),
            Event::Ended { key } => self.call(key, |handler, conn| handler.on_end(conn)),
            Event::ReadTimeout { key } => self.read_timeout(key),
            Event::Predrain { key } => self.call(key, |handler, conn| handler.on_predrain(conn)),
            Event::Drain { key } => self.call(key, |handler, conn| handler.on_drain(conn)),
            Event::Closed { key, reason, .. } => self.end(key, reason),
            Event::Timer { id } => self.timer(id),
            Event::Notice { level, text } => (self.notice)(level, &text),
            // Data is no event of its own; listeners, watches, signals and sockets for datagrams are not here.
            Event::Data { .. }
            | Event::Accepted { .. }
            | Event::Ready { .. }
            | Event::Signal { .. }
            | Event::Datagram { .. }
            | Event::DatagramError { .. } => {}
        }
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Adopt {
                fd,
                peer,
                visit,
                plan,
                place,
            } => {
                let Ok(handler) = catch_unwind(AssertUnwindSafe(|| (plan.factory)())) else {
                    let text = "a connection was refused: what makes its handler panicked";
                    return tell(&self.notice, Level::Error, text);
                };
                let fronts = &plan.fronts;
                match self
                    .reactor
                    .adopt_accepted(fd, peer, visit, plan.read_size, fronts)
                {
                    Ok(key) => {
                        let mut entry = Entry::new(handler, Some(place));
                        if let Some(contexts) = &plan.contexts {
                            entry.more().contexts = Some(contexts.clone());
                        }
                        let awaits_header = self.reactor.expects_header(key);
                        if awaits_header {
                            entry.set_awaits(Some(Awaits::Header));
                        }
                        self.entries.insert(key, entry);
                        if !awaits_header {
                            self.begin(key);
                        }
                    }
                    // The reactor has told.
                    Err(_) => drop(handler),
                }
            }
            Request::Write(key, data) => {
                // Where it fails the connection is over, and the handler hears of that.
                let _ = self.reactor.write(key, &data);
            }
            Request::Apply(key, command) => {
                // The same.
                let _ = self.reactor.apply(key, command);
            }
            Request::Close(key) => self.close(key),
            Request::Run(task) => self.run_task(task),
            Request::Probe(asked) => drop(asked),
            Request::Shutdown(deadline) => {
                self.deadline = Some(deadline);
                // Those that are still to begin are told then.
                for key in self.keys() {
                    match self.awaits(key) {
                        None => self.call(key, |handler, conn| handler.on_shutdown(conn, deadline)),
                        // Its client has not begun, and need not.
                        Some(Awaits::Header) => self.close(key),
                        Some(Awaits::Connection | Awaits::Tls) => {}
                    }
                }
            }
        }
    }

    /// The client itself speaks from here on.
    fn begin(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        match entry.take_contexts() {
            Some(contexts) => {
                entry.set_awaits(Some(Awaits::Tls));
                // Cannot fail on a connection that has just begun.
                let _ = self.serve_tls(key, &contexts);
            }
            None => self.connected(key),
        }
    }

    fn connected(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.set_awaits(None);
            entry.release();
        }
        self.call(key, |handler, conn| handler.on_connect(conn));
        if let Some(deadline) = self.deadline {
            self.call(key, |handler, conn| handler.on_shutdown(conn, deadline));
        }
    }

    pub(super) fn serve_tls(&mut self, key: Key, contexts: &Contexts) -> Result<(), Error> {
        self.reactor.start_tls(key, contexts.start())?;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.more().contexts = Some(contexts.clone());
        }
        Ok(())
    }

    fn choose(&mut self, key: Key, name: Option<&str>) {
        let contexts = self.entries.get_mut(key).and_then(Entry::take_contexts);
        // Fails only where the connection is over.
        let _ = match contexts {
            Some(contexts) => self.reactor.accept_tls(key, contexts.choose(name), None),
            None => self.reactor.refuse_tls(key),
        };
    }

    fn secured(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.take_contexts();
        let begins = entry.awaits() == Some(Awaits::Tls);
        self.call(key, |handler, conn| {
            handler.on_status(conn, Status::Secured)
        });
        if begins {
            self.connected(key);
        }
    }

    fn read_timeout(&mut self, key: Key) {
        let mut stays = true;
        self.call(key, |handler, conn| stays = handler.on_read_timeout(conn));
        if !stays {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.more().why = Some(Reason::ReadTimeout);
            }
            self.close(key);
        }
    }

    /// Calls the handler of `key`, if it is there.
    fn call(&mut self, key: Key, call: impl FnOnce(&mut dyn Handler, &mut Conn<'_>)) {
        let Some(mut handler) = self
            .entries
            .get_mut(key)
            .and_then(|entry| entry.handler.take())
        else {
            return;
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            call(&mut *handler, &mut Conn { worker: self, key });
        }));
        match outcome {
            // Entries leave between calls only.
            Ok(()) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.handler = Some(handler);
                }
            }
            Err(panic) => {
                self.panicked(HANDLER_PANICKED, &*panic);
                let _ = catch_unwind(AssertUnwindSafe(|| drop(handler)));
                self.destroy(key);
            }
        }
    }

    /// Runs what belongs to no connection.
    pub(super) fn run_task(&mut self, task: impl FnOnce(&mut Thread<'_>)) {
        let outcome = catch_unwind(AssertUnwindSafe(|| task(&mut Thread { worker: self })));
        if let Err(panic) = outcome {
            self.panicked("what ran on a thread panicked", &*panic);
        }
    }

    fn panicked(&self, what: &str, panic: &(dyn Any + Send)) {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let text = format!("{what}: {message}");
        tell(&self.notice, Level::Error, &text);
    }

    pub(super) fn close(&mut self, key: Key) {
        let more = self.entries.get(key).and_then(|entry| entry.more.as_ref());
        if let Some(link) = more.and_then(|more| more.link.as_ref()) {
            link.cut();
        }
        if self.reactor.close(key) == Close::Done {
            self.over.push_back((key, Reason::Local));
        }
    }

    pub(super) fn destroy(&mut self, key: Key) {
        if self.reactor.destroy(key) {
            self.over.push_back((key, Reason::Local));
        }
    }

    /// Tells of the ends of our own making.
    fn settle(&mut self) {
        while let Some((key, reason)) = self.over.pop_front() {
            self.end(key, reason);
        }
    }

    /// A connection is over.
    fn end(&mut self, key: Key, reason: Reason) {
        let Some(mut entry) = self.entries.remove(key) else {
            return;
        };
        let more = entry.more.take().map_or_else(More::default, |more| *more);
        if let Some(link) = &more.link {
            link.cut();
        }
        for timer in more.timers {
            self.timers.remove(&timer);
            self.reactor.cancel_timer(timer);
        }
        let reason = more.why.unwrap_or(reason);
        if let Some(mut handler) = entry.handler.take() {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                handler.on_disconnect(&mut Conn { worker: self, key }, &reason);
                drop(handler);
            }));
            if let Err(panic) = outcome {
                self.panicked(HANDLER_PANICKED, &*panic);
            }
        }
    }

    /// The deadline has passed: closes what is left, and ends what that did not end.
    fn end_all(&mut self) {
        self.cut = true;
        for key in self.keys() {
            self.close(key);
        }
        self.settle();
        self.turn(Some(Duration::ZERO));
        for key in self.keys() {
            self.destroy(key);
        }
        self.settle();
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries.keys().collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.cut
    }

    pub(super) fn link(&mut self, key: Key) -> Option<&Arc<Link>> {
        let mailbox = &self.mailbox;
        let entry = self.entries.get_mut(key)?;
        let link = entry
            .more()
            .link
            .get_or_insert_with(|| Arc::new(Link::new(key, Arc::clone(mailbox))));
        Some(link)
    }
}
