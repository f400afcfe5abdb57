//! A look into the records of a ClientHello (RFC 8446, section 4.1.2) that rustls does not offer.

use std::borrow::Cow;
use std::ops::Range;

use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// The first byte of every version since SSL 3.0.
const VERSION_MAJOR: u8 = 3;

/// RFC 6066, section 3.
const SERVER_NAME: u16 = 0;
const HOST_NAME: usize = 0;

/// What OpenSSL takes as a name at most.
const LONGEST_NAME: usize = 255;

/// RFC 5077, section 3.2; TLS 1.2.
const SESSION_TICKET: u16 = 35;

/// RFC 8446, section 4.2.11.
const PRE_SHARED_KEY: u16 = 41;

/// In the place of [`SERVER_NAME`] where the name is hidden from rustls: of the private types (RFC 8446, section 11).
const HIDDEN: u16 = 0xff5e;

/// Whether the ClientHello in `records` shows a ticket that `ticketer` has made. Of several only the first counts.
pub(super) fn offers_ticket(records: &[u8], ticketer: &dyn ProducesTickets) -> bool {
    ticketer.enabled()
        && message(records)
            .and_then(|hello| ticketer.decrypt(ticket(&hello)?))
            .is_some()
}

fn ticket(hello: &[u8]) -> Option<&[u8]> {
    let mut ticket = None;
    for Extension { kind, body, .. } in Extensions::of(hello)?.complete()? {
        if kind == PRE_SHARED_KEY {
            let mut identities = Reader(body).vector(2)?;
            ticket = Some(identities.vector(2)?.0);
        } else if kind == SESSION_TICKET && !body.is_empty() {
            ticket = Some(body);
        }
    }
    ticket
}

/// How many bytes there must be before the ClientHello that `records` begin with can be whole. `None`: it is whole, or it is
/// something else, which need not be waited for.
///
/// The bytes that the message lacks are in the number. So who asks again only when that many are there asks a few times,
/// however small the records are.
pub(super) fn least(records: &[u8]) -> Option<usize> {
    // Where the next record begins, what the records before it carry of the message, and how long that is at least.
    let (mut at, mut carried, mut length) = (0, 0, MESSAGE_HEADER);
    let mut header = Vec::with_capacity(MESSAGE_HEADER);
    loop {
        let lacking = length.saturating_sub(carried);
        if lacking == 0 {
            return None;
        }
        let Some([kind, major, _, size @ ..]) = records.get(at..at + RECORD_HEADER) else {
            return Some(at + RECORD_HEADER + if at == 0 { 0 } else { lacking });
        };
        let size = Reader(size).number(2)?;
        let is_handshake = *kind == HANDSHAKE_RECORD;
        let may_come = is_handshake || (*kind == CHANGE_CIPHER_SPEC && at == 0);
        if *major != VERSION_MAJOR || size == 0 || !may_come {
            return None;
        }
        let payload = &records[at + RECORD_HEADER..];
        at += RECORD_HEADER + size;
        if is_handshake {
            let of_header = (MESSAGE_HEADER - header.len()).min(size).min(payload.len());
            header.extend(&payload[..of_header]);
            carried += size;
        }
        match header[..] {
            [] | [CLIENT_HELLO] | [CLIENT_HELLO, _] | [CLIENT_HELLO, _, _] => {}
            [CLIENT_HELLO, ref body @ ..] => length = MESSAGE_HEADER + Reader(body).number(3)?,
            _ => return None,
        }
        if at > records.len() {
            let lacking = length.saturating_sub(carried);
            return Some(
                at + if lacking > 0 {
                    RECORD_HEADER + lacking
                } else {
                    0
                },
            );
        }
    }
}

/// Hides the server name from rustls, if there is one that OpenSSL takes and rustls ends the handshake over: no DNS name,
/// such as `host:5223`, or not ASCII. Gives the name.
///
/// `records` begin with the ClientHello, or with the change_cipher_spec of middlebox compatibility. rustls then sees an
/// extension that it does not know. What it hashes must be [`as_sent`].
pub(super) fn hide_name(records: &mut [u8]) -> Option<Vec<u8>> {
    let hello = message(records)?;
    let extensions = Extensions::of(&hello)?.complete()?;
    if extensions.iter().any(|extension| extension.kind == HIDDEN) {
        return None;
    }
    let extension = extensions.iter().find(|it| it.kind == SERVER_NAME)?;
    let name = host_name(extension.body)?;
    if name.len() > LONGEST_NAME || name.contains(&0) || ServerName::try_from(name).is_ok() {
        return None;
    }
    let (name, at) = (name.to_vec(), extension.at);
    for (offset, byte) in HIDDEN.to_be_bytes().into_iter().enumerate() {
        let place = place_of(records, at + offset)?;
        records[place] = byte;
    }
    Some(name)
}

