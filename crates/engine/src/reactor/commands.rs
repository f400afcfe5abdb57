//! What goes in: commands record intent, and the next turn carries it out.

use std::os::fd::RawFd;
use std::time::Duration;

use super::{Alarm, Reactor, Source};
use crate::buffer::overflows;
use crate::clock;
use crate::command::{Close, Command, command_methods};
use crate::config::{SocketKind, SocketOption};
use crate::connection::{Connection, Flush, LARGE, OwnSide, State, Timeout};
use crate::connection_info::TcpInfo;
use crate::error::{CLOSED_HERE, DESTROYED_HERE, Error, Reason};
use crate::name::Name;
use crate::registry::{Key, Registry};
use crate::socket;
use crate::timers::TimerId;

command_methods!(Reactor);

/// Writing, closing, and commands as data.
impl Reactor {
    /// Queues `data`; returns its length. The next turn sends it, together with whatever else is queued by then. Of 16 KiB and more the
    /// system gets what it takes at once, behind what is queued, and only the rest is copied into the queue.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] for a stale key or a connection that was closed, [`Error::SendBufferFull`] when the peer lags
    /// by [`Config::max_send_buffer_size`](crate::Config) and something is queued already; in that case nothing of `data` is queued, and the connection ends unless its
    /// writes are paused. [`Error::Unsupported`] for a key of something else.
    pub fn write(&mut self, key: Key, data: &[u8]) -> Result<usize, Error> {
        let limit = self.config.max_send_buffer_size;
        let mut connection = connection_of(&mut self.sources, key)?;
        if connection.state == State::Closing || connection.own_side != OwnSide::Open {
            return Err(Error::Closed);
        }
        if overflows(connection.out.len(), data.len(), limit) {
            self.make_room(key, data.len())?;
            connection = connection_of(&mut self.sources, key)?;
        }
        match connection.kind {
            SocketKind::Stream if data.len() >= LARGE => {
                connection.count_written(data.len());
                self.write_through(key, data);
                return Ok(data.len());
            }
            SocketKind::Stream => {
                connection.out.push_into(data, &mut self.spares);
                connection.count_written(data.len());
            }
            SocketKind::Datagram => connection.out.push_datagram(data),
        }
        if !std::mem::replace(&mut connection.in_flush, true) {
            self.flushes.push(key, connection.notify);
        }
        Ok(data.len())
    }

    /// Sends what is large at once, as far as the system takes it. The flush sends the rest, and tells that all is gone.
    #[inline(never)]
    pub(super) fn write_through(&mut self, key: Key, data: &[u8]) {
        let Some(Source::Connection(connection)) = self.sources.get_mut(key) else {
            return;
        };
        let (before, was_blocked) = (connection.sent, connection.blocked);
        connection.write_through(data, &mut self.spares);
        let (sent, blocked) = (connection.sent - before, connection.blocked);
        self.stats.sent_bytes += sent;
        if blocked {
            self.stats.blocked_writes += u64::from(!was_blocked);
            self.want(key);
        }
        self.queue_flush(key);
    }

    /// More is to be written than may be queued; but the peer may have caught up since it was last looked at.
    #[cold]
    fn make_room(&mut self, key: Key, len: usize) -> Result<(), Error> {
        let limit = self.config.max_send_buffer_size;
        let connection = connection_of(&mut self.sources, key)?;
        let failed = connection.may_flush()
            && matches!(connection.flush(&mut self.spares), Flush::Failed(_));
        if failed || overflows(connection.out.len(), len, limit) {
            if !connection.writes_paused {
                self.end(key, Reason::SendBufferFull);
            }
            return Err(Error::SendBufferFull);
        }
        self.want(key);
        Ok(())
    }

    /// Sends what is queued, then ends the connection; nothing more is read. TLS says goodbye with close_notify; before
    /// its handshake is complete, what was written since it began is discarded. Anything else is freed at once: a listener
    /// leaves the connections it accepted alone, a watch leaves its descriptor open, a signal regains its usual action.
    pub fn close(&mut self, key: Key) -> Close {
        let Some(source) = self.sources.get_mut(key) else {
            return Close::Gone;
        };
        if let Source::Connection(connection) = source
            && connection.state != State::Connecting
        {
            connection.state = State::Closing;
            if connection.prepare_close(&mut self.spares) {
                self.queue_flush(key);
                self.want(key);
                return Close::Flushing;
            }
        }
        self.count_closed(key, CLOSED_HERE);
        self.remove(key, true);
        Close::Done
    }

