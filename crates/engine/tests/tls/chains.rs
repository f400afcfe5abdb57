//! Chains of every kind, judged by OpenSSL and by us: the same errors at the same depths in the same words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use trochee::tls::VerifyError;

use super::openssl::Server;
use super::*;

/// Where we differ, and what we say. Elsewhere there is no difference.
const DIFFERENCES: &[(&str, &[(usize, VerifyError)])] = &[(
    // RFC 5280, section 4.2.1.9: "CAs MUST NOT include" it. aws-lc takes the extension for broken.
    "pathlen-without-ca",
    &[
        (0, VerifyError::UnableToGetIssuerCertLocally),
        (0, VerifyError::UnableToVerifyLeafSignature),
    ],
)];

/// Errors with their depths, in the order in which they were found at each.
type Verdict = Vec<(usize, i32, String)>;

/// The directory with the chains of `chains.sh`, and their names.
fn chains() -> (PathBuf, Vec<String>) {
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
    let sent = file("sent");
    let mut arguments = vec!["-cipher", "DEFAULT@SECLEVEL=0"];
    let path = sent.to_string_lossy();
    if std::fs::metadata(&sent).unwrap().len() > 0 {
        arguments.extend(["-cert_chain", &path]);
    }
    Server::start(&pair, &arguments)
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
    tlsa: &[Tlsa],
) -> Result<Verdict, Reason> {
    let key = driver
        .reactor
        .connect(server.address, SocketKind::Stream, ReadSize::All)
        .unwrap();
    let start = Start {
        tlsa: tlsa.to_vec(),
        ..named(context)
    };
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
    context(&Settings {
        protocol: Some(protocol.to_owned()),
        cafile: Some(directory.join(format!("{name}.trusted"))),
        verifyext: words(verifyext),
        ..client_settings()
    })
}

#[test]
fn chains_are_judged_as_openssl_judges_them() {
    // What a certificate is worth does not depend on the poller.
    if poller_name() != "epoll" {
        return;
    }
    let mut driver = driver!();
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
        let server = server(&directory, name);
        let trusted = directory.join(format!("{name}.trusted"));
        let context = trusting(&directory, name, protocol, &["lsec_continue"]);
        let found = ours(&mut driver, &server, context, &[]);
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
        if found.as_ref().ok() != Some(&expected) {
            wrong.insert((name, protocol), (expected, found));
        }
    }
    for ((name, protocol), (expected, found)) in &wrong {
        println!("{name}, {protocol}:\n    openssl {expected:?}\n    ours    {found:?}");
    }
    assert!(wrong.is_empty(), "{} of {}", wrong.len(), names.len());
}
