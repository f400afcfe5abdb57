//! Certificates, made at test time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::*;

/// A certificate and its key in PEM files.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!(
            "trochee-tls-{}-{}",
            std::process::id(),
            poller_name()
        ));
        fs::create_dir_all(&path).unwrap();
        path
    })
}

/// Writes a file of its own.
pub fn file(contents: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = directory().join(format!("{}.pem", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::write(&path, contents).unwrap();
    path
}

pub fn pair(certificate: &str, key: &KeyPair) -> Pair {
    Pair {
        certificate: file(certificate),
        key: file(&key.serialize_pem()),
    }
}

/// An authority.
pub struct Authority {
    pub file: PathBuf,
    pub der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// The authority that the tests trust.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| make_authority("trochee test authority"))
}

pub fn make_authority(name: &str) -> Authority {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Authority {
        file: file(&certificate.pem()),
        der: certificate.der().to_vec(),
        issuer: Issuer::new(params, key),
    }
}

pub fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.replace(' ', "-")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub fn issue(&self, params: CertificateParams) -> Pair {
        self.issue_for(params, &KeyPair::generate().unwrap())
    }

    pub fn issue_for(&self, params: CertificateParams, key: &KeyPair) -> Pair {
        pair(&params.signed_by(key, &self.issuer).unwrap().pem(), key)
    }
}

/// example.test, P-256, by the authority that the tests trust.
pub fn server_pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| authority().issue(params("example.test")))
}

/// A certificate for `purpose` alone.
pub fn purpose(purpose: ExtendedKeyUsagePurpose) -> Pair {
    let mut params = params("purpose.test");
    params.extended_key_usages = vec![purpose];
    authority().issue(params)
}

pub fn self_signed(name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    pair(&params(name).self_signed(&key).unwrap().pem(), &key)
}

/// The bytes of the first certificate of a PEM file.
pub fn der(path: &Path) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Settings of a server with this certificate.
pub fn server_settings(pair: &Pair) -> Settings {
    with!(Settings::default(),
        mode: Mode::Server,
        certificate: Some(pair.certificate.clone()),
        key: Some(pair.key.clone()),
    )
}

/// Settings of a client that trusts the authority, and takes it from nobody else that a name is right.
pub fn client_settings() -> Settings {
    with!(Settings::default(),
        mode: Mode::Client,
        cafile: Some(authority().file.clone()),
        verify: words(&["peer"]),
        verify_name: false,
    )
}

#[track_caller]
pub fn context(settings: &Settings) -> Context {
    Context::build(settings).unwrap().0
}

pub fn server() -> Context {
    context(&server_settings(server_pair()))
}

pub fn client() -> Context {
    context(&client_settings())
}