    /// Carries out a command.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] for a stale key, [`Error::Unsupported`] where the command does not apply to this kind of source, and
    /// those of the method of that command.
    pub fn apply(&mut self, key: Key, command: Command) -> Result<(), Error> {
        match command {
            Command::Pause(paused) => self.set_paused(key, paused),
            Command::PauseWrites(paused) => self.set_writes_paused(key, paused),
            Command::NotifyFlush(on) => {
                self.found(key)?.notify = on;
                if on {
                    self.queue_flush(key);
                }
                Ok(())
            }
            Command::HalfOpen(on) => {
                self.found(key)?.half_open = on;
                Ok(())
            }
            Command::Abortive(on) => {
                self.found(key)?.abortive = on;
                Ok(())
            }
            Command::Finish => {
                let connection = self.found(key)?;
                if connection.own_side == OwnSide::Open {
                    connection.own_side = OwnSide::Finishing;
                    self.queue_flush(key);
                }
                Ok(())
            }
            Command::RateLimit(bytes_per_second) => {
                let now = clock::now();
                self.found(key)?.set_rate_limit(bytes_per_second, now);
                self.want(key);
                self.serve_later(key);
                Ok(())
            }
            Command::ReadSize(size) => {
                match self.sources.get_mut(key) {
                    Some(Source::Listener(listener)) => listener.read_size = size,
                    _ => self.found(key)?.set_read_size(size),
                }
                Ok(())
            }
            Command::ReadTimeout(after) => {
                let connection = self.found(key)?;
                connection.set_read_timeout(Timeout::from_option(after));
                connection.read_since = clock::now();
                self.want(key);
                Ok(())
            }
            Command::WriteTimeout(after) => {
                let connection = self.found(key)?;
                connection.set_write_timeout(Timeout::from_option(after));
                connection.write_since = clock::now();
                connection.restart_watch();
                self.want(key);
                Ok(())
            }
            Command::Authentication(authentication) => {
                self.apply_authentication(key, authentication)
            }
            Command::StartTls(start) => self.begin_tls(key, *start),
            Command::AcceptTls { context, alpn } => self.choose_tls(key, context, alpn),
            Command::RefuseTls => {
                self.asked(key)?.refuse();
                self.fail_tls(key, "unrecognized name".into());
                Ok(())
            }
            Command::Close => match self.close(key) {
                Close::Gone => Err(Error::Closed),
                Close::Done | Close::Flushing => Ok(()),
            },
            Command::Destroy => {
                let untold = self.untold.withdraw(key);
                self.count_closed(key, DESTROYED_HERE);
                if self.discard(key) || untold {
                    Ok(())
                } else {
                    Err(Error::Closed)
                }
            }
        }
    }

    /// The connection that a command is for.
    pub(super) fn found(&mut self, key: Key) -> Result<&mut Connection, Error> {
        connection_of(&mut self.sources, key)
    }

    fn set_paused(&mut self, key: Key, paused: bool) -> Result<(), Error> {
        if let Some(Source::Listener(listener)) = self.sources.get_mut(key) {
            listener.paused = paused;
        } else if let Some(Source::Datagrams(datagrams)) = self.sources.get_mut(key) {
            datagrams.paused = paused;
        } else {
            let connection = self.found(key)?;
            if connection.paused == paused {
                return Ok(());
            }
            connection.paused = paused;
            if !paused {
                connection.detached = false;
                connection.read_since = clock::now();
            }
            self.stats.read_pauses += u64::from(paused);
        }
        self.want(key);
        if !paused {
            self.serve_later(key);
        }
        Ok(())
    }

    fn set_writes_paused(&mut self, key: Key, paused: bool) -> Result<(), Error> {
        let connection = self.found(key)?;
        if connection.writes_paused != paused {
            connection.writes_paused = paused;
            connection.write_since = clock::now();
            connection.restart_watch();
            self.stats.write_pauses += u64::from(paused);
            self.want(key);
            self.queue_flush(key);
        }
        Ok(())
    }
}

/// Questions.
impl Reactor {
    /// Bytes that are queued and not sent.
    pub fn pending(&self, key: Key) -> usize {
        match self.sources.get(key) {
            Some(Source::Connection(connection)) => connection.pending(),
            _ => 0,
        }
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
            Some(Source::Datagrams(datagrams)) => Ok(socket::set_option(&datagrams.fd, option)?),
            Some(Source::Watch(_) | Source::Signal(_) | Source::Lingering(_)) => {
                Err(Error::Unsupported)
            }
            None => Err(Error::Closed),
        }
    }

    /// What TCP knows of a connection: above all how long data has waited for its acknowledgement. `None` for what is no TCP
    /// connection.
    pub fn tcp_info(&self, key: Key) -> Option<TcpInfo> {
        match self.sources.get(key)? {
            Source::Connection(connection) if connection.kind == SocketKind::Stream => {
                TcpInfo::of(&connection.fd)
            }
            _ => None,
        }
    }

    /// The descriptor's number, for the log and for `getfd`; -1 for a signal.
    pub fn fd(&self, key: Key) -> Option<RawFd> {
        self.sources.get(key).map(Source::raw_fd)
    }

    /// The address of the other end; of a [proxied](Reactor::proxied) connection that of the client.
    pub fn peer_name(&self, key: Key) -> Option<Name> {
        match self.sources.get(key)? {
            Source::Connection(connection) => match connection.peer() {
                Some(peer) => Some(Name::Inet(peer)),
                None => socket::peer_name(&connection.fd),
            },
            _ => None,
        }
    }

    /// The address of our end; of a [proxied](Reactor::proxied) connection that which the client has connected to.
    pub fn local_name(&self, key: Key) -> Option<Name> {
        match self.sources.get(key)? {
            Source::Connection(connection) => match connection.told_destination() {
                Some(destination) => Some(Name::Inet(destination)),
                None => socket::local_name(&connection.fd),
            },
            Source::Listener(listener) => socket::local_name(&listener.fd),
            Source::Datagrams(datagrams) => socket::local_name(&datagrams.fd),
            Source::Watch(_) | Source::Signal(_) | Source::Lingering(_) => None,
        }
    }
}

/// Timers.
impl Reactor {
    /// Has [`Event::Timer`](crate::Event) come after this time, once, and never in the turn that set it.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        self.stats.timers_set += 1;
        self.timers.insert(deadline(after), Alarm::CONSUMER)
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
        self.timers.get(id) == Some(&Alarm::CONSUMER)
    }
}

/// The connection that a command is for, where the rest of the reactor is in use.
#[inline]
fn connection_of(sources: &mut Registry<Source>, key: Key) -> Result<&mut Connection, Error> {
    match sources.get_mut(key) {
        Some(Source::Connection(connection)) => Ok(connection),
        Some(_) => Err(Error::Unsupported),
        None => Err(Error::Closed),
    }
}

fn deadline(after: Duration) -> u64 {
    clock::now().saturating_add(clock::nanoseconds(after))
}
