//! A driver that runs turns until something happened, and the peers that make things happen.

#![allow(unsafe_code)] // descriptors given as numbers

use std::collections::HashSet;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};
use trochee::poller::{self, OpenError};
use trochee::{
    Chunk, Error, Event, EventLoop, Interest, Key, Level, Name, ReadSize, Reason, TimerId,
};

/// How long a test waits for what must come, and for what must not.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const SILENCE: Duration = Duration::from_millis(60);

/// An [`Event`] to keep.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Accepted {
        listener: Key,
        key: Key,
    },
    Connected(Key),
    ClientHello {
        key: Key,
        server_name: Option<String>,
        alpn: Vec<Vec<u8>>,
    },
    Secured(Key),
    Data(Key, Vec<u8>, Chunk),
    Datagram(Key, Vec<u8>, Name),
    DatagramError(Key, String),
    Ended(Key),
    ReadTimeout(Key),
    Predrain(Key),
    Drain(Key),
    Closed(Key, Reason),
    Ready(Key, Interest),
    Signal(Key, i32),
    Timer(TimerId),
    Notice(Level, String),
}

impl Seen {
    pub fn key(&self) -> Option<Key> {
        match *self {
            Seen::Accepted { key, .. }
            | Seen::ClientHello { key, .. }
            | Seen::Secured(key)
            | Seen::Connected(key)
            | Seen::Data(key, ..)
            | Seen::Datagram(key, ..)
            | Seen::DatagramError(key, _)
            | Seen::Ended(key)
            | Seen::ReadTimeout(key)
            | Seen::Predrain(key)
            | Seen::Drain(key)
            | Seen::Closed(key, _)
            | Seen::Ready(key, _)
            | Seen::Signal(key, _) => Some(key),
            Seen::Timer(_) | Seen::Notice(..) => None,
        }
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Accepted { listener, key } => Seen::Accepted { listener, key },
            Event::Connected { key } => Seen::Connected(key),
            Event::ClientHello {
                key,
                server_name,
                alpn,
            } => Seen::ClientHello {
                key,
                server_name,
                alpn,
            },
            Event::Secured { key } => Seen::Secured(key),
            Event::Data { key, data, end } => Seen::Data(key, data.to_vec(), end),
            Event::Datagram { key, data, from } => {
                Seen::Datagram(key, data.to_vec(), from.unwrap())
            }
            Event::DatagramError { key, error } => Seen::DatagramError(key, error.to_string()),
            Event::Ended { key } => Seen::Ended(key),
            Event::ReadTimeout { key } => Seen::ReadTimeout(key),
            Event::Predrain { key } => Seen::Predrain(key),
            Event::Drain { key } => Seen::Drain(key),
            Event::Closed { key, reason, .. } => Seen::Closed(key, reason),
            Event::Ready {
                key,
                readable,
                writable,
            } => Seen::Ready(key, Interest { readable, writable }),
            Event::Signal { key, signal } => Seen::Signal(key, signal),
            Event::Timer { id } => Seen::Timer(id),
            Event::Notice { level, text } => Seen::Notice(level, text),
            other => panic!("unknown to this suite: {other:?}"),
        }
    }
}

/// A reactor under test, and what holds for every sequence of events: a connection begins once and ends once, and is
/// silent before and after.
pub struct Driver {
    pub reactor: EventLoop,
    /// Whether a turn was left in the middle.
    unfinished: bool,
    begun: HashSet<Key>,
    over: HashSet<Key>,
}

impl Driver {
    /// `None`, and a line of output, if the poller is not available here.
    pub fn open() -> Option<Driver> {
        Driver::open_named(poller_name())
    }

