//! Connections that live on an I/O thread: what the loop's reactor knows of them, and what it says for them.
//!
//! See [`pool`](crate::pool) for the two sides. Here are the loop's: commands become letters, reports become events.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::{Close, Reactor, Source, Stage, Step};
use crate::config::{ReadSize, SocketKind};
use crate::error::{Error, Reason};
use crate::event::{Chunk, Event, Level};
use crate::listener::Listener;
use crate::pool::{Accepted, Command, Facts, Pool, Report, Tag, What};
use crate::registry::Key;
use crate::socket::{self, Name};
use crate::tls::{Context, Mode, Start};

/// A connection of an I/O thread.
pub(super) struct Remote {
    pub(super) thread: usize,
    pub(super) tag: Tag,
    /// Its number, for the log; the thread owns it.
    pub(super) fd: RawFd,
    pub(super) peer: Option<Name>,
    pub(super) local: Option<Name>,
    pub(super) state: State,
    /// Bytes that were written, and how many of them the thread has handed to the system.
    written: u64,
    sent: Arc<AtomicU64>,
    pub(super) paused: bool,
    pub(super) writes_paused: bool,
    /// Our side is to end when all is sent: nothing more is written.
    pub(super) finished: bool,
    /// The consumer wants to hear of the next flush.
    pub(super) notify: bool,
    /// And the thread has not been told so.
    untold: bool,
    pub(super) in_flush: bool,
    pub(super) tls: Option<Box<RemoteTls>>,
    /// What came while it was paused.
    held: Option<Box<Held>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    Closing,
}

pub(super) struct RemoteTls {
    pub(super) context: Context,
    /// From the end of the handshake on.
    pub(super) facts: Option<Box<Facts>>,
    /// The client has said what it wants, and waits for the answer.
    pub(super) asked: bool,
}

/// At most one read, and the ends behind it.
#[derive(Default)]
struct Held {
    data: Option<(Vec<u8>, Chunk)>,
    ended: bool,
    closed: Option<Reason>,
}

/// What the thread waits for until the consumer is done with the event that it was given last.
#[derive(Clone, Copy)]
pub(super) struct Owed {
    thread: usize,
    tag: Tag,
    drain: bool,
}

impl Remote {
    fn new(thread: usize, tag: Tag, sent: Arc<AtomicU64>) -> Remote {
        Remote {
            thread,
            tag,
            fd: -1,
            peer: None,
            local: None,
            state: State::Open,
            written: 0,
            sent,
            paused: false,
            writes_paused: false,
            finished: false,
            notify: false,
            untold: false,
            in_flush: false,
            tls: None,
            held: None,
        }
    }

    /// Bytes that are queued and not sent.
    pub(super) fn pending(&self) -> usize {
        let sent = self.sent.load(Ordering::Acquire);
        usize::try_from(self.written.saturating_sub(sent)).unwrap_or(usize::MAX)
    }

    pub(super) fn is_secured(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.facts.is_some())
    }
}

/// The threads.
impl Reactor {
    /// Starts the I/O threads, if there are to be any, and lends them the listeners.
    pub(super) fn ensure_pool(&mut self) {
        let count = self.config.io_threads;
        if self.pool.is_some() || count == 0 {
            return;
        }
        let backend = self.backend;
        let started = self
            .waker()
            .and_then(|home| Pool::start(count, backend, &self.config, &home));
        match started {
            Ok(pool) => self.pool = Some(pool),
            Err(error) => {
                // The choice stays made: a server that changes its ways whenever memory is short helps nobody.
                self.config.io_threads = 0;
                let text = format!("serving without I/O threads: {error}");
                self.notice(Level::Error, text);
                return;
            }
        }
        for key in self.sources.keys() {
            self.lend(key);
        }
    }

    /// Has the I/O threads accept for a TCP listener.
    pub(super) fn lend(&mut self, key: Key) {
        let Some(threads) = self.pool.as_ref().map(Pool::len) else {
            return;
        };
        if let Some(Source::Listener(listener)) = self.sources.get_mut(key)
            && matches!(socket::local_name(&listener.fd), Some(Name::Inet(_)))
        {
            listener.lent = true;
            self.want(key);
            for thread in 0..threads {
                self.lend_to(thread, key);
            }
        }
    }

