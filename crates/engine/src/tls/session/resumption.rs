//! Whether a ClientHello shows a ticket of ours: a look into it that rustls does not offer, before the handshake begins.

use std::borrow::Cow;

use rustls::server::ProducesTickets;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// RFC 5077, section 3.2; TLS 1.2.
const SESSION_TICKET: u16 = 35;

/// RFC 8446, section 4.2.11.
const PRE_SHARED_KEY: u16 = 41;

/// Whether the ClientHello in `records` shows a ticket that `ticketer` has made. Of several only the first counts.
pub(super) fn is_offered(records: &[u8], ticketer: &dyn ProducesTickets) -> bool {
    ticketer.enabled()
        && handshake(records)
            .and_then(|message| ticketer.decrypt(ticket(&mut Reader(&message))?))
            .is_some()
}

/// What the first records carry; behind them may be early data (RFC 8446, section 4.2.10).
fn handshake(records: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut reader = Reader(records);
    let mut message = Cow::Borrowed(reader.record()?);
    while let Some(more) = reader.record() {
        message.to_mut().extend_from_slice(more);
    }
    Some(message)
}

fn ticket<'a>(hello: &mut Reader<'a>) -> Option<&'a [u8]> {
    if hello.number(1)? != usize::from(CLIENT_HELLO) {
        return None;
    }
    let mut hello = hello.vector(3)?;
    hello.bytes(2 + 32)?; // version, random
    hello.vector(1)?; // session
    hello.vector(2)?; // cipher suites
    hello.vector(1)?; // compression
    let mut extensions = hello.vector(2)?;
    let mut ticket = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut extension = extensions.vector(2)?;
        if kind == usize::from(PRE_SHARED_KEY) {
            let mut identities = extension.vector(2)?;
            ticket = Some(identities.vector(2)?.0);
        } else if kind == usize::from(SESSION_TICKET) && !extension.0.is_empty() {
            ticket = Some(extension.0);
        }
    }
    ticket
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A number of `width` bytes.
    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.bytes(width)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    /// What stands behind its length, which has `width` bytes.
    fn vector(&mut self, width: usize) -> Option<Reader<'a>> {
        let len = self.number(width)?;
        self.bytes(len).map(Reader)
    }

    /// What a record carries of the handshake.
    fn record(&mut self) -> Option<&'a [u8]> {
        let kind = self.number(1)?;
        self.bytes(2)?; // version
        let payload = self.vector(2)?;
        (kind == usize::from(HANDSHAKE_RECORD)).then_some(payload.0)
    }
}
