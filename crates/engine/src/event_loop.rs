//! One reactor and its I/O threads behind the interface of a reactor.

use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::command::{Close, Command, command_methods};
use crate::config::{Config, ReadSize, SocketKind, SocketOption};
use crate::connection::Connection;
use crate::connection_info::{ConnectionInfo, EndInfo, TcpInfo};
use crate::error::Error;
use crate::event::Event;
use crate::gauges::Gauges;
use crate::listener_info::ListenerInfo;
use crate::name::Name;
use crate::poller::Interest;
use crate::proxy_protocol::Proxied;
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::stage::StageCounts;
use crate::stats::Stats;
use crate::tallies::Tallies;
use crate::threads::Threads;
use crate::timers::TimerId;
use crate::tls::{Context, Info, VerifyError};
use crate::waker::Waker;

/// A [`Reactor`] that has its TCP connections served by [`Config::io_threads`] others, each on a thread of its own.
///
/// Every method does what that of [`Reactor`] does, and the consumer cannot tell where a connection is served, except by the
/// time that something takes. Without threads it is a reactor and nothing more. Timers, watches, signals, UDP and UNIX sockets
/// stay on the thread of the loop.
///
/// With epoll, the loop serves the connections itself while there is little to do, and the threads do when there is more. With other pollers
/// they always do.
///
/// The threads start with the first turn. Options of sockets, certificates and keying material other than `tls-exporter` are
/// asked of the thread of the connection, and waited for.
pub struct EventLoop {
    local: Reactor,
    threads: Threads,
}

impl Default for EventLoop {
    fn default() -> EventLoop {
        EventLoop::new()
    }
}