    fn lend_to(&mut self, thread: usize, key: Key) {
        if let Some(Source::Listener(listener)) = self.sources.get(key)
            && listener.lent
            && let Some(pool) = &mut self.pool
        {
            let command = Command::Listen {
                name: key,
                fd: Arc::clone(&listener.fd),
                read_size: listener.read_size,
                paused: listener.paused,
            };
            pool.tell(thread, command);
        }
    }

    /// Says something about a listener to every thread that accepts for it.
    pub(super) fn tell_lent(
        &mut self,
        key: Key,
        f: impl Fn(&mut Reactor, Key) + Clone + Send + 'static,
    ) {
        if let Some(pool) = &mut self.pool {
            for thread in 0..pool.len() {
                pool.tell(thread, Command::Run(Tag::Loop(key), Box::new(f.clone())));
            }
        }
    }

    /// Has the threads accept no more for a listener that is about to be closed.
    pub(super) fn take_home(&mut self, key: Key, listener: &Listener) {
        let Some(pool) = &mut self.pool else {
            return;
        };
        if !listener.adopted {
            // The port is free at once, whenever the threads hear of it.
            socket::stop_listening(&listener.fd);
        }
        for thread in 0..pool.len() {
            if listener.adopted {
                // Whoever comes now is for whoever uses the socket next.
                pool.ask(thread, Tag::Loop(key), Reactor::pause);
            }
            pool.tell(thread, Command::Destroy(Tag::Loop(key)));
        }
    }

    /// In a child of fork(2), where the threads are not: lets go of the connections that were theirs.
    pub(super) fn abandon_pool(&mut self) {
        let Some(pool) = self.pool.take() else {
            return;
        };
        pool.abandon();
        for key in self.sources.keys() {
            match self.sources.get_mut(key) {
                Some(Source::Remote(_)) => {
                    self.sources.remove(key);
                    self.over.push_back((key, Reason::PeerClosed));
                }
                Some(Source::Listener(listener)) => listener.lent = false,
                _ => {}
            }
        }
    }

    /// A thread has failed, which only a mistake in this program does: its connections are lost, the server is not.
    fn replace_thread(&mut self, thread: usize) {
        self.notice(
            Level::Error,
            "an I/O thread failed, please report it with the text on standard error; its connections are lost".into(),
        );
        for key in self.sources.keys() {
            if let Some(Source::Remote(remote)) = self.sources.get(key)
                && remote.thread == thread
            {
                self.sources.remove(key);
                self.over.push_back((key, Reason::Os(Errno::PIPE)));
            }
        }
        self.owed = None;
        let backend = self.backend;
        let home = self.waker();
        let Some(pool) = &mut self.pool else {
            return;
        };
        match home.and_then(|home| pool.restart(thread, backend, &self.config, &home)) {
            Ok(()) => {
                for key in self.sources.keys() {
                    self.lend_to(thread, key);
                }
            }
            Err(error) => self.notice(Level::Error, format!("and could not be replaced: {error}")),
        }
    }

    /// Says to the threads what there is to say.
    pub(super) fn post_commands(&mut self) {
        self.settle();
        if let Some(pool) = &mut self.pool {
            pool.post();
        }
    }

    /// The consumer asks for the next event, so it is done with the last one.
    pub(super) fn settle(&mut self) {
        if let Some(Owed { thread, tag, drain }) = self.owed.take() {
            self.tell(thread, Command::Release { of: tag, drain });
        }
    }

    fn tell(&mut self, thread: usize, command: Command) {
        if let Some(pool) = &mut self.pool {
            pool.tell(thread, command);
        }
    }

    fn remote(&mut self, key: Key) -> Option<&mut Remote> {
        match self.sources.get_mut(key)? {
            Source::Remote(remote) => Some(remote),
            _ => None,
        }
    }

