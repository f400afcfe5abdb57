//! Chains of every kind, judged by OpenSSL and by us: the same errors at the same depths in the same words.
//!
//! What a chain is worth does not depend on the poller, so `tls.rs` compiles this once, beside the suites of the pollers.

#[allow(dead_code)]
#[path = "pki.rs"]
mod pki;
#[path = "s_server.rs"]
mod s_server;
#[allow(dead_code)]
#[path = "../reactor/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rcgen::{BasicConstraints, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use trochee::tls::{Context, Mode, Settings, Start, Tlsa, VerifyError};
use trochee::{Key, ReadSize, Reason, SocketKind};

use pki::*;
use s_server::Server;
use support::*;
use wire::named;

fn driver() -> Driver {
    Driver::open_named("poll").unwrap()
}

/// Where we differ, and what we say. Elsewhere there is no difference.
const DIFFERENCES: &[(&str, &[(usize, VerifyError)])] = &[
    (
        // RFC 5280, section 4.2.1.9: "CAs MUST NOT include" it. aws-lc takes the extension for broken.
        "pathlen-without-ca",
        &[
            (0, VerifyError::UnableToGetIssuerCertLocally),
            (0, VerifyError::UnableToVerifyLeafSignature),
        ],
    ),
    (
        // RFC 3779, of which aws-lc knows nothing.
        "critical-blocks",
        &[(0, VerifyError::UnhandledCriticalExtension)],
    ),
];

/// Errors with their depths, in the order in which they were found at each.
type Verdict = Vec<(usize, i32, String)>;

/// The directory with the chains of `chains.sh`, and their names.
fn chains() -> &'static (PathBuf, Vec<String>) {
    static CHAINS: OnceLock<(PathBuf, Vec<String>)> = OnceLock::new();
    CHAINS.get_or_init(make_chains)
}

fn make_chains() -> (PathBuf, Vec<String>) {
    let directory = directory().join("chains");
    std::fs::create_dir_all(&directory).unwrap();
    let made = Command::new("sh")
        .args(["-c", include_str!("chains.sh")])
        .current_dir(&directory)
        .output()
        .unwrap();
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    let last = log.lines().rev().take(5).collect::<Vec<_>>();
    assert!(made.status.success(), "{last:?}");
    let names = String::from_utf8(made.stdout).unwrap();
    (directory, names.lines().map(str::to_owned).collect())
}

fn server(directory: &Path, name: &str) -> Server {
    let file = |kind: &str| directory.join(format!("{name}.{kind}"));
    let pair = Pair {
        certificate: file("leaf"),
        key: file("chainkey"),
    };
    let arguments = sending(&file("sent"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Server::start(&pair, &arguments)
}

/// With weak keys, too, and what comes with the certificate, if anything.
fn sending(sent: &Path) -> Vec<String> {
    let mut arguments = words(&["-cipher", "DEFAULT@SECLEVEL=0"]);
    if std::fs::metadata(sent).unwrap().len() > 0 {
        arguments.extend(["-cert_chain".into(), sent.to_string_lossy().into_owned()]);
    }
    arguments
}

/// What `openssl s_client` says, which goes on after an error as `lsec_continue` does.
fn openssl(server: &Server, trusted: &Path, arguments: &[&str]) -> Verdict {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &server.address.to_string()])
        .args(["-verify", "100", "-no-CApath", "-no-CAstore", "-CAfile"])
        .arg(trusted)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!stdout.contains("no peer certificate"), "{stdout}");
    let mut verdict = Vec::new();
    let mut depth = 0;
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        if let Some(rest) = line.strip_prefix("depth=") {
            depth = rest.split(' ').next().unwrap().parse().unwrap();
        } else if let Some(rest) = line.strip_prefix("verify error:num=") {
            let (number, text) = rest.split_once(':').unwrap();
            verdict.push((depth, number.parse().unwrap(), text.to_owned()));
        }
    }
    verdict.sort_by_key(|(depth, ..)| *depth);
    verdict
}

