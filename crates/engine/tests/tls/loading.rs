//! Certificates and keys of every kind, and the errors that Prosody parses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

#[track_caller]
fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn path(name: &str) -> String {
    directory().join(name).to_string_lossy().into_owned()
}

/// A self-signed certificate for a key that openssl made.
fn certify(key: &str, name: &str) -> String {
    let certificate = path(name);
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-key",
        key,
        "-passin",
        "pass:secret",
        "-subj",
        "/CN=made",
        "-days",
        "2",
        "-out",
        &certificate,
    ]);
    certificate
}

fn settings(certificate: &str, key: &str, password: Option<&str>) -> Settings {
    with!(Settings::default(),
        certificate: Some(certificate.into()),
        key: Some(key.into()),
        password: password.map(Into::into),
    )
}

#[test]
fn keys_of_every_kind_and_form_work() {
    let mut driver = driver!();
    let rsa = path("rsa.key");
    openssl(&["genrsa", "-out", &rsa, "2048"]);
    let rsa_certificate = certify(&rsa, "rsa.crt");
    let rsa1 = path("rsa1.key");
    openssl(&["rsa", "-in", &rsa, "-traditional", "-out", &rsa1]);
    let ec = path("ec.key");
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-out", &ec]);
    let ec_certificate = certify(&ec, "ec.crt");
    let ec8 = path("ec8.key");
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", &ec, "-out", &ec8]);
    let p384 = path("p384.key");
    openssl(&[
        "ecparam",
        "-name",
        "secp384r1",
        "-genkey",
        "-noout",
        "-out",
        &p384,
    ]);
    let p384_certificate = certify(&p384, "p384.crt");
    let ed = path("ed.key");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &ed]);
    let ed_certificate = certify(&ed, "ed.crt");
    let mut cases = vec![
        (rsa_certificate.clone(), rsa.clone(), None),
        (rsa_certificate.clone(), rsa1.clone(), None),
        (ec_certificate.clone(), ec.clone(), None),
        (ec_certificate.clone(), ec8, None),
        (p384_certificate, p384, None),
        (ed_certificate, ed, None),
    ];
    for (name, certificate, arguments) in [
        (
            "rsa-p8.key",
            &rsa_certificate,
            vec!["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", &rsa],
        ),
        (
            "rsa-scrypt.key",
            &rsa_certificate,
            vec!["pkcs8", "-topk8", "-scrypt", "-in", &rsa],
        ),
        (
            "rsa-aes128.key",
            &rsa_certificate,
            vec!["rsa", "-traditional", "-aes128", "-in", &rsa],
        ),
        (
            "rsa-aes256.key",
            &rsa_certificate,
            vec!["rsa", "-traditional", "-aes256", "-in", &rsa],
        ),
        (
            "rsa-3des.key",
            &rsa_certificate,
            vec!["rsa", "-traditional", "-des3", "-in", &rsa],
        ),
        (
            "ec-aes256.key",
            &ec_certificate,
            vec!["ec", "-aes256", "-in", &ec],
        ),
    ] {
        let out = path(name);
        let mut arguments = arguments;
        arguments.extend(["-passout", "pass:secret", "-out", &out]);
        openssl(&arguments);
        for (password, reason) in [(None, "bad password read"), (Some("wrong"), "bad decrypt")] {
            let error = Context::build(&settings(certificate, &out, password)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("error loading private key ({reason})"),
                "{name}"
            );
            assert_eq!(error.file(), Some(std::path::Path::new(&out)), "{name}");
        }
        cases.push((certificate.clone(), out, Some("secret")));
    }
    for (certificate, key, password) in cases {
        let server = context(&settings(&certificate, &key, password));
        for protocol in ["tlsv1_2", "tlsv1_3"] {
            let client = context(&with!(Settings::default(),
                mode: Mode::Client,
                protocol: Some(protocol.into()),
                verify: words(&["none"]),
            ));
            let ends = driver.pair(server.clone(), client);
            driver.reactor.destroy(ends.client);
            driver.reactor.destroy(ends.server);
        }
    }
}

#[test]
fn errors_have_the_form_that_prosody_parses() {
    let pair = server_pair();
    let other = self_signed("other.test");
    let empty = file("nothing here\n");
    let missing = PathBuf::from("/nonexistent/file.pem");
    let build = |certificate: &PathBuf, key: &PathBuf| {
        let settings = with!(Settings::default(),
            certificate: Some(certificate.clone()),
            key: Some(key.clone()),
        );
        Context::build(&settings).unwrap_err().to_string()
    };
    assert_eq!(
        build(&pair.certificate, &missing),
        "error loading private key (No such file or directory)"
    );
    assert_eq!(
        build(&missing, &pair.key),
        "error loading certificate (No such file or directory)"
    );
    assert_eq!(
        build(&pair.certificate, &empty),
        "error loading private key (no start line)"
    );
    assert_eq!(
        build(&empty, &pair.key),
        "error loading certificate (no start line)"
    );
    assert_eq!(
        build(&pair.certificate, &other.key),
        "private key does not match public key"
    );
    let settings = with!(Settings::default(), cafile: Some(missing));
    assert_eq!(
        Context::build(&settings).unwrap_err().to_string(),
        "error loading CA locations (No such file or directory)"
    );
}

