//! Prosody's network backends in Rust: one reactor above interchangeable pollers.
//!
//! ```text
//! kernel ─▶ Poller ─▶ Reactor ─▶ Connection ─▶ Event   ─▶ consumer
//! kernel ◀─ flush  ◀─ Reactor ◀─ Connection ◀─ command ◀─ consumer
//! ```
//!
//! Every readiness system of the kernel hides behind a [`Poller`]: [`epoll(7)`], [`poll(2)`], [`select(2)`],
//! libevent, chosen at run time by name. Every consumer (a table of Lua listeners, a Rust program) sits above one [`Reactor`], which calls
//! nobody: [`Reactor::next_event`] hands out an [`Event`], the consumer answers with commands (each is a [`Command`], or a method
//! that makes one), and the next turn carries them out. No borrow, lock or stack frame of the engine is alive while the consumer's code runs, so that code may
//! close, write, re-enter, fail or leave the process as it likes.
//!
//! # The turn
//!
//! 1. Flush: [`Event::Predrain`] to those who asked, one vectored write per connection that has something queued, then
//!    [`Event::Drain`]. A write is tried without asking the poller first. Of a large one, [`Reactor::write`] has sent already what the
//!    system took at once.
//! 2. Tell the poller what changed: write interest only after the system took no more.
//! 3. Wait.
//! 4. Read the clock, once.
//! 5. I/O: [`Event::Accepted`], [`Event::Connected`], [`Event::Data`], [`Event::Ready`], [`Event::Signal`], one share per
//!    source in turn and a bounded number of bytes per connection, established connections before newcomers. Reads happen here, when the consumer asks for the next
//!    event: what it paused a moment ago is not read. After every few events step 1 sends what is queued by then.
//! 6. Due timers: [`Event::Timer`], [`Event::ReadTimeout`]. Timers that are set meanwhile wait for the next turn.
//! 7. Flush once more, as in step 1: what was written in this turn leaves before it ends, and nobody has to begin another.
//!
//! [`Event::Closed`] and [`Event::Notice`] come between any two of these. A [`Key`] is never used twice, so nothing stale
//! reaches a newcomer.
//!
//! # TLS
//!
//! [`Reactor::start_tls`] turns a connection into an encrypted one, at once or in the middle (STARTTLS). From then on the
//! same events and commands speak of plaintext; [`tls`] has the rest.
//!
//! # Threads
//!
//! A [`Reactor`] is one thread's and knows no other. An [`EventLoop`] has its interface, and I/O threads with reactors of their
//! own behind it; a Rust server on many threads is a [`Server`].
//!
//! # Servers
//!
//! [`Server`] runs a reactor on each of any number of threads, with a [`Handler`] for each connection and [`Handle`]s to
//! reach them from anywhere: [`server`] has an example.
//!
//! # Features
//!
//! All but `tracing` are on by default.
//!
//! - `tls`: TLS over rustls and aws-lc, which takes a C compiler. Without it the types that events and commands speak of are there,
//!   and no [`tls::Context`] can be made.
//! - `legacy-keys`: private keys that are encrypted in older ways: OpenSSL's traditional format, Triple-DES, PKCS#12's schemes.
//!   Brings `tls`.
//! - `tracing`: what operators see, as events and spans of the crate of that name. Each connection is a span; that it was accepted,
//!   its handshake, and its end with the reason, the bytes and the time are events in it at debug, and so is each refusal. What the log
//!   is told, which is throttled, are events at its level. All have the target `trochee`.
//! - `libevent`: the poller of that name. The library is opened at run time, so it need not be there to build.
//!
//! # Example
//!
//! An echo server on a bare reactor:
//!
//! ```no_run
//! use trochee::{Event, ReadSize, Reactor};
//!
//! # fn main() -> Result<(), trochee::Error> {
//! let mut reactor = Reactor::new();
//! reactor.set_backend("epoll")?;
//! reactor.listen("127.0.0.1", 7007, ReadSize::All)?;
//! loop {
//!     reactor.begin_turn(None);
//!     while let Some(event) = reactor.next_event() {
//!         if let Event::Data { key, data, .. } = event {
//!             let data = data.to_vec();
//!             // A peer that does not read its echo is disconnected once too much is queued.
//!             let _ = reactor.write(key, &data);
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! [`epoll(7)`]: https://man7.org/linux/man-pages/man7/epoll.7.html
//! [`poll(2)`]: https://man7.org/linux/man-pages/man2/poll.2.html
//! [`select(2)`]: https://man7.org/linux/man-pages/man2/select.2.html

#![cfg_attr(docsrs, feature(doc_cfg))]

mod addresses;
mod append;
mod batch;
#[cfg(test)]
mod batch_tests;
mod buffer;
mod chunks;
mod clock;
mod command;
mod config;
mod connection;
mod connection_info;
mod descriptors;
mod error;
mod event;
mod event_loop;
mod fair;
mod fork;
mod gauges;
mod histogram;
mod listener;
mod listener_info;
pub mod memory;
mod meter;
mod name;
mod network;
pub mod poller;
pub mod proxy_protocol;
mod ranked;
mod reactor;
mod read_buffer;
mod registered;
mod registry;
pub mod server;
mod signals;
mod socket;
mod spans;
mod spares;
mod stage;
mod stats;
mod sync;
mod tallies;
mod threads;
mod timers;
pub mod tls;
mod waker;

pub use command::{Close, Command};
pub use config::{
    Config, KeepAlive, PortOptions, ProxyProtocol, ReadSize, SocketKind, SocketOption,
};
pub use connection_info::{ConnectionInfo, EndInfo, TcpInfo};
pub use error::{Error, Reason};
pub use event::{Chunk, Event, Level};
pub use event_loop::EventLoop;
pub use fork::generation as fork_generation;
pub use gauges::Gauges;
pub use histogram::{Histogram, Unit};
pub use listener_info::ListenerInfo;
pub use meter::{AddressInfo, Meter, Metered, Overview};
pub use name::Name;
pub use network::{Network, Networks, NotANetwork};
pub use poller::{Interest, Poller};
pub use reactor::Reactor;
pub use registry::Key;
/// The number of an error of the system, in [`Error::Os`] and [`Reason::Os`].
pub use rustix::io::Errno;
pub use server::{Conn, Handle, Handler, Server};
pub use signals::without_signals;
pub use socket::{ListenAtError, SocketFile, listen_at_path};
pub use stage::{Authentication, Stage, StageCounts};
pub use stats::Stats;
pub use tallies::{Tallies, Tally};
pub use timers::TimerId;
pub use waker::Waker;

/// The Rust of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
