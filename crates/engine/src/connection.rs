//! One stream or datagram socket: its states, what it waits for, and its read and write paths.
//!
//! ```text
//!             ┌────────────┐ established ┌──────┐ close(), all sent
//! connect ──▶ │ Connecting │ ──────────▶ │ Open │ ─────────────────────────▶ over
//! adopt       └────────────┘             └──────┘                             ▲
//!                   │ error,    accept ──▶ │  │ close(), bytes queued         │ all sent,
//!                   │ timeout              │  ▼                               │ or error,
//!                   ▼                      │ Closing ─────────────────────────┤ or timeout
//!                  over                    │ the peer's FIN                   │
//!                                          └──────▶ Draining ─────────────────┘
//! ```
//!
//! Where the two sides of a stream end one by one, the peer's FIN leads to `HalfClosed`, in which all goes on but reading, until our
//! side has ended as well.
//!
//! With TLS, [`tls`] takes the place of the plain read and write paths.
//!
//! A connection knows nothing of pollers, keys and events: the reactor asks it what it wants and tells it what happened.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::addresses::Visit;
use crate::buffer::OutQueue;
use crate::clock;
use crate::config::{Config, ReadSize, SocketKind};
use crate::connection_info::EndInfo;
use crate::poller::Interest;
use crate::registered::Registered;
use crate::registry::Key;
use crate::socket;
use crate::spans::ConnectionSpan;
use crate::spares::Spares;
use crate::stage::Authentication;
use crate::timers::TimerId;
use crate::tls::session::Session;

mod credit;
mod deadlines;
mod memory;
mod newcomer;
mod peer;
mod proxy;
mod rare;
mod rate;
mod room;
mod straight;
mod through;
mod tls;

pub(crate) use credit::Credit;
pub(crate) use deadlines::{Deadline, Timeout};
pub(crate) use newcomer::NEWCOMER_READS;
use peer::Peer;
pub(crate) use proxy::HeaderRead;
use rare::Rare;
use rate::RateLimit;
use room::ReadRoom;
pub(crate) use room::{LARGEST_READ, READ_BUFFER};
pub(crate) use through::LARGE;

/// See the drawing at the top of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Open,
    /// The peer has ended its side, and the consumer was told: the sides end one by one.
    HalfClosed,
    /// The peer has ended its side. What is queued, an answer written in that very callback included, is still sent.
    Draining,
    /// We closed. What is queued is still sent; what arrives is not read any more.
    Closing,
}

/// Our side of a stream whose sides end one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnSide {
    Open,
    /// Ends when the queue is empty.
    Finishing,
    Finished,
}

/// Vectored writes per flush; more than the socket's buffer usually holds.
pub(crate) const WRITES: usize = 4;

pub(crate) struct Connection {
    pub(crate) fd: OwnedFd,
    pub(crate) kind: SocketKind,
    pub(crate) state: State,
    /// The listener that accepted it.
    pub(crate) listener: Option<Key>,
    peer: Peer,
    /// Whether the other end has begun it.
    pub(crate) is_accepted: bool,
    /// Whether it has one of the places of [`Config::max_connections`].
    pub(crate) has_place: bool,
    /// Where it is counted by its address, until it is over.
    pub(crate) visit: Option<Visit>,
    pub(crate) out: OutQueue,
    /// From `start_tls` on. What is in `out` then is encrypted on its way.
    pub(crate) tls: Option<Box<Session>>,
    read_room: ReadRoom,
    rare: Option<Box<Rare>>,

    pub(crate) paused: bool,
    pub(crate) writes_paused: bool,
    /// The system takes no more bytes until the poller says so.
    pub(crate) blocked: bool,
    /// The consumer wants to hear of the next flush.
    pub(crate) notify: bool,
    /// The sides of the stream end one by one: see [`Reactor::set_half_open`](crate::Reactor::set_half_open).
    pub(crate) half_open: bool,
    /// A close ends it with a reset: see [`Reactor::set_abortive`](crate::Reactor::set_abortive).
    pub(crate) abortive: bool,
    pub(crate) own_side: OwnSide,

    /// Whether it has to say who it is, and has.
    pub(crate) authentication: Authentication,
    /// Others wait for its place until it has.
    pub(crate) hurried: bool,
    /// When it was accepted, or begun.
    pub(crate) began: u64,
    /// Since when it is a newcomer, and how much it had delivered by then.
    awaited_since: u64,
    awaited_from: u64,
    /// Reads that it has delivered, and their bytes; over TLS those of the plaintext.
    pub(crate) reads: u32,
    pub(crate) received: u64,
    /// Bytes that the system has taken for the peer; over TLS those of the records.
    pub(crate) sent: u64,
    /// How many bytes it holds, as the account of all connections has it.
    counted: usize,

