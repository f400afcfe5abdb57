//! Private keys as aws-lc has them, which reads more kinds and forms than aws-lc-rs, and what they sign with in TLS.
#![allow(unsafe_code)] // aws-lc's C functions

use std::ffi::c_int;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use aws_lc_sys as sys;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::der;
use super::kind::{cannot_sign, kind_of_sec1, private_key_info};

/// A key, private or public. Freed, and wiped, with the last use.
struct Pkey(NonNull<sys::EVP_PKEY>);

// SAFETY: nothing changes a key once it is made. aws-lc counts references and makes what it keeps for signing under locks of
// its own; its documentation allows several threads to sign with one key.
unsafe impl Send for Pkey {}
// SAFETY: as above.
unsafe impl Sync for Pkey {}

impl Drop for Pkey {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { sys::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

/// Calls one of aws-lc's parsers on `input`, and leaves no error behind in its queue.
fn parsed<T>(input: &[u8], parse: impl FnOnce(*mut sys::CBS) -> *mut T) -> Option<NonNull<T>> {
    let mut cbs = sys::CBS {
        data: input.as_ptr(),
        len: input.len(),
    };
    let result = NonNull::new(parse(&mut cbs));
    // SAFETY: clears the queue of this thread.
    unsafe { sys::ERR_clear_error() };
    result
}

impl Pkey {
    fn of_private_key_info(info: &[u8]) -> Option<Pkey> {
        // SAFETY: the parser reads what is in the buffer, and the reference that it returns becomes ours.
        parsed(info, |cbs| unsafe { sys::EVP_parse_private_key(cbs) }).map(Pkey)
    }

    fn of_public_key_info(info: &[u8]) -> Option<Pkey> {
        // SAFETY: as above.
        parsed(info, |cbs| unsafe { sys::EVP_parse_public_key(cbs) }).map(Pkey)
    }

    fn of_rsa_private_key(key: &[u8]) -> Option<Pkey> {
        // SAFETY: as above.
        let rsa = parsed(key, |cbs| unsafe { sys::RSA_parse_private_key(cbs) })
            .or_else(|| rsa_of_many_primes(key))?;
        // SAFETY: the key takes the RSA key over where it says so; else that is still ours.
        unsafe {
            let key = sys::EVP_PKEY_new();
            if key.is_null() || sys::EVP_PKEY_assign_RSA(key, rsa.as_ptr()) != 1 {
                sys::RSA_free(rsa.as_ptr());
            }
            NonNull::new(key).map(Pkey)
        }
    }

    fn of_ec_private_key(key: &[u8]) -> Option<Pkey> {
        // SAFETY: as above.
        let ec = parsed(key, |cbs| unsafe {
            sys::EC_KEY_parse_private_key(cbs, ptr::null())
        })?;
        // SAFETY: as for RSA.
        unsafe {
            let key = sys::EVP_PKEY_new();
            if key.is_null() || sys::EVP_PKEY_assign_EC_KEY(key, ec.as_ptr()) != 1 {
                sys::EC_KEY_free(ec.as_ptr());
            }
            NonNull::new(key).map(Pkey)
        }
    }

    fn id(&self) -> c_int {
        // SAFETY: the key is alive.
        unsafe { sys::EVP_PKEY_id(self.0.as_ptr()) }
    }

    fn bits(&self) -> c_int {
        // SAFETY: the key is alive.
        unsafe { sys::EVP_PKEY_bits(self.0.as_ptr()) }
    }

    /// The curve of an EC key, as one of aws-lc's numbers.
    fn curve(&self) -> c_int {
        // SAFETY: the key is alive, and so is what is in it; the EC key is null for keys of other kinds.
        unsafe {
            let ec = sys::EVP_PKEY_get0_EC_KEY(self.0.as_ptr());
            if ec.is_null() {
                return 0;
            }
            sys::EC_GROUP_get_curve_name(sys::EC_KEY_get0_group(ec))
        }
    }

