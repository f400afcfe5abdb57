//! What a server is made of, and what it listens on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use super::place::Plan;
use super::{
    Contexts, Error, Factory, Handler, LogWriter, MOST_THREADS, Notice, Server, ServerHandle,
    Shared, Start, Thread, start,
};
use crate::config::{Config, ReadSize};
use crate::event::Level;
use crate::listener::Listener;
use crate::name::Name;
use crate::network::Network;
use crate::poller;
use crate::socket;

/// What a server listens on: an address with a port (0 takes a free one), or a socket that listens already.
pub struct Listen {
    at: At,
    contexts: Option<Contexts>,
    read_size: ReadSize,
    fronts: Vec<Network>,
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
    /// [inherited]: super::inherited
    /// [handed over]: ServerHandle::listeners
    pub fn adopt(socket: OwnedFd) -> Listen {
        Listen::new(At::Socket(socket))
    }

    fn new(at: At) -> Listen {
        Listen {
            at,
            contexts: None,
            read_size: ReadSize::All,
            fronts: Vec::new(),
        }
    }

    /// TLS from the first byte.
    pub fn tls(self, contexts: &Contexts) -> Listen {
        let contexts = Some(contexts.clone());
        Listen { contexts, ..self }
    }

    /// Connections from these networks, and all of a UNIX socket, begin with a header of the [PROXY protocol], before TLS as well;
    /// [`Handler::on_connect`] comes after it. [`Conn::proxied`] tells such connections from those of others, which are served as
    /// ever. Unless set, [`Config::proxy_protocol`] counts, on TCP ports.
    ///
    /// [PROXY protocol]: crate::proxy_protocol
    /// [`Conn::proxied`]: crate::Conn::proxied
    pub fn proxy_protocol(self, fronts: Vec<Network>) -> Listen {
        Listen { fronts, ..self }
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
    /// Standard error unless set.
    notice: Option<Notice>,
    on_start: Option<Start>,
    listeners: Vec<(Listen, Factory)>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            backend: poller::AUTO.to_owned(),
            threads: 1,
            config: Config::default(),
            notice: None,
            on_start: None,
            listeners: Vec::new(),
        }
    }
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

    /// Limits and timeouts. [`Config::max_connections`] is counted over all threads.
    pub fn config(self, config: Config) -> Builder {
        Builder { config, ..self }
    }

    /// Where words for the log go, from any thread, whose connections wait for it: see [`LogWriter`](super::LogWriter).
    /// Unless set, such a writer takes them to standard error from [`Level::Warn`] on. A panic in it ends [`Server::run`].
    ///
    /// The panic of a handler is told here, too, but before that to the [panic hook](std::panic::set_hook) of the program;
    /// the one of the standard library writes to standard error, and waits until somebody reads that.
    pub fn on_notice(self, notice: impl Fn(Level, &str) + Send + Sync + 'static) -> Builder {
        let notice: Option<Notice> = Some(Arc::new(notice));
        Builder { notice, ..self }
    }

    /// Called on each thread before it serves anybody: for timers, for connections that nobody asked for, and for what the
    /// handlers of that thread share.
    pub fn on_start(self, start: impl Fn(&mut Thread<'_>) + Send + Sync + 'static) -> Builder {
        let on_start: Option<Start> = Some(Arc::new(start));
        Builder { on_start, ..self }
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
        // Their clients are counted, by the address that the header tells.
        let fronts = self
            .listeners
            .iter()
            .flat_map(|(listen, _)| listen.fronts.iter().copied());
        let config = Config {
            exempt_addresses: self.config.exempt_addresses.clone().with(&fronts.collect()),
            ..self.config.clone()
        };
        let mut listeners = Vec::new();
        let mut copies = Vec::new();
        let mut addresses = Vec::new();
        for (listen, factory) in self.listeners {
            let fd = listen.at.open(&self.config)?;
            addresses.push(socket::local_name(&fd).unwrap_or(Name::unnamed()));
            copies.push(fd.try_clone().map_err(start)?);
            let plan = Plan {
                factory,
                contexts: listen.contexts,
                read_size: listen.read_size,
                fronts: listen.fronts,
                places: None,
                accepted: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                open: AtomicU64::new(0),
            };
            listeners.push((Listener::new(Arc::new(fd), listen.read_size), plan));
        }
        Ok(Server {
            backend: self.backend,
            threads: self.threads,
            config,
            notice: self.notice,
            on_start: self.on_start,
            listeners,
            handle: ServerHandle {
                shared: Arc::new(Shared {
                    stop: Arc::default(),
                    addresses,
                    copies: Mutex::new(copies),
                    mailboxes: Mutex::default(),
                }),
            },
        })
    }
}

/// Where words for the log go unless the program says.
///
/// # Errors
///
/// [`Error::Start`]
pub(super) fn standard_error() -> Result<Notice, Error> {
    let log = LogWriter::new(io::stderr()).map_err(start)?;
    Ok(Arc::new(move |level, text| {
        if level >= Level::Warn {
            log.line(format!("{}: {text}", level.as_str()));
        }
    }))
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
                socket::adopt_listener(&fd).map_err(|error| Error::Listen {
                    at: format!("descriptor {}", fd.as_raw_fd()),
                    error,
                })?;
                socket::set_listener_options(&fd, config);
                Ok(fd)
            }
        }
    }
}
