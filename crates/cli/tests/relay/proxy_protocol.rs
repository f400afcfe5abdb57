//! The PROXY protocol, sent and accepted, by one relay to another and by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::support::*;

/// Echoes the first line that it gets, then the rest.
fn line_first() -> String {
    server(|stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        if reader.read_line(&mut line).is_ok() {
            let _ = (&stream).write_all(line.as_bytes());
            let _ = std::io::copy(&mut reader, &mut &stream);
        }
    })
}

#[track_caller]
fn expect_line(stream: &mut impl Read, wanted: &str) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

/// The server behind two relays learns of the client of the first.
#[test]
fn relays_pass_the_client_on() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    for version in ["v1", "v2"] {
        let second = Relay::start(&[
            "--to",
            &line_first(),
            "--accept-proxy-protocol",
            "--proxy-protocol",
            "v1",
        ]);
        let to = second.addresses[0].to_string();
        let first = Relay::start(&["--to", &to, "--tls", &files, "--proxy-protocol", version]);
        let stream = first.connect();
        let (from, to) = (stream.local_addr().unwrap(), first.addresses[0]);
        let line = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
            from.port(),
            to.port()
        );
        let mut stream = tls(stream, &files, "a.test");
        stream.write_all(b"hello").unwrap();
        expect_line(&mut stream, &format!("{line}hello"));
    }
}

/// What was agreed on in TLS, byte for byte as the server behind gets it.
#[test]
fn version_2_tells_of_tls() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&[
        "--to",
        &echo(),
        "--tls",
        &files,
        "--alpn",
        "xmpp-client",
        "--proxy-protocol",
        "v2",
    ]);
    let mut stream = Tls::new(client(&files, "a.test", &["xmpp-client"]), relay.connect());
    stream.write_all(b"hello").unwrap();
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(&header[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).unwrap();
    let tlvs = &rest[12..];
    assert!(
        tlvs.starts_with(b"\x01\0\x0bxmpp-client\x02\0\x06a.test\x20"),
        "{tlvs:?}"
    );
    assert!(tlvs.windows(10).any(|part| part == b"\x21\0\x07TLSv1.3"));
    expect_line(&mut stream, "hello");
}

/// A header and the ClientHello behind it in one segment: none of the handshake is taken for the header.
#[test]
fn tls_begins_right_behind_the_header() {
    struct Prefixed(TcpStream, Option<Vec<u8>>);
    impl Read for Prefixed {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Prefixed {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if let Some(mut prefix) = self.1.take() {
                prefix.extend(bytes);
                self.0.write_all(&prefix)?;
                return Ok(bytes.len());
            }
            self.0.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&[
        "--to",
        &line_first(),
        "--tls",
        &files,
        "--accept-proxy-protocol=127.0.0.1",
        "--proxy-protocol",
        "v1",
    ]);
    let line = "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n";
    let binary = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..],
        b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
        b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02",
        b"\x04\xd2\x01\xbb",
    ]
    .concat();
    for header in [line.as_bytes().to_vec(), binary] {
        let stream = Prefixed(relay.connect(), Some(header));
        let mut stream = Tls::<Prefixed>::new(client(&files, "a.test", &[]), stream);
        stream.write_all(b"hello").unwrap();
        expect_line(&mut stream, &format!("{line}hello"));
    }
}

#[test]
fn who_is_no_front_is_turned_away() {
    let behind = echo();
    let relay = Relay::start(&["--to", &behind, "--accept-proxy-protocol=192.0.2.0/24,::1"]);
    let mut stream = relay.connect();
    let _ = stream.write_all(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nhello");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    relay.expect_said(&["127.0.0.1:", "turned away"]);
}

#[test]
fn no_header_a_bad_one_and_a_late_one_end_the_connection() {
    let relay = Relay::start(&[
        "--to",
        &echo(),
        "--accept-proxy-protocol",
        "--handshake-timeout",
        "0.3",
    ]);
    for (header, why) in [
        ("GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
        ("PROXY TCP4 here there 1 2\r\n", "malformed"),
        ("PROXY TCP4 127.0", "did not come in time"),
    ] {
        let mut stream = relay.connect();
        stream.write_all(header.as_bytes()).unwrap();
        relay.expect_said(&["127.0.0.1:", why]);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "{header}");
    }
}
