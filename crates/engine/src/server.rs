//! Servers on any number of threads: a [`Handler`] for each connection, above one [`Reactor`] a thread.
//!
//! The threads share nothing. One more, the caller of [`Server::run`], accepts, and deals connections out in turn; from
//! then on a connection stays on its thread, whose handlers are called one at a time and need no locks among
//! themselves. What comes from elsewhere comes through a [`Handle`].
//!
//! ```no_run
//! use trochee::{Conn, Handler, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
//!         // A peer that does not read its echo is disconnected once too much is queued.
//!         let _ = conn.write(data);
//!     }
//! }
//!
//! fn main() -> Result<(), trochee::server::Error> {
//!     Server::builder()
//!         .backend("epoll")
//!         .threads(4)
//!         .listen("127.0.0.1:7007", || Echo)
//!         .build()?
//!         .run()
//! }
//! ```

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{Builder as ThreadBuilder, JoinHandle, panicking};
use std::time::{Duration, Instant};

use acceptor::{Acceptor, Stop};
use mailbox::{Mailbox, Request};
use place::Plan;
use worker::Worker;

use crate::config::Config;
use crate::event::Level;
use crate::listener::Listener;
use crate::name::Name;
use crate::poller;
use crate::reactor::{Common, Reactor};
use crate::registry::{Key, LAST_THREAD};
use crate::signals;
use crate::spans;
use crate::sync::lock;

mod acceptor;
mod builder;
mod conn;
mod contexts;
mod handle;
mod handler;
mod log;
mod mailbox;
mod place;
mod snapshot;
mod thread;
mod worker;

pub use builder::{Builder, Listen};
pub use contexts::Contexts;
pub use handle::Handle;
pub use handler::{Handler, Status};
pub use log::LogWriter;
pub use snapshot::Snapshot;

type Factory = Arc<dyn Fn() -> Box<dyn Handler> + Send + Sync>;
type Start = Arc<dyn Fn(&mut Thread<'_>) + Send + Sync>;
type Notice = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Tells the log what no reactor has told.
fn tell(notice: &Notice, level: Level, text: &str) {
    spans::notice(level, text);
    notice(level, text);
}

/// What the thread numbers in keys leave room for: those of the acceptor begin with 0.
const MOST_THREADS: usize = LAST_THREAD as usize;

/// A hundred years: what is later than the clock can tell is as late.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such poller, or it cannot work here.
    #[error(transparent)]
    Backend(#[from] poller::OpenError),
    /// A number of threads that is none.
    #[error("{0} threads: it has to be from 1 to {MOST_THREADS}")]
    Threads(usize),
    /// What was to be listened on is not there, or taken.
    #[error("cannot listen on {at}: {error}")]
    Listen {
        /// The address, or the number of the descriptor.
        at: String,
        /// Why.
        error: crate::Error,
    },
    /// The system refused what a thread needs: a descriptor, or the thread itself.
    #[error("cannot start: {0}")]
    Start(String),
    /// An error of the engine.
    #[error(transparent)]
    Engine(#[from] crate::Error),
    /// A thread ended by a panic that was no handler's, and the others with it.
    #[error("a thread of the server panicked")]
    Panicked,
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Engine(error) | Error::Listen { error, .. } if error.errno().is_some() => {
                error.into()
            }
            error => io::Error::other(error),
        }
    }
}

fn start(error: impl std::fmt::Display) -> Error {
    Error::Start(error.to_string())
}

/// A server that is ready to [`run`](Server::run).
pub struct Server {
    backend: String,
    threads: usize,
    config: Config,
    notice: Option<Notice>,
    on_start: Option<Start>,
    listeners: Vec<(Listener, Plan)>,
    handle: ServerHandle,
}

