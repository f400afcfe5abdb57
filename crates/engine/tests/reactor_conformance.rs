//! What a reactor promises, run on every poller, over real sockets of the loopback interface.
//!
//! One suite, `reactor/`, is compiled once for each poller, so that a failure reads
//! `epoll::closing::half_close_answers_are_sent`. The name of the module is the name of the poller; `_on_threads` behind it means that
//! I/O threads do the work. With epoll the loop does it while there is little of it; with poll the threads always do.
//!
//! A poller that is not available here prints a skip; with `TROCHEE_NO_SKIPS` in the environment it fails instead.

// That a file is compiled several times is the point.
#![allow(clippy::duplicate_mod)]

#[macro_use]
#[path = "common/macros.rs"]
mod macros;

use std::sync::Mutex;

/// Held by tests whose floods take all the time that the processors have.
static PROCESSORS: Mutex<()> = Mutex::new(());

#[cfg(target_os = "linux")]
#[path = "reactor/mod.rs"]
mod epoll;

#[cfg(all(feature = "libevent", target_os = "linux"))]
#[path = "reactor/mod.rs"]
mod libevent;

#[cfg(target_os = "linux")]
#[path = "reactor/mod.rs"]
mod epoll_on_threads;

#[path = "reactor/mod.rs"]
mod poll;

#[path = "reactor/mod.rs"]
mod poll_on_threads;

#[path = "reactor/mod.rs"]
mod select;
