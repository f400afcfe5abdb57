//! What stalled readers cost: what is queued for them, once, and a little more; and nothing when they are gone. On every poller, with
//! I/O threads and without.
//!
//! A program of its own, for it counts what the whole process allocates. One test, for a second one would allocate beside it.

#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trochee::{Config, Event, EventLoop, Key, Name, ReadSize};

#[path = "common/pollers.rs"]
mod pollers;

const PEERS: usize = 4;

/// Far more than the system takes for a peer that does not read.
const EACH: usize = 8 << 20;

/// What is there besides the queues. One piece in each of two directions of each thread is part of it.
const LITTLE: usize = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(60);

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the function's own.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the function's own.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("proc(5)");
    let pages: usize = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * rustix::param::page_size()
}

/// Runs a turn that does not wait long, and gives the connections that were accepted in it.
fn turn(reactor: &mut EventLoop) -> Vec<Key> {
    let mut accepted = Vec::new();
    reactor.begin_turn(Some(Duration::from_millis(20)));
    while let Some(event) = reactor.next_event() {
        match event {
            Event::Accepted { key, .. } => accepted.push(key),
            Event::Closed { reason, .. } => panic!("{reason:?}"),
            _ => {}
        }
    }
    accepted
}

/// Runs turns until `done`.
fn until(reactor: &mut EventLoop, what: &str, mut done: impl FnMut(&mut EventLoop) -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !done(reactor) {
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        turn(reactor);
    }
}

/// As many connections as there are peers, which do not read.
fn stalled_readers(reactor: &mut EventLoop) -> (Vec<Key>, Vec<TcpStream>) {
    let listener = reactor.listen("127.0.0.1", 0, ReadSize::All).unwrap();
    let Some(Name::Inet(address)) = reactor.local_name(listener) else {
        panic!("no address");
    };
    let peers = (0..PEERS).map(|_| connect(address)).collect();
    let mut keys = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    while keys.len() < PEERS {
        assert!(Instant::now() < give_up, "{} of {PEERS}", keys.len());
        keys.extend(turn(reactor));
    }
    (keys, peers)
}

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).expect("a peer")
}

#[test]
fn what_is_queued_is_there_once_and_given_back() {
    for backend in pollers::available() {
        for io_threads in [0, 2] {
            for size in [EACH, 10_000, 1000] {
                stalls(backend, io_threads, size);
            }
        }
    }
}

fn stalls(backend: &str, io_threads: usize, size: usize) {
    let place = format!("{backend}, {io_threads} I/O threads, writes of {size} bytes");
    let data = vec![1; size];
    let mut reactor = EventLoop::new();
    reactor.set_backend(backend).unwrap();
    let mut config = Config::default();
    config.io_threads = io_threads;
    config.max_send_buffer_size = 2 * EACH;
    reactor.configure(config);
    let (keys, peers) = stalled_readers(&mut reactor);
    let (before, resident_before) = (allocated(), resident());
    MOST.store(before, Ordering::Relaxed);

    let mut written = 0;
    for key in &keys {
        for _ in 0..EACH / size {
            written += reactor.write(*key, &data).unwrap();
        }
    }
    let pending = |reactor: &EventLoop| -> usize {
        let pending = keys.iter().map(|key| reactor.pending(*key));
        pending.sum()
    };
    let (mut last, mut same) = (0, 0);
    until(&mut reactor, "the system to take no more", |reactor| {
        let now = pending(reactor);
        same = if now == last && now < written {
            same + 1
        } else {
            0
        };
        last = now;
        same == 5
    });
    let queued = pending(&reactor);
    let (held, most) = (allocated() - before, MOST.load(Ordering::Relaxed) - before);
    println!("{place}: {written} written, {queued} queued, {held} held, {most} at most");
    assert!(
        queued > written / 4,
        "{place}: {queued} of {written}: nobody stalls"
    );
    assert!(
        held < queued + queued / 8 + LITTLE,
        "{place}: {held} for {queued}"
    );
    assert!(
        most < written + written / 8 + LITTLE,
        "{place}: {most} for {written}"
    );

    for key in &keys {
        reactor.destroy(*key);
    }
    until(&mut reactor, "what was queued to be given back", |_| {
        allocated() < before + LITTLE
    });
    drop(peers);
    // Once for each way, for this takes a second.
    if backend == "epoll" && size == 1000 {
        // Of what was freed while it was given back, less than a burst (8 MiB) may stay.
        let kept = resident_before + written / 3;
        let what = format!("{place}: the system to have all but {kept} bytes back");
        until(&mut reactor, &what, |_| resident() < kept);
    }
}