    /// Signs as `scheme` says; `None` where the key does not allow that.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
        const SALT_AS_LONG_AS_THE_HASH: c_int = -1;
        let (hash, is_pss) = shape(scheme);
        // SAFETY: the context is ours and freed here; the parameters belong to it. The first call of EVP_DigestSign tells
        // how much room the second one needs.
        unsafe {
            let context = sys::EVP_MD_CTX_new();
            let sign = || -> Option<Vec<u8>> {
                let mut parameters = ptr::null_mut();
                let done = |result: c_int| (result == 1).then_some(());
                done(sys::EVP_DigestSignInit(
                    context,
                    &mut parameters,
                    hash,
                    ptr::null_mut(),
                    self.0.as_ptr(),
                ))?;
                if is_pss {
                    done(sys::EVP_PKEY_CTX_set_rsa_padding(
                        parameters,
                        sys::RSA_PKCS1_PSS_PADDING,
                    ))?;
                    done(sys::EVP_PKEY_CTX_set_rsa_pss_saltlen(
                        parameters,
                        SALT_AS_LONG_AS_THE_HASH,
                    ))?;
                }
                let mut length = 0;
                let (data, data_length) = (message.as_ptr(), message.len());
                done(sys::EVP_DigestSign(
                    context,
                    ptr::null_mut(),
                    &mut length,
                    data,
                    data_length,
                ))?;
                let mut signature = vec![0; length];
                done(sys::EVP_DigestSign(
                    context,
                    signature.as_mut_ptr(),
                    &mut length,
                    data,
                    data_length,
                ))?;
                signature.truncate(length);
                Some(signature)
            };
            let signature = if context.is_null() { None } else { sign() };
            sys::EVP_MD_CTX_free(context);
            sys::ERR_clear_error();
            signature
        }
    }
}

/// An RSA key of three or more primes (RFC 8017, version 1), which aws-lc signs with by its exponent alone, and slower.
fn rsa_of_many_primes(mut key: &[u8]) -> Option<NonNull<sys::RSA>> {
    const MANY_PRIMES: u64 = 1;
    let mut fields = der::take(&mut key, der::SEQUENCE)?;
    let version = der::take(&mut fields, der::INTEGER)?;
    if der::number(version) != Some(MANY_PRIMES) {
        return None;
    }
    let mut numbers = [&[][..]; 3];
    for number in &mut numbers {
        *number = der::take(&mut fields, der::INTEGER)?;
    }
    // SAFETY: the numbers are made of buffers with their lengths and freed here; the key is made of copies.
    unsafe {
        let [n, e, d] =
            numbers.map(|bytes| sys::BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut()));
        let rsa = if n.is_null() || e.is_null() || d.is_null() {
            ptr::null_mut()
        } else {
            sys::RSA_new_private_key_no_crt(n, e, d)
        };
        sys::BN_free(n);
        sys::BN_free(e);
        sys::BN_clear_free(d);
        sys::ERR_clear_error();
        NonNull::new(rsa)
    }
}

/// RFC 8446, section 4.2.3, for keys that are for RSASSA-PSS alone. rustls has no names for them.
const RSA_PSS_PSS_SHA256: SignatureScheme = SignatureScheme::Unknown(0x0809);
const RSA_PSS_PSS_SHA384: SignatureScheme = SignatureScheme::Unknown(0x080a);
const RSA_PSS_PSS_SHA512: SignatureScheme = SignatureScheme::Unknown(0x080b);

/// The hash of a scheme, null where the algorithm has its own, and whether it is RSASSA-PSS.
fn shape(scheme: SignatureScheme) -> (*const sys::EVP_MD, bool) {
    // SAFETY: these functions take nothing and return a pointer to a constant.
    unsafe {
        match scheme {
            SignatureScheme::RSA_PSS_SHA256 | RSA_PSS_PSS_SHA256 => (sys::EVP_sha256(), true),
            SignatureScheme::RSA_PSS_SHA384 | RSA_PSS_PSS_SHA384 => (sys::EVP_sha384(), true),
            SignatureScheme::RSA_PSS_SHA512 | RSA_PSS_PSS_SHA512 => (sys::EVP_sha512(), true),
            SignatureScheme::RSA_PKCS1_SHA256 | SignatureScheme::ECDSA_NISTP256_SHA256 => {
                (sys::EVP_sha256(), false)
            }
            SignatureScheme::RSA_PKCS1_SHA384 | SignatureScheme::ECDSA_NISTP384_SHA384 => {
                (sys::EVP_sha384(), false)
            }
            SignatureScheme::RSA_PKCS1_SHA512 | SignatureScheme::ECDSA_NISTP521_SHA512 => {
                (sys::EVP_sha512(), false)
            }
            _ => (ptr::null(), false),
        }
    }
}

/// A private key that handshakes can be signed with.
pub(super) struct Key {
    key: Arc<Pkey>,
    algorithm: SignatureAlgorithm,
    /// In the order of preference.
    schemes: Vec<SignatureScheme>,
}

impl Key {
    /// Of a PrivateKeyInfo (PKCS#8, RFC 5958).
    ///
    /// # Errors
    ///
    /// The kind of key that cannot sign here, and what to issue instead.
    pub(super) fn of_pkcs8(info: &[u8]) -> Result<Key, String> {
        let (kind, inner) = private_key_info(info).ok_or("decode error")?;
        let key = match Pkey::of_private_key_info(info) {
            None if kind == "RSA" => Pkey::of_rsa_private_key(inner),
            key => key,
        };
        Key::of(key, &kind)
    }

    /// Of an RSAPrivateKey (PKCS#1, RFC 8017).
    ///
    /// # Errors
    ///
    /// As for PKCS#8.
    pub(super) fn of_pkcs1(key: &[u8]) -> Result<Key, String> {
        Key::of(Pkey::of_rsa_private_key(key), "RSA")
    }

