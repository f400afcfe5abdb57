//! The read and write paths of a connection with TLS.

use rustix::io::Errno;

use super::room::{LARGEST_READ, RECEIVED};
use super::{Connection, Flush, OwnSide, Read, State, WRITES};
use crate::buffer::OutQueue;
use crate::clock::nanoseconds;
use crate::config::Config;
use crate::socket;
use crate::spares::Spares;

/// The least receive. Little is decrypted ahead for a connection that delivers small pieces.
const SMALL: usize = 4096;

impl Connection {
    /// As [`read`](Connection::read): what is decrypted already, or else what the system has.
    pub(super) fn read_tls(&mut self, buffer: &mut [u8], config: &Config, now: u64) -> Read {
        let wanted = self.wanted_room();
        let room = self.room(wanted, config, now);
        let Some(session) = &mut self.tls else {
            return Read::Nothing;
        };
        let (plain, received) = buffer.split_at_mut(LARGEST_READ);
        let plain = &mut plain[..room];
        let most = if room == LARGEST_READ {
            RECEIVED
        } else {
            room.max(SMALL)
        };

        let mut len = session.take_out(plain);
        let mut drained = true;
        let mut ended = false;
        while len == 0 && !session.is_at_end() && session.failure().is_none() {
            if self.budget == 0 {
                break;
            }
            // What is there of a record goes in front, so that most of the record is where it was received.
            let partial = Some(session.partial()).filter(|len| len + SMALL <= RECEIVED);
            let partial = partial.unwrap_or(0);
            let end = most.max(partial + SMALL);
            match socket::receive(&self.fd, &mut received[partial..end]) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => {
                    // Also where a record is not complete yet: the peer is not silent.
                    self.read_since = now;
                    self.budget = self.budget.saturating_sub(count as u32);
                    drained = count < end - partial;
                    session.take_partial(&mut received[..partial]);
                    len = session.take_in(&mut received[..partial + count], plain);
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
        self.adapt_room(len, wanted);
        Read::Data {
            len,
            full: len == wanted,
            last,
        }
    }

    /// As [`flush`](Connection::flush): plaintext from before TLS, then records.
    pub(super) fn flush_tls(&mut self, spares: &mut Spares) -> Flush {
        for _ in 0..WRITES {
            match self.send_records(&mut &[][..], spares) {
                Some(Ok(())) => {}
                None => {
                    let is_secured = self.tls.as_ref().is_none_or(|tls| tls.is_secured());
                    return if is_secured && self.out.is_empty() {
                        Flush::Done
                    } else {
                        Flush::Held
                    };
                }
                Some(Err(Errno::AGAIN)) => return self.block(),
                Some(Err(errno)) => return Flush::Failed(errno),
            }
        }
        match &self.tls {
            // The goodbye comes with the next flush.
            Some(session)
                if session.has_output()
                    || (self.may_seal() && !self.out.is_empty())
                    || self.own_side == OwnSide::Finishing =>
            {
                Flush::More
            }
            Some(session) if !session.is_secured() || !self.out.is_empty() => Flush::Held,
            _ => Flush::Done,
        }
    }

    /// Whether what is queued may go. A close sends it even where writes are paused.
    pub(super) fn may_seal(&self) -> bool {
        let is_open = matches!(self.state, State::Open | State::HalfClosed);
        !is_open || !self.writes_paused
    }

    /// Sends the records that wait, or else some of what is queued and of what stands `behind` it, which is shortened by so much. `None`:
    /// there is nothing to send.
    fn send_records(
        &mut self,
        behind: &mut &[u8],
        spares: &mut Spares,
    ) -> Option<rustix::io::Result<()>> {
        let ending =
            (self.state == State::Closing || self.own_side != OwnSide::Open) && !self.is_aborting();
        let may_seal = self.may_seal();
        let says_goodbye = ending && (may_seal || self.out.is_empty());
        let session = self.tls.as_mut()?;
        let sent = if session.has_output() {
            let sent = socket::send_queue(&self.fd, session.output());
            session.output_sent(sent.unwrap_or(0));
            sent
        } else {
            let mut nothing = OutQueue::default();
            let out = if may_seal {
                &mut self.out
            } else {
                &mut nothing
            };
            let send = |records: &[u8]| socket::send(&self.fd, records);
            session.seal_and_send(out, spares, behind, says_goodbye, send)?
        };
        self.sent += sent.unwrap_or(0) as u64;
        Some(sent.map(|_| ()))
    }

    /// Sends `data`, and before it what is queued, as far as the system takes it now. How much of `data` need not be queued.
    pub(super) fn send_through_tls(&mut self, data: &[u8], spares: &mut Spares) -> usize {
        let mut left = data;
        for _ in 0..WRITES {
            match self.send_records(&mut left, spares) {
                Some(Ok(())) if !left.is_empty() => {}
                Some(Err(Errno::AGAIN)) => {
                    self.block();
                    break;
                }
                // An error is met again by the flush that is due.
                Some(_) | None => break,
            }
        }
        data.len() - left.len()
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
    pub(crate) fn prepare_close(&mut self, spares: &mut Spares) -> bool {
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
        matches!(self.flush_tls(spares), Flush::Blocked | Flush::More)
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
