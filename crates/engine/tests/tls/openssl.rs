//! Real peers: `openssl s_client` and `openssl s_server`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::s_server::Server;
use super::*;

fn s_client(address: SocketAddr, arguments: &[&str]) -> Child {
    Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-CAfile", &authority().file.to_string_lossy()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Serves one client that sends a line and gets it back; what it printed.
pub fn serve(driver: &mut Driver, server: &Context, arguments: &[&str], upgrade: bool) -> String {
    let (listener, address) = driver.listen(ReadSize::All);
    let mut child = s_client(address, arguments);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"echo this line\n").unwrap();
    let start = named(server.clone());
    let output = driver.drive_peer(
        move || {
            let mut text = String::new();
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            // Until the echo, then the end of the input ends it.
            while lines.read_line(&mut text).unwrap() > 0 && !text.ends_with("echo this line\n") {}
            std::thread::sleep(SILENCE);
            drop(input);
            lines.read_to_string(&mut text).unwrap();
            child.wait().unwrap();
            text
        },
        |reactor, event| match event {
            Seen::Accepted { key, .. } if !upgrade => reactor.start_tls(key, start.clone()).unwrap(),
            Seen::Data(key, data, _) if data.starts_with(b"echo") => {
                reactor.write(key, &data).unwrap();
            }
            Seen::Data(key, data, _) if upgrade && !reactor.is_tls(key) => {
                let text = String::from_utf8_lossy(&data);
                if text.contains("<starttls") {
                    let proceed = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
                    reactor.write(key, proceed).unwrap();
                    reactor.start_tls(key, start.clone()).unwrap();
                } else {
                    let features = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                        xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><stream:features>\
                        <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
                    reactor.write(key, features).unwrap();
                }
            }
            _ => {}
        },
    );
    driver.reactor.close(listener);
    driver.drive_for(SILENCE, |_, _| {});
    output
}