    /// The same for a poller by its name.
    pub fn open_named(name: &str) -> Option<Driver> {
        match poller::open(name) {
            Ok(_) => {}
            Err(error @ OpenError::Unavailable { .. })
                if std::env::var_os("TROCHEE_NO_SKIPS").is_none() =>
            {
                eprintln!("skipped: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        }
        let mut reactor = EventLoop::new();
        reactor.set_backend(name).unwrap();
        let io_threads = io_threads();
        let config = reactor.config().clone();
        reactor.configure(with!(config, io_threads: io_threads));
        let mut driver = Driver {
            reactor,
            unfinished: false,
            begun: HashSet::new(),
            over: HashSet::new(),
        };
        if io_threads > 0 {
            driver.turn();
        }
        Some(driver)
    }

    /// Runs turns, giving every event to `handle`, until it returns true. The turn is then left in the middle, and goes
    /// on with the next call: the engine promises that this loses nothing.
    ///
    /// No turn is given a shorter wait than the patience of the test, so that a wake-up which does not come is a failure
    /// and not a delay.
    #[track_caller]
    pub fn drive(&mut self, what: &str, mut handle: impl FnMut(&mut EventLoop, Seen) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                panic!("waited in vain for {what}; the first events were {seen:?}");
            }
            self.reactor.begin_turn(Some(left));
            while let Some(event) = self.next() {
                if seen.len() < 20 {
                    seen.push(brief(&event));
                }
                // Before the consumer runs: it may leave by a panic, too.
                self.unfinished = true;
                if handle(&mut self.reactor, event) {
                    return;
                }
            }
            self.unfinished = false;
        }
    }

    /// Runs turns for a while, giving every event to `handle`.
    #[track_caller]
    pub fn drive_for(&mut self, time: Duration, mut handle: impl FnMut(&mut EventLoop, Seen)) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.reactor.begin_turn(Some(left));
            while let Some(event) = self.next() {
                handle(&mut self.reactor, event);
            }
            self.unfinished = false;
            if left.is_zero() {
                return;
            }
        }
    }

    /// Runs turns until `peer`, which gets a thread of its own, is done.
    #[track_caller]
    pub fn drive_peer<T: Send + 'static>(
        &mut self,
        peer: impl FnOnce() -> T + Send + 'static,
        mut handle: impl FnMut(&mut EventLoop, Seen),
    ) -> T {
        // The end of the thread, by a panic too, closes the pipe.
        let (done, running) = io::pipe().unwrap();
        let watch = self.watch(&done, Interest::READ).unwrap();
        let peer = thread::spawn(move || {
            let _running = running;
            peer()
        });
        self.drive("the peer to be done", |reactor, event| {
            if matches!(event, Seen::Ready(key, _) if key == watch) {
                return true;
            }
            handle(reactor, event);
            false
        });
        self.reactor.close(watch);
        peer.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// One whole turn that does not wait, after what is left of an unfinished one.
    #[track_caller]
    pub fn turn(&mut self) -> Vec<Seen> {
        let mut seen = self.finish_turn();
        self.reactor.begin_turn(Some(Duration::ZERO));
        seen.extend(std::iter::from_fn(|| self.next()));
        seen
    }

    /// What is left of a turn that was left in the middle.
    #[track_caller]
    pub fn finish_turn(&mut self) -> Vec<Seen> {
        if !std::mem::take(&mut self.unfinished) {
            return Vec::new();
        }
        self.reactor.begin_turn(Some(Duration::ZERO));
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Asserts that nothing happens to any source for a while, notices aside.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        let mut seen = Vec::new();
        self.drive_for(SILENCE, |_, event| {
            if !matches!(event, Seen::Notice(..)) {
                seen.push(event);
            }
        });
        assert_eq!(seen, [], "nothing should happen");
    }

    #[track_caller]
    fn next(&mut self) -> Option<Seen> {
        let event = Seen::from(self.reactor.next_event()?);
        if let Some(key) = event.key() {
            assert!(
                !self.over.contains(&key),
                "{event:?} after the end of that connection"
            );
        }
        match &event {
            Seen::Accepted { key, .. } | Seen::Connected(key) => {
                assert!(self.begun.insert(*key), "a second beginning: {event:?}");
            }
            Seen::Data(key, data, _) => {
                assert!(
                    self.begun.contains(key),
                    "data before the beginning of {key:?}"
                );
                assert!(!data.is_empty(), "an empty piece of data");
            }
            Seen::Closed(key, _) => {
                self.over.insert(*key);
            }
            _ => {}
        }
        Some(event)
    }

    /// A listener on a free port of 127.0.0.1.
    #[track_caller]
    pub fn listen(&mut self, read_size: ReadSize) -> (Key, SocketAddr) {
        let key = self.reactor.listen("127.0.0.1", 0, read_size).unwrap();
        match self.reactor.local_name(key) {
            Some(Name::Inet(address)) => (key, address),
            other => panic!("a listener named {other:?}"),
        }
    }

    /// Watches a descriptor of the test.
    pub fn watch(&mut self, fd: &impl AsRawFd, interest: Interest) -> Result<Key, Error> {
        // SAFETY: the tests close the watch first, or close the descriptor to see what becomes of its watch.
        unsafe { self.reactor.watch(fd.as_raw_fd(), interest) }
    }

    /// The descriptor of a source that lives on while the caller looks at it.
    pub fn fd(&self, key: Key) -> BorrowedFd<'static> {
        let fd = self.reactor.fd(key).unwrap();
        // SAFETY: the source owns it, and is there; the tests only look.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// A connection that the reactor accepted, and its peer.
    #[track_caller]
    pub fn serve(&mut self) -> (Key, TcpStream) {
        self.serve_with(ReadSize::All)
    }

    #[track_caller]
    pub fn serve_with(&mut self, read_size: ReadSize) -> (Key, TcpStream) {
        let (listener, address) = self.listen(read_size);
        let peer = peer(address);
        let key = self.accepted();
        self.reactor.close(listener);
        (key, peer)
    }

    /// The same with a peer whose system takes only a little on its behalf.
    #[track_caller]
    pub fn serve_narrow(&mut self) -> (Key, TcpStream) {
        let (listener, address) = self.listen(ReadSize::All);
        let peer = narrow_peer(address);
        let key = self.accepted();
        self.reactor.close(listener);
        (key, peer)
    }

    #[track_caller]
    pub fn accepted(&mut self) -> Key {
        let mut found = None;
        self.drive("a connection", |_, event| match event {
            Seen::Accepted { key, .. } => {
                found = Some(key);
                true
            }
            Seen::Notice(..) => false,
            other => panic!("unexpected: {other:?}"),
        });
        found.unwrap()
    }

    #[track_caller]
    pub fn connected(&mut self, wanted: Key) {
        self.drive("the connection to stand", |_, event| match event {
            Seen::Connected(key) => key == wanted,
            Seen::Notice(..) => false,
            other => panic!("unexpected: {other:?}"),
        });
    }

    /// Runs turns until these bytes came from `wanted`, in this order.
    #[track_caller]
    pub fn expect_data(&mut self, wanted: Key, bytes: &[u8]) {
        let mut got = Vec::new();
        self.drive("data", |_, event| {
            if let Seen::Data(key, data, _) = event {
                assert_eq!(key, wanted);
                got.extend_from_slice(&data);
            }
            got.len() >= bytes.len()
        });
        assert!(got == bytes, "not what was sent");
    }

    /// Runs turns until the end of `wanted`; gives the reason and what came before.
    #[track_caller]
    pub fn expect_closed(&mut self, wanted: Key) -> (Reason, Vec<Seen>) {
        let (mut reason, mut before) = (None, Vec::new());
        self.drive("the end of the connection", |_, event| match event {
            Seen::Closed(key, why) if key == wanted => {
                reason = Some(why);
                true
            }
            other => {
                before.push(other);
                false
            }
        });
        (reason.unwrap(), before)
    }
}