impl Server {
    /// One thread, the best poller there is, the default settings, no listeners.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What tells of the server and ends it, from any thread.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves until [`ServerHandle::shutdown`]. The threads that serve connections block all signals, the caller's does not.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] where the system refuses a thread or a descriptor, [`Error::Panicked`].
    pub fn run(mut self) -> Result<(), Error> {
        let mut reactor = Reactor::new();
        reactor.set_backend(&self.backend).map_err(start)?;
        reactor.configure(self.config.clone());
        let notice = match self.notice.take() {
            Some(notice) => notice,
            None => builder::standard_error()?,
        };
        let mut workers = Vec::new();
        let mut mailboxes = Vec::new();
        let (ready, readied) = mpsc::channel();
        for index in 0..self.threads {
            let number = u8::try_from(index + 1).map_err(start)?;
            let on_start = self.on_start.clone();
            let mailbox = Arc::new(Mailbox::default());
            mailboxes.push(Arc::clone(&mailbox));
            let (backend, config) = (self.backend.clone(), self.config.clone());
            let (notice, tell) = (Arc::clone(&notice), ready.clone());
            let stop = Arc::clone(&self.handle.shared.stop);
            let common = reactor.common();
            let work = move || {
                // A reactor belongs to the thread that makes it.
                let begun = begin(number, &backend, config, &mailbox, common);
                let (reactor, answer) = match begun {
                    Ok(reactor) => (Some(reactor), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let _ = tell.send(answer);
                drop(tell);
                if let Some(reactor) = reactor {
                    let _fuse = Fuse(stop);
                    Worker::new(index, reactor, mailbox, notice).run(on_start);
                }
            };
            let builder = ThreadBuilder::new().name(format!("trochee-{index}"));
            match signals::without_signals(|| builder.spawn(work)) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    let _ = ready.send(Err(start(error)));
                    break;
                }
            }
        }
        drop(ready);
        *lock(&self.handle.shared.mailboxes) = mailboxes.clone();
        let started: Result<(), Error> = readied.iter().collect();
        let acceptor = started.and_then(|()| {
            Acceptor::new(
                reactor,
                std::mem::take(&mut self.listeners),
                mailboxes.clone(),
                notice,
                Arc::clone(&self.handle.shared.stop),
            )
            .map_err(start)
        });
        let (outcome, deadline) = match acceptor {
            Ok(acceptor) => (Ok(()), acceptor.run()),
            Err(error) => (Err(error), Instant::now()),
        };
        lock(&self.handle.shared.copies).clear();
        for mailbox in &mailboxes {
            // Closed where the thread has not begun.
            let _ = mailbox.post(Request::Shutdown(deadline));
        }
        let panicked = workers
            .into_iter()
            .map(JoinHandle::join)
            .filter(Result::is_err)
            .count();
        outcome?;
        if panicked > 0 {
            return Err(Error::Panicked);
        }
        Ok(())
    }
}

impl Drop for Server {
    /// A handle may outlive it, and must not keep sockets listening that nobody serves.
    fn drop(&mut self) {
        lock(&self.handle.shared.copies).clear();
    }
}

/// Ends the server with a thread that panics: what is dealt out to that one nobody would serve.
struct Fuse(Arc<Stop>);

impl Drop for Fuse {
    fn drop(&mut self) {
        if panicking() {
            self.0.at(Instant::now());
        }
    }
}

/// What a thread needs before its first turn.
fn begin(
    number: u8,
    backend: &str,
    config: Config,
    mailbox: &Mailbox,
    common: Common,
) -> Result<Reactor, Error> {
    let mut reactor = Reactor::numbered(number);
    reactor.set_backend(backend).map_err(start)?;
    reactor.join(common);
    reactor.configure(config);
    mailbox.set_waker(reactor.waker().map_err(start)?);
    Ok(reactor)
}

/// A connection, as its [`Handler`] sees it while it is called.
///
/// What is done to a connection that is over, or on its way there, is [`Error::Closed`](crate::Error::Closed) or `false`, and harmless.
pub struct Conn<'a> {
    worker: &'a mut Worker,
    key: Key,
}

