//! What is known of one connection at one moment.

use std::net::SocketAddr;
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
    /// The address of the peer; of a proxied connection that of the client. `None` for a UNIX socket, and while it connects.
    pub peer: Option<SocketAddr>,
    /// Whether a listener accepted it.
    pub is_accepted: bool,
    /// The version of TLS that was agreed on, such as `"TLSv1.3"`, or `"handshake"` until one is; `None` without TLS.
    pub tls: Option<&'static str>,
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

/// What a connection has come to: see [`Event::Closed`](crate::Event::Closed) and [`Reactor::end_info`](crate::Reactor::end_info).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndInfo {
    /// How long ago it was accepted, or begun.
    pub age: Duration,
    /// Bytes that it has delivered; over TLS those of the plaintext.
    pub received: u64,
    /// Bytes that the system has taken for the peer; over TLS those of the records.
    pub sent: u64,
    /// Whether TLS was begun and its handshake is not complete.
    pub in_handshake: bool,
}

/// What the system knows of a TCP connection: TCP_INFO and SIOCOUTQ, tcp(7). Times are as precise as the system's clock of TCP, some
/// milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The time that a segment and its answer take, smoothed.
    pub round_trip: Duration,
    /// Segments that were sent again, since the beginning.
    pub retransmits: u32,
    /// Bytes that were handed to the system, and that the peer's system has not acknowledged.
    pub unacknowledged: usize,
    /// For how long such bytes have waited: zero where none do. Once something was sent again, it is the time since the last
    /// acknowledgement of whatever, and so an upper bound.
    pub unacknowledged_for: Duration,
    /// How often the oldest of these bytes were sent again.
    pub attempts: u32,
    /// Since the peer's system last acknowledged anything.
    pub since_acknowledged: Duration,
    /// Since something was last sent.
    pub since_sent: Duration,
    /// Since something last came.
    pub since_received: Duration,
}

impl TcpInfo {
    pub(crate) fn of(fd: &OwnedFd) -> Option<TcpInfo> {
        let info = socket::tcp_info(fd)?;
        let milliseconds = |count: u32| Duration::from_millis(count.into());
        let unacknowledged = usize::try_from(socket::unacknowledged(fd)).unwrap_or(0);
        let since_acknowledged = milliseconds(info.tcpi_last_ack_recv);
        let since_sent = milliseconds(info.tcpi_last_data_sent);
        Some(TcpInfo {
            round_trip: Duration::from_micros(info.tcpi_rtt.into()),
            retransmits: info.tcpi_total_retrans,
            unacknowledged,
            unacknowledged_for: match (unacknowledged, info.tcpi_retransmits) {
                (0, _) => Duration::ZERO,
                (_, 0) => since_sent,
                _ => since_acknowledged,
            },
            attempts: info.tcpi_retransmits.into(),
            since_acknowledged,
            since_sent,
            since_received: milliseconds(info.tcpi_last_data_recv),
        })
    }
}