    /// Has the thread of `key` do something with it, after whatever it was told before.
    pub(super) fn tell_remote(
        &mut self,
        key: Key,
        job: impl FnOnce(&mut Reactor, Key) + Send + 'static,
    ) {
        if let Some(remote) = self.remote(key) {
            let (thread, tag) = (remote.thread, remote.tag);
            self.tell(thread, Command::Run(tag, Box::new(job)));
        }
    }

    /// Has the thread of `key` answer a question. `None` if the connection is over there.
    pub(super) fn ask_remote<R: Send + 'static>(
        &mut self,
        key: Key,
        question: impl FnOnce(&mut Reactor, Key) -> R + Send + 'static,
    ) -> Option<R> {
        let remote = self.remote(key)?;
        let (thread, tag) = (remote.thread, remote.tag);
        self.pool.as_mut()?.ask(thread, tag, question)
    }
}

/// Commands, for connections of I/O threads.
impl Reactor {
    /// Takes a socket that connects to a thread.
    pub(super) fn connect_remote(
        &mut self,
        fd: std::os::fd::OwnedFd,
        peer: std::net::SocketAddr,
        read_size: ReadSize,
    ) -> Key {
        use std::os::fd::AsRawFd;
        let thread = self.pool.as_mut().map_or(0, Pool::choose);
        let sent = Arc::new(AtomicU64::new(0));
        // Its tag is its key, which there is not before it is in its place.
        let nobody = Tag::Loop(Key::from_bits(u64::MAX));
        let mut remote = Remote::new(thread, nobody, Arc::clone(&sent));
        remote.state = State::Connecting;
        remote.fd = fd.as_raw_fd();
        remote.peer = Some(Name::Inet(peer));
        let key = self.sources.insert(Source::Remote(Box::new(remote)));
        if let Some(remote) = self.remote(key) {
            remote.tag = Tag::Loop(key);
        }
        let name = key;
        self.tell(
            thread,
            Command::Connect {
                name,
                fd,
                read_size,
                sent,
            },
        );
        key
    }

    pub(super) fn write_remote(&mut self, key: Key, data: &[u8]) -> Result<usize, Error> {
        let limit = self.config.max_send_buffer_size;
        let (Some(Source::Remote(remote)), Some(pool)) =
            (self.sources.get_mut(key), &mut self.pool)
        else {
            return Err(Error::Closed);
        };
        if remote.state == State::Closing || remote.finished {
            return Err(Error::Closed);
        }
        let pending = remote.pending();
        if pending > 0 && pending + data.len() > limit {
            if !remote.writes_paused {
                self.destroy_remote(key);
                self.over.push_back((key, Reason::SendBufferFull));
            }
            return Err(Error::SendBufferFull);
        }
        remote.written += data.len() as u64;
        let notify = std::mem::take(&mut remote.untold);
        pool.write(remote.thread, remote.tag, data, notify);
        self.queue_flush(key);
        Ok(data.len())
    }

    pub(super) fn notify_remote(&mut self, key: Key, on: bool) {
        if let Some(remote) = self.remote(key) {
            (remote.notify, remote.untold) = (on, on);
            if on {
                self.queue_flush(key);
            } else {
                self.tell_remote(key, |reactor, key| reactor.notify_flush(key, false));
            }
        }
    }

    /// The loop's part of a flush: the thread sends what it gets with the next post.
    pub(super) fn flush_remote(&mut self, key: Key) {
        if let Some(remote) = self.remote(key) {
            (remote.in_flush, remote.notify) = (false, false);
            if std::mem::take(&mut remote.untold) {
                self.tell_remote(key, |reactor, key| reactor.notify_flush(key, true));
            }
        }
    }

    /// As [`close`](Reactor::close). What is queued, the thread sends.
    pub(super) fn close_remote(&mut self, key: Key) -> Close {
        let Some(remote) = self.remote(key) else {
            return Close::Gone;
        };
        if remote.state == State::Closing {
            return Close::Flushing;
        }
        let nothing_left =
            remote.pending() == 0 || remote.state == State::Connecting || !remote.is_secured();
        remote.state = State::Closing;
        // Nothing is read any more.
        remote.held = None;
        let (thread, tag) = (remote.thread, remote.tag);
        self.tell(thread, Command::Close(tag));
        if nothing_left {
            self.sources.remove(key);
            return Close::Done;
        }
        Close::Flushing
    }

