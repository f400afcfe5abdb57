//! Certificates and private keys out of PEM files, with the errors that Prosody explains to its operators.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Error;

mod encrypted;

/// The largest PEM file that is read, in bytes: the system store in one file has a fifth of it.
const LARGEST: u64 = 1 << 20;

/// What Prosody's certmanager parses: "error loading private key (No such file or directory)".
pub(super) fn loading(what: &str, reason: &str) -> Error {
    Error::new(format!("error loading {what} ({reason})"))
}

/// Reads a whole file.
pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Error> {
    let refused = |error: &io::Error| {
        let reason = match error.raw_os_error() {
            Some(number) => {
                let text = io::Error::from_raw_os_error(number).to_string();
                text.split(" (os error")
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            }
            None => error.to_string(),
        };
        loading(what, &reason)
    };
    let length = fs::metadata(path).map_err(|error| refused(&error))?.len();
    if length > LARGEST {
        return Err(loading(what, "file too large"));
    }
    fs::read(path).map_err(|error| refused(&error))
}

/// The certificates of a PEM file, in their order: the leaf, then what certifies it.
///
/// # Errors
///
/// "error loading certificate (…)": the system's words, "no start line" for a file without one, "bad base64 decode".
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    const WHAT: &str = "certificate";
    let text = read(path, WHAT)?;
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        chain.push(certificate.map_err(|error| loading(WHAT, pem_reason(&error)))?);
    }
    if chain.is_empty() {
        return Err(loading(WHAT, "no start line"));
    }
    Ok(chain)
}

fn pem_reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "bad end line",
        pem::Error::Base64Decode(_) => "bad base64 decode",
        _ => "no start line",
    }
}

/// The private key of a PEM file: PKCS#1, PKCS#8 or SEC1; encrypted as PKCS#8 (PBES2, RFC 8018) or in OpenSSL's old way
/// (`Proc-Type: 4,ENCRYPTED`).
///
/// # Errors
///
/// "error loading private key (…)": the system's words, "no start line", "bad password read" where one is needed,
/// "bad decrypt" for the wrong one.
pub(super) fn private_key(
    path: &Path,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, Error> {
    const WHAT: &str = "private key";
    let text = read(path, WHAT)?;
    if let Some(key) = encrypted::decrypt(&text, password) {
        return key.map_err(|reason| loading(WHAT, reason));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| loading(WHAT, pem_reason(&error)))
}

/// A chain and the key of its leaf, checked to belong together.
///
/// # Errors
///
/// "private key does not match public key", LuaSec's words; "error loading private key (…)" for a kind of key that can
/// not sign here.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Error> {
    let signer = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| loading("private key", "unsupported algorithm"))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        // A key that can not tell its public half is taken on trust: the peer will notice.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Error::new("private key does not match public key"))
        }
        Err(error) => Err(loading("certificate", &error.to_string())),
    }
}
