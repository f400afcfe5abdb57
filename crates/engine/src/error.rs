//! Errors of the engine, in the words that Prosody and its modules know.

use std::borrow::Cow;
use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::poller::OpenError;

/// Why a command was refused. No event follows a command that returned an error, [`Error::SendBufferFull`] excepted.
///
/// The texts are those of LuaSocket and of Prosody's own backends: `core/portmanager` looks for `" in use"` and
/// `"permission"` in them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key names nothing any more, or something that is closing.
    #[error("closed")]
    Closed,
    /// The peer does not read and the out-queue reached [`Config::max_send_buffer_size`](crate::Config).
    /// Unless writes are paused the connection is lost, and [`Event::Closed`](crate::Event) says so.
    #[error("no space left in buffer")]
    SendBufferFull,
    /// The thread of that connection has more commands to carry out already than it may keep: see
    /// [`Handle`](crate::Handle).
    #[error("too many commands wait for that thread")]
    MailboxFull,
    /// The command does not apply to this kind of source, e.g. writing to a listener.
    #[error("not supported by this kind of handle")]
    Unsupported,
    /// TLS was begun on this connection already.
    #[error("ssl already active")]
    TlsActive,
    /// No such poller, or it cannot work here.
    #[error(transparent)]
    Backend(#[from] OpenError),
    /// The poller serves descriptors already.
    #[error("the poller cannot be changed after the first turn")]
    BackendInUse,
    /// The host name has no address.
    #[error("host or service not provided, or not known")]
    UnknownHost,
    /// What was to be adopted as a listener is a socket of another kind, or listen(2) was not called on it.
    #[error("not a listening socket")]
    NotListening,
    /// The poller cannot hold the descriptor: select(2) ends at 1024.
    #[error("{0}")]
    Poller(io::Error),
    /// A thread could not be started.
    #[error("an I/O thread could not be started: {0}")]
    Thread(String),
    /// A system call failed.
    #[error("{}", os_text(*.0))]
    Os(Errno),
}

impl Error {
    /// Whether no descriptor is left, here or in the whole system.
    pub(crate) fn is_shortage(&self) -> bool {
        matches!(self, Error::Os(Errno::MFILE | Errno::NFILE))
    }

    /// The number of the system's error, where it was the system that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Os(errno) => Some(errno.raw_os_error()),
            Error::Poller(error) => error.raw_os_error(),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match (error.errno(), error) {
            (Some(errno), _) => io::Error::from_raw_os_error(errno),
            (None, error) => io::Error::other(error),
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::Os(errno)
    }
}

/// What the log says where we have closed a connection or given it up, and where the peer did not end it in order.
pub(crate) const CLOSED_HERE: &str = "closed here";
pub(crate) const DESTROYED_HERE: &str = "destroyed here";
const CUT_OFF: &str = "cut off by the peer";

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// We closed it, and all that was queued has been handed to the system.
    Local,
    /// The peer closed it.
    PeerClosed,
    /// The peer's system ended its side, but the peer's TLS did not say so with close_notify: what came before may be cut off
    /// (RFC 8446, section 6.1). Only after [`set_half_open`](crate::Reactor::set_half_open); else it counts as `PeerClosed`.
    Truncated,
    /// The peer was silent for `read_timeout`, and its [`Handler`](crate::Handler) did not want to wait any longer.
    ReadTimeout,
    /// The peer did not answer within `connect_timeout`.
    ConnectTimeout,
    /// The peer took no data for `send_timeout`.
    WriteTimeout,
    /// The TLS handshake took longer than `tls_handshake_timeout` allows. On Prosody's own backend that is the write
    /// timer of the connection.
    HandshakeTimeout,
    /// Whoever has to begin with a PROXY header did not: who, and what was wrong.
    ProxyHeader(String),
    /// A newcomer had sent nothing after [`Config::newcomer_data_timeout`](crate::Config).
    NewcomerSilent,
    /// A newcomer had not authenticated after [`Config::newcomer_timeout`](crate::Config).
    NewcomerTimeout,
    /// A newcomer had sent more than [`Config::newcomer_bytes`](crate::Config).
    NewcomerBudget,
    /// A newcomer had to make room: no descriptor was left, or all connections held too much. Without descriptors also one that
    /// has been idle for long.
    Shed,
    /// TLS failed: the handshake, or the session later on; in OpenSSL's words.
    Tls(String),
    /// More was written than `max_send_buffer_size` allows.
    SendBufferFull,
    /// The poller cannot hold the descriptor.
    Poller(String),
    /// The system reported an error.
    Os(Errno),
}

