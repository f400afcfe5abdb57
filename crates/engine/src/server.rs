//! Servers on any number of threads: a [`Handler`] for each connection, above one [`Reactor`] a thread.
//!
//! The threads share nothing. One more, the caller of [`Server::run`], accepts, and deals connections out in turn; from then on
//! a connection stays on its thread, whose handlers are called one at a time and need no locks among themselves. What
//! comes from elsewhere comes through a [`Handle`].
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
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use acceptor::{Acceptor, Plan, Stop};
use handle::{Command, Mailbox};
use worker::Worker;

use crate::config::{Config, ReadSize};
use crate::event::Level;
use crate::listener::Listener;
use crate::poller;
use crate::reactor::Reactor;
use crate::{signals, socket};

mod acceptor;
mod conn;
mod contexts;
mod handle;
mod handler;
mod worker;

pub use conn::Conn;
pub use contexts::Contexts;
pub use handle::Handle;
pub use handler::{Handler, Status};
use socket::Name;

type Factory = Arc<dyn Fn() -> Box<dyn Handler> + Send + Sync>;
type Notice = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// More is a mistake rather than a machine.
const MOST_THREADS: usize = 1024;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such poller, or it can not work here.
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
    /// A thread ended by a panic that was no handler's.
    #[error("a thread of the server panicked")]
    Panicked,
}

/// What a server listens on: an address with a port (0 takes a free one), or a socket that listens already.
pub struct Listen {
    at: At,
    contexts: Option<Contexts>,
    read_size: ReadSize,
}

enum At {
    Address(String),
    Socket(OwnedFd),
}

impl Listen {
    /// An address and a port: `"127.0.0.1:7007"`, `"[::1]:7007"`, `"*:7007"` for every IPv4 address, `"[::]:7007"` for every
    /// IPv6 address and no IPv4 one, or a name, which is looked up.
    pub fn on(address: impl Into<String>) -> Listen {
        Listen::new(At::Address(address.into()))
    }

    /// A socket that listens already, TCP or UNIX: bound by somebody else, [inherited], or [handed over] by a
    /// predecessor.
    ///
    /// [inherited]: inherited
    /// [handed over]: ServerHandle::listeners
    pub fn adopt(socket: OwnedFd) -> Listen {
        Listen::new(At::Socket(socket))
    }

    fn new(at: At) -> Listen {
        Listen {
            at,
            contexts: None,
            read_size: ReadSize::All,
        }
    }

    /// TLS from the first byte.
    pub fn tls(self, contexts: &Contexts) -> Listen {
        let contexts = Some(contexts.clone());
        Listen { contexts, ..self }
    }

    /// How much [`Handler::on_incoming`] gets at a time; what is there, unless set.
    pub fn read_size(self, read_size: ReadSize) -> Listen {
        Listen { read_size, ..self }
    }
}

impl From<&str> for Listen {
    fn from(address: &str) -> Listen {
        Listen::on(address)
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen::on(address.to_string())
    }
}

/// What a [`Server`] is made of.
pub struct Builder {
    backend: String,
    threads: usize,
    config: Config,
    notice: Notice,
    listeners: Vec<(Listen, Factory)>,
}

impl Builder {
    /// The poller by name: see [`Reactor::set_backend`](crate::Reactor::set_backend). `"auto"` unless set.
    pub fn backend(self, name: impl Into<String>) -> Builder {
        let backend = name.into();
        Builder { backend, ..self }
    }

    /// How many threads serve connections. One unless set; [`std::thread::available_parallelism`] for all cores.
    pub fn threads(self, threads: usize) -> Builder {
        Builder { threads, ..self }
    }

    /// Limits and timeouts. [`Config::max_connections`] is counted for each listener over all threads.
    pub fn config(self, config: Config) -> Builder {
        Builder { config, ..self }
    }

    /// Where words for the log go, from any thread. Unless set, to standard error from [`Level::Warn`] on.
    pub fn on_notice(self, notice: impl Fn(Level, &str) + Send + Sync + 'static) -> Builder {
        let notice = Arc::new(notice);
        Builder { notice, ..self }
    }

