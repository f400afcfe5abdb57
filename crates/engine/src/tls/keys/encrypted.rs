//! Private keys under a password.

use super::cipher::{self, AES_128, AES_192, AES_256, Cipher, Hash, Secret};
use super::der;
use super::pem::Section;

#[cfg(feature = "legacy-keys")]
mod legacy;
#[cfg(not(feature = "legacy-keys"))]
mod no_legacy;
#[cfg(not(feature = "legacy-keys"))]
use no_legacy as legacy;

pub(super) use legacy::traditional;

const NO_PASSWORD: &str = "bad password read";
const WRONG_PASSWORD: &str = "bad decrypt";
const BROKEN: &str = "decode error";

/// Whether this is OpenSSL's traditional format: a section of any label with the headers of RFC 1421.
pub(super) fn is_traditional(section: &Section<'_>) -> bool {
    section
        .header("Proc-Type")
        .is_some_and(|value| value.ends_with("ENCRYPTED"))
}

/// Opens EncryptedPrivateKeyInfo (RFC 5958): PBES2 (RFC 8018) with PBKDF2 or scrypt, or an older scheme.
///
/// # Errors
///
/// In OpenSSL's words; for an algorithm that there is not here, its name.
pub(super) fn pkcs8(mut input: &[u8], password: Option<&[u8]>) -> Result<Secret, String> {
    let mut info = der::take(&mut input, der::SEQUENCE).ok_or(BROKEN)?;
    let mut algorithm = der::take(&mut info, der::SEQUENCE).ok_or(BROKEN)?;
    let sealed = der::take(&mut info, der::OCTET_STRING).ok_or(BROKEN)?;
    let scheme = oid(&mut algorithm)?;
    let parameters = der::take(&mut algorithm, der::SEQUENCE).ok_or(BROKEN)?;
    match scheme.as_str() {
        "1.2.840.113549.1.5.13" => pbes2(parameters, sealed, password),
        other => legacy::scheme(other, parameters, sealed, password),
    }
}

fn pbes2(mut parameters: &[u8], sealed: &[u8], password: Option<&[u8]>) -> Result<Secret, String> {
    let mut derivation = der::take(&mut parameters, der::SEQUENCE).ok_or(BROKEN)?;
    let mut encryption = der::take(&mut parameters, der::SEQUENCE).ok_or(BROKEN)?;
    let cipher = match oid(&mut encryption)?.as_str() {
        "2.16.840.1.101.3.4.1.2" => AES_128,
        "2.16.840.1.101.3.4.1.22" => AES_192,
        "2.16.840.1.101.3.4.1.42" => AES_256,
        other => legacy::cipher(other).ok_or_else(|| unsupported(other))?,
    };
    let iv = der::take(&mut encryption, der::OCTET_STRING).ok_or(BROKEN)?;
    let key = match oid(&mut derivation)?.as_str() {
        "1.2.840.113549.1.5.12" => pbkdf2(cipher, derivation, password),
        "1.3.6.1.4.1.11591.4.11" => scrypt(cipher, derivation, password),
        other => Err(unsupported(other)),
    }?;
    opened(cipher.open(&key, iv, sealed))
}

fn pbkdf2(
    cipher: Cipher,
    mut derivation: &[u8],
    password: Option<&[u8]>,
) -> Result<Secret, String> {
    let mut parameters = der::take(&mut derivation, der::SEQUENCE).ok_or(BROKEN)?;
    let salt = der::take(&mut parameters, der::OCTET_STRING).ok_or(BROKEN)?;
    let iterations = small(&mut parameters)?;
    let _key_length = der::take(&mut parameters, der::INTEGER);
    let hash = match der::take(&mut parameters, der::SEQUENCE) {
        None => Hash::Sha1,
        Some(mut function) => match oid(&mut function)?.as_str() {
            "1.2.840.113549.2.7" => Hash::Sha1,
            "1.2.840.113549.2.8" => Hash::Sha224,
            "1.2.840.113549.2.9" => Hash::Sha256,
            "1.2.840.113549.2.10" => Hash::Sha384,
            "1.2.840.113549.2.11" => Hash::Sha512,
            "1.2.840.113549.2.13" => Hash::Sha512_256,
            other => return Err(unsupported(other)),
        },
    };
    let password = password.ok_or(NO_PASSWORD)?;
    cipher::pbkdf2(hash, password, salt, iterations, cipher.key_length).ok_or_else(|| BROKEN.into())
}

