//! What a silent connection of a `Server` costs: bytes that are allocated for it, on all threads.
//!
//! A program of its own, for it counts what the whole process allocates. One test, for a second one would allocate beside it.

#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trochee::{Conn, Handler, Name, Server};

/// A few less than a power of two, for which tables have room.
const PEERS: usize = 1000;

/// For each. Of that 32 are the table of descriptors, which has the ends of the peers as well, and grows by doubling.
/// With the feature `tracing` each connection has a span, which takes a hundred more.
const MOST: usize = if cfg!(feature = "tracing") { 500 } else { 400 };

/// What a connection keeps once it has spoken: nothing but what a table for those who speak has grown by.
const SPOKEN: usize = MOST + 50;

const PATIENCE: Duration = Duration::from_secs(60);

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// What the system's allocator takes for it: eight bytes before it, and all of that in steps of sixteen.
fn taken(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16)
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(taken(layout), Ordering::Relaxed);
        // SAFETY: as the function's own.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(taken(layout), Ordering::Relaxed);
        // SAFETY: as the function's own.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Echo;

impl Handler for Echo {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let _ = conn.write(data);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(address).expect("a connection");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    peer
}

fn echo(peer: &mut TcpStream) {
    let (message, mut answer) = ([7; 256], [0; 256]);
    peer.write_all(&message).expect("to write");
    peer.read_exact(&mut answer).expect("an echo");
    assert_eq!(answer, message);
}

/// What is allocated once all that was asked for before is done: whoever is answered came last.
fn allocated(address: SocketAddr) -> usize {
    echo(&mut connect(address));
    ALLOCATED.load(Ordering::Relaxed)
}

/// What each connection of a new server takes, silent and once it has spoken.
fn of_a_new_server() -> (usize, usize) {
    let server = Server::builder()
        .backend("epoll")
        .listen("127.0.0.1:0", || Echo)
        .build()
        .expect("a server");
    let handle = server.handle();
    let Name::Inet(address) = handle.addresses()[0] else {
        panic!("no address");
    };
    let running = std::thread::spawn(|| server.run());
    let mut peers = Vec::with_capacity(PEERS);
    for _ in 0..3 {
        allocated(address);
    }

    let before = allocated(address);
    for _ in 0..PEERS / 50 {
        peers.extend((0..50).map(|_| connect(address)));
        // No more than the system lets wait.
        allocated(address);
    }
    let each = |now: usize| now.saturating_sub(before) / PEERS;
    let silent = each(allocated(address));
    println!("{silent} bytes for each silent connection");

    for peer in &mut peers {
        echo(peer);
    }
    let spoken = each(allocated(address));
    println!("{spoken} bytes for each that has spoken");

    drop(peers);
    handle.shutdown(Duration::ZERO);
    running
        .join()
        .expect("no panic")
        .expect("a server that ran");
    (silent, spoken)
}

#[test]
fn a_silent_connection_takes_little() {
    // What the server keeps of a moment, such as a queue that has grown, depends on who runs when. So the least counts.
    let all: Vec<_> = (0..4).map(|_| of_a_new_server()).collect();
    let silent = all.iter().map(|&(silent, _)| silent).min().unwrap();
    let spoken = all.iter().map(|&(_, spoken)| spoken).min().unwrap();
    assert!(silent <= MOST, "{silent} bytes for each");
    // A connection cannot cost less than what is known of it.
    assert!(silent > 100, "{silent} bytes: were they accepted?");
    assert!(spoken <= SPOKEN, "{spoken} bytes for each");
}