    pub(super) fn destroy_remote(&mut self, key: Key) {
        if let Some(remote) = self.remote(key) {
            let (thread, tag) = (remote.thread, remote.tag);
            self.tell(thread, Command::Destroy(tag));
            self.sources.remove(key);
        }
    }

    pub(super) fn pause_remote(&mut self, key: Key, paused: bool) {
        let Some(remote) = self.remote(key) else {
            return;
        };
        if std::mem::replace(&mut remote.paused, paused) == paused {
            return;
        }
        if !paused && remote.held.is_some() {
            self.unheld.push_back(key);
        }
        self.tell_remote(key, move |reactor, key| {
            if paused {
                reactor.pause(key);
            } else {
                reactor.resume(key);
            }
        });
    }

    pub(super) fn start_tls_remote(&mut self, key: Key, start: Start) -> Result<(), Error> {
        let Some(remote) = self.remote(key) else {
            return Err(Error::Closed);
        };
        if remote.tls.is_some() {
            return Err(Error::TlsActive);
        }
        if remote.state == State::Closing {
            return Err(Error::Closed);
        }
        remote.tls = Some(Box::new(RemoteTls {
            context: start.context.clone(),
            facts: None,
            asked: false,
        }));
        let held = remote.held.as_mut().and_then(|held| held.data.take());
        self.tell_remote(key, move |reactor, key| {
            // What could be refused was checked above; what has happened there meanwhile is being reported.
            let _ = reactor.start_tls(key, start);
        });
        if let Some((bytes, _)) = held {
            self.give_back(key, bytes);
        }
        Ok(())
    }

    /// Bytes that were read and are not the consumer's: they belong to the TLS session that has begun, as they would if they
    /// were still with the system.
    fn give_back(&mut self, key: Key, bytes: Vec<u8>) {
        let Some(remote) = self.remote(key) else {
            return;
        };
        let (thread, of) = (remote.thread, remote.tag);
        self.tell_remote(key, move |reactor, key| reactor.take_back(key, bytes));
        self.tell(thread, Command::Release { of, drain: false });
    }

    fn asked_remote(&mut self, key: Key) -> Result<&mut RemoteTls, Error> {
        match self
            .remote(key)
            .and_then(|remote| remote.tls.as_deref_mut())
        {
            Some(tls) if tls.asked => Ok(tls),
            _ => Err(Error::Unsupported),
        }
    }

    pub(super) fn accept_tls_remote(
        &mut self,
        key: Key,
        context: Context,
        alpn: Option<Vec<Vec<u8>>>,
    ) -> Result<(), Error> {
        if context.mode() != Mode::Server {
            return Err(Error::Unsupported);
        }
        let tls = self.asked_remote(key)?;
        (tls.asked, tls.context) = (false, context.clone());
        self.tell_remote(key, move |reactor, key| {
            let _ = reactor.accept_tls(key, context, alpn);
        });
        Ok(())
    }

    pub(super) fn refuse_tls_remote(&mut self, key: Key) -> Result<(), Error> {
        self.asked_remote(key)?.asked = false;
        self.tell_remote(key, |reactor, key| {
            let _ = reactor.refuse_tls(key);
        });
        Ok(())
    }
}

/// Events, from the reports of the threads.
impl Reactor {
    /// Whether the threads have something to tell that can be told.
    pub(super) fn has_reports(&self) -> bool {
        !self.unheld.is_empty() || self.pool.as_ref().is_some_and(Pool::has_reports)
    }

    /// One report, if there is one, as a share of step 5.
    pub(super) fn next_remote(&mut self) -> Option<Step> {
        if let Some(key) = self.unheld.pop_front() {
            return self.deliver_held(key);
        }
        let (thread, Report { from, what }) = self.pool.as_mut()?.next_report()?;
        match what {
            What::Accepted { listener, accepted } => {
                return self.accepted_remote(thread, from, listener, *accepted);
            }
            What::Data { len, end } => return self.data_remote(thread, from, len, end),
            What::Notice(level, text) => self.notice(level, text.into()),
            What::Died => self.replace_thread(thread),
            what => {
                let key = self.pool.as_ref()?.key(thread, from)?;
                return self.told(key, what).map(Step::Event);
            }
        }
        None
    }

