//! The PROXY protocol, versions 1 and 2: who the client is, in front of what it says.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use trochee::tls::Info;

#[cfg(test)]
mod tests;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed part of version 2.
const FIXED: usize = 16;

/// The longest line of version 1, CR and LF included.
const LONGEST_LINE: usize = 107;

/// The shortest one: `PROXY UNKNOWN`.
const SHORTEST_LINE: usize = 15;

/// The longest version 2 that is read. The specification has 216 bytes of addresses at most, then TLVs, which are not
/// used here.
const LONGEST: usize = 4096;

/// The two ends of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// Collects a header, and never reads beyond it: what follows may belong to a TLS handshake.
#[derive(Default)]
pub struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    /// How many bytes to read next, at most.
    pub fn wanted(&self) -> usize {
        let have = self.bytes.len();
        let until = if have < SIGNATURE.len() {
            SIGNATURE.len()
        } else if self.bytes.starts_with(SIGNATURE) {
            self.length().unwrap_or(FIXED)
        } else {
            // Whatever its length, the line ends with the byte after these at the earliest.
            SHORTEST_LINE.max(have + 1)
        };
        until.saturating_sub(have).max(1)
    }

    /// The length of version 2, once it is known.
    fn length(&self) -> Option<usize> {
        let length = self.bytes.get(FIXED - 2..FIXED)?;
        Some(FIXED + usize::from(u16::from_be_bytes([length[0], length[1]])))
    }

    /// Takes what was read. `Some` is the whole header: the ends, or `None` where the front speaks for itself or does not
    /// know.
    ///
    /// # Errors
    ///
    /// Why this is no header, at the first byte that shows it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Option<Ends>>, &'static str> {
        self.bytes.extend_from_slice(bytes);
        let bytes = &self.bytes[..];
        let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, other)| byte == other);
        if begins(SIGNATURE) {
            return self.version_2();
        }
        if !begins(b"PROXY ") {
            return Err("no PROXY header");
        }
        if !bytes.ends_with(b"\n") {
            return if bytes.len() < LONGEST_LINE {
                Ok(None)
            } else {
                Err("the PROXY line is too long")
            };
        }
        let line = std::str::from_utf8(bytes)
            .ok()
            .and_then(|line| line.strip_suffix("\r\n"))
            .ok_or("the PROXY line is malformed")?;
        parse_line(line)
            .map(Some)
            .ok_or("the PROXY line is malformed")
    }

    fn version_2(&self) -> Result<Option<Option<Ends>>, &'static str> {
        let bytes = &self.bytes[..];
        if let Some(version) = bytes.get(12)
            && version >> 4 != 2
        {
            return Err("not version 2 of the PROXY protocol");
        }
        let Some(length) = self.length() else {
            return Ok(None);
        };
        if length > LONGEST {
            return Err("the PROXY header is too long");
        }
        if bytes.len() < length {
            return Ok(None);
        }
        let addresses = &bytes[FIXED..length];
        match (bytes[12] & 15, bytes[13]) {
            // LOCAL: the front's own connection, such as a health check.
            (0, _) => Ok(Some(None)),
            (1, 0x11) => {
                let parts = addresses
                    .first_chunk::<12>()
                    .ok_or("the PROXY header is too short for its addresses")?;
                let ip = |at: usize| {
                    Ipv4Addr::new(parts[at], parts[at + 1], parts[at + 2], parts[at + 3])
                };
                let port = |at: usize| u16::from_be_bytes([parts[at], parts[at + 1]]);
                Ok(Some(Some(Ends {
                    source: (ip(0), port(8)).into(),
                    destination: (ip(4), port(10)).into(),
                })))
            }
            (1, 0x21) => {
                let parts = addresses
                    .first_chunk::<36>()
                    .ok_or("the PROXY header is too short for its addresses")?;
                let ip = |at: usize| {
                    let mut octets = [0; 16];
                    octets.copy_from_slice(&parts[at..at + 16]);
                    Ipv6Addr::from(octets)
                };
                let port = |at: usize| u16::from_be_bytes([parts[at], parts[at + 1]]);
                Ok(Some(Some(Ends {
                    source: (ip(0), port(32)).into(),
                    destination: (ip(16), port(34)).into(),
                })))
            }
            // Neither TCP over IPv4 nor over IPv6: to be taken as unknown.
            (1, _) => Ok(Some(None)),
            _ => Err("an unknown command in the PROXY header"),
        }
    }
}