/// Gives an event loop methods of a reactor: those of its own reactor `always`, or `by_key` those of the threads, too.
macro_rules! forward {
    ($(#[$about:meta])* $whose:ident: $($methods:tt)*) => {
        $(#[$about])*
        impl EventLoop {
            forward!(@ $whose $($methods)*);
        }
    };
    (@ $whose:ident) => {};
    (@ $whose:ident
        fn $name:ident(&mut $this:ident $(, $arg:ident: $type:ty)* $(,)?) -> $result:ty; $($rest:tt)*) => {
        #[doc = concat!("As [`Reactor::", stringify!($name), "`].")]
        pub fn $name(&mut $this $(, $arg: $type)*) -> $result {
            forward!(# $whose $this.$name($($arg),*))
        }
        forward!(@ $whose $($rest)*);
    };
    (@ $whose:ident
        fn $name:ident(&$this:ident $(, $arg:ident: $type:ty)* $(,)?) -> $result:ty; $($rest:tt)*) => {
        #[doc = concat!("As [`Reactor::", stringify!($name), "`].")]
        pub fn $name(&$this $(, $arg: $type)*) -> $result {
            forward!(# $whose $this.$name($($arg),*))
        }
        forward!(@ $whose $($rest)*);
    };
    (# always $this:ident.$name:ident($($arg:ident),*)) => {
        $this.local.$name($($arg),*)
    };
    (# by_key $this:ident.$name:ident($key:ident $(, $arg:ident)*)) => {
        if $this.threads.has($key) {
            $this.threads.$name($key $(, $arg)*)
        } else {
            $this.local.$name($key $(, $arg)*)
        }
    };
}

command_methods!(EventLoop);

/// The turn.
impl EventLoop {
    /// As [`Reactor::new`].
    pub fn new() -> EventLoop {
        EventLoop {
            local: Reactor::new(),
            threads: Threads::new(),
        }
    }

    /// As [`Reactor::configure`]. [`Config::io_threads`] does not change after the first turn.
    pub fn configure(&mut self, mut config: Config) {
        if self.has_begun() {
            config.io_threads = self.config().io_threads;
        }
        self.local.configure(config);
        self.threads.configure(&self.local);
    }

    /// As [`Reactor::begin_turn`].
    #[inline]
    pub fn begin_turn(&mut self, max_wait: Option<Duration>) {
        self.threads.disown(&mut self.local);
        if self.local.config().io_threads > 0 && !self.threads.are_running() {
            self.threads.start(&mut self.local);
        }
        self.local.begin_turn(max_wait);
    }

    /// As [`Reactor::next_event`].
    #[inline]
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        if self.threads.are_running() {
            self.next_event_with_threads()
        } else {
            self.local.next_event()
        }
    }

    fn next_event_with_threads(&mut self) -> Option<Event<'_>> {
        self.threads.disown(&mut self.local);
        self.threads.settle();
        self.local.next_event_with(&mut self.threads)
    }

    /// What has happened since the start, on all threads together. Each I/O thread is asked, and waited for.
    pub fn stats(&mut self) -> Stats {
        let all = self.stats_of_threads().into_iter();
        all.reduce(|mut sum, of_thread| {
            sum += of_thread;
            sum
        })
        .unwrap_or_default()
    }

    /// What has happened on each thread: the loop's own first, then those of its I/O threads, each of which is asked, and waited for.
    pub fn stats_of_threads(&mut self) -> Vec<Stats> {
        let mut own = self.local.stats();
        self.threads.add_posts(&mut own);
        let mut all = vec![own];
        all.extend(self.threads.stats());
        all
    }

    /// As [`Reactor::tallies`], on all threads together. Each I/O thread is asked, and waited for.
    pub fn tallies(&mut self) -> Tallies {
        let mut tallies = self.local.tallies();
        for of_thread in self.threads.tallies() {
            tallies += &of_thread;
        }
        tallies
    }

    /// What is in use now, and how much there may be of it, on all threads together. Each I/O thread is asked, and waited for.
    pub fn gauges(&mut self) -> Gauges {
        let mut gauges = self.local.gauges();
        for of_thread in self.threads.gauges() {
            gauges.add_thread(&of_thread);
        }
        gauges
    }

    /// How many connections there are in each stage, on all threads together. Each I/O thread is asked, and waited for.
    pub fn stages(&mut self) -> StageCounts {
        let mut stages = self.local.stages();
        for of_thread in self.threads.stages() {
            for (sum, count) in stages.iter_mut().zip(of_thread) {
                *sum += count;
            }
        }
        stages
    }

    /// Counts in [`Stats::slow_callbacks`] that a consumer has held the loop for long, as the consumer sees it.
    pub fn count_slow_callback(&mut self) {
        self.local.count_slow_callback();
    }

    /// Counts in [`Stats::callback_seconds`] for how long a consumer had to do with an event, as the consumer has measured it.
    pub fn count_callback(&mut self, nanoseconds: u64) {
        self.local.count_callback(nanoseconds);
    }

    /// What the monotonic clock said when the turn looked at it last: after its wait, or later. In nanoseconds.
    pub fn clock(&self) -> u64 {
        self.local.clock()
    }

    /// As [`Reactor::connections`], on all threads together. Each I/O thread is asked, and waited for.
    pub fn connections(&mut self) -> Vec<ConnectionInfo> {
        let mut connections = self.local.connections();
        connections.append(&mut self.threads.connections());
        connections
    }

    /// As [`Reactor::listeners`], on all threads together. Each I/O thread is asked, and waited for.
    pub fn listeners(&mut self) -> Vec<ListenerInfo> {
        let mut listeners = self.local.listeners();
        for of_thread in self.threads.listeners() {
            let same = listeners.iter_mut().find(|it| it.key == of_thread.key);
            if let Some(listener) = same {
                listener.add_thread(&of_thread);
            }
        }
        listeners
    }

    /// How many sources there are: connections, listeners, watches and signals.
    pub fn len(&self) -> usize {
        self.local.len() + self.threads.len()
    }

    /// Whether there is no source.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Sources.
impl EventLoop {
    /// As [`Reactor::listen`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn listen(&mut self, host: &str, port: u16, read_size: ReadSize) -> Result<Key, Error> {
        let key = self.local.listen(host, port, read_size)?;
        self.lend(key);
        Ok(key)
    }

    /// As [`Reactor::listen_on`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn listen_on(&mut self, fd: OwnedFd, read_size: ReadSize) -> Result<Key, Error> {
        let key = self.local.listen_on(fd, read_size)?;
        self.lend(key);
        Ok(key)
    }

    /// Has the threads accept for a new listener as well, if they run already.
    fn lend(&mut self, key: Key) {
        if self.threads.are_running() && matches!(self.local_name(key), Some(Name::Inet(_))) {
            self.threads.lend(&mut self.local, key);
        }
    }

    /// As [`Reactor::connect`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn connect(
        &mut self,
        peer: SocketAddr,
        kind: SocketKind,
        read_size: ReadSize,
    ) -> Result<Key, Error> {
        let connection = match self.local.connecting(peer, kind, read_size) {
            // Whom we call goes before those who call us and have not said who they are.
            Err(error) if error.is_shortage() && self.local.shed() + self.threads.shed() > 0 => {
                self.local.connecting(peer, kind, read_size)?
            }
            made => made?,
        };
        self.add(connection)
    }

    /// As [`Reactor::adopt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn adopt(&mut self, fd: OwnedFd, read_size: ReadSize) -> Result<Key, Error> {
        let connection = self.local.adopting(fd, read_size)?;
        self.add(connection)
    }

    fn add(&mut self, connection: Connection) -> Result<Key, Error> {
        if self.threads.are_running() && connection.is_outgoing() {
            return Ok(self.threads.take_in(&mut self.local, connection));
        }
        self.local.add(connection)
    }
}