#[test]
fn s_client_is_served_with_every_protocol_and_cipher() {
    let mut driver = driver!();
    let server = server();
    for (arguments, cipher) in [
        (&["-tls1_3"][..], "TLS_AES_256_GCM_SHA384"),
        (
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        (&["-tls1_2"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        (&["-groups", "P-256"], "TLS_AES_256_GCM_SHA384"),
        (&["-groups", "P-384"], "TLS_AES_256_GCM_SHA384"),
        (&["-groups", "P-521"], "TLS_AES_256_GCM_SHA384"),
        (
            &["-tls1_2", "-groups", "P-521:P-256"],
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ] {
        let output = serve(&mut driver, &server, arguments, false);
        assert!(output.contains(&format!("Cipher is {cipher}")), "{output}");
        assert!(output.contains("Verify return code: 0 (ok)"), "{output}");
        assert!(output.contains("echo this line"), "{output}");
    }
}

#[test]
fn s_client_upgrades_with_starttls() {
    let mut driver = driver!();
    let output = serve(
        &mut driver,
        &server(),
        &["-starttls", "xmpp", "-xmpphost", "example.test"],
        true,
    );
    assert!(output.contains("Verify return code: 0 (ok)"), "{output}");
    assert!(output.contains("echo this line"), "{output}");
}

#[test]
fn s_client_resumes_its_session() {
    let mut driver = driver!();
    let server = server();
    for protocol in ["-tls1_2", "-tls1_3"] {
        let session = directory().join(format!("session{protocol}"));
        let session = session.to_string_lossy();
        let output = serve(
            &mut driver,
            &server,
            &[protocol, "-sess_out", &session],
            false,
        );
        assert!(output.contains("New, TLS"), "{output}");
        let output = serve(
            &mut driver,
            &server,
            &[protocol, "-sess_in", &session],
            false,
        );
        assert!(output.contains("Reused, TLS"), "{protocol}: {output}");
    }
}

/// Names that are no DNS names, and what is told of them. Where nobody asks, they decide nothing.
const ODD_NAMES: &[(&str, &str)] = &[
    ("example.test:5223", "example.test:5223"),
    ("Example test", "example test"),
    ("-example.test", "-example.test"),
    ("example..test", "example..test"),
    ("[::1]", "[::1]"),
    ("B\u{fc}cher.test", "xn--bcher-kva.test"),
    ("b\u{fc}cher.test.", "xn--bcher-kva.test"),
];

#[test]
fn a_name_that_is_no_dns_name_does_not_end_the_handshake() {
    let mut driver = driver!();
    let pair = server_pair();
    let (certificate, key) = (
        pair.certificate.to_string_lossy(),
        pair.key.to_string_lossy(),
    );
    let server = context(&with!(server_settings(pair),
        curveslist: Some("P-384:X25519".into()),
        verify: words(&["peer"]),
        verifyext: words(&["lsec_ignore_purpose"]),
        cafile: Some(authority().file.clone()),
    ));
    for (name, _) in ODD_NAMES {
        for arguments in [
            &["-tls1_3"][..],
            &["-tls1_2"],
            // The client begins with a key for P-256, and is asked for another: HelloRetryRequest.
            &["-tls1_3", "-groups", "P-256:P-384"],
            // It signs what both have said.
            &["-tls1_3", "-cert", &certificate, "-key", &key],
            &["-tls1_2", "-cert", &certificate, "-key", &key],
        ] {
            let arguments = [&["-servername", *name], arguments].concat();
            let output = serve(&mut driver, &server, &arguments, false);
            assert!(
                output.contains("Verify return code: 0 (ok)"),
                "{arguments:?}: {output}"
            );
            assert!(output.contains("echo this line"), "{arguments:?}: {output}");
        }
    }
}

#[test]
fn sessions_with_such_a_name_are_resumed() {
    let mut driver = driver!();
    // With a HelloRetryRequest the binder of the pre-shared key is computed over both ClientHellos.
    for (protocol, groups) in [
        ("-tls1_2", "P-256:P-384"),
        ("-tls1_3", "P-384"),
        ("-tls1_3", "P-256:P-384"),
    ] {
        let server =
            context(&with!(server_settings(server_pair()), curveslist: Some("P-384".into())));
        let session = directory().join(format!("odd-session{protocol}"));
        let session = session.to_string_lossy();
        for (argument, expected) in [("-sess_out", "New, TLS"), ("-sess_in", "Reused, TLS")] {
            let arguments = [
                protocol,
                "-groups",
                groups,
                "-servername",
                "a b:1",
                argument,
                &session,
            ];
            let output = serve(&mut driver, &server, &arguments, false);
            assert!(output.contains(expected), "{arguments:?}: {output}");
            assert!(output.contains("echo this line"), "{arguments:?}: {output}");
        }
    }
}

#[test]
fn such_a_name_can_be_chosen_by() {
    let mut driver = driver!();
    for (name, told) in ODD_NAMES {
        let (listener, address) = driver.listen(ReadSize::All);
        let mut child = s_client(address, &["-servername", name]);
        let mut seen = None;
        driver.drive("the handshake", |reactor, event| match event {
            Seen::Accepted { key, .. } => {
                let start = with!(Start::new(server()), choose: true);
                reactor.start_tls(key, start).unwrap();
                false
            }
            Seen::ClientHello {
                key, server_name, ..
            } => {
                seen = server_name;
                reactor.accept_tls(key, server(), None).unwrap();
                false
            }
            Seen::Secured(key) => {
                let info = reactor.tls_info(key).unwrap();
                assert_eq!(info.server_name.as_deref(), Some(*told));
                true
            }
            _ => false,
        });
        assert_eq!(seen.as_deref(), Some(*told));
        driver.reactor.close(listener);
        child.kill().unwrap();
        child.wait().unwrap();
        driver.drive_for(SILENCE, |_, _| {});
    }
}

#[test]
fn s_client_cannot_renegotiate() {
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let mut child = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let start = named(server());
    let (mut before, mut ended) = (0, None);
    let said = driver.drive_peer(
        move || {
            // The command is one at the beginning of what is typed.
            let mut output = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            while output.read_line(&mut line).unwrap() > 0 && !line.contains("Extended master") {}
            std::thread::sleep(SILENCE);
            input.write_all(b"R\n").unwrap();
            let mut errors = String::new();
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut errors).unwrap();
            child.wait().unwrap();
            errors
        },
        |reactor, event| match event {
            Seen::Accepted { key, .. } => reactor.start_tls(key, start.clone()).unwrap(),
            Seen::Secured(_) => before += 1,
            Seen::Closed(_, reason) => ended = Some(reason),
            Seen::Data(_, data, _) => panic!("{data:?}"),
            _ => {}
        },
    );
    assert!(said.contains("no renegotiation"), "{said}");
    assert_eq!(before, 1, "there was another handshake");
    // OpenSSL takes the refusal for an error, and leaves.
    if ended.is_none() {
        driver.drive("the end", |_, event| matches!(event, Seen::Closed(..)));
    }
}

#[test]
fn s_server_is_a_peer() {
    let mut driver = driver!();
    for arguments in [
        &["-tls1_3"][..],
        &["-tls1_2"],
        &["-tls1_3", "-groups", "P-256"],
    ] {
        let server = Server::start(server_pair(), arguments);
        let key = driver
            .reactor
            .connect(server.address, SocketKind::Stream, ReadSize::All)
            .unwrap();
        driver.reactor.start_tls(key, named(client())).unwrap();
        driver.reactor.write(key, b"abcdef\n").unwrap();
        driver.expect_data(key, b"fedcba\n");
        driver.reactor.close(key);
    }
}
