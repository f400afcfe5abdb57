//! aws-lc's ciphers and key derivation for what keys are encrypted with, which aws-lc-rs does not offer.
#![allow(unsafe_code)] // aws-lc's C functions

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;
use zeroize::Zeroizing;

/// Something to wipe after use.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// A block cipher in CBC mode.
#[derive(Clone, Copy)]
pub(super) struct Cipher {
    /// The length of its key in bytes.
    pub(super) key_length: usize,
    /// The length of its block, and of the initialization vector, in bytes.
    pub(super) block_length: usize,
    /// Of aws-lc: takes nothing, and returns a constant.
    pub(super) evp: unsafe extern "C" fn() -> *const sys::EVP_CIPHER,
}

pub(super) const AES_128: Cipher = Cipher::aes(16, sys::EVP_aes_128_cbc);
pub(super) const AES_192: Cipher = Cipher::aes(24, sys::EVP_aes_192_cbc);
pub(super) const AES_256: Cipher = Cipher::aes(32, sys::EVP_aes_256_cbc);

impl Cipher {
    const fn aes(
        key_length: usize,
        evp: unsafe extern "C" fn() -> *const sys::EVP_CIPHER,
    ) -> Cipher {
        Cipher {
            key_length,
            block_length: 16,
            evp,
        }
    }

    /// Decrypts what was padded as in PKCS#7; `None` where the padding says that the key is another.
    pub(super) fn open(self, key: &[u8], iv: &[u8], sealed: &[u8]) -> Option<Secret> {
        if key.len() != self.key_length || iv.len() != self.block_length {
            return None;
        }
        let mut open: Secret = Zeroizing::new(vec![0; sealed.len() + self.block_length]);
        let mut updated: c_int = 0;
        let mut finished: c_int = 0;
        let sealed_length = c_int::try_from(sealed.len()).ok()?;
        // SAFETY: the context is ours and freed here. Key and vector have the lengths that the cipher reads, and the room
        // is a block longer than what is decrypted, which is the most that both calls write together.
        let done = unsafe {
            let context = sys::EVP_CIPHER_CTX_new();
            let done = !context.is_null()
                && sys::EVP_DecryptInit_ex(
                    context,
                    (self.evp)(),
                    ptr::null_mut(),
                    key.as_ptr(),
                    iv.as_ptr(),
                ) == 1
                && sys::EVP_DecryptUpdate(
                    context,
                    open.as_mut_ptr(),
                    &mut updated,
                    sealed.as_ptr(),
                    sealed_length,
                ) == 1
                && sys::EVP_DecryptFinal_ex(
                    context,
                    open.as_mut_ptr().add(updated as usize),
                    &mut finished,
                ) == 1;
            sys::EVP_CIPHER_CTX_free(context);
            sys::ERR_clear_error();
            done
        };
        open.truncate((updated + finished) as usize);
        done.then_some(open)
    }
}

/// The hash of an HMAC.
#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_256,
}

/// PBKDF2 (RFC 8018, section 5.2).
pub(super) fn pbkdf2(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Option<Secret> {
    let mut key: Secret = Zeroizing::new(vec![0; length]);
    // SAFETY: every pointer goes with its length, and the hash is a constant.
    let done = unsafe {
        let hash = match hash {
            Hash::Sha1 => sys::EVP_sha1(),
            Hash::Sha224 => sys::EVP_sha224(),
            Hash::Sha256 => sys::EVP_sha256(),
            Hash::Sha384 => sys::EVP_sha384(),
            Hash::Sha512 => sys::EVP_sha512(),
            Hash::Sha512_256 => sys::EVP_sha512_256(),
        };
        sys::PKCS5_PBKDF2_HMAC(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            iterations,
            hash,
            key.len(),
            key.as_mut_ptr(),
        )
    };
    (done == 1).then_some(key)
}

/// scrypt (RFC 7914); `None` for parameters that take more than 64 MiB.
pub(super) fn scrypt(
    password: &[u8],
    salt: &[u8],
    [n, r, p]: [u64; 3],
    length: usize,
) -> Option<Secret> {
    const MOST_MEMORY: usize = 64 << 20;
    let mut key: Secret = Zeroizing::new(vec![0; length]);
    // SAFETY: every pointer goes with its length.
    let done = unsafe {
        let done = sys::EVP_PBE_scrypt(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            n,
            r,
            p,
            MOST_MEMORY,
            key.as_mut_ptr(),
            key.len(),
        );
        sys::ERR_clear_error();
        done
    };
    (done == 1).then_some(key)
}
