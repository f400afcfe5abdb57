//! Writing a header.

use std::net::SocketAddr;

use super::{CLIENT_SSL, Ends, SIGNATURE, kind};
use crate::tls::Info;

/// A line of version 1: UNKNOWN without ends, and where their families differ.
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

/// A header of version 2, with what was agreed on in the TLS that ends here. No certificate of the client was verified.
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

fn add_tls(to: &mut Vec<u8>, info: &Info) {
    fn add(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
        to.push(kind);
        // The longest is a name of 255 bytes, from a record that holds no more.
        to.extend((value.len() as u16).to_be_bytes());
        to.extend(value);
    }
    if let Some(alpn) = &info.alpn {
        add(to, kind::ALPN, alpn);
    }
    if let Some(name) = &info.server_name {
        add(to, kind::AUTHORITY, name.as_bytes());
    }
    let mut ssl = vec![CLIENT_SSL];
    // No certificate of the client was verified.
    ssl.extend(1u32.to_be_bytes());
    add(&mut ssl, kind::SSL_VERSION, info.protocol.as_bytes());
    add(&mut ssl, kind::SSL_CIPHER, info.cipher.as_bytes());
    add(to, kind::SSL, &ssl);
}
