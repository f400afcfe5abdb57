//! The read and write paths of a connection with TLS.

use rustix::io::Errno;

use super::{Connection, Flush, OwnSide, Read, State, WRITES};
use crate::clock::nanoseconds;
use crate::config::{Config, ReadSize};
use crate::socket;

/// The end of the read buffer takes what is received, the rest what is decrypted.
const RECEIVED: usize = 16 * 1024;

/// A receive for a connection that delivers small pieces. Less is then decrypted ahead.
const SMALL: usize = 4096;

impl Connection {
    /// As [`read`](Connection::read): what is decrypted already, or else what the system has.
    pub(super) fn read_tls(&mut self, buffer: &mut [u8], config: &Config, now: u64) -> Read {
        let Some(session) = &mut self.tls else {
            return Read::Nothing;
        };
        let wanted = match self.read_size {
            ReadSize::UpTo(size) => size,
            ReadSize::All => usize::MAX,
        };
        let split = buffer.len() - RECEIVED;
        let (plain, received) = buffer.split_at_mut(split);
        let mut room = wanted
            .min(config.max_receive_buffer_size)
            .clamp(1, plain.len());
        if let Some(limit) = self.rare.as_mut().and_then(|rare| rare.limit.as_mut()) {
            room = room.min(limit.allowance(now));
        }
        let most = if room > 2 * RECEIVED { RECEIVED } else { SMALL };
        let plain = &mut plain[..room];

        let mut len = session.take_out(plain);
        let mut drained = true;
        let mut ended = false;
        while len == 0 && !session.is_at_end() && session.failure().is_none() {
            if self.budget == 0 {
                break;
            }
            match socket::receive(&self.fd, &mut received[..most]) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => {
                    // Also where a record is not complete yet: the peer is not silent.
                    self.read_since = now;
                    self.budget = self.budget.saturating_sub(count);
                    drained = count < most;
                    len = session.take_in(&mut received[..count], plain);
                }
                Err(Errno::AGAIN) => break,
                Err(errno) => return Read::Failed(errno),
            }
            if drained && len == 0 {
                break;
            }
        }
        if len == 0 {
            if let Some(text) = session.failure() {
                return Read::Broken(text.to_owned());
            }
            if session.is_at_end() {
                return Read::End;
            }
            if ended {
                return if self.half_open {
                    Read::Truncated
                } else {
                    Read::End
                };
            }
            return Read::Nothing;
        }
        let more = session.has_unread() || session.failure().is_some();
        self.read_since = now;
        if let Some(limit) = self.rare.as_mut().and_then(|rare| rare.limit.as_mut()) {
            limit.spend(len, now);
        }
        let last = !more
            && !self.half_open
            && (session.is_at_end()
                || (drained && self.hung_up && matches!(socket::peek(&self.fd), Ok(0))));
        self.readable = !last && (!drained || more || self.hung_up || session.is_at_end());
        Read::Data {
            len,
            full: len == wanted,
            last,
        }
    }

    /// As [`flush`](Connection::flush): plaintext from before TLS, then records.
    pub(super) fn flush_tls(&mut self) -> Flush {
        let is_open = matches!(self.state, State::Open | State::HalfClosed);
        let may_seal = !is_open || !self.writes_paused;
        let ending =
            (self.state == State::Closing || self.own_side != OwnSide::Open) && !self.is_aborting();
        for _ in 0..WRITES {
            let Some(session) = &mut self.tls else {
                return Flush::Done;
            };
            if may_seal {
                session.seal(&mut self.out);
            }
            if ending && self.out.is_empty() {
                session.say_goodbye();
            }
            if !session.has_output() {
                return if session.is_secured() && self.out.is_empty() {
                    Flush::Done
                } else {
                    Flush::Held
                };
            }
            match socket::send_queue(&self.fd, session.output()) {
                Ok(count) => {
                    self.sent += count as u64;
                    session.output_sent(count);
                }
                Err(Errno::AGAIN) => return self.block(),
                Err(errno) => return Flush::Failed(errno),
            }
        }
        match &self.tls {
            // The goodbye comes with the next flush.
            Some(session)
                if session.has_output()
                    || (may_seal && !self.out.is_empty())
                    || self.own_side == OwnSide::Finishing =>
            {
                Flush::More
            }
            Some(session) if !session.is_secured() || !self.out.is_empty() => Flush::Held,
            _ => Flush::Done,
        }
    }

    /// Reads for the handshake: first what the consumer gave back.
    pub(crate) fn receive_handshake(&mut self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self.read_taken_back(buffer) {
            0 => socket::receive(&self.fd, buffer),
            len => Ok(len),
        }
    }

    /// Whether a read finds something that the poller does not know of.
    pub(crate) fn holds_input(&self) -> bool {
        self.has_taken_back() || self.tls.as_ref().is_some_and(|session| session.has_input())
    }

    /// Whether the TLS session has something to say of its own.
    pub(crate) fn has_records(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|session| session.has_output())
    }

    /// When the TLS handshake has taken too long.
    pub(crate) fn handshake_deadline(&self, config: &Config) -> Option<u64> {
        self.tls
            .as_ref()?
            .deadline(nanoseconds(config.tls_handshake_timeout))
    }

    /// Whether TLS was begun and is not there yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|session| !session.is_secured())
    }

    /// Bytes that are queued and not sent.
    pub(crate) fn pending(&self) -> usize {
        self.out.len() + self.tls.as_ref().map_or(0, |tls| tls.output_left())
    }

    /// Whether anything is still to be sent, records included.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.out.is_empty() || self.has_records()
    }

    /// Before a close: whether something is still to be sent, after what the system takes at once.
    pub(crate) fn prepare_close(&mut self) -> bool {
        let Some(session) = &mut self.tls else {
            return !self.out.is_empty();
        };
        if !session.is_secured() {
            // As on a connection that is still being established: nobody is there to read it.
            self.out = Default::default();
            return session.has_output();
        }
        if !self.out.is_empty() || self.blocked || self.abortive {
            return self.has_unsent() || self.blocked;
        }
        // Nothing but the goodbye, which the system nearly always takes.
        session.say_goodbye();
        matches!(self.flush_tls(), Flush::Blocked | Flush::More)
    }

    /// Sends close_notify if the system takes it now, at an end that nothing can delay.
    pub(crate) fn say_goodbye(&mut self) {
        let may_say = !self.blocked && !self.is_aborting();
        if let Some(session) = &mut self.tls
            && may_say
        {
            session.say_goodbye();
            if let Ok(count) = socket::send_queue(&self.fd, session.output()) {
                session.output_sent(count);
            }
        }
    }
}
