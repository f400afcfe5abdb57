//! What the connections of one relay share: where they lead, and the limits that they keep.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use trochee::Network;
use trochee::server::Contexts;

use super::log::Log;
use super::options::Version;
use super::servers::Servers;

/// What the connections of one relay have in common.
pub struct Relay {
    pub servers: Arc<Servers>,
    pub contexts: Option<Contexts>,
    pub proxy_protocol: Option<Version>,
    /// The fronts whose PROXY header is believed; none where there is no front.
    pub fronts: Vec<Network>,
    pub buffer: usize,
    pub connect_timeout: Duration,
    /// How long both sides may be silent; `None` for no limit.
    pub idle_timeout: Option<Duration>,
    /// The same once one of them has ended.
    pub half_close_timeout: Option<Duration>,
    pub clients: Arc<AtomicUsize>,
    pub log: Arc<Log>,
}
