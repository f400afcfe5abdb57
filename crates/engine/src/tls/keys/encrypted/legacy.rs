//! Older ways to encrypt a key: OpenSSL's traditional format, Triple-DES, and the schemes of PKCS#12.
#![allow(unsafe_code)] // aws-lc's C functions

use std::ptr;

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_sys as sys;
use zeroize::Zeroizing;

use super::{BROKEN, NO_PASSWORD, opened, small, unsupported};
use crate::tls::keys::cipher::{AES_128, AES_192, AES_256, Cipher, Secret};
use crate::tls::keys::der;
use crate::tls::keys::pem::Section;

/// With three keys.
const TRIPLE_DES: Cipher = Cipher {
    key_length: 24,
    block_length: 8,
    evp: sys::EVP_des_ede3_cbc,
};

/// With two keys.
const TRIPLE_DES_2: Cipher = Cipher {
    key_length: 16,
    block_length: 8,
    evp: sys::EVP_des_ede_cbc,
};

/// A cipher of PBES2, by its object identifier.
pub(super) fn cipher(oid: &str) -> Option<Cipher> {
    (oid == "1.2.840.113549.3.7").then_some(TRIPLE_DES)
}

/// Opens OpenSSL's traditional format.
///
/// # Errors
///
/// In OpenSSL's words; for a cipher that there is not here, its name.
pub(in crate::tls::keys) fn traditional(
    section: &Section<'_>,
    password: Option<&[u8]>,
) -> Result<Secret, String> {
    let info = section.header("DEK-Info").ok_or("not dek info")?;
    let (name, iv) = info.split_once(',').ok_or("not dek info")?;
    let cipher = match name.trim() {
        "AES-128-CBC" => AES_128,
        "AES-192-CBC" => AES_192,
        "AES-256-CBC" => AES_256,
        "DES-EDE3-CBC" => TRIPLE_DES,
        other => return Err(unsupported(other)),
    };
    let iv = hexadecimal(iv.trim()).ok_or("bad iv chars")?;
    let salt = iv.first_chunk().ok_or("bad iv chars")?;
    let sealed = section.decode()?;
    let password = password.ok_or(NO_PASSWORD)?;
    opened(cipher.open(&key_from_salt(cipher, password, salt), &iv, &sealed))
}

/// EVP_BytesToKey(3) with MD5 and one round.
fn key_from_salt(cipher: Cipher, password: &[u8], salt: &[u8; 8]) -> Secret {
    let mut key: Secret = Zeroizing::new(vec![0; cipher.key_length]);
    // SAFETY: the salt has the eight bytes that are read, and the key as many as the cipher takes. No vector is asked for.
    unsafe {
        sys::EVP_BytesToKey(
            (cipher.evp)(),
            sys::EVP_md5(),
            salt.as_ptr(),
            password.as_ptr(),
            password.len(),
            1,
            key.as_mut_ptr(),
            ptr::null_mut(),
        );
    }
    key
}

/// Opens the schemes of PKCS#12 (RFC 7292, appendix C), such as `openssl pkcs8 -v1 PBE-SHA1-3DES` writes.
///
/// # Errors
///
/// As of [`pkcs8`](super::pkcs8).
pub(super) fn scheme(
    oid: &str,
    mut parameters: &[u8],
    sealed: &[u8],
    password: Option<&[u8]>,
) -> Result<Secret, String> {
    const KEY: u8 = 1;
    const IV: u8 = 2;
    let cipher = match oid {
        "1.2.840.113549.1.12.1.3" => TRIPLE_DES,
        "1.2.840.113549.1.12.1.4" => TRIPLE_DES_2,
        other => return Err(unsupported(other)),
    };
    let salt = der::take(&mut parameters, der::OCTET_STRING).ok_or(BROKEN)?;
    let iterations = small(&mut parameters)?;
    let password = password.ok_or(NO_PASSWORD)?;
    let derived =
        |what, length| pkcs12_derivation(what, password, salt, iterations, length).ok_or(BROKEN);
    let (key, iv) = (
        derived(KEY, cipher.key_length)?,
        derived(IV, cipher.block_length)?,
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