    /// Listens; each connection gets a handler from `make`, which is called on its thread.
    pub fn listen<H: Handler>(
        mut self,
        on: impl Into<Listen>,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Builder {
        let factory: Factory = Arc::new(move || Box::new(make()));
        self.listeners.push((on.into(), factory));
        self
    }

    /// Opens the listening sockets. Nobody is served before [`Server::run`], but who connects meanwhile is.
    ///
    /// # Errors
    ///
    /// [`Error`] names what is wrong.
    pub fn build(self) -> Result<Server, Error> {
        poller::open(&self.backend)?;
        if !(1..=MOST_THREADS).contains(&self.threads) {
            return Err(Error::Threads(self.threads));
        }
        let mut listeners = Vec::new();
        let mut copies = Vec::new();
        let mut addresses = Vec::new();
        for (listen, factory) in self.listeners {
            let fd = listen.at.open(&self.config)?;
            addresses.push(socket::local_name(&fd).unwrap_or(Name::Unix(String::new())));
            copies.push(fd.try_clone().map_err(start)?);
            let plan = Plan {
                factory,
                contexts: listen.contexts,
                read_size: listen.read_size,
            };
            listeners.push((Listener::new(fd, listen.read_size), plan));
        }
        Ok(Server {
            backend: self.backend,
            threads: self.threads,
            config: self.config,
            notice: self.notice,
            listeners,
            handle: ServerHandle {
                shared: Arc::new(Shared {
                    stop: Arc::default(),
                    addresses,
                    copies: Mutex::new(copies),
                }),
            },
        })
    }
}

fn start(error: impl std::fmt::Display) -> Error {
    Error::Start(error.to_string())
}

impl At {
    fn open(self, config: &Config) -> Result<OwnedFd, Error> {
        match self {
            At::Address(at) => {
                let refused = |error| Error::Listen {
                    at: at.clone(),
                    error,
                };
                let (host, port) = at
                    .rsplit_once(':')
                    .and_then(|(host, port)| Some((host, port.parse().ok()?)))
                    .ok_or_else(|| refused(crate::Error::UnknownHost))?;
                let host = host
                    .strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'))
                    .unwrap_or(host);
                socket::listen(host, port, config).map_err(refused)
            }
            At::Socket(fd) => {
                use std::os::fd::AsRawFd;
                let adopted = socket::adopt(&fd).map_err(|errno| Error::Listen {
                    at: format!("descriptor {}", fd.as_raw_fd()),
                    error: errno.into(),
                });
                adopted?;
                socket::set_listener_options(&fd, config);
                Ok(fd)
            }
        }
    }
}

/// A server that is ready to [`run`](Server::run).
pub struct Server {
    backend: String,
    threads: usize,
    config: Config,
    notice: Notice,
    listeners: Vec<(Listener, Plan)>,
    handle: ServerHandle,
}

impl Server {
    /// One thread, the best poller there is, the default settings, no listeners.
    pub fn builder() -> Builder {
        Builder {
            backend: poller::AUTO.to_owned(),
            threads: 1,
            config: Config::default(),
            notice: Arc::new(|level, text| {
                if level >= Level::Warn {
                    eprintln!("{}: {text}", level.as_str());
                }
            }),
            listeners: Vec::new(),
        }
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
    pub fn run(self) -> Result<(), Error> {
        let mut reactor = Reactor::new();
        reactor.set_backend(&self.backend).map_err(start)?;
        reactor.configure(self.config.clone());
        let mut workers = Vec::new();
        let mut mailboxes = Vec::new();
        let (ready, readied) = mpsc::channel();
        for index in 0..self.threads {
            let mailbox = Arc::new(Mailbox::default());
            mailboxes.push(Arc::clone(&mailbox));
            let (backend, config) = (self.backend.clone(), self.config.clone());
            let (notice, tell) = (Arc::clone(&self.notice), ready.clone());
            let work = move || {
                // A reactor belongs to the thread that makes it.
                let begun = begin(&backend, config, &mailbox);
                let (reactor, answer) = match begun {
                    Ok(reactor) => (Some(reactor), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let _ = tell.send(answer);
                drop(tell);
                if let Some(reactor) = reactor {
                    Worker::new(reactor, mailbox, notice).run();
                }
            };
            let builder = thread::Builder::new().name(format!("trochee-{index}"));
            match signals::blocked(|| builder.spawn(work)) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    let _ = ready.send(Err(start(error)));
                    break;
                }
            }
        }
        drop(ready);
        let started: Result<(), Error> = readied.iter().collect();
        let acceptor = started.and_then(|()| {
            Acceptor::new(
                reactor,
                self.listeners,
                mailboxes.clone(),
                self.notice,
                Arc::clone(&self.handle.shared.stop),
            )
            .map_err(start)
        });
        let (outcome, deadline) = match acceptor {
            Ok(acceptor) => (Ok(()), acceptor.run()),
            Err(error) => (Err(error), Instant::now()),
        };
        self.handle.copies().clear();
        for mailbox in &mailboxes {
            // Closed where the thread has not begun.
            let _ = mailbox.post(Command::Shutdown(deadline));
        }
        let panicked = workers
            .into_iter()
            .map(thread::JoinHandle::join)
            .filter(Result::is_err)
            .count();
        outcome?;
        if panicked > 0 {
            return Err(Error::Panicked);
        }
        Ok(())
    }
}

/// What a thread needs before its first turn.
fn begin(backend: &str, config: Config, mailbox: &Mailbox) -> Result<Reactor, Error> {
    let mut reactor = Reactor::new();
    reactor.set_backend(backend).map_err(start)?;
    reactor.configure(config);
    mailbox.set_waker(reactor.waker().map_err(start)?);
    Ok(reactor)
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
}

impl ServerHandle {
    /// Ends the server: stops accepting, calls [`Handler::on_shutdown`] for every connection, and returns from
    /// [`Server::run`] when all have ended and their last bytes have arrived, after `within` the latest; what is left by then is closed, and lost where
    /// the system does not take it at once. The first call counts.
    pub fn shutdown(&self, within: Duration) {
        self.shared.stop.at(Instant::now() + within);
    }

    /// The addresses that are listened on, in the order of [`Builder::listen`].
    pub fn addresses(&self) -> &[Name] {
        &self.shared.addresses
    }

    /// Copies of the listening sockets, in the order of [`Builder::listen`], for a successor, which [adopts](Listen::adopt)
    /// them: in this process, or in another that got them over a UNIX socket or [inherits](inherited) them. Nobody who connects is turned away if this server is
    /// shut down after that one runs. Empty once this one has stopped accepting.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn listeners(&self) -> io::Result<Vec<OwnedFd>> {
        self.copies().iter().map(OwnedFd::try_clone).collect()
    }

    fn copies(&self) -> std::sync::MutexGuard<'_, Vec<OwnedFd>> {
        self.shared
            .copies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listening sockets that whoever started this process has opened for it, as service managers do: sd_listen_fds(3).
/// Whoever asks first gets them.
pub fn inherited() -> Vec<OwnedFd> {
    socket::inherited()
}