    fn accepted_remote(
        &mut self,
        thread: usize,
        tag: Tag,
        listener: Key,
        accepted: Accepted,
    ) -> Option<Step> {
        let Accepted {
            fd,
            peer,
            local,
            sent,
        } = accepted;
        if self.listener(listener).is_none() {
            // It was closed meanwhile.
            self.tell(thread, Command::Destroy(tag));
            return None;
        }
        let mut remote = Remote::new(thread, tag, sent);
        (remote.fd, remote.peer, remote.local) = (fd, peer, local);
        let key = self.sources.insert(Source::Remote(Box::new(remote)));
        if let (Tag::Thread(theirs), Some(pool)) = (tag, &mut self.pool) {
            pool.name(thread, theirs, key);
        }
        self.owe(thread, tag, false);
        Some(Step::Event(Event::Accepted { listener, key }))
    }

    fn data_remote(&mut self, thread: usize, tag: Tag, len: usize, end: Chunk) -> Option<Step> {
        let pool = self.pool.as_mut()?;
        // Also where nobody wants them: the next report's are behind them.
        let bytes = pool.bytes(thread, len);
        let len = bytes.len();
        self.read_buffer[..len].copy_from_slice(bytes);
        let key = pool.key(thread, tag)?;
        let remote = match self.sources.get_mut(key) {
            Some(Source::Remote(remote)) if remote.state != State::Closing => remote,
            _ => return None,
        };
        if !remote.is_secured() {
            // The thread had read it before it heard that TLS was to begin; to the peer, it may have begun by then.
            let bytes = self.read_buffer[..len].to_vec();
            self.give_back(key, bytes);
            return None;
        }
        if remote.paused || remote.held.is_some() {
            remote.held.get_or_insert_default().data =
                Some((self.read_buffer[..len].to_vec(), end));
            return None;
        }
        self.owe(thread, tag, false);
        Some(Step::Data { key, len, end })
    }

    /// What came while the connection was paused, now that it is not.
    fn deliver_held(&mut self, key: Key) -> Option<Step> {
        let remote = self.remote(key).filter(|remote| !remote.paused)?;
        let (thread, tag) = (remote.thread, remote.tag);
        let mut held = remote.held.take()?;
        if let Some((data, end)) = held.data.take() {
            if held.ended || held.closed.is_some() {
                remote.held = Some(held);
                self.unheld.push_back(key);
            }
            self.owe(thread, tag, false);
            let len = data.len();
            self.read_buffer[..len].copy_from_slice(&data);
            return Some(Step::Data { key, len, end });
        }
        if std::mem::take(&mut held.ended) {
            if held.closed.is_some() {
                remote.held = Some(held);
                self.unheld.push_back(key);
            }
            return Some(Step::Event(Event::Ended { key }));
        }
        let reason = held.closed?;
        self.sources.remove(key);
        Some(Step::Event(Event::Closed { key, reason }))
    }