#[test]
fn what_is_not_done_is_named() {
    let settings = with!(server_settings(server_pair()),
        options: words(&["no_ticket", "no_compression", "legacy_server_connect"]),
        dhparam: true,
        curveslist: Some("X25519:X448:P-256".into()),
        ciphers: Some("ECDHE-RSA-AES256-GCM-SHA384:AES256-SHA".into()),
    );
    let (_, remarks) = Context::build(&settings).unwrap();
    let all = remarks.join("\n");
    for named in [
        "no_ticket",
        "legacy_server_connect",
        "dhparam",
        "curveslist",
        "X448",
        "AES256-SHA",
    ] {
        assert!(all.contains(named), "{named} in {all}");
    }
    assert!(!all.contains("no_compression"));
    for protocol in ["tlsv1", "sslv3", "nonsense"] {
        let settings = with!(server_settings(server_pair()), protocol: Some(protocol.into()));
        assert!(
            Context::build(&settings)
                .unwrap_err()
                .to_string()
                .contains(protocol)
        );
    }
}

#[test]
fn a_hashed_directory_is_trusted() {
    let mut driver = driver!();
    let hashed = directory().join("hashed");
    std::fs::create_dir_all(&hashed).unwrap();
    std::fs::copy(&authority().file, hashed.join("0123abcd.0")).unwrap();
    let client = context(&with!(Settings::default(),
        mode: Mode::Client,
        capath: Some(hashed),
        verify: words(&["peer"]),
    ));
    driver.pair(server(), client);
}

/// Whether a client that trusts what is there now accepts the server of [`authority`].
fn is_trusted(driver: &mut Driver, cafile: Option<&Path>, capath: Option<&Path>) -> bool {
    let ends = driver.pair(
        server(),
        context(&with!(client_settings(),
            cafile: cafile.map(Into::into),
            capath: capath.map(Into::into),
            verifyext: words(&["lsec_continue"]),
        )),
    );
    let trusted = driver.reactor.peer_verification(ends.client).is_empty();
    driver.reactor.destroy(ends.client);
    driver.reactor.destroy(ends.server);
    trusted
}

/// Another file in its place, with the dates of the one before, as cp -p, rsync and package managers leave it.
fn replace(file: &Path, by: &Path) {
    let modified = fs::metadata(file).unwrap().modified().unwrap();
    let new = file.with_extension("new");
    fs::copy(by, &new).unwrap();
    fs::File::options()
        .write(true)
        .open(&new)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    fs::rename(&new, file).unwrap();
}

#[test]
fn what_is_trusted_is_read_again_when_it_changes() {
    let mut driver = driver!();
    let other = make_authority("another");
    let file = file(&fs::read_to_string(&authority().file).unwrap());
    assert!(is_trusted(&mut driver, Some(&file), None));
    replace(&file, &other.file);
    assert!(!is_trusted(&mut driver, Some(&file), None));

    // The directory itself does not change when a file is written, or what a link leads to.
    let hashed = directory().join("changing");
    fs::create_dir_all(&hashed).unwrap();
    std::os::unix::fs::symlink(&file, hashed.join("0123abcd.0")).unwrap();
    assert!(!is_trusted(&mut driver, None, Some(&hashed)));
    replace(&file, &authority().file);
    assert!(is_trusted(&mut driver, None, Some(&hashed)));
    fs::write(&file, fs::read(&other.file).unwrap()).unwrap();
    assert!(!is_trusted(&mut driver, None, Some(&hashed)));
}

#[test]
fn contexts_that_are_made_together_look_once_what_is_trusted() {
    let mut driver = driver!();
    let hashed = directory().join("together");
    fs::create_dir_all(&hashed).unwrap();
    let inside = hashed.join("0123abcd.0");
    fs::copy(&make_authority("another").file, &inside).unwrap();
    let mut is_trusted = |files: &TrustedFiles| {
        let settings = with!(
            client_settings(),
            cafile: None,
            capath: Some(hashed.clone()),
            verifyext: words(&["lsec_continue"]),
        );
        let client = Context::build_with(&settings, files).unwrap().0;
        let ends = driver.pair(server(), client);
        let trusted = driver.reactor.peer_verification(ends.client).is_empty();
        driver.reactor.destroy(ends.client);
        driver.reactor.destroy(ends.server);
        trusted
    };
    let together = TrustedFiles::default();
    assert!(!is_trusted(&together));
    fs::copy(&authority().file, &inside).unwrap();
    assert!(!is_trusted(&together));
    assert!(is_trusted(&TrustedFiles::default()));
    // What comes or goes is seen in the directory itself.
    fs::remove_file(&inside).unwrap();
    assert!(!is_trusted(&together));
    fs::copy(&authority().file, hashed.join("89abcdef.0")).unwrap();
    assert!(is_trusted(&together));
}

#[test]
fn large_files_are_read_and_endless_ones_are_refused() {
    let mut driver = driver!();
    let words = "# trusted, in so many words\n".repeat(100_000);
    let large = file(&(words + &fs::read_to_string(&authority().file).unwrap()));
    assert!(is_trusted(&mut driver, Some(&large), None));
    let endless = with!(client_settings(), cafile: Some("/dev/zero".into()));
    assert_eq!(
        Context::build(&endless).unwrap_err().to_string(),
        "error loading CA locations (file too large)"
    );
}
