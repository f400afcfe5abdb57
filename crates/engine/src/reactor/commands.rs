//! What goes in: commands record intent, and the next turn carries it out.

use std::os::fd::RawFd;
use std::time::Duration;

use super::{Alarm, Reactor, Source};
use crate::clock;
use crate::config::{ReadSize, SocketKind, SocketOption};
use crate::connection::{Flush, OwnSide, State, Timeout};
use crate::error::{Error, Reason};
use crate::registry::Key;
use crate::socket::{self, Name};
use crate::timers::TimerId;

/// What [`Reactor::close`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Nothing was queued: it is gone, and no event follows.
    Done,
    /// What is queued is being sent; [`Event::Closed`](crate::Event) follows.
    Flushing,
    /// There is nothing under that key. If the end of it was not told yet, it will be.
    Gone,
}

/// Connections: writing, closing, flow control. A stale key is never an error worth more than `false`.
impl Reactor {
    /// Queues `data`; returns its length. The next turn sends it, together with whatever else is queued by then.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] for a stale key or a connection that was closed, [`Error::SendBufferFull`] when the peer lags
    /// by [`Config::max_send_buffer_size`](crate::Config) and something is queued already; in that case nothing of `data` is queued, and the connection ends unless its
    /// writes are paused. [`Error::Unsupported`] for a key of something else.
    pub fn write(&mut self, key: Key, data: &[u8]) -> Result<usize, Error> {
        let limit = self.config.max_send_buffer_size;
        let connection = match self.sources.get_mut(key) {
            Some(Source::Connection(connection)) => connection,
            Some(Source::Remote(_)) => return self.write_remote(key, data),
            Some(_) => return Err(Error::Unsupported),
            None => return Err(Error::Closed),
        };
        if connection.state == State::Closing || connection.own_side != OwnSide::Open {
            return Err(Error::Closed);
        }
        if connection.overflows(data.len(), limit) {
            // The peer may have caught up since it was last looked at.
            let failed = connection.may_flush() && matches!(connection.flush(), Flush::Failed(_));
            if failed || connection.overflows(data.len(), limit) {
                if !connection.writes_paused {
                    self.end(key, Reason::SendBufferFull);
                }
                return Err(Error::SendBufferFull);
            }
            self.want(key);
            self.set_alarm(key);
        }
        let Some(connection) = self.connection(key) else {
            return Err(Error::Closed);
        };
        match connection.kind {
            SocketKind::Stream => {
                connection.out.push(data);
                connection.written += data.len() as u64;
            }
            SocketKind::Datagram => connection.out.push_datagram(data),
        }
        self.queue_flush(key);
        Ok(data.len())
    }

    /// Asks for [`Event::Predrain`](crate::Event) before the next flush and [`Event::Drain`](crate::Event) when the queue
    /// is empty, be it already. Once; `false` takes it back.
    pub fn notify_flush(&mut self, key: Key, on: bool) {
        if let Some(connection) = self.connection(key) {
            connection.notify = on;
            if on {
                self.queue_flush(key);
            }
        } else {
            self.notify_remote(key, on);
        }
    }

    /// Bytes that are queued and not sent.
    pub fn pending(&self, key: Key) -> usize {
        match self.sources.get(key) {
            Some(Source::Connection(connection)) => connection.pending(),
            Some(Source::Remote(remote)) => remote.pending(),
            _ => 0,
        }
    }

    /// Sends what is queued, then ends the connection; nothing more is read. TLS says goodbye with close_notify; before
    /// its handshake is complete, what was written since it began is dropped. Anything else is freed at once: a listener
    /// leaves the connections it accepted alone, a watch leaves its descriptor open, a signal regains its usual action.
    pub fn close(&mut self, key: Key) -> Close {
        let Some(source) = self.sources.get_mut(key) else {
            return Close::Gone;
        };
        if let Source::Remote(_) = source {
            return self.close_remote(key);
        }
        if let Source::Connection(connection) = source
            && connection.state != State::Connecting
            && connection.prepare_close()
        {
            connection.state = State::Closing;
            self.queue_flush(key);
            self.want(key);
            self.set_alarm(key);
            return Close::Flushing;
        }
        self.remove(key, true);
        Close::Done
    }

    /// Has the two sides of a stream end one by one: [`Event::Ended`](crate::Event) tells that the peer has ended its own,
    /// the connection stays and can be written to until [`finish`](Reactor::finish) or [`close`](Reactor::close). For
    /// those who pass both ends on, as a proxy does.
    pub fn set_half_open(&mut self, key: Key, on: bool) -> bool {
        let Some(connection) = self.connection(key) else {
            return self.pass_on(key, move |reactor, key| {
                reactor.set_half_open(key, on);
            });
        };
        connection.half_open = on;
        true
    }

