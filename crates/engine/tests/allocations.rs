//! What a message allocates: nothing, once there is memory from earlier ones. On every poller.
//!
//! A program of its own, for it counts what the whole process allocates. One test, for a second one would allocate beside it.

#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trochee::{Event, Name, Reactor, ReadSize};

#[path = "common/pollers.rs"]
mod pollers;

/// More than are flushed together.
const PEERS: usize = 40;

/// Until every connection is established, and every list has its size.
const ROUNDS_BEFORE: usize = 40;
const ROUNDS: usize = 50;

const PATIENCE: Duration = Duration::from_secs(60);

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the function's own.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the function's own.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs one turn, which echoes what comes, and gives how many bytes came.
fn turn(reactor: &mut Reactor, buffer: &mut Vec<u8>) -> usize {
    let mut received = 0;
    reactor.begin_turn(Some(Duration::from_millis(20)));
    while let Some(event) = reactor.next_event() {
        match event {
            Event::Data { key, data, .. } => {
                received += data.len();
                buffer.clear();
                buffer.extend_from_slice(data);
                reactor.write(key, buffer).unwrap();
            }
            Event::Closed { reason, .. } => panic!("{reason:?}"),
            _ => {}
        }
    }
    received
}

fn echo_to_all(reactor: &mut Reactor, peers: &mut [TcpStream], buffer: &mut Vec<u8>) {
    let message = [7; 256];
    for peer in peers.iter_mut() {
        peer.write_all(&message).unwrap();
    }
    let give_up = Instant::now() + PATIENCE;
    let mut received = 0;
    while received < peers.len() * message.len() {
        assert!(Instant::now() < give_up, "only {received} bytes");
        received += turn(reactor, buffer);
    }
    // What was written last may leave in the next turn.
    turn(reactor, buffer);
    let mut answer = [0; 256];
    for peer in peers.iter_mut() {
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, message);
    }
}

#[test]
fn a_message_and_its_answer_allocate_nothing() {
    for backend in pollers::available() {
        let mut reactor = Reactor::new();
        reactor.set_backend(backend).unwrap();
        let listener = reactor.listen("127.0.0.1", 0, ReadSize::All).unwrap();
        let Some(Name::Inet(address)) = reactor.local_name(listener) else {
            panic!("no address");
        };
        let mut peers: Vec<TcpStream> = (0..PEERS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let mut buffer = Vec::new();
        for _ in 0..ROUNDS_BEFORE {
            echo_to_all(&mut reactor, &mut peers, &mut buffer);
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..ROUNDS {
            echo_to_all(&mut reactor, &mut peers, &mut buffer);
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(allocations, 0, "{backend}: for {} messages", PEERS * ROUNDS);
    }
}