/// The ClientHello at the beginning of `bytes` as the client sent it, before [`hide_name`].
pub(super) fn as_sent(bytes: &[u8]) -> Cow<'_, [u8]> {
    // What a pre-shared key is bound to (RFC 8446, section 4.2.11.2) lacks its end, which is the end of the last extension.
    let hidden =
        Extensions::of(bytes).and_then(|mut all| all.find(|extension| extension.kind == HIDDEN));
    let Some(Extension { at, .. }) = hidden else {
        return Cow::Borrowed(bytes);
    };
    let mut sent = bytes.to_vec();
    sent[at..at + 2].copy_from_slice(&SERVER_NAME.to_be_bytes());
    Cow::Owned(sent)
}

/// The only name in a server_name extension.
fn host_name(body: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(body);
    let mut list = reader.vector(2)?;
    let kind = list.number(1)?;
    let name = list.vector(2)?.0;
    (kind == HOST_NAME && list.0.is_empty() && reader.0.is_empty()).then_some(name)
}

/// What the first records carry of the handshake; behind them may be early data (RFC 8446, section 4.2.10).
fn message(records: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut parts = payloads(records).map(|place| &records[place]);
    let mut message = Cow::Borrowed(parts.next()?);
    for more in parts {
        message.to_mut().extend_from_slice(more);
    }
    Some(message)
}

/// Where in `records` the payloads of the first handshake records are.
fn payloads(records: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let mut reader = Reader(&records[at..]);
            let kind = reader.number(1)?;
            reader.bytes(2)?; // version
            let len = reader.vector(2)?.0.len();
            let payload = at + RECORD_HEADER..at + RECORD_HEADER + len;
            let before = std::mem::replace(&mut at, payload.end);
            if kind == usize::from(HANDSHAKE_RECORD) {
                return Some(payload);
            } else if kind != usize::from(CHANGE_CIPHER_SPEC) || before != 0 {
                return None;
            }
        }
    })
}

/// Where in `records` a byte of the message is.
fn place_of(records: &[u8], mut offset: usize) -> Option<usize> {
    for payload in payloads(records) {
        if offset < payload.len() {
            return Some(payload.start + offset);
        }
        offset -= payload.len();
    }
    None
}

struct Extension<'a> {
    kind: u16,
    /// Where in the message its type is.
    at: usize,
    body: &'a [u8],
}

/// The extensions of a ClientHello, as far as they are whole.
struct Extensions<'a> {
    left: Reader<'a>,
    at: usize,
    whole: bool,
}

impl<'a> Extensions<'a> {
    /// `hello` may lack its end.
    fn of(hello: &'a [u8]) -> Option<Extensions<'a>> {
        let mut reader = Reader(hello);
        if reader.number(1)? != usize::from(CLIENT_HELLO) {
            return None;
        }
        let len = reader.number(3)?;
        let whole = len <= reader.0.len();
        let mut body = Reader(&reader.0[..len.min(reader.0.len())]);
        body.bytes(2 + 32)?; // version, random
        body.vector(1)?; // session
        body.vector(2)?; // cipher suites
        body.vector(1)?; // compression
        let len = body.number(2)?;
        let left = Reader(&body.0[..len.min(body.0.len())]);
        let at = left.0.as_ptr() as usize - hello.as_ptr() as usize;
        Some(Extensions { left, at, whole })
    }

    /// All of them; `None` if something is missing or cannot be read.
    fn complete(mut self) -> Option<Vec<Extension<'a>>> {
        let all = self.by_ref().collect();
        (self.whole && self.left.0.is_empty()).then_some(all)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let mut reader = Reader(self.left.0);
        let kind = u16::try_from(reader.number(2)?).ok()?;
        let body = reader.vector(2)?.0;
        let at = self.at;
        self.at += self.left.0.len() - reader.0.len();
        self.left = reader;
        Some(Extension { kind, at, body })
    }
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
}

#[cfg(test)]
mod tests;