/// What we say; or why the handshake ended.
fn ours(
    driver: &mut Driver,
    server: &Server,
    context: Context,
    name: &str,
    tlsa: &[Tlsa],
) -> Result<Verdict, Reason> {
    let key = driver
        .reactor
        .connect(server.address, SocketKind::Stream, ReadSize::All)
        .unwrap();
    let start = with!(Start::new(context), server_name: Some(name.to_owned()), tlsa: tlsa.to_vec());
    driver.reactor.start_tls(key, start).unwrap();
    let mut ended = None;
    driver.drive("the handshake to end", |_, event| {
        if let Seen::Closed(_, why) = &event {
            ended = Some(why.clone());
        }
        matches!(event, Seen::Closed(..) | Seen::Secured(_))
    });
    let errors = driver.reactor.peer_verification(key);
    driver.reactor.destroy(key);
    driver.turn();
    match ended {
        Some(why) => Err(why),
        None => Ok(errors
            .iter()
            .enumerate()
            .flat_map(|(depth, errors)| {
                errors
                    .iter()
                    .map(move |error| (depth, error.number(), error.to_string()))
            })
            .collect()),
    }
}

fn trusting(directory: &Path, name: &str, protocol: &str, verifyext: &[&str]) -> Context {
    context(&with!(client_settings(),
        protocol: Some(protocol.to_owned()),
        cafile: Some(directory.join(format!("{name}.trusted"))),
        verifyext: words(verifyext),
    ))
}

#[test]
fn chains_are_judged_as_openssl_judges_them() {
    let mut driver = driver();
    let (directory, names) = chains();
    assert!(names.len() >= 100, "{}", names.len());
    let mut wrong = BTreeMap::new();
    // rustls has TLS 1.2 without the signatures of RSA-PSS keys.
    let with_keys = names
        .iter()
        .filter(|name| name.starts_with("leaf-") && *name != "leaf-pss")
        // Nor does OpenSSL use there what is not for digital signatures.
        .filter(|name| !["leaf-is-ca", "leaf-only-signs"].contains(&name.as_str()));
    for (name, protocol) in names
        .iter()
        .map(|name| (name, "tlsv1_3"))
        .chain(with_keys.map(|name| (name, "tlsv1_2")))
    {
        let server = server(directory, name);
        let trusted = directory.join(format!("{name}.trusted"));
        let context = trusting(directory, name, protocol, &["lsec_continue"]);
        let found = ours(&mut driver, &server, context, "leaf.test", &[]);
        let expected = match DIFFERENCES.iter().find(|(other, _)| other == name) {
            Some((_, ours)) => ours
                .iter()
                .map(|(depth, error)| (*depth, error.number(), error.to_string()))
                .collect(),
            None if protocol == "tlsv1_2" => openssl(&server, &trusted, &["-tls1_2"]),
            None => openssl(&server, &trusted, &["-tls1_3"]),
        };
        if std::env::var_os("SHOW_CHAINS").is_some() {
            println!("{name}, {protocol}: {expected:?}");
        }
        let strict = trusting(directory, name, protocol, &[]);
        let passes = ours(&mut driver, &server, strict, "leaf.test", &[]).is_ok();
        if found.as_ref().ok() != Some(&expected) || passes != expected.is_empty() {
            wrong.insert((name, protocol), (expected, found));
        }
    }
    for ((name, protocol), (expected, found)) in &wrong {
        println!("{name}, {protocol}:\n    openssl {expected:?}\n    ours    {found:?}");
    }
    assert!(wrong.is_empty(), "{} of {}", wrong.len(), names.len());
}

#[test]
fn a_chain_may_be_as_long_as_the_depth_says() {
    let mut driver = driver();
    let (directory, _) = chains();
    for name in ["deep", "deep-unknown", "deep-with-root-sent", "self-pinned"] {
        let server = server(directory, name);
        let trusted = directory.join(format!("{name}.trusted"));
        for depth in 0..5 {
            let expected = openssl(&server, &trusted, &["-verify_depth", &depth.to_string()]);
            let context =
                context(&with!(tolerating(), cafile: Some(trusted.clone()), depth: Some(depth)));
            let found = ours(&mut driver, &server, context, "leaf.test", &[]);
            assert_eq!(found, Ok(expected), "{name} {depth}");
        }
    }
}

