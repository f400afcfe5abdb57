//! Our own certificates and private keys, with the errors that Prosody explains to its operators.
//!
//! A certificate has to be one that can be read. What is in it is for the peer to judge: all that is looked for is its public key.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::interned::Interned;
use super::{Error, Material, OwnCertificate};

mod cipher;
mod der;
mod encrypted;
mod kind;
mod pem;
mod pkey;
mod resolver;

pub(super) use der::dns_names;
pub(super) use pem::trusted as trusted_in_pem;
use pkey::Key;
pub(super) use resolver::Choice;

/// The largest PEM file that is read, in bytes. The system store in one file has 200 kB, and four times that with the
/// certificates in words beside them. A device has no end.
const LARGEST: u64 = 16 << 20;

const CERTIFICATE: &str = "certificate";
const PRIVATE_KEY: &str = "private key";

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
        loading(what, &reason).in_file(path)
    };
    let file = fs::File::open(path).map_err(|error| refused(&error))?;
    let mut bytes = Vec::new();
    let mut limited = file.take(LARGEST + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| refused(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(loading(what, "file too large").in_file(path));
    }
    Ok(bytes)
}

impl Material {
    fn bytes(&self, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        match self {
            Material::File(path) => read(path, what).map(Zeroizing::new),
            Material::Memory(bytes) => Ok(Zeroizing::new(bytes.clone())),
        }
    }

    /// DER, which only memory may hold: a file is PEM, as on OpenSSL's side of the contract.
    fn der<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let is_der = matches!(self, Material::Memory(_)) && bytes.first() == Some(&der::SEQUENCE);
        is_der.then_some(bytes)
    }

    fn refused(&self, what: &str, reason: &str) -> Error {
        let error = loading(what, reason);
        match self {
            Material::File(path) => error.in_file(path),
            Material::Memory(_) => error,
        }
    }
}

/// The certificates of a place in DER: the leaf, then what certifies it.
///
/// # Errors
///
/// "error loading certificate (…)": the system's words, "no start line" for a file without one, "bad base64 decode", "wrong tag".
fn certificates(from: &Material, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    match from.der(bytes) {
        Some(bytes) => pem::certificate(bytes).map(|certificate| vec![certificate]),
        None => pem::certificates(bytes),
    }
    .map_err(|reason| from.refused(CERTIFICATE, &reason))
}

/// The private key of a place: PKCS#1, PKCS#8 or SEC1; encrypted as PKCS#8 or in OpenSSL's traditional way.
fn private_key(from: &Material, bytes: &[u8], password: Option<&[u8]>) -> Result<Key, Error> {
    match from.der(bytes) {
        Some(bytes) => key_in_der(bytes, password),
        None => key_in_pem(bytes, password),
    }
    .map_err(|reason| from.refused(PRIVATE_KEY, &reason))
}

/// The first section that is a key counts; an EC key often has its parameters in a section before it, and a certificate may
/// be in the same file. Of what form it is says the key itself: labels are mixed up, and OpenSSL does not mind.
fn key_in_pem(text: &[u8], password: Option<&[u8]>) -> Result<Key, String> {
    for section in pem::sections(text) {
        let section = section?;
        match section.label {
            b"PRIVATE KEY" | b"ENCRYPTED PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => {
                let key = if encrypted::is_traditional(&section) {
                    encrypted::traditional(&section, password)?
                } else {
                    section.decode()?
                };
                return key_in_der(&key, password);
            }
            b"DSA PRIVATE KEY" => return Err(kind::cannot_sign("DSA")),
            _ => {}
        }
    }
    Err(pem::NO_START_LINE.into())
}

/// The forms differ in their first fields, so that at most one fits.
fn key_in_der(bytes: &[u8], password: Option<&[u8]>) -> Result<Key, String> {
    const BROKEN: &str = "decode error";
    let mut fields = der::take(&mut { bytes }, der::SEQUENCE).ok_or(BROKEN)?;
    let mut tag = || der::next(&mut fields).map(|field| field.tag);
    match (tag(), tag()) {
        (Some(der::SEQUENCE), Some(der::OCTET_STRING)) => {
            Key::of_pkcs8(&encrypted::pkcs8(bytes, password)?)
        }
        (Some(der::INTEGER), Some(der::SEQUENCE)) => Key::of_pkcs8(bytes),
        (Some(der::INTEGER), Some(der::INTEGER)) => Key::of_pkcs1(bytes),
        (Some(der::INTEGER), Some(der::OCTET_STRING)) => Key::of_sec1(bytes),
        _ => Err(BROKEN.into()),
    }
}

/// A chain and the key of its leaf, checked to belong together. What is in memory already, out of the same bytes, is
/// shared: Prosody makes a dozen contexts for a host.
///
/// # Errors
///
/// In the order in which LuaSec finds them: "error loading private key (…)", "error loading certificate (…)", "private key
/// does not match public key".
pub(super) fn certified(own: &OwnCertificate) -> Result<Arc<CertifiedKey>, Error> {
    static KNOWN: Interned<CertifiedKey> = Interned::new();

    let key_bytes = own.key.bytes(PRIVATE_KEY)?;
    // A certificate that cannot be read is the second error: a key that is damaged is the first
    let certificate_bytes = own.certificate.bytes(CERTIFICATE);
    let password = own.password.as_deref();
    let empty = Vec::new();
    let content = [
        certificate_bytes.as_deref().unwrap_or(&empty).as_slice(),
        &key_bytes,
        password.unwrap_or_default(),
    ];
    KNOWN.get(content, || {
        let key = private_key(&own.key, &key_bytes, password)?;
        let chain = certificates(
            &own.certificate,
            certificate_bytes.as_ref().map_err(Error::clone)?,
        )?;
        let public = der::public_key(&chain[0])
            .ok_or_else(|| own.certificate.refused(CERTIFICATE, "wrong tag"))?;
        if key.is_too_small() {
            return Err(own.certificate.refused(CERTIFICATE, "ee key too small"));
        }
        if !key.belongs_to(public) {
            let error = Error::new("private key does not match public key");
            return Err(match &own.key {
                Material::File(path) => error.in_file(path),
                Material::Memory(_) => error,
            });
        }
        Ok(CertifiedKey::new(chain, Arc::new(key)))
    })
}
