//! A reactor inside another loop, which waits in its place: on epoll, since no other poller has a descriptor for that.

#![allow(unsafe_code)] // a descriptor that the reactor only watches

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trochee::{Event, Reactor};

use super::*;

/// A reactor in a loop on poll(2).
struct Nested {
    reactor: Reactor,
    turns: u32,
}

impl Nested {
    /// `None` where the poller has no descriptor.
    fn open() -> Option<Nested> {
        Driver::open()?;
        let mut reactor = Reactor::new();
        reactor.set_backend(poller_name()).unwrap();
        let has_fd = reactor.poller_fd().is_some();
        assert_eq!(has_fd, poller_name() == "epoll");
        has_fd.then_some(Nested { reactor, turns: 0 })
    }

    fn turn(&mut self) -> Vec<Seen> {
        self.turns += 1;
        self.reactor.begin_turn(Some(Duration::ZERO));
        let mut seen = Vec::new();
        while let Some(event) = self.reactor.next_event() {
            if let Event::Notice { text, .. } = event {
                panic!("{text}");
            }
            seen.push(Seen::from(event));
        }
        seen
    }

    /// The wait of the other loop; whether the reactor has something to do, other than that the time is over.
    fn wait(&mut self) -> bool {
        let at_most = self.reactor.time_to_wait().unwrap_or(PATIENCE);
        let timeout = Timespec {
            tv_sec: at_most.as_secs() as i64,
            tv_nsec: at_most.subsec_nanos().into(),
        };
        let fd = self.reactor.poller_fd().unwrap();
        let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        poll(&mut watched, Some(&timeout)).unwrap() > 0
    }

    /// Turns and waits until `wanted` has come.
    fn drive(&mut self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(seen) = self.turn().into_iter().find(|seen| wanted(seen)) {
                return seen;
            }
            self.wait();
        }
        panic!("{what} did not come");
    }
}

macro_rules! nested {
    () => {{
        one_thread!();
        match Nested::open() {
            Some(nested) => nested,
            None => return,
        }
    }};
}

#[test]
fn connections_are_served_and_nothing_spins() {
    let mut nested = nested!();
    let listener = nested
        .reactor
        .listen("127.0.0.1", 0, ReadSize::All)
        .unwrap();
    let Some(Name::Inet(address)) = nested.reactor.local_name(listener) else {
        panic!("it listens nowhere");
    };
    let client = thread::spawn(move || {
        let mut stream = peer(address);
        for _ in 0..10 {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
    });
    let mut echoed = 0;
    while echoed < 10 {
        match nested.drive("data", |seen| matches!(seen, Seen::Data(..))) {
            // Outside a turn: the next one has to come at once.
            Seen::Data(key, data, _) => drop(nested.reactor.write(key, &data).unwrap()),
            other => panic!("{other:?}"),
        }
        assert_eq!(nested.reactor.time_to_wait(), Some(Duration::ZERO));
        echoed += 1;
    }
    nested.drive("the end", |seen| matches!(seen, Seen::Closed(..)));
    client.join().unwrap();
    // For each byte one that reads it and one that sends the answer; what comes with it; and some for the beginning and the end.
    assert!(nested.turns < 60, "{} turns", nested.turns);
}

/// What changes at the end of a turn is not known to the poller before the next one.
#[test]
fn what_has_changed_since_the_wait_of_the_turn_counts() {
    let mut nested = nested!();
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    // SAFETY: the reader outlives the reactor's watch.
    let key = unsafe { nested.reactor.watch(reader.as_raw_fd(), Interest::NONE) }.unwrap();
    assert_eq!(nested.turn(), []);
    nested.reactor.set_watch(key, Interest::READ).unwrap();
    assert!(nested.wait());
    assert_eq!(nested.turn(), [Seen::Ready(key, Interest::READ)]);
    nested.reactor.close(key);
}

#[test]
fn timers_bound_the_wait() {
    let mut nested = nested!();
    assert_eq!(nested.turn(), []);
    assert_eq!(nested.reactor.time_to_wait(), None);
    let timer = nested.reactor.set_timer(Duration::from_millis(20));
    assert!(!nested.wait());
    assert_eq!(nested.turn(), [Seen::Timer(timer)]);
    assert_eq!(nested.reactor.time_to_wait(), None);
}

#[test]
fn other_threads_end_the_wait() {
    let mut nested = nested!();
    let waker = nested.reactor.waker().unwrap();
    for _ in 0..3 {
        assert_eq!(nested.turn(), []);
        let waker = waker.clone();
        let other = thread::spawn(move || waker.wake());
        assert!(nested.wait() || nested.reactor.time_to_wait() == Some(Duration::ZERO));
        other.join().unwrap();
        assert_eq!(nested.turn(), []);
        // Heard, and over.
        assert_eq!(nested.reactor.time_to_wait(), None);
        assert_eq!(nested.turn(), []);
    }
}

/// While the other loop waits nobody is late: a silent peer does not get its time twice.
#[test]
fn silence_is_measured_across_its_waits() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let mut nested = nested!();
    let mut config = nested.reactor.config().clone();
    config.read_timeout = TIMEOUT;
    nested.reactor.configure(config);
    let (near, mut far) = UnixStream::pair().unwrap();
    let key = nested.reactor.adopt(near.into(), ReadSize::All).unwrap();
    far.write_all(b"x").unwrap();
    nested.drive("data", |seen| matches!(seen, Seen::Data(..)));
    let mut waited = Duration::ZERO;
    loop {
        let time = nested.reactor.time_to_wait().unwrap();
        thread::sleep(time);
        waited += time;
        if nested.turn().contains(&Seen::ReadTimeout(key)) {
            break;
        }
    }
    assert!(waited < TIMEOUT * 3 / 2, "{waited:?}");
}
