//! The end to the server behind: finding one that answers, then passing on what it says.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use trochee::{Conn, Error, Handler, Reason};

use super::pair::Pair;
use super::servers::{Candidate, Next};

/// How long it is until a client looks again whether a name has been looked up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The end to the server behind.
struct Behind {
    pair: Rc<Pair>,
    candidate: Rc<Candidate>,
    connected: bool,
}

/// Connects a client to the next address that is worth trying; `conn` is either end. Without one the client is turned away.
pub fn connect(pair: &Rc<Pair>, conn: &mut Conn<'_>) {
    let relay = &pair.relay;
    loop {
        let next = relay.servers.next(&mut pair.attempts.borrow_mut());
        let candidate = match next {
            Next::Try(candidate) => Rc::new(candidate),
            Next::Wait if pair.has_time() => {
                conn.other(pair.client).set_timer(LOOK_AGAIN);
                return;
            }
            Next::Wait | Next::Nobody => {
                // Of each address that has failed the log was told.
                if pair.attempts.borrow().is_empty() {
                    let text = "a client was turned away: no address of a server behind is known";
                    relay.log.tell(text);
                }
                return conn.other(pair.client).close();
            }
        };
        let behind = Behind {
            pair: Rc::clone(pair),
            candidate: Rc::clone(&candidate),
            connected: false,
        };
        match conn.connect(&candidate.name, behind) {
            Ok(key) => {
                pair.behind.set(Some(key));
                // Cannot fail on a connection that has just begun.
                let _ = conn.other(key).write(&pair.header);
                return;
            }
            // The end of the relay.
            Err(Error::Closed) => return conn.other(pair.client).close(),
            Err(error) => {
                let errno = error.errno().map(Errno::from_raw_os_error);
                failed(pair, &candidate, &error.to_string(), errno);
            }
        }
    }
}

/// Notes that an attempt has failed, and tells of it.
fn failed(pair: &Pair, candidate: &Candidate, why: &str, errno: Option<Errno>) {
    let (servers, log) = (&pair.relay.servers, &pair.relay.log);
    // Ours to be out of something, or a queue that is full at this moment: neither means that the server is down.
    let ours = matches!(
        errno,
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::ADDRNOTAVAIL
                | Errno::AGAIN
        )
    );
    if !ours {
        servers.failed(candidate);
    }
    let more = match errno {
        Some(Errno::ADDRNOTAVAIL) => " (all local ports are in use for connections to it)",
        _ => "",
    };
    log.tell(&format!("to {}: {why}{more}", servers.describe(candidate)));
}

impl Handler for Behind {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        self.connected = true;
        self.pair.relay.servers.answered(&self.candidate);
        conn.set_half_open(true);
        self.pair.begin(conn);
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        self.pair.forward(conn, data);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        self.pair.read_on(conn);
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        self.pair.finish(conn);
    }

    fn on_read_timeout(&mut self, conn: &mut Conn<'_>) -> bool {
        self.pair.stays(conn)
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        if self.connected {
            return self.pair.close(conn, reason);
        }
        self.pair.behind.set(None);
        // Nobody waits for it any more.
        if *reason == Reason::Local || self.pair.over.get() {
            return;
        }
        let errno = match reason {
            Reason::Os(errno) => Some(*errno),
            _ => None,
        };
        failed(&self.pair, &self.candidate, &reason.to_string(), errno);
        connect(&self.pair, conn);
    }

    fn on_shutdown(&mut self, conn: &mut Conn<'_>, _deadline: Instant) {
        conn.set_abortive(true);
    }
}