    /// Ends our side of a stream once all that is queued is sent: close_notify where there is TLS, then FIN. What the peer
    /// still sends is delivered; when it has ended its side as well, [`Event::Closed`](crate::Event) follows.
    pub fn finish(&mut self, key: Key) -> bool {
        let Some(connection) = self.connection(key) else {
            if let Some(Source::Remote(remote)) = self.sources.get_mut(key) {
                remote.finished = true;
            }
            return self.pass_on(key, |reactor, key| {
                reactor.finish(key);
            });
        };
        if connection.own_side == OwnSide::Open {
            connection.own_side = OwnSide::Finishing;
            self.queue_flush(key);
        }
        true
    }

    /// Frees what `key` names, and what it had queued with it. No event follows. False for a stale key.
    pub fn destroy(&mut self, key: Key) -> bool {
        let untold = self.over.len();
        self.over.retain(|(over, _)| *over != key);
        if let Some(Source::Remote(_)) = self.sources.get(key) {
            self.destroy_remote(key);
            return true;
        }
        self.remove(key, false) || self.over.len() < untold
    }

    /// Stops reading, or accepting. Nothing is lost: what the peer sends stays in the system, which makes the peer wait.
    pub fn pause(&mut self, key: Key) -> bool {
        self.set_paused(key, true)
    }

    /// Reads, or accepts, again. The read timeout begins anew.
    pub fn resume(&mut self, key: Key) -> bool {
        self.set_paused(key, false)
    }

    fn set_paused(&mut self, key: Key, paused: bool) -> bool {
        let now = clock::now();
        match self.sources.get_mut(key) {
            Some(Source::Connection(connection)) => {
                if connection.paused == paused {
                    return true;
                }
                connection.paused = paused;
                if !paused {
                    connection.detached = false;
                    connection.read_since = now;
                }
            }
            Some(Source::Listener(listener)) => {
                listener.paused = paused;
                if listener.lent {
                    self.tell_lent(key, move |reactor, key| {
                        reactor.set_paused(key, paused);
                    });
                }
            }
            Some(Source::Remote(_)) => {
                self.pause_remote(key, paused);
                return true;
            }
            Some(Source::Watch(_) | Source::Signal(_) | Source::Lingering(_)) | None => {
                return false;
            }
        }
        self.want(key);
        self.set_alarm(key);
        if !paused {
            self.serve_later(key);
        }
        true
    }

    /// Queues what is written without sending it.
    pub fn pause_writes(&mut self, key: Key) -> bool {
        self.set_writes_paused(key, true)
    }

    /// Sends again.
    pub fn resume_writes(&mut self, key: Key) -> bool {
        self.set_writes_paused(key, false)
    }

    fn set_writes_paused(&mut self, key: Key, paused: bool) -> bool {
        let now = clock::now();
        if let Some(Source::Remote(remote)) = self.sources.get_mut(key) {
            if std::mem::replace(&mut remote.writes_paused, paused) != paused {
                self.queue_flush(key);
                self.tell_remote(key, move |reactor, key| {
                    reactor.set_writes_paused(key, paused);
                });
            }
            return true;
        }
        let Some(connection) = self.connection(key) else {
            return false;
        };
        if connection.writes_paused != paused {
            connection.writes_paused = paused;
            connection.write_since = now;
            self.want(key);
            self.queue_flush(key);
            self.set_alarm(key);
        }
        true
    }

    /// Limits reading to so many bytes a second; zero or less removes the limit. At once it lets through what a tenth
    /// of a second brings.
    pub fn set_rate_limit(&mut self, key: Key, bytes_per_second: f64) -> bool {
        let now = clock::now();
        let Some(connection) = self.connection(key) else {
            return self.pass_on(key, move |reactor, key| {
                reactor.set_rate_limit(key, bytes_per_second);
            });
        };
        connection.set_rate_limit(bytes_per_second, now);
        self.want(key);
        self.serve_later(key);
        true
    }

    /// Changes how much one read delivers; on a listener, for connections that it accepts from now on.
    pub fn set_read_size(&mut self, key: Key, size: ReadSize) -> bool {
        match self.sources.get_mut(key) {
            Some(Source::Connection(connection)) => connection.read_size = size,
            Some(Source::Listener(listener)) => {
                listener.read_size = size;
                if listener.lent {
                    self.tell_lent(key, move |reactor, key| {
                        reactor.set_read_size(key, size);
                    });
                }
            }
            Some(Source::Remote(_)) => {
                return self.pass_on(key, move |reactor, key| {
                    reactor.set_read_size(key, size);
                });
            }
            Some(Source::Watch(_) | Source::Signal(_) | Source::Lingering(_)) | None => {
                return false;
            }
        }
        true
    }

