//! Headers of both versions, whole, in pieces, and wrong.

use std::net::Ipv6Addr;

use super::*;
use crate::tls::Info;

/// Feeds `most` bytes at a time, and says how many were taken.
fn parse(bytes: &[u8], most: usize) -> (Result<Header, &'static str>, usize) {
    let mut parser = Parser::default();
    let mut taken = 0;
    for piece in bytes.chunks(most) {
        let (more, result) = parser.take(piece);
        taken += more;
        match result {
            Ok(None) => assert_eq!(more, piece.len()),
            Ok(Some(header)) => return (Ok(header), taken),
            Err(error) => return (Err(error), taken),
        }
    }
    (Err("not all"), taken)
}

/// The ends that it tells of, and how many bytes were taken.
fn parsed_ends(bytes: &[u8], most: usize) -> (Result<Option<Ends>, &'static str>, usize) {
    let (header, taken) = parse(bytes, most);
    (header.map(|header| header.ends), taken)
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
        for most in [1, 2, 7, 4096] {
            let parsed = parsed_ends(input.as_bytes(), most);
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
        for most in [1, 5, 4096] {
            assert_eq!(parsed_ends(&input, most), (Ok(wanted), header.len()));
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
    assert_eq!(parsed_ends(&header, 4096), (Ok(wanted), header.len()));
}

#[test]
fn what_is_no_header_is_refused_at_the_first_byte_that_shows_it() {
    for (bytes, taken) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"PROXY TCP4 192.168.0.1\r\n", 24),
        (b"PROXX TCP4 ", 5),
        (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", 13),
        (b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0", 16),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\0", 16),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x13\0\0", 16),
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
        let (result, _) = parse(line.as_bytes(), 4096);
        assert_eq!(result, Err("the PROXY line is malformed"), "{line}");
    }
    let endless = [b'x'; 200];
    let (result, taken) = parse(&[b"PROXY ", &endless[..]].concat(), 4096);
    assert_eq!(result, Err("the PROXY line is too long"));
    assert_eq!(taken, 107);
}

/// A header of version 2 with these bytes behind the addresses.
fn with_tlvs(tlvs: &[u8]) -> Vec<u8> {
    let mut header = version_2(ends("192.0.2.1:1", "192.0.2.2:2"), None);
    let length = u16::try_from(12 + tlvs.len()).unwrap();
    header[14..16].copy_from_slice(&length.to_be_bytes());
    header.extend(tlvs);
    header
}

#[test]
fn what_the_proxy_knows_of_the_client_is_kept() {
    let ssl = [
        &b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x06client"[..],
        b"\x23\0\x16TLS_AES_128_GCM_SHA256\x24\0\x0aRSA-SHA256\x25\0\x07RSA2048",
    ]
    .concat();
    let tlvs = [
        &b"\x01\0\x0bxmpp-client\x02\0\x06a.test\x04\0\x02xx\x05\0\x03id1\x20\0"[..],
        &[u8::try_from(ssl.len()).unwrap()],
        &ssl,
        b"\xe0\0\x01x",
    ]
    .concat();
    for most in [1, 9, 4096] {
        let (header, _) = parse(&with_tlvs(&tlvs), most);
        let header = header.unwrap();
        assert_eq!(header.alpn(), Some(&b"xmpp-client"[..]));
        assert_eq!(header.authority(), Some("a.test"));
        assert_eq!(header.unique_id(), Some(&b"id1"[..]));
        let tls = header.tls().unwrap();
        assert_eq!(tls.version, Some("TLSv1.3"));
        assert_eq!(tls.cipher, Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(tls.common_name, Some("client"));
        assert_eq!(tls.signature_algorithm, Some("RSA-SHA256"));
        assert_eq!(tls.key_algorithm, Some("RSA2048"));
        assert!(tls.has_certificate && tls.is_verified);
        let kinds: Vec<u8> = header.tlvs().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [0x01, 0x02, 0x04, 0x05, 0x20, 0xe0]);
    }
    // Verified counts only where there is a certificate; a client without TLS has none of it.
    for (client, verify, wanted) in [
        (1, 0, Some((false, false))),
        (3, 0, Some((true, true))),
        (3, 1, Some((true, false))),
        (0, 0, None),
    ] {
        let (header, _) = parse(&with_tlvs(&[0x20, 0, 5, client, 0, 0, 0, verify]), 4096);
        let header = header.unwrap();
        let found = header
            .tls()
            .map(|tls| (tls.has_certificate, tls.is_verified));
        assert_eq!(found, wanted);
    }
}

#[test]
fn what_follows_the_addresses_has_to_be_whole() {
    let long = [&b"\x05\0\x81"[..], &[b'x'; 129]].concat();
    for tlvs in [
        &b"\x01"[..],
        b"\x01\0\x02x",
        b"\x01\0\x01xy",
        b"\x03\0\x01x",
        &long,
    ] {
        let (header, _) = parse(&with_tlvs(tlvs), 4096);
        assert_eq!(header, Err("the PROXY header is malformed"), "{tlvs:?}");
    }
    // Of an unspecified family the block is nobody's business.
    let unspec = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\x02xy";
    assert_eq!(parse(unspec, 4096), (Ok(Header::default()), unspec.len()));
}

#[test]
fn a_checksum_that_is_there_has_to_be_right() {
    let mut header = with_tlvs(b"\x03\0\x04\0\0\0\0");
    header[31..].copy_from_slice(&CHECKSUM.to_be_bytes());
    assert!(parse(&header, 4096).0.is_ok());
    header[16] ^= 1;
    let wrong = "the checksum of the PROXY header is wrong";
    assert_eq!(parse(&header, 4096).0, Err(wrong));
}

/// The CRC32c of that header with zeros in its place.
const CHECKSUM: u32 = 0x4FFF_F33D;

#[test]
fn ipv4_in_ipv6_is_ipv4() {
    let line = "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n";
    let (found, _) = parsed_ends(line.as_bytes(), 4096);
    assert_eq!(found, Ok(ends("192.0.2.1:1", "[2001:db8::1]:2")));
    let binary = version_2(ends("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2"), None);
    assert_eq!(parsed_ends(&binary, 4096).0, found);
}
