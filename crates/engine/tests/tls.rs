//! TLS over every poller, against itself and against OpenSSL's command line.
//!
//! One suite, `tls/`, is compiled once for each poller, as in `reactor_conformance.rs`. What has nothing to do with the poller
//! is beside them and is compiled once.

#![allow(clippy::duplicate_mod)]

#[macro_use]
#[path = "common/macros.rs"]
mod macros;

#[cfg(target_os = "linux")]
#[path = "tls/mod.rs"]
mod epoll;

#[path = "tls/mod.rs"]
mod poll;

#[path = "tls/mod.rs"]
mod select;

#[path = "tls/chains.rs"]
mod chains;

#[path = "tls/laborious.rs"]
mod laborious;

#[path = "tls/malformed.rs"]
mod malformed;