/// Descriptors of others.
impl EventLoop {
    /// As [`Reactor::watch`].
    ///
    /// # Safety
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    #[allow(unsafe_code)] // a descriptor that somebody else owns
    pub unsafe fn watch(&mut self, fd: RawFd, interest: Interest) -> Result<Key, Error> {
        // SAFETY: as the function's own.
        unsafe { self.local.watch(fd, interest) }
    }
}

/// Writing, closing, and commands as data.
impl EventLoop {
    /// As [`Reactor::write`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn write(&mut self, key: Key, data: &[u8]) -> Result<usize, Error> {
        if self.threads.has(key) {
            return self.threads.write(&mut self.local, key, data);
        }
        self.local.write(key, data)
    }

    /// As [`Reactor::close`].
    pub fn close(&mut self, key: Key) -> Close {
        self.threads.disown(&mut self.local);
        if self.threads.has(key) {
            return self.threads.close(&mut self.local, key);
        }
        if self.threads.is_lent(key) {
            self.threads.take_home(&mut self.local, key);
        }
        self.local.close(key)
    }

    /// As [`Reactor::apply`]: here, or on the thread of the connection.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn apply(&mut self, key: Key, command: Command) -> Result<(), Error> {
        self.threads.disown(&mut self.local);
        if self.threads.has(key) {
            return self.threads.apply(&mut self.local, key, command);
        }
        if self.threads.is_lent(key) {
            return self
                .threads
                .apply_to_listener(&mut self.local, key, command);
        }
        self.local.apply(key, command)
    }
}

forward! {
    /// Settings, timers and watches, which are those of the loop's thread.
    always:
    fn set_backend(&mut self, name: &str) -> Result<(), Error>;
    fn backend(&self) -> &'static str;
    fn has_begun(&self) -> bool;
    fn config(&self) -> &Config;
    fn waker(&mut self) -> Result<Waker, Error>;
    fn set_watch(&mut self, key: Key, interest: Interest) -> Result<(), Error>;
    fn watch_signal(&mut self, signal: i32) -> Result<Key, Error>;
    fn bind_datagrams(&mut self, address: SocketAddr) -> Result<Key, Error>;
    fn adopt_datagrams(&mut self, fd: OwnedFd) -> Result<Key, Error>;
    fn send_to(&mut self, key: Key, data: &[u8], to: SocketAddr) -> Result<usize, Error>;
    fn set_timer(&mut self, after: Duration) -> TimerId;
    fn cancel_timer(&mut self, id: TimerId) -> bool;
    fn reset_timer(&mut self, id: TimerId, after: Duration) -> bool;
    fn time_left(&self, id: TimerId) -> Option<Duration>;
}

forward! {
    /// Questions about a source, which the threads answer if it is one of their connections.
    by_key:
    fn pending(&self, key: Key) -> usize;
    fn set_option(&mut self, key: Key, option: SocketOption) -> Result<(), Error>;
    fn tcp_info(&mut self, key: Key) -> Option<TcpInfo>;
    fn end_info(&self, key: Key) -> Option<EndInfo>;
    fn fd(&self, key: Key) -> Option<RawFd>;
    fn peer_name(&self, key: Key) -> Option<Name>;
    fn local_name(&self, key: Key) -> Option<Name>;
    fn proxied(&self, key: Key) -> Option<Arc<Proxied>>;
    fn is_tls(&self, key: Key) -> bool;
    fn tls_info(&self, key: Key) -> Option<Info>;
    fn tls_context(&self, key: Key) -> Option<Context>;
    fn peer_certificates(&mut self, key: Key) -> Vec<Vec<u8>>;
    fn peer_verification(&self, key: Key) -> Vec<Vec<VerifyError>>;
    fn export_keying_material(
        &mut self,
        key: Key,
        label: &[u8],
        context: Option<&[u8]>,
        length: usize,
    ) -> Option<Vec<u8>>;
}

#[cfg(test)]
#[path = "event_loop_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "event_loop_switching_tests.rs"]
mod switching_tests;
