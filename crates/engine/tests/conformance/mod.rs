//! The suite's vocabulary. What is tested lies in the files below, one for each property.

mod hangup;
mod interest;
mod level;
mod limit;
mod many;
mod registration;
mod signals;
mod sockets;
mod stale;
mod timeouts;

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trochee::poller::{self, Interest, OpenError, Poller, Readiness};

/// Where pollers may differ.
struct Traits {
    /// Reports only the directions that were asked for, and never `closed`.
    asked_only: bool,
    /// Forgets a descriptor that is closed without being removed, instead of reporting it closed.
    forgets_closed: bool,
    /// Takes regular files.
    regular_files: bool,
    /// The first descriptor number it cannot take.
    fd_limit: Option<RawFd>,
}

fn traits(name: &str) -> Traits {
    Traits {
        asked_only: matches!(name, "select" | "libevent"),
        // libevent stands on epoll here.
        forgets_closed: matches!(name, "epoll" | "libevent"),
        regular_files: !matches!(name, "epoll" | "libevent"),
        fd_limit: (name == "select").then_some(1024),
    }
}

/// The poller that this copy of the suite is for.
fn name() -> &'static str {
    module_path!().rsplit("::").next().unwrap_or_default()
}

/// A poller under test.
struct Watch {
    poller: Box<dyn Poller>,
    traits: Traits,
    /// By token.
    interests: HashMap<u64, Interest>,
}

impl Watch {
    /// `None`, and a line of output, if the poller is not available here.
    fn open() -> Option<Self> {
        match poller::open(name()) {
            Ok(poller) => Some(Self {
                poller,
                traits: traits(name()),
                interests: HashMap::new(),
            }),
            Err(error @ OpenError::Unavailable { .. })
                if std::env::var_os("TROCHEE_NO_SKIPS").is_none() =>
            {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A test that closes a descriptor and leaves it here means to: no poller hands out more than its token.
    #[allow(unsafe_code)]
    fn try_add(&mut self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        // SAFETY: the tests remove what they add, or close it to see what is reported; nothing is read or written here.
        unsafe { self.poller.add(fd.as_fd(), token, interest) }
    }

    #[track_caller]
    fn add(&mut self, fd: &impl AsFd, token: u64, interest: Interest) {
        self.try_add(fd, token, interest).unwrap();
        self.interests.insert(token, interest);
    }

    #[track_caller]
    fn modify(&mut self, fd: &impl AsFd, token: u64, interest: Interest) {
        self.poller.modify(fd.as_fd(), token, interest).unwrap();
        self.interests.insert(token, interest);
    }

    #[track_caller]
    fn remove(&mut self, fd: &impl AsFd) {
        self.poller.remove(fd.as_fd()).unwrap();
    }

    /// One wait.
    #[track_caller]
    fn wait(&mut self, timeout: Duration) -> Vec<Readiness> {
        let mut ready = Vec::new();
        self.poller.wait(&mut ready, Some(timeout)).unwrap();
        for report in &ready {
            assert!(
                report.readable || report.writable || report.closed,
                "an empty report: {report:?}"
            );
        }
        ready
    }

    /// Waits until exactly this is reported: pairs of a token and some of the letters `r`, `w` and `c`.
    ///
    /// The letters are those of a poller that reports all it can; `Traits` takes away what this one cannot.
    #[track_caller]
    fn expect(&mut self, wanted: &[(u64, &str)]) {
        let mut wanted: Vec<_> = wanted
            .iter()
            .map(|(token, letters)| (*token, self.reportable(*token, letters)))
            .filter(|(_, letters)| !letters.is_empty())
            .collect();
        wanted.sort();
        if wanted.is_empty() {
            return self.expect_silence();
        }

        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut seen: Vec<_> = self
                .wait(PATIENCE)
                .into_iter()
                .map(|report| (report.token, letters(report)))
                .collect();
            seen.sort();
            if seen == wanted {
                return;
            }
            // What the kernel does between two sockets takes a moment, even on one machine.
            assert!(
                Instant::now() < give_up,
                "expected {wanted:?}, still {seen:?}"
            );
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn expect_silence(&mut self) {
        assert_eq!(self.wait(SILENCE), [], "nothing should be ready");
    }

    /// The reports for one descriptor, by what is asked for: reading, writing, both, nothing.
    #[track_caller]
    fn expect_by_interest(&mut self, fd: &impl AsFd, [read, write, both, none]: [&str; 4]) {
        self.add(fd, 0, Interest::NONE);
        for (interest, letters) in [
            (Interest::READ, read),
            (Interest::WRITE, write),
            (Interest::BOTH, both),
            (Interest::NONE, none),
        ] {
            self.modify(fd, 0, interest);
            self.expect(&[(0, letters)]);
        }
        self.remove(fd);
    }

    fn reportable(&self, token: u64, letters: &str) -> String {
        let asked = self.interests[&token];
        letters
            .chars()
            .filter(|letter| {
                !self.traits.asked_only
                    || match letter {
                        'r' => asked.readable,
                        'w' => asked.writable,
                        _ => false,
                    }
            })
            .collect()
    }
}

/// How long a test waits for what must come, and for what must not.
const PATIENCE: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(20);

fn letters(report: Readiness) -> String {
    [
        (report.readable, 'r'),
        (report.writable, 'w'),
        (report.closed, 'c'),
    ]
    .into_iter()
    .filter_map(|(set, letter)| set.then_some(letter))
    .collect()
}

/// Two ends of a TCP connection.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

#[track_caller]
fn assert_errno<T: std::fmt::Debug>(result: io::Result<T>, errno: i32) {
    assert_eq!(result.unwrap_err().raw_os_error(), Some(errno));
}

// Tests run side by side in one process and share its descriptor numbers. Those that use many move them past `HIGH`, so that
// numbers below 1024 are left for select; those for which one number matters hold `own_numbers`, and take it from where
// no other test opens files.
const HIGH: RawFd = 2048;
const REUSED: RawFd = 950;

fn own_numbers() -> MutexGuard<'static, ()> {
    // Nothing is guarded that a test which failed could have left broken.
    crate::NUMBERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// A duplicate of `fd` with the lowest free number from `lowest` on.
fn duplicate(fd: &impl AsFd, lowest: RawFd) -> OwnedFd {
    static RAISE_LIMIT: Once = Once::new();
    RAISE_LIMIT.call_once(|| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
        .unwrap();
    });
    rustix::io::fcntl_dupfd_cloexec(fd, lowest)
        .unwrap_or_else(|error| panic!("needs `ulimit -n` of 8192 or more: {error}"))
}

/// A duplicate of `fd` under a number that was free a moment ago, if need be waiting for others to free it again.
fn duplicate_at(fd: &impl AsFd, number: RawFd) -> OwnedFd {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let duplicate = duplicate(fd, number);
        if duplicate.as_raw_fd() == number {
            return duplicate;
        }
        assert!(
            Instant::now() < give_up,
            "descriptor {number} is never free"
        );
        std::thread::yield_now();
    }
}