/// The poller that this copy of the suite is for.
pub fn poller_name() -> &'static str {
    suite_name().trim_end_matches(ON_THREADS)
}

/// How many I/O threads it is for.
pub fn io_threads() -> usize {
    if suite_name().ends_with(ON_THREADS) {
        2
    } else {
        0
    }
}

const ON_THREADS: &str = "_on_threads";

fn suite_name() -> &'static str {
    module_path!().rsplit("::").nth(1).unwrap_or_default()
}

/// Whether this is the process that `test` has for itself. If it is not, runs `test` in one, and fails as that does.
#[track_caller]
pub fn alone(test: &str) -> bool {
    const VARIABLE: &str = "TROCHEE_TEST_ALONE";
    if std::env::var(VARIABLE).is_ok_and(|alone| alone == test) {
        return true;
    }
    let (_crate, name) = test.split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, test)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "in a process of its own ({}):\n{text}",
        output.status
    );
    false
}

/// A connection to `address` that gives up reading and writing when the test would.
#[track_caller]
pub fn peer(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

/// The same from an address of our own. The connection may be reset already.
#[allow(dead_code)] // one of the suites has no use for it
#[track_caller]
pub fn peer_from(from: &str, address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    rustix::net::bind(&socket, &from).unwrap();
    match rustix::net::connect(&socket, &address) {
        // Refused so fast that the system tells of nothing else.
        Ok(()) | Err(Errno::CONNRESET) => patient(socket.into()),
        Err(error) => panic!("{error}"),
    }
}

/// The same with a small receive buffer, so that whoever writes to it soon can write no more.
#[track_caller]
pub fn narrow_peer(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    // Before connecting, for the window is agreed on then.
    sockopt::set_socket_recv_buffer_size(&socket, 16 * 1024).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    patient(socket.into())
}

pub fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Ends a connection with RST instead of FIN.
pub fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Everything until the end of the stream.
#[track_caller]
pub fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    if let Err(error) = stream.read_to_end(&mut all) {
        panic!("after {} bytes: {error}", all.len());
    }
    all
}

/// Everything until the reset that ends the stream.
#[track_caller]
pub fn read_until_reset(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => all,
        other => panic!("after {} bytes: {other:?} instead of a reset", all.len()),
    }
}

/// A listener whose system answers no further connects, the connections that fill it, and its address.
pub fn full_listener() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => waiting.push(stream),
            Err(_) => return (listener, waiting, address),
        }
        assert!(waiting.len() < 100, "the queue of the listener has no end");
    }
}

/// Bytes that show when a piece is missing, twice there, or in the wrong place: no two windows of them are alike within
/// a period that divides no power of two.
pub fn pattern(len: usize) -> Vec<u8> {
    const PERIOD: usize = 65_521;
    let mut all: Vec<u8> = (0..len.min(PERIOD) as u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    // Copied, for byte by byte a build without optimisation would take longer than the tests of it.
    while all.len() < len {
        all.extend_from_within(..(len - all.len()).min(all.len()));
    }
    all
}

/// The processor time that this thread has used.
pub fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How many bytes the system holds for whoever reads `fd` next.
pub fn unread(fd: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(fd).unwrap()
}

pub fn os(errno: Errno) -> Reason {
    Reason::Os(errno)
}

/// An event for a message: of data, the length will do.
fn brief(event: &Seen) -> String {
    match event {
        Seen::Data(key, data, end) => format!("Data({key:?}, {} bytes, {end:?})", data.len()),
        other => format!("{other:?}"),
    }
}
