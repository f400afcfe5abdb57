//! Private keys under a password.

use aes::cipher::{BlockDecryptMut, KeyIvInit, block_padding::Pkcs7};
use md5::{Digest, Md5};
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

const NO_PASSWORD: &str = "bad password read";
const WRONG_PASSWORD: &str = "bad decrypt";
const UNSUPPORTED: &str = "unsupported encryption algorithm";

type Key = PrivateKeyDer<'static>;

/// The key in `text`, or why it can not be had; `None` where it is not encrypted.
pub(super) fn decrypt(text: &[u8], password: Option<&str>) -> Option<Result<Key, &'static str>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Some(pkcs8(text, password));
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Some(legacy(text, password));
    }
    None
}

/// PKCS#8 with PBES2 (RFC 8018): what `openssl genpkey -aes256` and newer `openssl genrsa -aes256` write.
fn pkcs8(text: &str, password: Option<&str>) -> Result<Key, &'static str> {
    let password = password.ok_or(NO_PASSWORD)?;
    let der = section(text, "ENCRYPTED PRIVATE KEY").ok_or("bad base64 decode")?;
    let info = pkcs8::EncryptedPrivateKeyInfo::try_from(der.as_slice()).map_err(|_| "wrong tag")?;
    let key = info.decrypt(password).map_err(|_| WRONG_PASSWORD)?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// OpenSSL's own format of old, RFC 1421's headers: the key is MD5 over password and salt, EVP_BytesToKey(3).
fn legacy(text: &str, password: Option<&str>) -> Result<Key, &'static str> {
    let password = password.ok_or(NO_PASSWORD)?;
    let header = text
        .lines()
        .find_map(|line| line.strip_prefix("DEK-Info:"))
        .ok_or("not dek info")?;
    let (cipher, iv) = header.trim().split_once(',').ok_or("not dek info")?;
    let iv = hex(iv.trim()).ok_or("bad iv chars")?;
    let label = ["RSA PRIVATE KEY", "EC PRIVATE KEY"]
        .into_iter()
        .find(|label| text.contains(&format!("-----BEGIN {label}-----")))
        .ok_or(UNSUPPORTED)?;
    // The headers are no base64: what is between the empty line after them and the end line is.
    let body = text
        .split_once("DEK-Info:")
        .and_then(|(_, rest)| rest.split_once('\n'))
        .and_then(|(_, rest)| rest.split_once("-----END"))
        .map(|(body, _)| body)
        .ok_or("bad end line")?;
    let sealed = section(
        &format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            body.trim()
        ),
        label,
    )
    .ok_or("bad base64 decode")?;

    let salt = iv.get(..8).ok_or("bad iv chars")?;
    let key = |length| bytes_to_key(password.as_bytes(), salt, length);
    let open = match cipher {
        "AES-128-CBC" => cbc_open::<cbc::Decryptor<aes::Aes128>>(&key(16), &iv, &sealed),
        "AES-192-CBC" => cbc_open::<cbc::Decryptor<aes::Aes192>>(&key(24), &iv, &sealed),
        "AES-256-CBC" => cbc_open::<cbc::Decryptor<aes::Aes256>>(&key(32), &iv, &sealed),
        "DES-EDE3-CBC" => cbc_open::<cbc::Decryptor<des::TdesEde3>>(&key(24), &iv, &sealed),
        _ => return Err(UNSUPPORTED),
    }
    .ok_or(WRONG_PASSWORD)?;
    // One wrong password in 256 passes the padding; what comes out is then no DER.
    if open.first() != Some(&0x30) {
        return Err(WRONG_PASSWORD);
    }
    Ok(if label.starts_with("RSA") {
        PrivatePkcs1KeyDer::from(open).into()
    } else {
        PrivateSec1KeyDer::from(open).into()
    })
}

fn cbc_open<D: KeyIvInit + BlockDecryptMut>(
    key: &[u8],
    iv: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    D::new_from_slices(key, iv)
        .ok()?
        .decrypt_padded_vec_mut::<Pkcs7>(sealed)
        .ok()
}

fn bytes_to_key(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let mut key: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    while key.len() < length {
        let mut hash = Md5::new();
        hash.update(&last);
        hash.update(password);
        hash.update(salt);
        last = hash.finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

/// The bytes of the first PEM section with this label.
fn section(text: &str, label: &str) -> Option<Vec<u8>> {
    /// Any section, as it is.
    struct Any(Vec<u8>);
    impl PemObject for Any {
        fn from_pem(_: SectionKind, der: Vec<u8>) -> Option<Any> {
            Some(Any(der))
        }
    }
    // `SectionKind` does not know the label of encrypted keys, and passes sections of no kind over.
    let start = text.find(&format!("-----BEGIN {label}-----"))?;
    let renamed = text[start..].replace(&format!(" {label}-----"), " PRIVATE KEY-----");
    let Any(der) = Any::from_pem_slice(renamed.as_bytes()).ok()?;
    Some(der)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .bytes()
        .map(|digit| (digit as char).to_digit(16).map(|value| value as u8))
        .collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| {
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    })
}