/// One thread of a [`Server`]: what [`Builder::on_start`],
/// [`ServerHandle::run_on`] and its timers get, and where [`Conn::thread`] leads to.
///
/// What runs on a thread must not block: everybody else there waits. A closure that panics is told to the log, and the thread goes on.
pub struct Thread<'a> {
    worker: &'a mut Worker,
}

/// A [`Server`], from any thread, running or not.
#[derive(Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

struct Shared {
    stop: Arc<Stop>,
    addresses: Vec<Name>,
    /// The listening sockets, while they are served.
    copies: Mutex<Vec<OwnedFd>>,
    /// Of the threads that serve connections, once there are any.
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
}

/// What [`ServerHandle::probe`] has asked.
#[derive(Debug)]
pub struct Probe(Arc<()>);

impl Probe {
    /// Whether all threads have answered by now.
    pub fn is_answered(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl ServerHandle {
    /// Ends the server: stops accepting, calls [`Handler::on_shutdown`] for every connection, and returns from
    /// [`Server::run`] when all have ended and their last bytes have arrived, after `within` the latest. What is left by
    /// then is closed, and lost where the system does not take it at once. [`Duration::MAX`] waits for as long as it takes.
    /// The first call counts.
    pub fn shutdown(&self, within: Duration) {
        let now = Instant::now();
        let deadline = now.checked_add(within).unwrap_or(now + NEVER);
        self.shared.stop.at(deadline);
    }

    /// How many threads serve connections; none before [`Server::run`].
    pub fn threads(&self) -> usize {
        lock(&self.shared.mailboxes).len()
    }

    /// Runs `task` on the thread with this number, soon: where connections can be begun that no other one asked for, timers be set,
    /// and what handlers share be changed without a lock. What is there only while a thread begins is better made by
    /// [`Builder::on_start`].
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) if there is no such thread, or not yet, or not any more;
    /// [`Error::MailboxFull`](crate::Error::MailboxFull) as for a [`Handle`].
    pub fn run_on(
        &self,
        thread: usize,
        task: impl FnOnce(&mut Thread<'_>) + Send + 'static,
    ) -> Result<(), crate::Error> {
        let mailbox = lock(&self.shared.mailboxes).get(thread).cloned();
        let mailbox = mailbox.ok_or(crate::Error::Closed)?;
        mailbox.post(Request::Run(Box::new(task)))
    }

    /// The addresses that are listened on, in the order of [`Builder::listen`].
    pub fn addresses(&self) -> &[Name] {
        &self.shared.addresses
    }

    /// Copies of the listening sockets, in the order of [`Builder::listen`], for a successor, which
    /// [adopts](Listen::adopt) them: in this process, or in another that got them over a UNIX socket or
    /// [inherits](inherited) them. Nobody who connects is turned away if this server is shut down after that one runs.
    /// Empty once this one has stopped accepting, or was dropped.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn listeners(&self) -> io::Result<Vec<OwnedFd>> {
        lock(&self.shared.copies)
            .iter()
            .map(OwnedFd::try_clone)
            .collect()
    }

    /// Asks all threads of the server for a sign of life, those that serve and the one that accepts: for a watchdog, which
    /// looks later whether the [`Probe`] is answered. A thread answers between two calls of handlers; before
    /// [`Server::run`] nobody does, and threads that the end of the server has ended count as if they did.
    pub fn probe(&self) -> Probe {
        // Whoever lets go of it has answered.
        let asked = Arc::new(());
        for mailbox in lock(&self.shared.mailboxes).iter() {
            // Closed where the thread has ended.
            let _ = mailbox.post(Request::Probe(Arc::clone(&asked)));
        }
        self.shared.stop.probe(Arc::clone(&asked));
        Probe(asked)
    }
}

/// The listening sockets that whoever started this process has opened for it, as service managers do: sd_listen_fds(3).
/// Whoever asks first gets them.
pub fn inherited() -> Vec<OwnedFd> {
    crate::socket::inherited()
}