    /// Gives one connection a read timeout of its own, counted from now; `None` for none at all.
    pub fn set_read_timeout(&mut self, key: Key, after: Option<Duration>) -> bool {
        let now = clock::now();
        let Some(connection) = self.connection(key) else {
            return self.pass_on(key, move |reactor, key| {
                reactor.set_read_timeout(key, after);
            });
        };
        connection.read_timeout = Timeout::from_option(after);
        connection.read_since = now;
        self.set_alarm(key);
        true
    }

    /// Gives one connection a timeout of its own for connecting and sending, counted from now; `None` for none at all.
    pub fn set_write_timeout(&mut self, key: Key, after: Option<Duration>) -> bool {
        let now = clock::now();
        let Some(connection) = self.connection(key) else {
            return self.pass_on(key, move |reactor, key| {
                reactor.set_write_timeout(key, after);
            });
        };
        connection.write_timeout = Timeout::from_option(after);
        connection.write_since = now;
        self.set_alarm(key);
        true
    }

    /// Has an I/O thread carry out a command, if `key` is one of its connections.
    fn pass_on(&mut self, key: Key, job: impl FnOnce(&mut Reactor, Key) + Send + 'static) -> bool {
        let there = matches!(self.sources.get(key), Some(Source::Remote(_)));
        if there {
            self.tell_remote(key, job);
        }
        there
    }

    /// Sets an option of the socket.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] for a stale key, [`Error::Os`] where the socket does not have the option.
    pub fn set_option(&mut self, key: Key, option: SocketOption) -> Result<(), Error> {
        match self.sources.get(key) {
            Some(Source::Connection(connection)) => Ok(socket::set_option(&connection.fd, option)?),
            Some(Source::Listener(listener)) => Ok(socket::set_option(&listener.fd, option)?),
            Some(Source::Remote(_)) => self
                .ask_remote(key, move |reactor, key| reactor.set_option(key, option))
                .unwrap_or(Err(Error::Closed)),
            Some(Source::Watch(_) | Source::Signal(_) | Source::Lingering(_)) => {
                Err(Error::Unsupported)
            }
            None => Err(Error::Closed),
        }
    }

    /// The descriptor's number, for the log and for `getfd`; -1 for a signal.
    pub fn fd(&self, key: Key) -> Option<RawFd> {
        self.sources.get(key).map(Source::raw_fd)
    }

    /// The address of the other end.
    pub fn peer_name(&self, key: Key) -> Option<Name> {
        match self.sources.get(key)? {
            Source::Connection(connection) => match connection.peer {
                Some(peer) => Some(Name::Inet(peer)),
                None => socket::peer_name(&connection.fd),
            },
            Source::Remote(remote) => remote.peer.clone(),
            _ => None,
        }
    }

    /// The address of our end.
    pub fn local_name(&self, key: Key) -> Option<Name> {
        match self.sources.get(key)? {
            Source::Connection(connection) => socket::local_name(&connection.fd),
            Source::Remote(remote) => remote.local.clone(),
            Source::Listener(listener) => socket::local_name(&listener.fd),
            Source::Watch(_) | Source::Signal(_) | Source::Lingering(_) => None,
        }
    }
}

/// Timers.
impl Reactor {
    /// Has [`Event::Timer`](crate::Event) come after this time, once, and never in the turn that set it.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        self.timers.insert(deadline(after), Alarm::Consumer)
    }

    /// Takes a timer back, even one that is due in this turn and was not handed out yet. False for a stale id.
    pub fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.is_consumers(id) && self.timers.cancel(id).is_some()
    }

    /// Moves a timer to this time from now. False for a stale id.
    pub fn reset_timer(&mut self, id: TimerId, after: Duration) -> bool {
        self.is_consumers(id) && self.timers.reschedule(id, deadline(after))
    }

    /// How long it is until a timer is due; zero where it waits for the turn to get there. `None` for a stale id.
    pub fn time_left(&self, id: TimerId) -> Option<Duration> {
        let deadline = self.is_consumers(id).then(|| self.timers.deadline(id))??;
        Some(Duration::from_nanos(deadline.saturating_sub(clock::now())))
    }

    /// Ids can be made from any number, and must not reach the timers of connections.
    fn is_consumers(&self, id: TimerId) -> bool {
        matches!(self.timers.get(id), Some(Alarm::Consumer))
    }
}

fn deadline(after: Duration) -> u64 {
    clock::now().saturating_add(clock::nanoseconds(after))
}
