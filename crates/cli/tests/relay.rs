//! `trochee relay`, the real binary, between real sockets.

#[path = "relay/behind.rs"]
mod behind;
#[path = "relay/chaos.rs"]
mod chaos;
#[path = "relay/ends.rs"]
mod ends;
#[path = "relay/lifecycle.rs"]
mod lifecycle;
#[path = "relay/log.rs"]
mod log;
#[path = "relay/memory.rs"]
mod memory;
#[path = "relay/places.rs"]
mod places;
#[path = "relay/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "relay/secured.rs"]
mod secured;
#[path = "relay/servers.rs"]
mod servers;
#[path = "relay/statistics.rs"]
mod statistics;
#[path = "relay/streams.rs"]
mod streams;
#[path = "relay/support.rs"]
mod support;