    /// Where the consumer answers later.
    pub(crate) credit: Option<Box<Credit>>,

    pub(crate) registered: Registered,
    pub(crate) span: ConnectionSpan,
    /// The peer is gone but nobody reads yet: out of the poller, which would report it again and again.
    pub(crate) detached: bool,
    /// Ready according to the poller, and not acted on yet.
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) hung_up: bool,
    /// It waits for a flush.
    pub(crate) in_flush: bool,
    /// Bytes that it may still read in this turn.
    pub(crate) budget: u32,

    /// When the peer last sent something, or reading began.
    pub(crate) read_since: u64,
    /// When the system last began to take no more, or connecting began.
    pub(crate) write_since: u64,
    /// One timer serves all deadlines of the connection. It may fire too early, and is then set anew: traffic that
    /// pushes a deadline back touches no queue.
    pub(crate) timer: Option<TimerId>,
    /// A deadline was put off, because the connection was ready when it passed; and it was not served since.
    pub(crate) overdue: bool,
}

/// What a read attempt found.
pub(crate) enum Read {
    /// So many bytes; whether the read was as large as the read size; whether the peer's FIN is known to follow.
    Data {
        len: usize,
        full: bool,
        last: bool,
    },
    /// Nothing now.
    Nothing,
    /// The peer has ended its side.
    End,
    /// The same without close_notify, where the sides end one by one: more may have been cut off.
    Truncated,
    Failed(Errno),
    /// The TLS session broke, for this reason.
    Broken(String),
}

/// What a flush attempt achieved.
pub(crate) enum Flush {
    /// The queue is empty.
    Done,
    /// The system takes no more.
    Blocked,
    /// The system might take more, but others wait too.
    More,
    /// Nothing more can be sent before the TLS handshake is complete, or writes are resumed.
    Held,
    Failed(Errno),
}

impl Connection {
    pub(crate) fn new(
        fd: OwnedFd,
        kind: SocketKind,
        state: State,
        read_size: ReadSize,
        now: u64,
    ) -> Connection {
        Connection {
            fd,
            kind,
            state,
            listener: None,
            peer: Peer::default(),
            is_accepted: false,
            has_place: false,
            visit: None,
            out: OutQueue::default(),
            tls: None,
            read_room: ReadRoom::new(read_size),
            rare: None,
            paused: false,
            writes_paused: false,
            blocked: false,
            notify: false,
            // One that we begin is no newcomer.
            authentication: if state == State::Connecting {
                Authentication::Done
            } else {
                Authentication::NotAsked
            },
            hurried: false,
            began: now,
            awaited_since: now,
            awaited_from: 0,
            reads: 0,
            received: 0,
            sent: 0,
            counted: 0,
            credit: None,
            half_open: false,
            abortive: false,
            own_side: OwnSide::Open,
            registered: Registered::default(),
            span: ConnectionSpan::default(),
            detached: false,
            readable: false,
            writable: false,
            hung_up: false,
            in_flush: false,
            budget: 0,
            read_since: now,
            write_since: now,
            timer: None,
            overdue: false,
        }
    }

    /// What it has come to.
    pub(crate) fn end_info(&self, now: u64) -> EndInfo {
        EndInfo {
            age: Duration::from_nanos(now.saturating_sub(self.began)),
            received: self.received,
            sent: self.sent,
            in_handshake: self.tls.as_ref().is_some_and(|tls| !tls.is_secured()),
        }
    }