/// What a server of ours makes of the certificate of `openssl s_client`.
fn judged(
    driver: &mut Driver,
    name: &str,
    protocol: &str,
    verifyext: &[&str],
) -> Vec<Vec<VerifyError>> {
    let (directory, _) = chains();
    let file = |kind: &str| directory.join(format!("{name}.{kind}"));
    let server = context(&with!(server_settings(server_pair()),
        cafile: Some(file("trusted")),
        verify: words(&["peer", "client_once"]),
        verifyext: words(verifyext),
    ));
    let (listener, address) = driver.listen(ReadSize::All);
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), protocol])
        .arg("-cert")
        .arg(file("leaf"))
        .arg("-key")
        .arg(file("chainkey"))
        .args(sending(&file("sent")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut key = None;
    driver.drive("the client's handshake", |reactor, event| match event {
        Seen::Accepted { key, .. } => {
            reactor.start_tls(key, named(server.clone())).unwrap();
            false
        }
        Seen::Secured(secured) => {
            key = Some(secured);
            true
        }
        Seen::Closed(_, why) => panic!("{name}, {protocol}: {why:?}"),
        _ => false,
    });
    let key = key.unwrap();
    assert!(!driver.reactor.peer_certificates(key).is_empty(), "{name}");
    let errors = driver.reactor.peer_verification(key);
    driver.reactor.destroy(key);
    driver.reactor.close(listener);
    driver.turn();
    let _ = child.kill();
    let _ = child.wait();
    errors
}

#[test]
fn clients_are_judged_by_the_same_rules() {
    use VerifyError::{EeKeyTooSmall, InvalidCa, InvalidPurpose};
    let mut driver = driver();
    let go_on = &["lsec_continue"][..];
    // With it clients are judged as if they were servers, as in LuaSec.
    let ignore = &["lsec_continue", "lsec_ignore_purpose"][..];
    for (name, verifyext, expected) in [
        ("good-with-intermediate", go_on, vec![]),
        ("for-clients", go_on, vec![]),
        ("for-clients", ignore, vec![vec![InvalidPurpose]]),
        ("for-servers", go_on, vec![vec![InvalidPurpose]]),
        ("for-servers", ignore, vec![]),
        ("leaf-rsa1024", go_on, vec![vec![EeKeyTooSmall]]),
        ("self-no-ca-pinned", go_on, vec![]),
        (
            "self-no-ca-vouches-and-sent",
            go_on,
            vec![vec![], vec![InvalidCa, InvalidPurpose]],
        ),
        ("v1-pinned", go_on, vec![]),
        ("leaf-p521", go_on, vec![]),
        ("leaf-ed25519", go_on, vec![]),
    ] {
        for protocol in ["-tls1_2", "-tls1_3"] {
            let found = judged(&mut driver, name, protocol, verifyext);
            assert_eq!(found, expected, "{name}, {protocol}, {verifyext:?}");
        }
    }
    assert_eq!(
        judged(&mut driver, "leaf-pss", "-tls1_3", go_on),
        [[]; 0] as [[VerifyError; 0]; 0]
    );
}

fn tolerating() -> Settings {
    with!(client_settings(), verifyext: words(&["lsec_continue"]))
}

/// The certificate, or its public key, of a file in DER.
fn selected(file: &Path, selector: u8) -> Vec<u8> {
    let command = match selector {
        0 => "openssl x509 -in \"$0\" -outform DER",
        _ => "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform DER",
    };
    let output = Command::new("sh")
        .args(["-ec", command])
        .arg(file)
        .output()
        .unwrap();
    assert!(!output.stdout.is_empty(), "{}", file.display());
    output.stdout
}

fn record(file: &Path, usage: u8, selector: u8, matching: u8) -> Tlsa {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    let data = selected(file, selector);
    Tlsa {
        usage,
        selector,
        matching,
        data: match matching {
            0 => data,
            1 => digest(&SHA256, &data).as_ref().to_vec(),
            _ => digest(&SHA512, &data).as_ref().to_vec(),
        },
    }
}

#[test]
fn tlsa_records_count_as_they_do_for_openssl() {
    let mut driver = driver();
    let (directory, _) = chains();
    let of = |name: &str, usage, selector, matching| {
        record(
            &directory.join(format!("{name}.crt")),
            usage,
            selector,
            matching,
        )
    };
    let none = |usage| Tlsa {
        data: vec![0; 32],
        ..of("root", usage, 0, 1)
    };
    let mut cases: Vec<(&str, Vec<Tlsa>)> = Vec::new();
    for name in [
        "good-with-root-sent",
        "unknown-intermediate",
        "below-old",
        "bad-signature",
    ] {
        for usage in 0..4 {
            for (which, selector) in [("below", 1), ("mid", 0), ("root", 1), ("other", 0)] {
                cases.push((name, vec![of(which, usage, selector, 1)]));
            }
        }
    }
    for usage in 0..4 {
        cases.push(("self-unknown", vec![of("self", usage, 1, 2)]));
        cases.push(("self-old-unknown", vec![of("self-old", usage, 0, 0)]));
        cases.push(("self-pinned", vec![of("self", usage, 0, 1)]));
        // Several, of which one fits
        cases.push(("self-unknown", vec![none(usage), of("self", 3, 0, 1)]));
        cases.push(("good", vec![of("leaf", usage, 0, 1), none(0)]));
        cases.push(("leaf-rsa1024", vec![of("kind-rsa1024", usage, 1, 1)]));
        // A stronger digest counts for all
        let mut strong = none(usage);
        (strong.matching, strong.data) = (2, vec![0; 64]);
        cases.push((
            "good",
            vec![of("leaf", usage, 0, 1), of("root", usage, 0, 1), strong],
        ));
    }
    // The authority comes from the DNS
    cases.push(("missing-intermediate", vec![of("mid", 2, 0, 0)]));
    cases.push(("missing-intermediate", vec![of("root", 2, 0, 0)]));
    cases.sort_by_key(|(name, _)| *name);
    let mut wrong = Vec::new();
    let mut running = ("", None);
    for (name, tlsa) in cases {
        if running.0 != name {
            running = (name, Some(server(directory, name)));
        }
        let server = running.1.as_ref().unwrap();
        let trusted = directory.join(format!("{name}.trusted"));
        let mut arguments = vec!["-dane_tlsa_domain".to_owned(), "leaf.test".to_owned()];
        for record in &tlsa {
            let hex: String = record
                .data
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let (usage, selector) = (record.usage, record.selector);
            arguments.push("-dane_tlsa_rrdata".into());
            arguments.push(format!("{usage} {selector} {} {hex}", record.matching));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let expected = openssl(server, &trusted, &arguments);
        let context = context(&with!(Settings::default(),
            mode: Mode::Client,
            cafile: Some(trusted),
            verifyext: words(&["lsec_continue"]),
        ));
        let found = ours(&mut driver, server, context, "leaf.test", &tlsa);
        if found.as_ref().ok() != Some(&expected) {
            wrong.push(format!(
                "{name} {:?}:\n    openssl {expected:?}\n    ours    {found:?}",
                &arguments[3..]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As many as fit into a handshake, which could all have issued each other.
#[test]
fn a_hostile_chain_costs_what_its_depth_allows() {
    const MOST: Duration = Duration::from_secs(2);
    let mut driver = driver();
    let issuer = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let names = [issuer("A"), issuer("B")];
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let [a, b] = [0, 1].map(|index| Issuer::from_params(&names[index], &keys[index]));
    let leaf_key = KeyPair::generate().unwrap();
    let mut chain = params("leaf.test").signed_by(&leaf_key, &a).unwrap().pem();
    for number in 0..150_u64 {
        let mut below_b = names[0].clone();
        below_b.serial_number = Some(number.into());
        let mut below_a = names[1].clone();
        below_a.serial_number = Some(number.into());
        // With the other's key: no signature is right.
        chain += &below_b.signed_by(&keys[0], &b).unwrap().pem();
        chain += &below_a.signed_by(&keys[0], &a).unwrap().pem();
        if chain.len() > 80_000 {
            break;
        }
    }
    let pair = pair(&chain, &leaf_key);
    let begun = std::time::Instant::now();
    let ends = driver.pair(
        context(&server_settings(&pair)),
        context(&with!(client_settings(), verifyext: words(&["lsec_continue"]))),
    );
    let took = begun.elapsed();
    let sent = driver.reactor.peer_certificates(ends.client).len();
    let errors = driver.reactor.peer_verification(ends.client);
    println!("{sent} certificates, {} deep, {took:?}", errors.len());
    assert_eq!(errors[101][0], VerifyError::CertChainTooLong);
    assert_eq!(errors.len(), 102);
    assert!(sent > 150 && took < MOST, "{sent} certificates, {took:?}");
}
