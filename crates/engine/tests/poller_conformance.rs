//! The contract of `trochee::poller`, run against every poller.
//!
//! One suite, `conformance/`, is compiled once for each poller, so that a failure reads `epoll::level::stays_readable`. The
//! name of the module is the name of the poller; where pollers may differ, `Traits` in `conformance/mod.rs` says how.
//!
//! A poller that is not available here prints a skip; with `TROCHEE_NO_SKIPS` in the environment it fails instead.

// That a file is compiled several times is the point.
#![allow(clippy::duplicate_mod)]

use std::sync::Mutex;

/// Held by tests that count on a descriptor number to stay free, or not to be taken by others.
static NUMBERS: Mutex<()> = Mutex::new(());

#[cfg(target_os = "linux")]
#[path = "conformance/mod.rs"]
mod epoll;

#[cfg(all(feature = "libevent", target_os = "linux"))]
#[path = "conformance/mod.rs"]
mod libevent;

#[path = "conformance/mod.rs"]
mod poll;

#[path = "conformance/mod.rs"]
mod select;