    /// Of an ECPrivateKey (SEC 1, RFC 5915).
    ///
    /// # Errors
    ///
    /// As for PKCS#8.
    pub(super) fn of_sec1(key: &[u8]) -> Result<Key, String> {
        Key::of(Pkey::of_ec_private_key(key), &kind_of_sec1(key))
    }

    fn of(key: Option<Pkey>, kind: &str) -> Result<Key, String> {
        let refused = || cannot_sign(kind);
        let key = key.ok_or_else(refused)?;
        let rsa = SignatureAlgorithm::RSA;
        let (algorithm, mut schemes) = match (key.id(), key.curve()) {
            (sys::EVP_PKEY_RSA, _) => (
                rsa,
                vec![
                    SignatureScheme::RSA_PSS_SHA512,
                    SignatureScheme::RSA_PSS_SHA384,
                    SignatureScheme::RSA_PSS_SHA256,
                    SignatureScheme::RSA_PKCS1_SHA512,
                    SignatureScheme::RSA_PKCS1_SHA384,
                    SignatureScheme::RSA_PKCS1_SHA256,
                ],
            ),
            (sys::EVP_PKEY_RSA_PSS, _) => (
                rsa,
                vec![RSA_PSS_PSS_SHA512, RSA_PSS_PSS_SHA384, RSA_PSS_PSS_SHA256],
            ),
            (sys::EVP_PKEY_EC, sys::NID_X9_62_prime256v1) => (
                SignatureAlgorithm::ECDSA,
                vec![SignatureScheme::ECDSA_NISTP256_SHA256],
            ),
            (sys::EVP_PKEY_EC, sys::NID_secp384r1) => (
                SignatureAlgorithm::ECDSA,
                vec![SignatureScheme::ECDSA_NISTP384_SHA384],
            ),
            (sys::EVP_PKEY_EC, sys::NID_secp521r1) => (
                SignatureAlgorithm::ECDSA,
                vec![SignatureScheme::ECDSA_NISTP521_SHA512],
            ),
            (sys::EVP_PKEY_ED25519, _) => {
                (SignatureAlgorithm::ED25519, vec![SignatureScheme::ED25519])
            }
            _ => return Err(refused()),
        };
        if key.id() == sys::EVP_PKEY_RSA_PSS {
            // Such a key may name the one hash that it is for, and the shortest salt
            schemes.retain(|scheme| key.sign(*scheme, b"").is_some());
        }
        if schemes.is_empty() {
            return Err(refused());
        }
        Ok(Key {
            key: Arc::new(key),
            algorithm,
            schemes,
        })
    }

    /// Whether this is the private half of the key in a subjectPublicKeyInfo.
    pub(super) fn belongs_to(&self, public: &[u8]) -> bool {
        Pkey::of_public_key_info(public).is_some_and(|public| {
            // SAFETY: both keys are alive.
            let same = unsafe { sys::EVP_PKEY_cmp(self.key.0.as_ptr(), public.0.as_ptr()) };
            // SAFETY: clears the queue of this thread.
            unsafe { sys::ERR_clear_error() };
            same == 1
        })
    }

    /// Whether it is below the 112 bits of security that OpenSSL's default level asks for, as Debian has it.
    pub(super) fn is_too_small(&self) -> bool {
        self.algorithm == SignatureAlgorithm::RSA && self.key.bits() < 2048
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let find = |wanted: fn(SignatureScheme) -> SignatureScheme| {
            self.schemes
                .iter()
                .find(|scheme| offered.contains(&wanted(**scheme)))
        };
        // Under TLS 1.2 rustls leaves only schemes that it has names for. Who knows RSASSA-PSS with keys for all of RSA is
        // taken to know it with keys for nothing else; to others this certificate is of no use anyway
        let scheme = *find(|scheme| scheme).or_else(|| find(with_any_rsa_key))?;
        Some(Box::new(OneSignature {
            key: Arc::clone(&self.key),
            scheme,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

fn with_any_rsa_key(scheme: SignatureScheme) -> SignatureScheme {
    match scheme {
        RSA_PSS_PSS_SHA256 => SignatureScheme::RSA_PSS_SHA256,
        RSA_PSS_PSS_SHA384 => SignatureScheme::RSA_PSS_SHA384,
        RSA_PSS_PSS_SHA512 => SignatureScheme::RSA_PSS_SHA512,
        other => other,
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.schemes)
    }
}

struct OneSignature {
    key: Arc<Pkey>,
    scheme: SignatureScheme,
}

impl Signer for OneSignature {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key
            .sign(self.scheme, message)
            .ok_or_else(|| rustls::Error::General("signing failed".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for OneSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneSignature({:?})", self.scheme)
    }
}