    fn told(&mut self, key: Key, what: What) -> Option<Event<'static>> {
        let remote = self.remote(key)?;
        let closing = remote.state == State::Closing;
        match what {
            What::Closed(reason) => {
                if let Some(held) = &mut remote.held {
                    held.closed = Some(reason);
                    return None;
                }
                self.sources.remove(key);
                Some(Event::Closed { key, reason })
            }
            _ if closing => None,
            What::Ended => match &mut remote.held {
                Some(held) => {
                    held.ended = true;
                    None
                }
                None => Some(Event::Ended { key }),
            },
            What::Connected { local } => {
                (remote.state, remote.local) = (State::Open, local);
                // Whoever has nothing queued is told as well that there is room; the thread knows.
                remote.notify = true;
                self.queue_flush(key);
                Some(Event::Connected { key })
            }
            What::ClientHello(asked) => {
                let (server_name, alpn) = *asked;
                remote.tls.as_mut()?.asked = true;
                Some(Event::ClientHello {
                    key,
                    server_name,
                    alpn,
                })
            }
            What::Secured(facts) => {
                remote.tls.as_mut()?.facts = facts;
                Some(Event::Secured { key })
            }
            What::ReadTimeout => (!remote.paused).then_some(Event::ReadTimeout { key }),
            What::Drain => {
                let (thread, tag) = (remote.thread, remote.tag);
                let drained = remote.pending() == 0;
                self.owe(thread, tag, true);
                if !drained {
                    // More was written meanwhile; the thread tells again.
                    self.notify_remote(key, true);
                    return None;
                }
                self.remote(key)?.notify = false;
                Some(Event::Drain { key })
            }
            _ => None,
        }
    }

    fn owe(&mut self, thread: usize, tag: Tag, drain: bool) {
        self.settle();
        self.owed = Some(Owed { thread, tag, drain });
    }
}

/// What a thread's reactor does for a consumer that answers later.
impl Reactor {
    /// Has every connection wait for [`release`](Reactor::release) after what it has told.
    pub(crate) fn answer_later(&mut self) {
        self.answers_later = true;
    }

    /// Whether this turn may still wait, and so what it has told must not be kept back.
    pub(crate) fn is_before_wait(&self) -> bool {
        !self.io_began && matches!(self.stage, Stage::Predrain(_) | Stage::Flush)
    }

    /// The consumer has dealt with what it was told last: of data, or of a queue that was empty.
    pub(crate) fn release(&mut self, key: Key, drain: bool) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if drain {
            connection.drains_untold = connection.drains_untold.saturating_sub(1);
        } else {
            connection.awaiting = false;
            connection.detached = false;
            connection.silenced = false;
        }
        let goes_on = connection.readable || connection.holds_input();
        if connection.state == crate::connection::State::Draining {
            self.queue_flush(key);
        }
        if !drain {
            self.want(key);
            if goes_on {
                self.backlog.push(key);
            }
        }
    }

    /// What was read too early: the handshake begins with it.
    fn take_back(&mut self, key: Key, bytes: Vec<u8>) {
        if let Some(connection) = self.connection(key) {
            connection.taken_back = Some(bytes);
        }
    }

    /// A counter of the bytes that the system takes from this connection, from now on.
    pub(crate) fn count_sent(&mut self, key: Key) -> Arc<AtomicU64> {
        let sent = Arc::new(AtomicU64::new(0));
        if let Some(connection) = self.connection(key) {
            connection.sent = Some(Arc::clone(&sent));
        }
        sent
    }

    /// Accepts on a socket that other reactors accept on, too.
    pub(crate) fn share_listener(
        &mut self,
        fd: Arc<std::os::fd::OwnedFd>,
        read_size: ReadSize,
    ) -> Result<Key, Error> {
        self.add_listener(fd, read_size)
    }

    /// Takes over a TCP socket that is connecting.
    pub(crate) fn take_over(
        &mut self,
        fd: std::os::fd::OwnedFd,
        read_size: ReadSize,
        sent: Arc<AtomicU64>,
    ) -> Result<Key, Error> {
        let key = self.add_connecting(fd, SocketKind::Stream, read_size)?;
        if let Some(connection) = self.connection(key) {
            connection.sent = Some(sent);
        }
        Ok(key)
    }

    /// What there is to know of a connection whose handshake is complete.
    pub(crate) fn facts(&self, key: Key) -> Option<Box<Facts>> {
        let session = match self.sources.get(key)? {
            Source::Connection(connection) => connection.tls.as_deref()?,
            _ => return None,
        };
        let channel_binding = session
            .export(CHANNEL_BINDING, Some(b""), 32)
            .and_then(|bytes| bytes.try_into().ok());
        Some(Box::new(Facts {
            info: session.info()?,
            channel_binding,
        }))
    }
}

/// RFC 9266, section 4.2.
pub(super) const CHANNEL_BINDING: &[u8] = b"EXPORTER-Channel-Binding";
