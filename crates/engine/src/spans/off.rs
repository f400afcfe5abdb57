//! Nothing is told to anybody.

use std::net::{IpAddr, SocketAddr};

use crate::error::Reason;
use crate::event::Level;
use crate::registry::Key;
use crate::tls::Info;

#[derive(Default)]
pub(crate) struct ConnectionSpan(());

impl ConnectionSpan {
    pub(crate) fn begin(&mut self, _: Key, _: bool, _: Option<Key>, _: Option<SocketAddr>) {}

    pub(crate) fn is_client(&self, _: Option<SocketAddr>) {}

    pub(crate) fn begin_handshake(&mut self) {}

    pub(crate) fn secured(&mut self, _: impl FnOnce() -> Option<Info>) {}

    pub(crate) fn ends(&mut self, _: &Reason) {}

    pub(crate) fn end(&mut self, _: u64, _: u64) {}
}

pub(crate) fn refused(_: IpAddr, _: &'static str) {}

pub(crate) fn turned_away(_: Option<SocketAddr>) {}

pub(crate) fn notice(_: Level, _: &str) {}

#[test]
fn a_connection_holds_nothing_for_it() {
    assert_eq!(size_of::<ConnectionSpan>(), 0);
}