fn scrypt(
    cipher: Cipher,
    mut derivation: &[u8],
    password: Option<&[u8]>,
) -> Result<Secret, String> {
    let mut parameters = der::take(&mut derivation, der::SEQUENCE).ok_or(BROKEN)?;
    let salt = der::take(&mut parameters, der::OCTET_STRING).ok_or(BROKEN)?;
    let mut numbers = [0; 3];
    for number in &mut numbers {
        *number = small(&mut parameters)?.into();
    }
    let password = password.ok_or(NO_PASSWORD)?;
    cipher::scrypt(password, salt, numbers, cipher.key_length)
        .ok_or_else(|| "memory limit exceeded".into())
}

/// One wrong password in 256 passes the padding; what comes out is then no DER.
fn opened(open: Option<Secret>) -> Result<Secret, String> {
    let open = open.ok_or(WRONG_PASSWORD)?;
    der::take(&mut &open[..], der::SEQUENCE).ok_or(WRONG_PASSWORD)?;
    Ok(open)
}

fn oid(input: &mut &[u8]) -> Result<String, String> {
    der::take(input, der::OBJECT_IDENTIFIER)
        .map(der::dotted)
        .ok_or_else(|| BROKEN.into())
}

fn small(input: &mut &[u8]) -> Result<u32, String> {
    der::take(input, der::INTEGER)
        .and_then(der::number)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| BROKEN.into())
}

fn unsupported(algorithm: &str) -> String {
    let name = match algorithm {
        "1.2.840.113549.1.5.1" => "PBE-MD2-DES",
        "1.2.840.113549.1.5.3" => "PBE-MD5-DES",
        "1.2.840.113549.1.5.4" => "PBE-MD2-RC2-64",
        "1.2.840.113549.1.5.6" => "PBE-MD5-RC2-64",
        "1.2.840.113549.1.5.10" => "PBE-SHA1-DES",
        "1.2.840.113549.1.5.11" => "PBE-SHA1-RC2-64",
        "1.2.840.113549.1.12.1.1" => "PBE-SHA1-RC4-128",
        "1.2.840.113549.1.12.1.2" => "PBE-SHA1-RC4-40",
        "1.2.840.113549.1.12.1.5" => "PBE-SHA1-RC2-128",
        "1.2.840.113549.1.12.1.6" => "PBE-SHA1-RC2-40",
        "1.2.840.113549.3.2" => "RC2-CBC",
        "1.2.840.113549.1.12.1.3" => "PBE-SHA1-3DES",
        "1.2.840.113549.1.12.1.4" => "PBE-SHA1-2DES",
        "1.2.840.113549.3.7" => "DES-EDE3-CBC",
        "1.3.14.3.2.7" => "DES-CBC",
        "1.2.392.200011.61.1.1.1.2" => "CAMELLIA-128-CBC",
        "1.2.392.200011.61.1.1.1.3" => "CAMELLIA-192-CBC",
        "1.2.392.200011.61.1.1.1.4" => "CAMELLIA-256-CBC",
        "1.2.410.200046.1.1.2" => "ARIA-128-CBC",
        "1.2.410.200046.1.1.7" => "ARIA-192-CBC",
        "1.2.410.200046.1.1.12" => "ARIA-256-CBC",
        other => other,
    };
    format!("{name} is not supported: encrypt the key with AES-256-CBC")
}
