//! Reading a header, in whatever pieces it comes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ends, Header, SIGNATURE, kind, split};

/// The fixed part of version 2.
const FIXED: usize = 16;

/// The longest line of version 1, CR and LF included.
const LONGEST_LINE: usize = 107;

/// The shortest one: `PROXY UNKNOWN`.
const SHORTEST_LINE: usize = 15;

/// The longest version 2 that is read. Addresses take 216 bytes at most; a name, a protocol and what is known of TLS some hundred,
/// and the certificate of a client, which later versions may have, two or three thousand.
const LONGEST: usize = 4096;

const MALFORMED: &str = "the PROXY header is malformed";

/// Collects a header, and takes nothing beyond it: what follows may belong to a TLS handshake.
#[derive(Default)]
pub struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    /// No header is longer, in bytes.
    pub const LONGEST: usize = LONGEST;

    /// Takes of what was read the part that belongs to the header, and says how many bytes that is. `Some` is the header, once it
    /// is complete.
    ///
    /// # Errors
    ///
    /// Why this is no header, at the first byte that shows it.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Result<Option<Header>, &'static str>) {
        let mut taken = 0;
        while taken < bytes.len() {
            let end = bytes.len().min(taken + self.wanted());
            self.bytes.extend_from_slice(&bytes[taken..end]);
            taken = end;
            match self.parse() {
                Ok(None) => {}
                result => return (taken, result),
            }
        }
        (taken, Ok(None))
    }

    /// How many bytes belong to the header at least.
    fn wanted(&self) -> usize {
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

    fn parse(&self) -> Result<Option<Header>, &'static str> {
        let bytes = &self.bytes[..];
        let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, other)| byte == other);
        if begins(SIGNATURE) {
            return self.version_2();
        }
        if !begins(b"PROXY ") {
            return Err("no PROXY header");
        }
        // Wherever it is: one that comes before the shortest line can end is found with the bytes behind it.
        if !bytes.contains(&b'\n') {
            return if bytes.len() < LONGEST_LINE {
                Ok(None)
            } else {
                Err("the PROXY line is too long")
            };
        }
        let line = std::str::from_utf8(bytes)
            .ok()
            .and_then(|line| line.strip_suffix("\r\n"));
        match line.and_then(parse_line) {
            Some(ends) => Ok(Some(Header {
                ends,
                ..Header::default()
            })),
            None => Err("the PROXY line is malformed"),
        }
    }

    fn version_2(&self) -> Result<Option<Header>, &'static str> {
        let bytes = &self.bytes[..];
        if bytes.get(12).is_some_and(|version| version >> 4 != 2) {
            return Err("not version 2 of the PROXY protocol");
        }
        let Some(length) = self.length() else {
            return Ok(None);
        };
        if length > LONGEST {
            return Err("the PROXY header is too long");
        }
        let (command, family, protocol) = (bytes[12] & 15, bytes[13] >> 4, bytes[13] & 15);
        if command > 1 {
            return Err("an unknown command in the PROXY header");
        }
        if command == 1 && (family > 3 || protocol > 2) {
            return Err("an unknown family or protocol in the PROXY header");
        }
        if bytes.len() < length {
            return Ok(None);
        }
        // LOCAL: the proxy's own connection, such as a health check. What follows is to be skipped, whatever it is.
        if command == 0 {
            return Ok(Some(Header::default()));
        }
        let block = &bytes[FIXED..];
        let addresses = match family {
            1 => 12,
            2 => 36,
            3 => 216,
            _ => 0,
        };
        let Some((addresses, tlvs)) = block.split_at_checked(addresses) else {
            return Err("the PROXY header is too short for its addresses");
        };
        let whole = split(tlvs).all(|tlv| match tlv {
            Ok((kind::UNIQUE_ID, value)) => value.len() <= 128,
            Ok((kind::CRC32C, value)) => value.len() == 4,
            Ok(_) => true,
            Err(()) => false,
        });
        let tlvs = if whole {
            tlvs
        } else if family == 0 {
            // Of a family that nobody knows, nobody knows what the block is.
            &[]
        } else {
            return Err(MALFORMED);
        };
        if whole && !is_intact(bytes, FIXED + addresses.len()) {
            return Err("the checksum of the PROXY header is wrong");
        }
        Ok(Some(Header {
            // Of datagrams there can be none here: that is taken as unknown.
            ends: (protocol == 1).then(|| ends(addresses)).flatten(),
            tlvs: tlvs.into(),
        }))
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
        (end.is_ipv4() == v4).then_some(unmapped(end))
    };
    let ends = Ends {
        source: end(source, from)?,
        destination: end(destination, to)?,
    };
    words.next().is_none().then_some(Some(ends))
}

/// The addresses of version 2, of IPv4 or IPv6.
fn ends(block: &[u8]) -> Option<Ends> {
    let port = |at: usize| Some(u16::from_be_bytes(*block[at..].first_chunk()?));
    let (source, destination) = match block.len() {
        12 => {
            let ip = |at: usize| Some(Ipv4Addr::from(*block[at..].first_chunk::<4>()?));
            ((ip(0)?, port(8)?).into(), (ip(4)?, port(10)?).into())
        }
        36 => {
            let ip = |at: usize| Some(Ipv6Addr::from(*block[at..].first_chunk::<16>()?));
            ((ip(0)?, port(32)?).into(), (ip(16)?, port(34)?).into())
        }
        _ => return None,
    };
    Some(Ends {
        source: unmapped(source),
        destination: unmapped(destination),
    })
}

/// An IPv4 client of a proxy that listens on IPv6 is one of IPv4.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether the checksum is right, if there is one. `at` is where the TLVs begin.
fn is_intact(header: &[u8], mut at: usize) -> bool {
    for (kind, value) in split(&header[at..]).flatten() {
        if kind == kind::CRC32C {
            let value_at = at + 3;
            let mut zeroed = header.to_vec();
            zeroed[value_at..value_at + 4].fill(0);
            return value == crc32c(&zeroed).to_be_bytes();
        }
        at += 3 + value.len();
    }
    true
}

/// RFC 4960, appendix B. Headers with a checksum are rare and short, so there is no table.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
#[test]
fn the_checksum_is_that_of_rfc_3720() {
    // The examples of appendix B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
}
