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

/// What is served to a client that asks for this, and trusts anything.
fn subject(relay: &Relay, asking: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-servername", asking, "-connect"])
        .arg(relay.addresses[0].to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let certificate = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .and_then(|mut child| {
            let mut input = child.stdin.take().unwrap();
            input.write_all(said.as_bytes())?;
            drop(input);
            child.wait_with_output()
        })
        .unwrap();
    format!("{} {said}", String::from_utf8_lossy(&certificate.stdout))
}

#[test]
fn a_host_is_asked_for_in_any_form_and_anything_else_gets_the_default() {
    let folder = Folder::new();
    let default = folder.certificate("default", "default.test");
    let own = folder.certificate("own", "own.test");
    let written = folder.certificate("written", "written.test");
    let sent = folder.certificate("sent", "sent.test");
    let below = folder.certificate("below", "below.test");
    let relay = Relay::start(&[
        "--to",
        &echo(),
        "--tls",
        &default,
        "--tls",
        &own,
        "--sni",
        &format!("B\u{fc}cher.test={written}"),
        "--sni",
        &format!("xn--fsqu00a.test={sent}"),
        "--sni",
        &format!("*.b\u{fc}cher.test={below}"),
    ]);
    for (name, certificate) in [
        ("b\u{fc}cher.test", "written.test"),
        ("xn--bcher-kva.test", "written.test"),
        ("XN--BCHER-KVA.TEST", "written.test"),
        ("\u{4f8b}\u{5b50}.test", "sent.test"),
        ("a.b\u{fc}cher.test", "below.test"),
        ("OWN.test", "own.test"),
        ("own.test.", "own.test"),
        ("own.test:5223", "default.test"),
        ("a own.test", "default.test"),
        ("own_test", "default.test"),
        ("127.0.0.1", "default.test"),
    ] {
        let served = subject(&relay, name);
        assert!(
            served.contains(&format!("DNS:{certificate}")),
            "{name}: {served}"
        );
    }
}

#[test]
fn of_two_certificates_for_a_name_each_client_gets_the_one_that_it_can_use() {
    let folder = Folder::new();
    let make = |file: &str, kind: &str, name: &str| {
        let (certificate, key) = (
            folder.path(&format!("{file}.crt")),
            folder.path(&format!("{file}.key")),
        );
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey", kind, "-days", "2"])
            .args(
                ["-pkeyopt", "ec_paramgen_curve:P-256"]
                    .iter()
                    .take(if kind == "ec" { 2 } else { 0 }),
            )
            .args([
                "-subj",
                "/",
                "-addext",
                &format!("subjectAltName=DNS:{name}"),
            ])
            .args(["-keyout", &key, "-out", &certificate])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        format!("{certificate},{key}")
    };
    let rsa = make("rsa", "rsa:2048", "both.test");
    let ec = make("ec", "ec", "both.test");
    let other = make("other", "rsa:2048", "other.test");
    let sni = |files: &str| format!("both.test={files}");
    let seen = |relay: &Relay, name: &str, algorithms: &str| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &relay.addresses[0].to_string()])
            .args(["-servername", name, "-sigalgs", algorithms])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (arguments, unnamed_too) in [
        (["--tls", &rsa, "--tls", &ec], true),
        (["--tls", &ec, "--tls", &rsa], true),
    ]
    .map(|(arguments, too)| (arguments.map(str::to_owned).to_vec(), too))
    .into_iter()
    .chain([(
        ["--tls", &other, "--sni", &sni(&rsa), "--sni", &sni(&ec)]
            .map(str::to_owned)
            .to_vec(),
        false,
    )]) {
        let to = echo();
        let mut all = vec!["--to", &to];
        all.extend(arguments.iter().map(String::as_str));
        let relay = Relay::start(&all);
        for (algorithms, kind) in [("RSA-PSS+SHA256", "RSA-PSS"), ("ECDSA+SHA256", "ECDSA")] {
            let expected = format!("Peer signature type: {kind}");
            let text = seen(&relay, "both.test", algorithms);
            assert!(
                text.contains(&expected),
                "{arguments:?} {algorithms}: {text}"
            );
            if unnamed_too {
                let text = seen(&relay, "nobody.test", algorithms);
                assert!(
                    text.contains(&expected),
                    "{arguments:?} {algorithms}: {text}"
                );
            }
        }
    }
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
