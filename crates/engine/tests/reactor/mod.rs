//! The suite: one file for each property. The vocabulary they share is in `support.rs`.

/// Runs the rest of a test in a process of its own: for tests that need many descriptors, particular numbers of them, a
/// lower limit, signals or fork(2), none of which they could keep from their neighbours in the same process.
macro_rules! alone {
    ($test:ident) => {
        if !support::alone(concat!(module_path!(), "::", stringify!($test))) {
            return;
        }
    };
}

/// For tests of the very turn in which something happens, or of one process's descriptors: with I/O threads it happens a
/// moment later, in another thread, and what holds all the same is in the other tests.
macro_rules! one_thread {
    () => {
        if io_threads() > 0 {
            return;
        }
    };
}

mod accepting;
mod addresses;
#[allow(dead_code)] // of a row, the number is all that is read here
#[path = "../security/bounds.rs"]
mod bounds;
mod closing;
mod connecting;
mod counting;
mod datagrams;
mod dead_peers;
mod exhaustion;
mod fairness;
mod forking;
mod holding;
mod inline;
mod keys;
mod late;
mod lingering;
mod measuring;
mod nested;
mod newcomers;
mod proxied;
mod rates;
mod reading;
mod requests;
mod settings;
mod signals;
mod streams;
mod support;
mod timeouts;
mod timers;
mod turns;
mod waking;
mod watches;
mod writing;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::*;
use trochee::{Chunk, Close, Error, EventLoop, Interest, Key, Name, ReadSize, Reason, SocketKind};
