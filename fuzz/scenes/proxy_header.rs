//! PROXY headers, versions 1 and 2: however one is cut, the same is understood, and nothing behind it is taken. What we write we read.
//!
//! The first byte of an input says how long the pieces are; the rest is a header and what follows it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use trochee::proxy_protocol::{Ends, Header, Parser, version_1, version_2};

/// Reads the input in its pieces, in one, and what we make of it ourselves.
pub fn run(input: &[u8]) {
    let [cut, bytes @ ..] = input else {
        return;
    };
    let whole = parse(bytes, bytes.len());
    let pieces = parse(bytes, usize::from(*cut));
    assert_eq!(whole, pieces, "it matters how it is cut");
    if let Some((Some(header), taken)) = whole {
        look(&header);
        // What follows does not belong to it.
        assert_eq!(parse(&bytes[..taken], taken), Some((Some(header), taken)));
    }
    written(bytes);
}

/// The header, if it is complete, and how many bytes belong to it. `None` for what is no header.
fn parse(bytes: &[u8], piece: usize) -> Option<(Option<Header>, usize)> {
    let mut parser = Parser::default();
    let mut all = 0;
    for piece in bytes.chunks(piece.max(1)) {
        let (taken, result) = parser.take(piece);
        assert!(taken <= piece.len());
        all += taken;
        assert!(all <= Parser::LONGEST, "longer than any header");
        match result {
            Ok(None) => assert_eq!(taken, piece.len(), "neither complete nor all taken"),
            Ok(header) => return Some((header, all)),
            Err(why) => {
                assert!(!why.is_empty());
                return None;
            }
        }
    }
    Some((None, all))
}

/// Asks for everything that a header can tell.
fn look(header: &Header) {
    for (_, value) in header.tlvs() {
        assert!(value.len() <= Parser::LONGEST);
    }
    let _ = (header.authority(), header.alpn(), header.unique_id());
    if let Some(tls) = header.tls() {
        assert!(tls.has_certificate || !tls.is_verified);
    }
}

/// Ends of the input's choice, written and read.
fn written(bytes: &[u8]) {
    let Some((addresses, rest)) = bytes.split_first_chunk::<36>() else {
        return;
    };
    let at = |place: usize| -> SocketAddr {
        let octets: [u8; 16] = std::array::from_fn(|index| addresses[place + index]);
        let port = u16::from_be_bytes([addresses[place + 16], addresses[place + 17]]);
        if rest.len() % 2 == 0 {
            (Ipv6Addr::from(octets), port).into()
        } else {
            (
                Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]),
                port,
            )
                .into()
        }
    };
    let ends = Ends {
        source: at(0),
        destination: at(18),
    };
    for header in [version_1(Some(ends)), version_2(Some(ends), None)] {
        let read = parse(&header, header.len());
        let Some((Some(read), taken)) = read else {
            panic!("our own header is not understood: {header:?}");
        };
        // An IPv4 address in an IPv6 one is understood as what it is.
        let understood = Ends {
            source: canonical(ends.source),
            destination: canonical(ends.destination),
        };
        assert_eq!((read.ends, taken), (Some(understood), header.len()));
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}
