//! What the system refuses once, or for a while, is not lost for ever: errors put in at the edge of the system calls, on every poller.
//!
//! `interpose` stands between this program and the C library. One suite, `faults/`, is compiled for each poller, as in
//! `reactor_conformance.rs`.

#![cfg(target_os = "linux")]
#![allow(clippy::duplicate_mod, unsafe_code)]

#[macro_use]
#[path = "common/macros.rs"]
mod macros;

#[path = "faults/interpose.rs"]
mod interpose;

#[path = "faults/mod.rs"]
mod epoll;

#[cfg(feature = "libevent")]
#[path = "faults/mod.rs"]
mod libevent;

#[path = "faults/mod.rs"]
mod epoll_on_threads;

#[path = "faults/mod.rs"]
mod poll;

#[path = "faults/mod.rs"]
mod poll_on_threads;

#[path = "faults/mod.rs"]
mod select;
