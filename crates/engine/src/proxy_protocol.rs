//! The PROXY protocol, versions 1 and 2: who the client is, in front of what it says.
//!
//! The authority is <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. A load balancer puts such a header before the
//! first byte of a connection, before TLS as well. [`Parser`] reads it, [`version_1`] and [`version_2`] write it.
//!
//! The specification forbids to guess whether there is a header: whoever may choose could claim any address. So it is asked of
//! the sources that are [trusted](crate::ProxyProtocol), and of nobody else.

use std::net::SocketAddr;

pub use parser::Parser;
pub use writer::{version_1, version_2};

mod parser;
#[cfg(test)]
mod tests;
mod writer;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Types of what may follow the addresses in version 2, section 2.2 of the specification.
mod kind {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const CRC32C: u8 = 0x03;
    pub(super) const UNIQUE_ID: u8 = 0x05;
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_VERSION: u8 = 0x21;
    pub(super) const SSL_CN: u8 = 0x22;
    pub(super) const SSL_CIPHER: u8 = 0x23;
    pub(super) const SSL_SIG_ALG: u8 = 0x24;
    pub(super) const SSL_KEY_ALG: u8 = 0x25;
}

/// PP2_CLIENT_SSL: the client connected over TLS.
const CLIENT_SSL: u8 = 0x01;
/// PP2_CLIENT_CERT_CONN and PP2_CLIENT_CERT_SESS: the client has shown a certificate, now or earlier in this session.
const CLIENT_CERT: u8 = 0x02 | 0x04;

/// The two ends of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// What it has connected to.
    pub destination: SocketAddr,
}

/// What a header tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The ends of the client's connection. `None` where the proxy speaks for itself (LOCAL, such as a health check) or does not
    /// know (UNKNOWN, UNSPEC, a UNIX socket): those of the real connection count then.
    pub ends: Option<Ends>,
    /// What follows the addresses in version 2, one after the other and complete.
    tlvs: Box<[u8]>,
}

impl Header {
    /// What follows the addresses in version 2: types of section 2.2, and values, in their order.
    pub fn tlvs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        split(&self.tlvs).filter_map(Result::ok)
    }

    fn first(&self, kind: u8) -> Option<&[u8]> {
        let mut tlvs = self.tlvs();
        tlvs.find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The host that the client asked for; with TLS its server name (PP2_TYPE_AUTHORITY).
    pub fn authority(&self) -> Option<&str> {
        std::str::from_utf8(self.first(kind::AUTHORITY)?).ok()
    }

    /// The application protocol that was agreed on (PP2_TYPE_ALPN).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.first(kind::ALPN)
    }

    /// By what the proxy knows the connection, 128 bytes at most (PP2_TYPE_UNIQUE_ID).
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.first(kind::UNIQUE_ID)
    }

    /// What the proxy knows of the client's TLS, which ended there (PP2_TYPE_SSL). `None` without TLS.
    pub fn tls(&self) -> Option<Tls<'_>> {
        let (&client, rest) = self.first(kind::SSL)?.split_first()?;
        let (verify, rest) = rest.split_first_chunk::<4>()?;
        if client & CLIENT_SSL == 0 {
            return None;
        }
        let text = |kind| {
            let mut tlvs = split(rest).filter_map(Result::ok);
            let value = tlvs.find_map(|(found, value)| (found == kind).then_some(value))?;
            std::str::from_utf8(value).ok()
        };
        let has_certificate = client & CLIENT_CERT != 0;
        Some(Tls {
            version: text(kind::SSL_VERSION),
            cipher: text(kind::SSL_CIPHER),
            has_certificate,
            is_verified: has_certificate && u32::from_be_bytes(*verify) == 0,
            common_name: text(kind::SSL_CN),
            signature_algorithm: text(kind::SSL_SIG_ALG),
            key_algorithm: text(kind::SSL_KEY_ALG),
        })
    }
}

/// A connection that a proxy has made for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxied {
    /// The proxy's own end; `None` for a UNIX socket.
    pub proxy: Option<SocketAddr>,
    /// What it has told.
    pub header: Header,
}

/// What the proxy knows of the client's TLS; the words are the proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls<'a> {
    /// Such as `TLSv1.3`.
    pub version: Option<&'a str>,
    /// Such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: Option<&'a str>,
    /// Whether the client has shown a certificate.
    pub has_certificate: bool,
    /// Whether the proxy found that certificate good.
    pub is_verified: bool,
    /// The common name in it.
    pub common_name: Option<&'a str>,
    /// What signed the certificate that the client was shown, such as `RSA-SHA256`.
    pub signature_algorithm: Option<&'a str>,
    /// The key of that certificate, such as `RSA2048`.
    pub key_algorithm: Option<&'a str>,
}

/// Parts what follows the addresses. The last one is `Err` if it is not complete.
fn split(mut rest: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), ()>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = rest.split_first_chunk::<3>().and_then(|(head, behind)| {
            let [kind, high, low] = *head;
            let (value, behind) =
                behind.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            Some(((kind, value), behind))
        });
        let (found, behind) = match found {
            Some((found, behind)) => (Ok(found), behind),
            None => (Err(()), &[][..]),
        };
        rest = behind;
        Some(found)
    })
}
