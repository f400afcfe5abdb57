//! What comes out of a turn.

use crate::connection_info::EndInfo;
use crate::error::{Error, Reason};
use crate::name::Name;
use crate::registry::Key;
use crate::timers::TimerId;

/// One thing that happened, for the consumer to act on.
///
/// Per connection the order is: [`Accepted`](Event::Accepted) or [`Connected`](Event::Connected), then any number of
/// the others, then at most one [`Closed`](Event::Closed), after which nothing comes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A listener has a new connection.
    Accepted {
        /// The listener.
        listener: Key,
        /// The new connection.
        key: Key,
    },
    /// A connection that [`connect`](crate::Reactor::connect) or [`adopt`](crate::Reactor::adopt) began is established.
    Connected {
        /// The connection.
        key: Key,
    },
    /// A TLS client said hello, and the consumer chooses what it gets:
    /// [`accept_tls`](crate::Reactor::accept_tls) or [`refuse_tls`](crate::Reactor::refuse_tls). Asked for by
    /// [`Start::choose`](crate::tls::Start).
    ClientHello {
        /// The connection.
        key: Key,
        /// The name that it wants (SNI, RFC 6066), as [`name::to_ascii`](crate::tls::name::to_ascii) has it. What is no DNS
        /// name is there, too; an IP address is not.
        server_name: Option<String>,
        /// The application protocols that it offers (RFC 7301), in its order.
        alpn: Vec<Vec<u8>>,
    },
    /// The TLS handshake is complete: what was written since [`start_tls`](crate::Reactor::start_tls) is sent, and what
    /// comes is decrypted.
    Secured {
        /// The connection.
        key: Key,
    },
    /// The peer sent something.
    Data {
        /// The connection.
        key: Key,
        /// The bytes, at most the connection's [`ReadSize`](crate::ReadSize); for UDP one datagram.
        data: &'a [u8],
        /// What is known of the bytes that follow.
        end: Chunk,
    },
    /// A datagram came to a socket of [`bind_datagrams`](crate::Reactor::bind_datagrams).
    Datagram {
        /// The socket.
        key: Key,
        /// The datagram, which may be empty. What is longer than 64 KiB is cut.
        data: &'a [u8],
        /// Who sent it; `None` where the system does not know, as for an unnamed UNIX socket.
        from: Option<Name>,
    },
    /// Such a socket has an error to tell, such as ECONNREFUSED: nobody was there for an earlier datagram (ICMP). It goes on.
    DatagramError {
        /// The socket.
        key: Key,
        /// The error.
        error: Error,
    },
    /// The peer has ended its side, and all that it sent was delivered. Asked for by
    /// [`set_half_open`](crate::Reactor::set_half_open).
    Ended {
        /// The connection.
        key: Key,
    },
    /// Nothing came for the read timeout. The wait has begun anew; a consumer that has had enough closes.
    ReadTimeout {
        /// The connection.
        key: Key,
    },
    /// Queued data is about to be sent; what is written now joins it. Asked for by
    /// [`notify_flush`](crate::Reactor::notify_flush).
    Predrain {
        /// The connection.
        key: Key,
    },
    /// All queued data has been handed to the system. Asked for by [`notify_flush`](crate::Reactor::notify_flush).
    Drain {
        /// The connection.
        key: Key,
    },
    /// The connection is over; its key names nothing any more.
    Closed {
        /// The connection.
        key: Key,
        /// Why.
        reason: Reason,
        /// What it has come to.
        info: EndInfo,
    },
    /// A watched descriptor is ready.
    Ready {
        /// The watch.
        key: Key,
        /// Reading will not block, or will tell of an error or the end.
        readable: bool,
        /// Writing will not block, or will tell of an error.
        writable: bool,
    },
    /// A watched signal arrived.
    Signal {
        /// The watch.
        key: Key,
        /// The signal's number.
        signal: i32,
    },
    /// A timer is due; its id names nothing any more.
    Timer {
        /// The timer.
        id: TimerId,
    },
    /// Something that belongs into the log.
    Notice {
        /// How much it matters.
        level: Level,
        /// Whole sentences for the operator.
        text: String,
    },
}

impl Event<'_> {
    /// The source that it is about; none for a timer and for a notice.
    pub fn key(&self) -> Option<Key> {
        match *self {
            Event::Accepted { key, .. }
            | Event::Connected { key }
            | Event::ClientHello { key, .. }
            | Event::Secured { key }
            | Event::Data { key, .. }
            | Event::Datagram { key, .. }
            | Event::DatagramError { key, .. }
            | Event::Ended { key }
            | Event::ReadTimeout { key }
            | Event::Predrain { key }
            | Event::Drain { key }
            | Event::Closed { key, .. }
            | Event::Ready { key, .. }
            | Event::Signal { key, .. } => Some(key),
            Event::Timer { .. } | Event::Notice { .. } => None,
        }
    }
}

/// What is known of the bytes that follow an [`Event::Data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The read was as large as the read size allows; more may be there.
    Full,
    /// The system had no more at that time.
    Short,
    /// The peer has ended its side of the stream; no more data follows.
    Last,
}

/// How much a [`Event::Notice`] matters, in the levels of Prosody's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// For developers.
    Debug,
    /// For the record.
    Info,
    /// Somebody should look at it.
    Warn,
    /// Something was lost.
    Error,
}

impl Level {
    /// Prosody's name of the level.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}
