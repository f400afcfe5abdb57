//! Private keys under a password.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use zeroize::Zeroizing;

use super::cipher::{self, Cipher, Hash, Secret};
use super::der;
use super::pem::Section;

const NO_PASSWORD: &str = "bad password read";
const WRONG_PASSWORD: &str = "bad decrypt";
const BROKEN: &str = "decode error";

/// Whether this is OpenSSL's traditional format: a section of any label with the headers of RFC 1421.
pub(super) fn is_traditional(section: &Section<'_>) -> bool {
    section
        .header("Proc-Type")
        .is_some_and(|value| value.ends_with("ENCRYPTED"))
}

/// Opens OpenSSL's traditional format.
///
/// # Errors
///
/// In OpenSSL's words; for a cipher that there is not here, its name.
pub(super) fn traditional(
    section: &Section<'_>,
    password: Option<&[u8]>,
) -> Result<Secret, String> {
    let info = section.header("DEK-Info").ok_or("not dek info")?;
    let (name, iv) = info.split_once(',').ok_or("not dek info")?;
    let cipher = match name.trim() {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        other => return Err(unsupported(other)),
    };
    let iv = hexadecimal(iv.trim()).ok_or("bad iv chars")?;
    let salt = iv.first_chunk().ok_or("bad iv chars")?;
    let sealed = section.decode()?;
    let password = password.ok_or(NO_PASSWORD)?;
    opened(cipher.open(&cipher.key_from_salt(password, salt), &iv, &sealed))
}

/// Opens EncryptedPrivateKeyInfo (RFC 5958): PBES2 (RFC 8018) with PBKDF2 or scrypt, or PKCS#12's scheme with Triple-DES.
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
        "1.2.840.113549.1.12.1.3" => pkcs12(Cipher::TripleDes, parameters, sealed, password),
        "1.2.840.113549.1.12.1.4" => pkcs12(Cipher::TripleDes2, parameters, sealed, password),
        other => Err(unsupported(other)),
    }
}

fn pbes2(mut parameters: &[u8], sealed: &[u8], password: Option<&[u8]>) -> Result<Secret, String> {
    let mut derivation = der::take(&mut parameters, der::SEQUENCE).ok_or(BROKEN)?;
    let mut encryption = der::take(&mut parameters, der::SEQUENCE).ok_or(BROKEN)?;
    let cipher = match oid(&mut encryption)?.as_str() {
        "2.16.840.1.101.3.4.1.2" => Cipher::Aes128,
        "2.16.840.1.101.3.4.1.22" => Cipher::Aes192,
        "2.16.840.1.101.3.4.1.42" => Cipher::Aes256,
        "1.2.840.113549.3.7" => Cipher::TripleDes,
        other => return Err(unsupported(other)),
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
    cipher::pbkdf2(hash, password, salt, iterations, cipher.key_length())
        .ok_or_else(|| BROKEN.into())
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
    cipher::scrypt(password, salt, numbers, cipher.key_length())
        .ok_or_else(|| "memory limit exceeded".into())
}

/// The scheme of PKCS#12 (RFC 7292, appendix C), which `openssl pkcs8 -v1 PBE-SHA1-3DES` writes.
fn pkcs12(
    cipher: Cipher,
    mut parameters: &[u8],
    sealed: &[u8],
    password: Option<&[u8]>,
) -> Result<Secret, String> {
    const KEY: u8 = 1;
    const IV: u8 = 2;
    let salt = der::take(&mut parameters, der::OCTET_STRING).ok_or(BROKEN)?;
    let iterations = small(&mut parameters)?;
    let password = password.ok_or(NO_PASSWORD)?;
    let derived =
        |what, length| pkcs12_derivation(what, password, salt, iterations, length).ok_or(BROKEN);
    let (key, iv) = (
        derived(KEY, cipher.key_length())?,
        derived(IV, cipher.block_length())?,
    );
    opened(cipher.open(&key, &iv, sealed))
}

/// RFC 7292, appendix B.2, with SHA-1; `length` bytes of what `what` is the number of.
fn pkcs12_derivation(
    what: u8,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Option<Secret> {
    /// The block of SHA-1, in bytes.
    const BLOCK: usize = 64;
    if salt.is_empty() {
        return None;
    }
    // UTF-16, and what is no UTF-8 byte by byte, as OpenSSL has it; with a zero at the end
    let characters: Zeroizing<Vec<u16>> = Zeroizing::new(match std::str::from_utf8(password) {
        Ok(text) => text.encode_utf16().chain([0]).collect(),
        Err(_) => password.iter().copied().map(u16::from).chain([0]).collect(),
    });
    let password: Secret = Zeroizing::new(
        characters
            .iter()
            .flat_map(|character| character.to_be_bytes())
            .collect(),
    );
    let repeated = |bytes: &[u8]| -> Secret {
        let length = bytes.len().next_multiple_of(BLOCK);
        Zeroizing::new(bytes.iter().copied().cycle().take(length).collect())
    };
    let mut input: Secret = Zeroizing::new([&repeated(salt)[..], &repeated(&password)].concat());
    let mut output: Secret = Zeroizing::new(Vec::new());
    loop {
        let mut hash = digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(&[what; BLOCK]);
        hash.update(&input);
        let mut hash = hash.finish();
        for _ in 1..iterations {
            hash = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, hash.as_ref());
        }
        output.extend_from_slice(hash.as_ref());
        if output.len() >= length {
            output.truncate(length);
            return Some(output);
        }
        for block in input.chunks_exact_mut(BLOCK) {
            let addend = hash.as_ref().iter().cycle().take(BLOCK);
            let mut carry = 1;
            for (byte, more) in block.iter_mut().zip(addend.collect::<Vec<_>>()).rev() {
                let sum = u16::from(*byte) + u16::from(*more) + carry;
                *byte = sum as u8;
                carry = sum >> 8;
            }
        }
    }
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

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
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
