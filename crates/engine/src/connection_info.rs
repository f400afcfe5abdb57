//! What is known of one connection at one moment.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::registry::Key;
use crate::socket;
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
    /// What the system knows of it, if it is a TCP connection.
    pub tcp: Option<TcpInfo>,
}

/// What the system knows of a TCP connection: TCP_INFO and SIOCOUTQ, tcp(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The time that a segment and its answer take.
    pub round_trip: Duration,
    /// Segments that were sent again, since the beginning.
    pub retransmits: u32,
    /// Bytes that were sent and that the peer's system has not acknowledged.
    pub unacknowledged: usize,
}

impl TcpInfo {
    pub(crate) fn of(fd: &OwnedFd) -> Option<TcpInfo> {
        let info = socket::tcp_info(fd)?;
        Some(TcpInfo {
            round_trip: Duration::from_micros(info.tcpi_rtt.into()),
            retransmits: info.tcpi_total_retrans,
            unacknowledged: usize::try_from(socket::unacknowledged(fd)).unwrap_or(0),
        })
    }
}
