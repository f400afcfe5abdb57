//! What is known of one connection at one moment.

use std::time::Duration;

use crate::registry::Key;
use crate::stage::Stage;

/// What is known of one connection at one moment: see [`Reactor::connections`](crate::Reactor::connections).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The connection.
    pub key: Key,
    /// How far it has got.
    pub stage: Stage,
    /// How long ago it was accepted, or begun.
    pub age: Duration,
    /// For how long nothing has come from the peer; where nothing has come at all, since the connection stood, or since TLS did.
    pub idle: Duration,
    /// Reads that delivered data.
    pub reads: u32,
    /// Bytes that they delivered; over TLS those of the plaintext.
    pub received: u64,
    /// Bytes that the system has taken for the peer; over TLS those of the records.
    pub sent: u64,
    /// Bytes that are queued and not sent.
    pub queued: usize,
}
