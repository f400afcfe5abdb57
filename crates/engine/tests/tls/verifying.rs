//! Whose certificates are good, and OpenSSL's words for those that are not.

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

use trochee::tls::VerifyError;

use super::*;

fn tolerant(settings: Settings) -> Settings {
    with!(settings, verify: words(&["peer"]), verifyext: words(&["lsec_continue"]))
}

fn texts(errors: &[Vec<VerifyError>]) -> Vec<Vec<String>> {
    errors
        .iter()
        .map(|errors| errors.iter().map(ToString::to_string).collect())
        .collect()
}

/// What a client that goes on finds wrong with a server's certificate.
fn found(driver: &mut Driver, pair: &Pair) -> Vec<Vec<String>> {
    let ends = driver.pair(
        context(&server_settings(pair)),
        context(&tolerant(client_settings())),
    );
    let errors = texts(&driver.reactor.peer_verification(ends.client));
    driver.reactor.destroy(ends.client);
    driver.reactor.destroy(ends.server);
    errors
}

fn expired() -> Pair {
    let mut params = params("expired.test");
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    authority().issue(params)
}

#[test]
fn errors_are_in_openssls_words() {
    let mut driver = driver!();
    assert_eq!(found(&mut driver, server_pair()), [[""; 0]; 0]);
    assert_eq!(
        found(&mut driver, &self_signed("self.test")),
        [["self-signed certificate"]]
    );
    assert_eq!(
        found(&mut driver, &expired()),
        [["certificate has expired"]]
    );
    let mut early = params("early.test");
    early.not_before = date_time_ymd(2100, 1, 1);
    early.not_after = date_time_ymd(2101, 1, 1);
    assert_eq!(
        found(&mut driver, &authority().issue(early)),
        [["certificate is not yet valid"]]
    );
    assert_eq!(
        found(&mut driver, &purpose(ExtendedKeyUsagePurpose::ClientAuth)),
        [["unsuitable certificate purpose"]]
    );
    let stranger = make_authority("stranger").issue(params("stranger.test"));
    assert_eq!(
        found(&mut driver, &stranger),
        [[
            "unable to get local issuer certificate",
            "unable to verify the first certificate"
        ]]
    );
}

/// What rustls cannot read is an error in the list, too, and no more than that.
#[test]
fn unreadable_certificates_are_errors_for_those_who_go_on() {
    let mut driver = driver!();
    let mut critical = params("critical.test");
    let mut extension =
        rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
    extension.set_criticality(true);
    critical.custom_extensions.push(extension);
    let critical = authority().issue(critical);
    let version1 = version_1();
    let mut join = |pair: &Pair, protocol: &str, verifyext: &[&str], trusted: &Pair| {
        let server = super::s_server::Server::start(pair, &[]);
        let client = context(&with!(client_settings(),
            protocol: Some(protocol.into()),
            cafile: Some(trusted.certificate.clone()),
            verifyext: words(verifyext),
        ));
        let key = driver
            .reactor
            .connect(server.address, SocketKind::Stream, ReadSize::All)
            .unwrap();
        driver.reactor.start_tls(key, named(client)).unwrap();
        let mut reason = None;
        driver.drive("the handshake to end", |_, event| {
            if let Seen::Closed(_, why) = &event {
                reason = Some(why.clone());
            }
            matches!(event, Seen::Closed(..) | Seen::Secured(_))
        });
        let errors = texts(&driver.reactor.peer_verification(key)).concat();
        let chain = driver.reactor.peer_certificates(key);
        driver.reactor.destroy(key);
        driver.turn();
        (reason, errors, chain)
    };
    for (pair, other, error) in [
        (&critical, &version1, "unhandled critical extension"),
        (&version1, &critical, "self-signed certificate"),
    ] {
        for protocol in ["tlsv1_2", "tlsv1_3"] {
            let (reason, errors, chain) = join(pair, protocol, &["lsec_continue"], other);
            assert_eq!(reason, None);
            assert!(errors.contains(&error.to_owned()), "{errors:?}");
            assert_eq!(chain, [der(&pair.certificate)]);
            let (reason, ..) = join(pair, protocol, &[], other);
            assert_eq!(reason, Some(failed("certificate verify failed")));
        }
    }
    // To be of an old version is no fault.
    let (reason, errors, _) = join(&version1, "tlsv1_3", &[], &version1);
    assert_eq!((reason, errors), (None, Vec::new()));
}

