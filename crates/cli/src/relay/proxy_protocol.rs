//! The PROXY protocol, versions 1 and 2: who the client is, in front of what it says.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use trochee::tls::Info;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds no more than is wanted, `most` at a time, and says how many bytes were taken.
    fn parse(bytes: &[u8], most: usize) -> (Result<Option<Ends>, &'static str>, usize) {
        let mut parser = Parser::default();
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + parser.wanted().min(most));
            match parser.take(&bytes[at..end]) {
                Ok(None) => at = end,
                Ok(Some(header)) => return (Ok(header), end),
                Err(error) => return (Err(error), end),
            }
        }
        (Err("not all"), at)
    }

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        Some(Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        })
    }

    /// The examples and the worst cases of the specification, section 2.1.
    #[test]
    fn lines_of_the_specification() {
        let v6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (line, wanted) in [
            (
                "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443".to_owned(),
                ends("192.168.0.1:56324", "192.168.0.11:443"),
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535".to_owned(),
                ends("255.255.255.255:65535", "255.255.255.255:65535"),
            ),
            (
                format!("PROXY TCP6 {v6} {v6} 65535 65535"),
                ends(&format!("[{v6}]:65535"), &format!("[{v6}]:65535")),
            ),
            ("PROXY UNKNOWN".to_owned(), None),
            (format!("PROXY UNKNOWN {v6} {v6} 65535 65535"), None),
        ] {
            let line = format!("{line}\r\n");
            let input = format!("{line}GET / HTTP/1.1\r\n");
            for most in [1, 2, 7, usize::MAX] {
                let parsed = parse(input.as_bytes(), most);
                assert_eq!(parsed, (Ok(wanted), line.len()), "{line}");
            }
            if wanted.is_some() {
                assert_eq!(version_1(wanted), line.as_bytes());
            }
        }
        assert_eq!(version_1(None), b"PROXY UNKNOWN\r\n");
        // Of two families there is no line.
        let mixed = ends("127.0.0.1:1", "[::1]:2");
        assert_eq!(version_1(mixed), b"PROXY UNKNOWN\r\n");
    }

    /// Section 2.2, byte by byte.
    #[test]
    fn headers_of_version_2() {
        let signature = [
            0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
        ];
        let v4 = [
            &signature[..],
            &[0x21, 0x11, 0, 12, 192, 168, 0, 1, 192, 168, 0, 11],
            &[0xDC, 0x04, 0x01, 0xBB],
        ]
        .concat();
        let wanted = ends("192.168.0.1:56324", "192.168.0.11:443");
        assert_eq!(version_2(wanted, None), v4);
        let mut v6 = [&signature[..], &[0x21, 0x21, 0, 36]].concat();
        v6.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([0xDC, 0x04, 0x01, 0xBB]);
        let wanted_v6 = ends("[2001:db8::1]:56324", "[2001:db8::2]:443");
        assert_eq!(version_2(wanted_v6, None), v6);
        // LOCAL with addresses, which are to be skipped; UNSPEC; a UNIX socket; a TLV that nobody knows.
        let local = [&signature[..], &[0x20, 0x11, 0, 12], &[1; 12]].concat();
        let unspec = [&signature[..], &[0x21, 0x00, 0, 0]].concat();
        let unix = [&signature[..], &[0x21, 0x31, 0, 216], &[b'/'; 216]].concat();
        let mut tlv = v4.clone();
        tlv[15] += 5;
        tlv.extend([0xEE, 0, 2, 1, 2]);
        for (header, wanted) in [
            (v4, wanted),
            (v6, wanted_v6),
            (local, None),
            (unspec, None),
            (unix, None),
            (tlv, wanted),
        ] {
            let input = [&header[..], b"\x16\x03\x01"].concat();
            for most in [1, 5, usize::MAX] {
                assert_eq!(parse(&input, most), (Ok(wanted), header.len()));
            }
        }
    }

    #[test]
    fn what_was_agreed_on_in_tls_follows_the_addresses() {
        let info = Info {
            protocol: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            bits: 128,
            group: None,
            server_name: Some("a.test".into()),
            alpn: Some(b"h2".to_vec()),
            resumed: false,
        };
        let wanted = ends("192.0.2.1:1", "192.0.2.2:2");
        let header = version_2(wanted, Some(&info));
        let tlvs = [
            &b"\x01\0\x02h2\x02\0\x06a.test\x20\0\x28\x01\0\0\0\x01"[..],
            b"\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_128_GCM_SHA256",
        ]
        .concat();
        assert_eq!(header[28..], tlvs);
        assert_eq!(parse(&header, usize::MAX), (Ok(wanted), header.len()));
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_byte_that_shows_it() {
        for (bytes, taken) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (b"PROXY TCP4 192.168.0.1\r\n", 24),
            (b"PROXX TCP4 ", 5),
            (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", 13),
            (b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0", 16),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", 16),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02\0\0", 18),
        ] {
            let (result, at) = parse(bytes, 1);
            assert!(result.is_err_and(|error| error != "not all"), "{bytes:?}");
            assert_eq!(at, taken, "{bytes:?}");
        }
        for line in [
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 65536\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 +6324 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4  192.168.0.1 192.168.0.11 1 2\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 1 2 3\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 1 2\n",
            "PROXY UDP4 192.168.0.1 192.168.0.11 1 2\r\n",
        ] {
            let (result, _) = parse(line.as_bytes(), usize::MAX);
            assert_eq!(result, Err("the PROXY line is malformed"), "{line}");
        }
        let endless = [b'x'; 200];
        let (result, taken) = parse(&[b"PROXY ", &endless[..]].concat(), usize::MAX);
        assert_eq!(result, Err("the PROXY line is too long"));
        assert_eq!(taken, LONGEST_LINE);
    }
}
