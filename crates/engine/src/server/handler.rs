//! What a program does with its connections.

use std::time::Instant;

use super::Conn;
use crate::error::Reason;
use crate::timers::TimerId;

/// One connection's side of a program: callbacks with the names of Prosody's listeners, which do nothing unless
/// written.
///
/// All are called on the thread of the connection, one at a time, and never after
/// [`on_disconnect`](Handler::on_disconnect). They must not block: everybody else on that thread waits. A callback that panics ends its own connection, without
/// [`on_disconnect`](Handler::on_disconnect); the log is told.
///
/// A handler lives on one thread and need not be `Send`: those of one thread may share what they like. What other
/// threads are to reach goes through a [`Handle`](super::Handle).
pub trait Handler: 'static {
    /// The connection stands: it was accepted, or what [`Conn::connect`] began is established; with direct TLS once it is
    /// secured.
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// The peer sent something.
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let _ = (conn, data);
    }

    /// The connection is over, for whatever reason, or did not come about. What `conn` is asked to do for it is too
    /// late; it still leads to the others of its thread.
    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        let _ = (conn, reason);
    }

    /// The peer has ended its side and may be waiting for ours; only after [`Conn::set_half_open`]. Unless written: ends
    /// ours when all is sent.
    fn on_end(&mut self, conn: &mut Conn<'_>) {
        conn.finish();
    }

    /// What was queued is about to be sent; what is written now joins it. Asked for by [`Conn::notify_flush`].
    fn on_predrain(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// All that was queued has been handed to the system. Asked for by [`Conn::notify_flush`], and after
    /// [`on_connect`](Handler::on_connect) of an outgoing connection.
    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// Nothing came for the read timeout. True: the wait begins anew. False, which it is unless written: the connection
    /// is closed, and ends with [`Reason::ReadTimeout`].
    fn on_read_timeout(&mut self, conn: &mut Conn<'_>) -> bool {
        let _ = conn;
        false
    }

    /// Something about the connection has changed.
    fn on_status(&mut self, conn: &mut Conn<'_>, status: Status) {
        let _ = (conn, status);
    }

    /// A timer that [`Conn::set_timer`] set is due.
    fn on_timer(&mut self, conn: &mut Conn<'_>, timer: TimerId) {
        let _ = (conn, timer);
    }

    /// The server is going to end, at `deadline` the latest. Unless written: closes, which sends what is queued.
    fn on_shutdown(&mut self, conn: &mut Conn<'_>, deadline: Instant) {
        let _ = deadline;
        conn.close();
    }
}

/// What [`Handler::on_status`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The TLS handshake is complete; Prosody's `"ssl-handshake-complete"`.
    Secured,
}
