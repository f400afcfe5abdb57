//! What goes through a session: records in, plaintext out, and the other way; and what it tells of itself.

use rustls::{HandshakeKind, ProtocolVersion};

use super::machine::{Exchange, Send};
use super::records::Records;
use super::{Phase, Session, TOO_LONG};
use crate::append::append;
use crate::buffer::OutQueue;
use crate::spares::Spares;
use crate::tls::pkix::Errors;
use crate::tls::transcript::Restoring;
use crate::tls::{Context, Info, ciphers, text};

/// The longest plaintext of a record (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;

/// Records that may wait for the system to send them. More would be memory for nothing.
const MOST_SEALED: usize = 64 * 1024;

/// The beginning of a record or handshake message that may wait for the rest. No certificate chain is longer.
const MOST_HELD: usize = 64 * 1024;

/// All of a handshake: the longest chain, and what comes with it. rustls keeps the chain, and in TLS 1.2 all that was said.
const MOST_HANDSHAKE: usize = 80 * 1024;

/// The beginning of a record or message that may wait once the handshake is complete. All that comes then besides data are tickets and
/// new keys, and they fit into a record.
const MOST_HELD_LATER: usize = 20 * 1024;

impl Session {
    /// Takes what was received; what it decrypts to goes to `room`, and what does not fit stays for
    /// [`take_out`](Session::take_out). Returns how much of the room is filled.
    pub(crate) fn take_in(&mut self, bytes: &mut [u8], room: &mut [u8]) -> usize {
        let Phase::Running(machine) = &mut self.phase else {
            return 0;
        };
        // After close_notify nothing counts.
        if self.failed.is_some() || self.peer_closed {
            return 0;
        }
        let hides_name = self.hides_name && !self.secured;
        let most_held = if self.secured {
            MOST_HELD_LATER
        } else {
            MOST_HELD
        };
        let _restoring = hides_name.then(Restoring::new);
        let (filled, result) = Records::lend(|records| {
            let mut exchange = Exchange::new(records, room, &mut self.unread);
            let (consumed, result) = if self.held.is_empty() {
                let (consumed, result) = machine.run(bytes, &mut exchange, Send::Nothing);
                self.held = bytes[consumed..].to_vec();
                (consumed, result)
            } else {
                append(&mut self.held, bytes, most_held);
                let (consumed, result) = machine.run(&mut self.held, &mut exchange, Send::Nothing);
                self.held.drain(..consumed);
                if consumed > RECORD {
                    // What is left is the beginning of the next message, which needs no room for a chain.
                    self.held.shrink_to_fit();
                }
                (consumed, result)
            };
            if !self.secured {
                self.kept += consumed;
            }
            self.peer_closed = exchange.peer_closed;
            let filled = exchange.filled;
            self.wire.push(records.bytes());
            (filled, result)
        });
        if let Err(error) = result {
            // What was good before is still delivered.
            self.failed = Some(text::of_agreed(&error, machine.common().protocol_version()));
        } else if self.held.len() > most_held
            || (!self.secured && self.held.len() + self.kept > MOST_HANDSHAKE)
        {
            self.failed = Some(TOO_LONG.into());
        }
        if self.held.is_empty() || self.failed.is_some() || self.peer_closed {
            self.held = Vec::new();
        }
        filled
    }

    /// How many bytes were received and are not a whole record yet, of a session whose handshake is complete.
    pub(crate) fn partial(&self) -> usize {
        if self.secured { self.held.len() } else { 0 }
    }

    /// Moves the [partial](Session::partial) record to `front`, which has room for it and no more. It has to come again, in front of what
    /// [`take_in`](Session::take_in) is given next.
    pub(crate) fn take_partial(&mut self, front: &mut [u8]) {
        if !front.is_empty() {
            front.copy_from_slice(&std::mem::take(&mut self.held));
        }
    }

    /// Moves bytes that are decrypted already to `room`.
    pub(crate) fn take_out(&mut self, room: &mut [u8]) -> usize {
        let unread = &self.unread[self.delivered..];
        let count = unread.len().min(room.len());
        room[..count].copy_from_slice(&unread[..count]);
        self.delivered += count;
        if self.delivered == self.unread.len() {
            self.unread = Vec::new();
            self.delivered = 0;
        }
        count
    }

    /// Bytes that were received and are not whole, or not delivered; and those of the handshake that are kept.
    pub(crate) fn input_held(&self) -> usize {
        self.held.len() + self.unread.len() + self.kept
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether a read finds something without the socket: bytes, or an end.
    pub(crate) fn has_input(&self) -> bool {
        self.secured
            && (self.has_unread()
                || self.peer_closed
                || self.failed.is_some()
                || self.tell_connected)
    }

    /// The peer said that it is done (close_notify), and all that it sent before was delivered.
    pub(crate) fn is_at_end(&self) -> bool {
        self.peer_closed && !self.has_unread()
    }

    /// What broke the session, once all that came before was delivered.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.as_deref().filter(|_| !self.has_unread())
    }

