//! Certificates by name, protocols, and reloads.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::support::*;

#[test]
fn names_get_their_certificates() {
    let folder = Folder::new();
    let default = folder.certificate("default", "default.test");
    let own = folder.certificate("own", "own.test");
    let named = folder.certificate("named", "*.named.test");
    let relay = Relay::start(&[
        "--to",
        &echo(),
        "--tls",
        &default,
        "--tls",
        &own,
        "--sni",
        &format!("*.named.test={named}"),
    ]);
    for (files, name) in [
        (&default, "default.test"),
        (&own, "own.test"),
        (&named, "a.named.test"),
    ] {
        ask(&mut tls(relay.connect(), files, name), b"hello").unwrap();
    }
    // The default one, which is not trusted here.
    ask(&mut tls(relay.connect(), &own, "other.test"), b"hello").unwrap_err();
}

#[test]
fn protocols_are_agreed_on() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&[
        "--to",
        &echo(),
        "--tls",
        &files,
        "--alpn",
        "xmpp-client",
        "--alpn",
        "other",
    ]);
    for (offer, agreed) in [
        (&["other", "xmpp-client"][..], Some(&b"xmpp-client"[..])),
        (&["other"], Some(b"other")),
        (&[], None),
    ] {
        let mut stream = Tls::new(client(&files, "a.test", offer), relay.connect());
        ask(&mut stream, b"hello").unwrap();
        assert_eq!(stream.conn.alpn_protocol(), agreed);
    }
}

/// RFC 7301, section 3.2.
#[test]
fn who_shares_no_protocol_may_be_refused() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let named = folder.certificate("b", "b.test");
    let to = echo();
    let arguments = ["--to", &to, "--tls", &files, "--tls", &named];
    let alpn = ["--alpn", "xmpp-client"];
    let attempt = |relay: &Relay, name: &str, offer: &[&str]| {
        let files = if name == "a.test" { &files } else { &named };
        let mut stream = Tls::new(client(files, name, offer), relay.connect());
        ask(&mut stream, b"hello").map(|()| stream.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    let strict = [&arguments[..], &alpn, &["--alpn-strict"]].concat();
    let relay = Relay::start(&strict);
    for name in ["a.test", "b.test"] {
        let error = attempt(&relay, name, &["http/1.1"]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
        let agreed = attempt(&relay, name, &["http/1.1", "xmpp-client"]).unwrap();
        assert_eq!(agreed.as_deref(), Some(&b"xmpp-client"[..]));
        // Who offers nothing is not concerned.
        assert_eq!(attempt(&relay, name, &[]).unwrap(), None);
    }
    let relay = Relay::start(&[&arguments[..], &alpn].concat());
    assert_eq!(attempt(&relay, "a.test", &["http/1.1"]).unwrap(), None);
}

#[test]
fn openssl_is_a_client_too() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&["--to", &echo(), "--tls", &files]);
    let certificate = files.split(',').next().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", version])
            .args(["-connect", &relay.addresses[0].to_string()])
            .args(["-servername", "a.test", "-CAfile", certificate])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(line, "hello\n", "{version}");
    }
}

#[test]
fn sighup_takes_up_new_certificates_and_a_bad_one_changes_nothing() {
    let folder = Folder::new();
    let files = folder.certificate("a", "old.test");
    let old = folder.certificate("copy", "old.test");
    for (from, to) in [("a.crt", "copy.crt"), ("a.key", "copy.key")] {
        fs::copy(folder.path(from), folder.path(to)).unwrap();
    }
    let relay = Relay::start(&["--to", &echo(), "--tls", &files]);
    let mut standing = tls(relay.connect(), &old, "old.test");
    ask(&mut standing, b"hello").unwrap();

    fs::write(folder.path("a.key"), "no key at all").unwrap();
    relay.signal(Signal::HUP);
    relay.expect_said(&["the old certificates stay", "a.key", "no start line"]);
    ask(&mut tls(relay.connect(), &old, "old.test"), b"hello").unwrap();

    let new = folder.certificate("a", "new.test");
    relay.signal(Signal::HUP);
    relay.expect_said(&["certificates reloaded"]);
    ask(&mut tls(relay.connect(), &new, "new.test"), b"hello").unwrap();
    ask(&mut tls(relay.connect(), &old, "old.test"), b"hello").unwrap_err();
    ask(&mut standing, b"still here").unwrap();
}

#[test]
fn a_client_that_stalls_or_talks_plainly_is_told_of_and_dropped() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&[
        "--to",
        &echo(),
        "--tls",
        &files,
        "--handshake-timeout",
        "0.3",
    ]);
    let mut plain = relay.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    relay.expect_said(&["127.0.0.1:", "TLS: "]);
    let mut stalling = relay.connect();
    stalling.write_all(b"\x16\x03\x01").unwrap();
    relay.expect_said(&["no handshake in time"]);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut stalling, &mut rest).unwrap();
}