/// Signed by itself, without extensions: rcgen makes version 3 alone.
fn version_1() -> Pair {
    let [key, request, certificate] =
        ["key", "csr", "crt"].map(|end| directory().join(format!("version1.{end}")));
    let made = std::process::Command::new("sh")
        .arg("-ec")
        .arg(
            "openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=version1.test \
                -keyout $0 -out $1; \
             openssl x509 -req -in $1 -signkey $0 -out $2",
        )
        .args([&key, &request, &certificate])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    Pair { certificate, key }
}

#[test]
fn errors_are_told_by_depth() {
    let mut driver = driver!();
    let stranger = make_authority("sent along");
    let pair = stranger.issue(params("chain.test"));
    let mut chain = std::fs::read_to_string(&pair.certificate).unwrap();
    chain += &std::fs::read_to_string(&stranger.file).unwrap();
    let pair = Pair {
        certificate: file(&chain),
        key: pair.key,
    };
    assert_eq!(
        found(&mut driver, &pair),
        [&[][..], &["self-signed certificate in certificate chain"]]
    );
}

#[test]
fn a_leaf_certifies_nobody() {
    let mut driver = driver!();
    let mut middle = params("no authority");
    middle.is_ca = IsCa::ExplicitNoCa;
    let key = KeyPair::generate().unwrap();
    let middle_pair = authority().issue_for(middle.clone(), &key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = params("below.test")
        .signed_by(&leaf_key, &rcgen::Issuer::new(middle, key))
        .unwrap();
    let chain = leaf.pem() + &std::fs::read_to_string(&middle_pair.certificate).unwrap();
    let errors = found(&mut driver, &pair(&chain, &leaf_key));
    assert_eq!(
        errors[1],
        ["invalid CA certificate", "unsuitable certificate purpose"]
    );
}

#[test]
fn a_certificate_that_is_trusted_itself_is_good() {
    let mut driver = driver!();
    // What `openssl req -x509` makes claims to be an authority.
    let key = KeyPair::generate().unwrap();
    let mut params = params("pinned authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = pair(&params.self_signed(&key).unwrap().pem(), &key);
    for pair in [self_signed("pinned.test"), authority] {
        let pinning = |verifyext: &[&str], trusted: &Pair| {
            context(&with!(client_settings(),
                cafile: Some(trusted.certificate.clone()),
                verifyext: words(verifyext),
            ))
        };
        let server = context(&server_settings(&pair));
        driver.pair(server.clone(), pinning(&[], &pair));
        let ends = driver.pair(server.clone(), pinning(&["lsec_continue"], &pair));
        assert_eq!(
            texts(&driver.reactor.peer_verification(ends.client)),
            [[""; 0]; 0]
        );
        // Of the same name is not the same.
        let other = self_signed("pinned.test");
        let ends = driver.pair(server, pinning(&["lsec_continue"], &other));
        assert_ne!(
            texts(&driver.reactor.peer_verification(ends.client)),
            [[""; 0]; 0]
        );
    }
}

#[test]
fn without_lsec_continue_a_bad_one_ends_the_handshake() {
    let mut driver = driver!();
    for (pair, alert) in [
        (self_signed("self.test"), "tlsv1 alert unknown ca"),
        (expired(), "sslv3 alert certificate expired"),
    ] {
        let ends = driver.join_tls(
            named(context(&server_settings(&pair))),
            named(client()),
            ReadSize::All,
        );
        let (server, client) = driver.both_closed(ends);
        assert_eq!(client, failed("certificate verify failed"));
        assert_eq!(server, failed(alert));
    }
}

#[test]
fn without_verify_anything_goes_and_is_judged_all_the_same() {
    let mut driver = driver!();
    let ends = driver.pair(
        context(&server_settings(&expired())),
        context(&with!(client_settings(), verify: words(&["none"]))),
    );
    assert_eq!(
        texts(&driver.reactor.peer_verification(ends.client)),
        [["certificate has expired"]]
    );
    assert_eq!(driver.reactor.peer_certificates(ends.client).len(), 1);
}

/// What a client of these settings that asks for `name` makes of a server.
fn joined(
    driver: &mut Driver,
    pair: &Pair,
    settings: Settings,
    name: Option<&str>,
) -> Result<Vec<Vec<VerifyError>>, Reason> {
    let start = with!(Start::new(context(&settings)), server_name: name.map(str::to_owned));
    let ends = driver.join_tls(named(context(&server_settings(pair))), start, ReadSize::All);
    let mut ended = None;
    driver.drive("the client's handshake to end", |_, event| match event {
        Seen::Secured(key) => key == ends.client,
        Seen::Closed(key, why) if key == ends.client => {
            ended = Some(why.clone());
            true
        }
        _ => false,
    });
    let errors = driver.reactor.peer_verification(ends.client);
    driver.reactor.destroy(ends.client);
    driver.reactor.destroy(ends.server);
    driver.turn();
    ended.map_or(Ok(errors), Err)
}

/// Nothing is said but which end it is.
#[test]
fn a_client_verifies_unless_it_is_told_not_to() {
    let mut driver = driver!();
    let client = || with!(Settings::default(), mode: Mode::Client);
    let refused = Err(failed("certificate verify failed"));
    let name = Some("example.test");
    // The system trusts no authority of ours.
    assert_eq!(joined(&mut driver, server_pair(), client(), name), refused);
    let trusting = || with!(client(), cafile: Some(authority().file.clone()));
    assert_eq!(
        joined(&mut driver, server_pair(), trusting(), name),
        Ok(vec![])
    );
    let careless = || with!(client(), verify: words(&["none"]));
    assert!(joined(&mut driver, server_pair(), careless(), name).is_ok());
}

#[test]
fn a_client_wants_to_see_the_name_that_it_asked_for() {
    use VerifyError::{HostnameMismatch, IpAddressMismatch};
    let mut driver = driver!();
    let client =
        || with!(Settings::default(), mode: Mode::Client, cafile: Some(authority().file.clone()));
    let issue = |names: &[&str]| {
        let names = names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "common.test");
        authority().issue(params)
    };
    let pair = issue(&["host.test", "*.wild.test", "127.0.0.1", "::1"]);
    let elsewhere = issue(&["host.test", "192.0.2.1"]);
    for (pair, name, error) in [
        (&pair, Some("host.test"), None),
        (&pair, Some("HOST.test"), None),
        (&pair, Some("a.wild.test"), None),
        (&pair, Some("a.b.wild.test"), Some(HostnameMismatch)),
        (&pair, Some("wild.test"), Some(HostnameMismatch)),
        (&pair, Some("other.test"), Some(HostnameMismatch)),
        // A common name is no name (RFC 9525, section 2).
        (&pair, Some("common.test"), Some(HostnameMismatch)),
        (&pair, Some("127.0.0.1"), None),
        (&pair, Some("::1"), None),
        (&pair, Some("192.0.2.1"), Some(IpAddressMismatch)),
        // Without a name it is the address of the connection.
        (&pair, None, None),
        (&elsewhere, None, Some(IpAddressMismatch)),
        (&elsewhere, Some("192.0.2.1"), None),
        // What cannot be a name is none.
        (&elsewhere, Some("host.test "), Some(IpAddressMismatch)),
    ] {
        let strict = joined(&mut driver, pair, client(), name);
        let expected = match error {
            None => Ok(vec![]),
            Some(_) => Err(failed("certificate verify failed")),
        };
        assert_eq!(strict, expected, "{name:?}");
        let found = joined(&mut driver, pair, tolerant(client()), name);
        assert_eq!(
            found,
            Ok(Vec::from_iter(error.map(|error| vec![error]))),
            "{name:?}"
        );
        let nameless = with!(client(), verify_name: false);
        assert_eq!(
            joined(&mut driver, pair, nameless, name),
            Ok(vec![]),
            "{name:?}"
        );
    }
}

#[test]
fn clients_have_certificates_too() {
    let mut driver = driver!();
    let with = |pair: &Pair| {
        context(&with!(client_settings(),
            certificate: Some(pair.certificate.clone()),
            key: Some(pair.key.clone()),
        ))
    };
    let asking = |verify: &[&str], verifyext: &[&str]| {
        context(&with!(server_settings(server_pair()),
            cafile: Some(authority().file.clone()),
            verify: words(verify),
            verifyext: words(verifyext),
        ))
    };
    let server_only = purpose(ExtendedKeyUsagePurpose::ServerAuth);
    let s2s = asking(
        &["peer", "client_once"],
        &["lsec_continue", "lsec_ignore_purpose"],
    );

    let ends = driver.pair(s2s.clone(), with(&server_only));
    assert_eq!(
        driver.reactor.peer_certificates(ends.server)[0],
        der(&server_only.certificate)
    );
    assert_eq!(
        texts(&driver.reactor.peer_verification(ends.server)),
        [[""; 0]; 0]
    );

    let ends = driver.pair(s2s.clone(), with(&self_signed("s2s.test")));
    assert_eq!(
        texts(&driver.reactor.peer_verification(ends.server)),
        [["self-signed certificate"]]
    );
    // None is fine, unless one is required.
    let ends = driver.pair(s2s, client());
    assert_eq!(driver.reactor.peer_certificates(ends.server).len(), 0);
    let ends = driver.join_tls(
        named(asking(&["peer", "fail_if_no_peer_cert"], &[])),
        named(client()),
        ReadSize::All,
    );
    let (reason, _) = driver.both_closed(ends);
    assert_eq!(reason, failed("peer did not return a certificate"));
    // The wrong purpose counts where it is not to be ignored.
    let ends = driver.join_tls(
        named(asking(&["peer"], &[])),
        named(with(&server_only)),
        ReadSize::All,
    );
    let (reason, _) = driver.both_closed(ends);
    assert_eq!(reason, failed("certificate verify failed"));
}

#[test]
fn tlsa_records_decide() {
    let mut driver = driver!();
    let pair = self_signed("dane.test");
    let certificate = der(&pair.certificate);
    let record = |usage, matching, data: Vec<u8>| Tlsa {
        usage,
        selector: 0,
        matching,
        data,
    };
    let sha256 = |data: &[u8]| {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data)
            .as_ref()
            .to_vec()
    };
    for (tlsa, errors) in [
        (vec![record(3, 0, certificate.clone())], &[][..]),
        (vec![record(3, 1, sha256(&certificate))], &[]),
        (
            vec![record(3, 1, vec![0; 32])],
            &["no matching DANE TLSA records"],
        ),
        // Of no known kind: as if there were none.
        (
            vec![record(9, 1, vec![0; 32])],
            &["self-signed certificate"],
        ),
        (
            vec![record(1, 0, certificate.clone())],
            &["self-signed certificate"],
        ),
    ] {
        let mut start = named(context(&tolerant(client_settings())));
        start.tlsa = tlsa;
        let ends = driver.join_tls(
            named(context(&server_settings(&pair))),
            start,
            ReadSize::All,
        );
        driver.secure(ends);
        let found = texts(&driver.reactor.peer_verification(ends.client));
        assert_eq!(found.concat(), errors);
    }
    // Without lsec_continue they save a connection, and break it.
    for (data, good) in [(certificate.clone(), true), (vec![1], false)] {
        let mut start = named(client());
        start.tlsa = vec![record(3, 0, data)];
        let ends = driver.join_tls(
            named(context(&server_settings(&pair))),
            start,
            ReadSize::All,
        );
        if good {
            driver.secure(ends);
        } else {
            let (_, client) = driver.both_closed(ends);
            assert_eq!(client, failed("certificate verify failed"));
        }
    }
    // An authority of the chain.
    let stranger = make_authority("dane authority");
    let pair = stranger.issue(params("below.test"));
    let chain = std::fs::read_to_string(&pair.certificate).unwrap()
        + &std::fs::read_to_string(&stranger.file).unwrap();
    let pair = Pair {
        certificate: file(&chain),
        key: pair.key,
    };
    let mut start = named(client());
    start.tlsa = vec![record(2, 1, sha256(&stranger.der))];
    let ends = driver.join_tls(
        named(context(&server_settings(&pair))),
        start,
        ReadSize::All,
    );
    driver.secure(ends);
}