    /// Whether there is something to send besides what the consumer wrote: records, plaintext from before.
    pub(crate) fn has_output(&self) -> bool {
        !self.wire.is_empty()
    }

    /// How many bytes of that.
    pub(crate) fn output_left(&self) -> usize {
        self.wire.len()
    }

    /// Makes records of what is queued and then of what stands `behind` it, which it shortens by so much: as many as may wait for the
    /// system. Behind all of that it may [say goodbye](Session::say_goodbye). `send` is given them, and what it does not take is kept.
    /// `None`: there are none.
    ///
    /// Nothing that was kept before may be left.
    pub(crate) fn seal_and_send(
        &mut self,
        out: &mut OutQueue,
        spares: &mut Spares,
        behind: &mut &[u8],
        says_goodbye: bool,
        send: impl FnOnce(&[u8]) -> rustix::io::Result<usize>,
    ) -> Option<rustix::io::Result<usize>> {
        Records::lend(|records| {
            self.seal(out, spares, behind, records);
            if says_goodbye && out.is_empty() && behind.is_empty() {
                self.say(Send::CloseNotify, records);
            }
            if records.is_empty() {
                return None;
            }
            let sent = send(records.bytes());
            self.wire.push(&records.bytes()[sent.unwrap_or(0)..]);
            Some(sent)
        })
    }

    fn seal(
        &mut self,
        out: &mut OutQueue,
        spares: &mut Spares,
        behind: &mut &[u8],
        records: &mut Records,
    ) {
        while records.len() < MOST_SEALED
            && let Some(front) = out.front()
        {
            let piece = &front[..front.len().min(RECORD)];
            if !self.say(Send::Data(piece), records) {
                return;
            }
            let count = piece.len();
            out.consume_into(count, spares);
        }
        while records.len() < MOST_SEALED && out.is_empty() && !behind.is_empty() {
            let (piece, rest) = behind.split_at(behind.len().min(RECORD));
            if !self.say(Send::Data(piece), records) {
                return;
            }
            *behind = rest;
        }
    }

    /// Queues close_notify (RFC 8446, section 6.1), once.
    pub(crate) fn say_goodbye(&mut self) {
        Records::lend(|records| {
            self.say(Send::CloseNotify, records);
            self.wire.push(records.bytes());
        });
    }

    fn say(&mut self, what: Send<'_>, records: &mut Records) -> bool {
        let Phase::Running(machine) = &mut self.phase else {
            return false;
        };
        if !self.secured || self.failed.is_some() {
            return false;
        }
        // No record is complete in there: nothing but the writing comes of it.
        let mut exchange = Exchange::new(records, &mut [], &mut self.unread);
        match machine.run(&mut self.held, &mut exchange, what) {
            (_, Ok(said)) => said,
            (_, Err(error)) => {
                self.failed = Some(text::of(&error));
                false
            }
        }
    }

    /// What is to be sent.
    pub(crate) fn output(&self) -> &OutQueue {
        &self.wire
    }

    /// So many bytes of that are sent.
    pub(crate) fn output_sent(&mut self, count: usize) {
        self.wire.consume(count);
    }

    /// What was agreed on; `None` before the end of the handshake.
    pub(crate) fn info(&self) -> Option<Info> {
        let Phase::Running(machine) = &self.phase else {
            return None;
        };
        let tls = machine.common();
        let suite = tls.negotiated_cipher_suite().filter(|_| self.secured)?;
        let (cipher, bits) = ciphers::name(suite.suite())?;
        Some(Info {
            protocol: self.version()?,
            cipher,
            bits,
            group: tls
                .negotiated_key_exchange_group()
                .map(|group| format!("{:?}", group.name())),
            server_name: self.server_name.clone(),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    /// The version that was agreed on; `None` before the end of the handshake.
    pub(crate) fn version(&self) -> Option<&'static str> {
        let Phase::Running(machine) = &self.phase else {
            return None;
        };
        let version = machine.common().protocol_version();
        Some(match version.filter(|_| self.secured)? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        })
    }

    /// Our own certificates and rules.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The peer's certificates in DER, its own first.
    pub(crate) fn peer_certificates(&self) -> Vec<Vec<u8>> {
        match &self.phase {
            Phase::Running(machine) => machine
                .common()
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|der| der.to_vec())
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What is wrong with them, by depth.
    pub(crate) fn errors(&self) -> &Errors {
        &self.errors
    }

    /// RFC 5705; RFC 8446, section 7.5.
    pub(crate) fn export(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        length: usize,
    ) -> Option<Vec<u8>> {
        /// More than any use of it needs; RFC 5869 ends at 255 times the hash.
        const MOST: usize = 4096;
        let Phase::Running(machine) = &self.phase else {
            return None;
        };
        if !self.secured || !(1..=MOST).contains(&length) {
            return None;
        }
        let suite = machine.common().negotiated_cipher_suite()?;
        let mut output = vec![0; length];
        machine
            .exporter()?
            .export(suite, label, context, &mut output)?;
        Some(output)
    }
}
