//! What goes through a session: records in, plaintext out, and the other way; and what it tells of itself.

use std::io::{self, IoSlice, Read as _, Write};
use std::os::fd::OwnedFd;

use rustls::{HandshakeKind, ProtocolVersion};

use super::{Phase, Session};
use crate::buffer::OutQueue;
use crate::socket;
use crate::tls::verify::Errors;
use crate::tls::{Context, Info, ciphers, text};

impl Session {
    /// Gives rustls what it can take of `bytes`, and notes what came of it. Only where nothing decrypted is left.
    pub(crate) fn take_in(&mut self, bytes: &mut &[u8]) {
        let Phase::Running(tls) = &mut self.phase else {
            *bytes = &[];
            return;
        };
        let had = bytes.len();
        if had > 0 {
            match tls.read_tls(bytes) {
                // After close_notify nothing counts.
                Ok(0) => *bytes = &[],
                Ok(_) => {}
                Err(_) => {
                    self.failed = Some("excessive message size".into());
                    return;
                }
            }
        }
        match tls.process_new_packets() {
            Ok(state) => {
                self.unread = state.plaintext_bytes_to_read();
                self.peer_closed = state.peer_has_closed();
            }
            Err(error) => {
                // What was good before is still delivered.
                self.unread = tls.reader().into_first_chunk().map_or(0, <[u8]>::len);
                self.failed = Some(text::of(&error));
            }
        }
    }

    /// Has rustls give back the memory of a large record.
    pub(crate) fn relax(&mut self) {
        /// Has nothing, and never will: rustls sizes its buffer before it finds out.
        struct Nothing;
        impl io::Read for Nothing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
        if let Phase::Running(tls) = &mut self.phase
            && !self.peer_closed
        {
            let _ = tls.read_tls(&mut Nothing);
        }
    }

    /// Moves decrypted bytes to `room`.
    pub(crate) fn take_out(&mut self, room: &mut [u8]) -> usize {
        if self.unread == 0 {
            return 0;
        }
        let Phase::Running(tls) = &mut self.phase else {
            return 0;
        };
        let mut taken = 0;
        while taken < room.len() && self.unread > 0 {
            match tls.reader().read(&mut room[taken..]) {
                Ok(count) if count > 0 => {
                    taken += count;
                    self.unread = self.unread.saturating_sub(count);
                }
                _ => self.unread = 0,
            }
            if self.unread == 0 && self.failed.is_some() {
                self.unread = tls.reader().into_first_chunk().map_or(0, <[u8]>::len);
            }
        }
        taken
    }

    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    pub(crate) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        self.held = bytes.to_vec();
    }

    /// Whether a read finds something without the socket: bytes, or an end.
    pub(crate) fn has_input(&self) -> bool {
        self.secured
            && (self.unread > 0
                || !self.held.is_empty()
                || self.peer_closed
                || self.failed.is_some()
                || self.tell_connected)
    }

    /// The peer said that it is done (close_notify), and all that it sent before was delivered.
    pub(crate) fn is_at_end(&self) -> bool {
        self.peer_closed && self.unread == 0
    }

    /// What broke the session, once all that came before was delivered.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.as_deref().filter(|_| self.unread == 0)
    }

    /// Whether there is something to send besides what the consumer wrote: records, plaintext from before.
    pub(crate) fn has_output(&self) -> bool {
        !self.before.is_empty() || matches!(&self.phase, Phase::Running(tls) if tls.wants_write())
    }

    /// How many bytes from before TLS are left to send.
    pub(crate) fn plaintext_left(&self) -> usize {
        self.before.len()
    }

    /// Bytes that were queued before TLS began.
    pub(crate) fn before(&mut self) -> &mut OutQueue {
        &mut self.before
    }

    /// Makes records of what the consumer wrote, as many as rustls holds at a time.
    pub(crate) fn seal(&mut self, out: &mut OutQueue) {
        let Phase::Running(tls) = &mut self.phase else {
            return;
        };
        while self.secured
            && let Some(front) = out.front()
        {
            match tls.writer().write(front) {
                Ok(count) if count > 0 => out.consume(count),
                _ => break,
            }
        }
    }

    /// Queues close_notify (RFC 8446, section 6.1), once.
    pub(crate) fn say_goodbye(&mut self) {
        if let Phase::Running(tls) = &mut self.phase
            && self.secured
            && self.failed.is_none()
        {
            tls.send_close_notify();
        }
    }

    /// One vectored write of records.
    pub(crate) fn send(&mut self, fd: &OwnedFd) -> io::Result<usize> {
        match &mut self.phase {
            Phase::Running(tls) => tls.write_tls(&mut Onto(fd)),
            _ => Ok(0),
        }
    }

    /// What was agreed on; `None` before the end of the handshake.
    pub(crate) fn info(&self) -> Option<Info> {
        let Phase::Running(tls) = &self.phase else {
            return None;
        };
        let suite = tls.negotiated_cipher_suite().filter(|_| self.secured)?;
        let (cipher, bits) = ciphers::name(suite.suite())?;
        Some(Info {
            protocol: match tls.protocol_version()? {
                ProtocolVersion::TLSv1_3 => "TLSv1.3",
                _ => "TLSv1.2",
            },
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

    /// Our own certificates and rules.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The peer's certificates in DER, its own first.
    pub(crate) fn peer_certificates(&self) -> Vec<Vec<u8>> {
        match &self.phase {
            Phase::Running(tls) => tls
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
        match &self.phase {
            Phase::Running(tls) if self.secured && length <= MOST => tls
                .export_keying_material(vec![0; length], label, context)
                .ok(),
            _ => None,
        }
    }
}

/// Writes to a socket.
struct Onto<'a>(&'a OwnedFd);

impl Write for Onto<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(socket::send(self.0, bytes)?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(socket::send_slices(self.0, slices)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