/// A line without its end; `Some(None)` for UNKNOWN.
fn parse_line(line: &str) -> Option<Option<Ends>> {
    let mut words = line.split(' ');
    words.next().filter(|word| *word == "PROXY")?;
    let v4 = match words.next()? {
        "UNKNOWN" => return Some(None),
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let [source, destination] = [words.next()?, words.next()?];
    let [from, to] = [words.next()?, words.next()?];
    let end = |ip: &str, port: &str| {
        let digits = port.bytes().all(|digit| digit.is_ascii_digit());
        let end = SocketAddr::new(ip.parse().ok()?, port.parse().ok().filter(|_| digits)?);
        (end.is_ipv4() == v4).then_some(end)
    };
    let ends = Ends {
        source: end(source, from)?,
        destination: end(destination, to)?,
    };
    words.next().is_none().then_some(Some(ends))
}

/// A line of version 1.
pub fn version_1(ends: Option<Ends>) -> Vec<u8> {
    match ends {
        Some(Ends {
            source,
            destination,
        }) if source.is_ipv4() == destination.is_ipv4() => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            format!(
                "PROXY {family} {} {} {} {}\r\n",
                source.ip(),
                destination.ip(),
                source.port(),
                destination.port()
            )
            .into_bytes()
        }
        _ => b"PROXY UNKNOWN\r\n".to_vec(),
    }
}

/// A header of version 2, with what was agreed on in TLS.
pub fn version_2(ends: Option<Ends>, tls: Option<&Info>) -> Vec<u8> {
    let mut rest = Vec::new();
    let family = match ends {
        Some(Ends {
            source: SocketAddr::V4(source),
            destination: SocketAddr::V4(destination),
        }) => {
            rest.extend(source.ip().octets());
            rest.extend(destination.ip().octets());
            rest.extend(source.port().to_be_bytes());
            rest.extend(destination.port().to_be_bytes());
            0x11
        }
        Some(Ends {
            source: SocketAddr::V6(source),
            destination: SocketAddr::V6(destination),
        }) => {
            rest.extend(source.ip().octets());
            rest.extend(destination.ip().octets());
            rest.extend(source.port().to_be_bytes());
            rest.extend(destination.port().to_be_bytes());
            0x21
        }
        _ => 0,
    };
    if let Some(info) = tls {
        add_tls(&mut rest, info);
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, family]);
    // Addresses, a protocol, a name and a cipher: far below 64 KiB.
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

/// PP2_TYPE_ALPN, PP2_TYPE_AUTHORITY, PP2_TYPE_SSL with PP2_SUBTYPE_SSL_VERSION and PP2_SUBTYPE_SSL_CIPHER.
fn add_tls(to: &mut Vec<u8>, info: &Info) {
    /// PP2_CLIENT_SSL: the client connected over TLS.
    const CLIENT_SSL: u8 = 1;
    fn add(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
        to.push(kind);
        // The longest is a name of 255 bytes, from a record that holds no more.
        to.extend((value.len() as u16).to_be_bytes());
        to.extend(value);
    }
    if let Some(alpn) = &info.alpn {
        add(to, 0x01, alpn);
    }
    if let Some(name) = &info.server_name {
        add(to, 0x02, name.as_bytes());
    }
    let mut ssl = vec![CLIENT_SSL];
    // No certificate of the client was verified.
    ssl.extend(1u32.to_be_bytes());
    add(&mut ssl, 0x21, info.protocol.as_bytes());
    add(&mut ssl, 0x23, info.cipher.as_bytes());
    add(to, 0x20, &ssl);
}