    /// Whether its handshake goes on when it is our turn.
    pub(crate) fn waits_for_answer(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|session| session.waits_for_answer())
    }

    /// Whether reading is on: neither the consumer, nor the rate limit, nor the state holds it.
    pub(crate) fn wants_read(&self) -> bool {
        match &self.tls {
            // A handshake is nobody's data: what holds that does not hold it.
            Some(session) if !session.is_secured() => {
                self.state == State::Open && session.wants_handshake()
            }
            _ => self.state == State::Open && !self.paused && self.throttled_until().is_none(),
        }
    }

    /// Whether its peer gets a reset instead of an end.
    pub(crate) fn is_aborting(&self) -> bool {
        self.abortive && self.state == State::Closing
    }

    /// What the poller should be told; `None` for nothing at all.
    pub(crate) fn wanted(&self) -> Option<Interest> {
        let interest = Interest {
            readable: self.wants_read() && !self.is_silenced(),
            writable: self.state == State::Connecting || (self.blocked && self.may_flush()),
        };
        if self.detached && interest == Interest::NONE {
            None
        } else {
            Some(interest)
        }
    }

    /// A close sends what is queued even where writes are paused: nobody is left to resume them.
    pub(crate) fn may_flush(&self) -> bool {
        match self.state {
            State::Connecting => false,
            State::Open | State::HalfClosed => !self.writes_paused || self.has_records(),
            State::Draining | State::Closing => true,
        }
    }

    /// Reads once into `buffer`, no more than read size, limits and this turn's budget allow.
    pub(crate) fn read(&mut self, buffer: &mut [u8], config: &Config, now: u64) -> Read {
        if self.tls.is_some() {
            self.read_tls(buffer, config, now)
        } else {
            self.read_socket(buffer, config, now)
        }
    }

    /// The same without TLS.
    #[inline(always)] // what is known of the connection spares checks
    pub(crate) fn read_socket(&mut self, buffer: &mut [u8], config: &Config, now: u64) -> Read {
        let wanted = self.wanted_room();
        let room = if self.kind == SocketKind::Datagram {
            // A shorter read would cut the datagram.
            LARGEST_READ
        } else {
            self.room(wanted, config, now)
        };
        let len = match socket::receive(&self.fd, &mut buffer[..room]) {
            Ok(0) if self.kind == SocketKind::Stream => return Read::End,
            Ok(0) => return Read::Nothing,
            Ok(len) => len,
            Err(Errno::AGAIN) => return Read::Nothing,
            Err(errno) => return Read::Failed(errno),
        };
        self.read_since = now;
        self.spend_budget(len);
        if let Some(limit) = self.limit_mut() {
            limit.spend(len, now);
        }
        self.adapt_room(len, wanted);
        let drained = len < room;
        // Where the sides end one by one, the end is an event of its own.
        let last = drained
            && self.hung_up
            && !self.half_open
            && self.kind == SocketKind::Stream
            && matches!(socket::peek(&self.fd), Ok(0));
        // Datagrams come one a read, however short they are.
        self.readable = !drained || self.kind == SocketKind::Datagram || (self.hung_up && !last);
        Read::Data {
            len,
            full: len == wanted,
            last,
        }
    }

    /// Sends the front of the queue.
    pub(crate) fn flush(&mut self, spares: &mut Spares) -> Flush {
        let flush = match self.kind {
            SocketKind::Stream if self.tls.is_some() => self.flush_tls(spares),
            SocketKind::Stream => self.flush_stream(spares),
            SocketKind::Datagram => self.flush_datagrams(),
        };
        self.note_flush();
        flush
    }

    /// Notes what a flush has changed.
    pub(crate) fn note_flush(&mut self) {
        self.count_sent();
        self.watch_progress();
    }

    /// Sends the front of the queue of a stream without TLS.
    #[inline(always)] // nearly always it is one write
    pub(crate) fn flush_stream(&mut self, spares: &mut Spares) -> Flush {
        for _ in 0..WRITES {
            if self.out.is_empty() {
                return Flush::Done;
            }
            match socket::send_queue(&self.fd, &self.out) {
                Ok(count) => {
                    self.sent += count as u64;
                    self.out.consume_into(count, spares);
                }
                Err(Errno::AGAIN) => return self.block(),
                Err(errno) => return Flush::Failed(errno),
            }
        }
        if self.out.is_empty() {
            Flush::Done
        } else {
            Flush::More
        }
    }

    fn flush_datagrams(&mut self) -> Flush {
        while let Some(datagram) = self.out.front() {
            match socket::send(&self.fd, datagram) {
                Ok(count) => {
                    self.sent += count as u64;
                    self.out.pop_datagram();
                }
                Err(Errno::AGAIN) => return self.block(),
                Err(errno) => {
                    self.out.pop_datagram();
                    return Flush::Failed(errno);
                }
            }
        }
        Flush::Done
    }

    /// The peer has its whole timeout from this moment on; the turn's clock was read before its consumer worked.
    pub(crate) fn block(&mut self) -> Flush {
        self.blocked = true;
        self.write_since = clock::now();
        Flush::Blocked
    }

    pub(crate) fn set_rate_limit(&mut self, bytes_per_second: f64, now: u64) {
        let limit = (bytes_per_second.is_finite() && bytes_per_second > 0.0)
            .then(|| RateLimit::new(bytes_per_second, now));
        if limit.is_some() || self.rare.is_some() {
            self.rare_mut().limit = limit;
        }
    }

    /// The rate limit holds reading until then.
    pub(crate) fn throttled_until(&self) -> Option<u64> {
        self.rare()?.limit.as_ref()?.holds_until
    }

    /// Ends the hold of the rate limit if it is over.
    pub(crate) fn unthrottle(&mut self, now: u64) -> bool {
        let Some(limit) = self.limit_mut() else {
            return false;
        };
        let over = limit.holds_until.take_if(|until| *until <= now).is_some();
        if over {
            self.read_since = now;
        }
        over
    }
}
