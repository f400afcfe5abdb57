//! What is said of keys that are encrypted in older ways, where the feature `legacy-keys` is off.

use super::unsupported;
use crate::tls::keys::cipher::{Cipher, Secret};
use crate::tls::keys::pem::Section;

pub(super) fn cipher(_oid: &str) -> Option<Cipher> {
    None
}

pub(super) fn scheme(
    oid: &str,
    _parameters: &[u8],
    _sealed: &[u8],
    _password: Option<&[u8]>,
) -> Result<Secret, String> {
    Err(unsupported(oid))
}

pub(in crate::tls::keys) fn traditional(
    _section: &Section<'_>,
    _password: Option<&[u8]>,
) -> Result<Secret, String> {
    Err("OpenSSL's traditional format is not supported: write the key with openssl pkcs8 -topk8 -v2 aes-256-cbc".into())
}
