//! The server API over real sockets, on every poller, with one thread and with four.
//!
//! One suite, `server/`, is compiled once for each poller, as in `reactor_conformance.rs`.

#![allow(clippy::duplicate_mod)]

#[macro_use]
#[path = "common/macros.rs"]
mod macros;

#[cfg(target_os = "linux")]
#[path = "server/mod.rs"]
mod epoll;

#[cfg(all(feature = "libevent", target_os = "linux"))]
#[path = "server/mod.rs"]
mod libevent;

#[path = "server/mod.rs"]
mod poll;

#[path = "server/mod.rs"]
mod select;