impl Reason {
    /// Whether both sides of the stream came to their end, as far as we know: nothing was cut off.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Reason::Local | Reason::PeerClosed)
    }

    /// The number of the system's error, where it was the system that ended the connection.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Reason::Os(errno) => Some(errno.raw_os_error()),
            _ => None,
        }
    }

    /// What it is counted as: the words of the log, without what differs from one connection to the next.
    pub(crate) fn kind(&self) -> Cow<'static, str> {
        match self {
            Reason::Local => CLOSED_HERE.into(),
            Reason::PeerClosed => "closed by the peer".into(),
            Reason::Truncated => CUT_OFF.into(),
            Reason::Os(errno) if os_text(*errno) == "closed" => CUT_OFF.into(),
            Reason::HandshakeTimeout => "TLS handshake: connection timeout".into(),
            Reason::ProxyHeader(_) => "PROXY header".into(),
            Reason::Tls(_) => "TLS".into(),
            Reason::Poller(_) => "not watched".into(),
            other => other.text().unwrap_or(CLOSED_HERE.into()),
        }
    }

    /// What `ondisconnect` is told: nothing for a close of our own, else Prosody's or LuaSocket's words.
    pub fn text(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Reason::Local => return None,
            Reason::PeerClosed | Reason::Truncated => "closed".into(),
            Reason::ReadTimeout => "read timeout".into(),
            Reason::ConnectTimeout => "connection timeout".into(),
            Reason::WriteTimeout => "write timeout".into(),
            Reason::HandshakeTimeout => "connection timeout".into(),
            Reason::Tls(text) | Reason::ProxyHeader(text) => text.clone().into(),
            Reason::NewcomerSilent => "nothing was sent in time".into(),
            Reason::NewcomerTimeout => "not authenticated in time".into(),
            Reason::NewcomerBudget => "too much was sent before authentication".into(),
            Reason::Shed => "out of resources".into(),
            Reason::SendBufferFull => "no space left in buffer".into(),
            Reason::Poller(text) => text.clone().into(),
            Reason::Os(errno) => os_text(*errno),
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().unwrap_or(CLOSED_HERE.into()))
    }
}

/// Of the kind that the standard library would give, and with the text of [`Reason::text`] where the system gave none.
impl From<Reason> for io::Error {
    fn from(reason: Reason) -> io::Error {
        let kind = match &reason {
            Reason::Os(errno) => return io::Error::from(*errno),
            Reason::Local | Reason::PeerClosed => io::ErrorKind::NotConnected,
            Reason::Truncated => io::ErrorKind::UnexpectedEof,
            Reason::ReadTimeout
            | Reason::ConnectTimeout
            | Reason::WriteTimeout
            | Reason::HandshakeTimeout
            | Reason::NewcomerSilent
            | Reason::NewcomerTimeout => io::ErrorKind::TimedOut,
            Reason::ProxyHeader(_) | Reason::Tls(_) => io::ErrorKind::InvalidData,
            Reason::NewcomerBudget | Reason::Shed | Reason::SendBufferFull | Reason::Poller(_) => {
                io::ErrorKind::Other
            }
        };
        io::Error::new(kind, reason.to_string())
    }
}

/// LuaSocket's text for an error of the system; strerror(3)'s where it has none of its own.
fn os_text(errno: Errno) -> Cow<'static, str> {
    match errno {
        Errno::ADDRINUSE => "address already in use".into(),
        Errno::ISCONN => "already connected".into(),
        Errno::ACCESS => "permission denied".into(),
        Errno::CONNREFUSED => "connection refused".into(),
        // To whoever talks over the connection, a reset is one way of its being closed.
        Errno::CONNABORTED | Errno::CONNRESET | Errno::PIPE => "closed".into(),
        Errno::TIMEDOUT => "timeout".into(),
        other => strerror(other).into(),
    }
}

fn strerror(errno: Errno) -> String {
    let mut text = io::Error::from(errno).to_string();
    if let Some(end) = text.find(" (os error") {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_that_prosody_looks_for() {
        assert!(
            Error::from(Errno::ADDRINUSE)
                .to_string()
                .contains(" in use")
        );
        assert!(
            Error::from(Errno::ACCESS)
                .to_string()
                .contains("permission")
        );
        assert_eq!(
            Error::from(Errno::HOSTUNREACH).to_string(),
            "No route to host"
        );
        assert_eq!(
            Reason::Os(Errno::CONNRESET).text().as_deref(),
            Some("closed")
        );
        assert_eq!(Reason::Local.text(), None);
    }
}
