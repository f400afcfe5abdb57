//! Public keys: their strength, and what a peer signed in a handshake, whatever aws-lc can check.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use aws_lc_sys as ffi;
use rustls::SignatureScheme;

use super::Certificate;

/// `rsa_pss_pss_sha256` and its siblings (RFC 8446, section 4.2.3): for keys that are for RSA-PSS alone.
pub(in crate::tls) const RSA_PSS_PSS: [SignatureScheme; 3] = [
    SignatureScheme::Unknown(0x0809),
    SignatureScheme::Unknown(0x080a),
    SignatureScheme::Unknown(0x080b),
];

/// The curves that a client of ours lists, which is what a server may have a key on (RFC 8422, section 5.1.1), and a server of
/// ours takes.
const CURVES: [c_int; 3] = [
    ffi::NID_X9_62_prime256v1,
    ffi::NID_secp384r1,
    ffi::NID_secp521r1,
];

enum Kind {
    Pkcs1,
    Pss,
    /// Keys for RSA-PSS alone.
    PssOnly,
    /// With the curve that TLS 1.3 ties to it.
    Ecdsa(c_int),
}

impl Certificate {
    /// Its public key; `None` for a kind that aws-lc does not know.
    pub(in crate::tls) fn key(&self) -> Option<PublicKey<'_>> {
        // SAFETY: the key is part of the certificate.
        let key = unsafe { ffi::X509_get0_pubkey(self.0.as_ptr()) };
        Some(PublicKey(NonNull::new(key)?, PhantomData))
    }
}

/// A key that a certificate has.
pub(in crate::tls) struct PublicKey<'a>(NonNull<ffi::EVP_PKEY>, PhantomData<&'a Certificate>);

impl PublicKey<'_> {
    pub(super) fn pointer(&self) -> *mut ffi::EVP_PKEY {
        self.0.as_ptr()
    }

    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the certificate that has the key is borrowed.
        unsafe { ffi::EVP_PKEY_id(self.pointer()) }
    }

    pub(super) fn is_rsa(&self) -> bool {
        matches!(self.kind(), ffi::EVP_PKEY_RSA | ffi::EVP_PKEY_RSA_PSS)
    }

    /// Whether an elliptic curve is spelt out instead of named.
    pub(in crate::tls) fn has_explicit_parameters(&self) -> bool {
        // SAFETY: the key is valid while the certificate is borrowed, and only one of that kind has what is asked for.
        unsafe {
            let key = ffi::EVP_PKEY_get0_EC_KEY(self.pointer());
            !key.is_null() && ffi::EC_KEY_decoded_from_explicit_params(key) == 1
        }
    }

    /// The curve that it is on, by aws-lc's number.
    fn curve(&self) -> Option<i32> {
        // SAFETY: the key is valid while the certificate is borrowed, and its parts with it.
        unsafe {
            let key = ffi::EVP_PKEY_get0_EC_KEY(self.pointer());
            (!key.is_null()).then(|| ffi::EC_GROUP_get_curve_name(ffi::EC_KEY_get0_group(key)))
        }
    }

    /// How many bits of work it takes to break the key, as OpenSSL counts (SP 800-57, part 1, table 2).
    pub(in crate::tls) fn strength(&self) -> i32 {
        // SAFETY: the key is valid while the certificate is borrowed.
        let bits = unsafe { ffi::EVP_PKEY_bits(self.pointer()) };
        match self.kind() {
            ffi::EVP_PKEY_RSA | ffi::EVP_PKEY_RSA_PSS => factoring_strength(bits),
            ffi::EVP_PKEY_DSA => match bits {
                ..1024 => 0,
                1024..2048 => 80,
                _ => 112,
            },
            // Curves
            _ => bits / 2,
        }
    }

    /// Whether `signature` is this key's over `message`. `tls13` makes of a scheme what TLS 1.3 makes of it.
    ///
    /// Ed25519 is not checked here: there is one way to use it, and rustls knows that.
    pub(in crate::tls) fn verify(
        &self,
        scheme: SignatureScheme,
        tls13: bool,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        use SignatureScheme as S;
        let [sha256, sha384, sha512] = RSA_PSS_PSS;
        // SAFETY: functions without arguments; what they return lives for ever.
        let digests = unsafe { [ffi::EVP_sha256(), ffi::EVP_sha384(), ffi::EVP_sha512()] };
        let (kind, digest) = match scheme {
            S::RSA_PKCS1_SHA256 if !tls13 => (Kind::Pkcs1, digests[0]),
            S::RSA_PKCS1_SHA384 if !tls13 => (Kind::Pkcs1, digests[1]),
            S::RSA_PKCS1_SHA512 if !tls13 => (Kind::Pkcs1, digests[2]),
            S::RSA_PSS_SHA256 => (Kind::Pss, digests[0]),
            S::RSA_PSS_SHA384 => (Kind::Pss, digests[1]),
            S::RSA_PSS_SHA512 => (Kind::Pss, digests[2]),
            S::ECDSA_NISTP256_SHA256 => (Kind::Ecdsa(CURVES[0]), digests[0]),
            S::ECDSA_NISTP384_SHA384 => (Kind::Ecdsa(CURVES[1]), digests[1]),
            S::ECDSA_NISTP521_SHA512 => (Kind::Ecdsa(CURVES[2]), digests[2]),
            scheme if scheme == sha256 => (Kind::PssOnly, digests[0]),
            scheme if scheme == sha384 => (Kind::PssOnly, digests[1]),
            scheme if scheme == sha512 => (Kind::PssOnly, digests[2]),
            _ => return false,
        };
        let wanted = match kind {
            Kind::Pkcs1 | Kind::Pss => ffi::EVP_PKEY_RSA,
            Kind::PssOnly => ffi::EVP_PKEY_RSA_PSS,
            Kind::Ecdsa(_) => ffi::EVP_PKEY_EC,
        };
        let is_on = |curve: c_int| self.curve() == Some(curve);
        let fits = match kind {
            Kind::Ecdsa(curve) if tls13 => is_on(curve),
            Kind::Ecdsa(_) => CURVES.into_iter().any(is_on),
            _ => true,
        };
        if self.kind() != wanted || !fits {
            return false;
        }
        let is_pss = matches!(kind, Kind::Pss | Kind::PssOnly);
        // SAFETY: the context is ours until it is freed at the end; what points into it is used no longer. Pointers and
        // lengths describe the two slices.
        unsafe {
            let context = ffi::EVP_MD_CTX_new();
            let mut key_context = ptr::null_mut();
            let begun = !context.is_null()
                && ffi::EVP_DigestVerifyInit(
                    context,
                    &mut key_context,
                    digest,
                    ptr::null_mut(),
                    self.pointer(),
                ) == 1;
            let prepared = begun
                && (!is_pss
                    || ffi::EVP_PKEY_CTX_set_rsa_padding(key_context, ffi::RSA_PKCS1_PSS_PADDING)
                        == 1
                        // As long as the digest (RFC 8446, section 4.2.3)
                        && ffi::EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, -1) == 1);
            let good = prepared
                && ffi::EVP_DigestVerify(
                    context,
                    signature.as_ptr(),
                    signature.len(),
                    message.as_ptr(),
                    message.len(),
                ) == 1;
            ffi::EVP_MD_CTX_free(context);
            good
        }
    }
}

/// The cost of factoring a modulus, as in OpenSSL's `ossl_ifc_ffc_compute_security_bits` (FIPS 140-2 IG 7.5).
fn factoring_strength(bits: i32) -> i32 {
    match bits {
        2048 => return 112,
        3072 => return 128,
        4096 => return 152,
        ..8 => return 0,
        _ => {}
    }
    let size = f64::from(bits) * std::f64::consts::LN_2;
    let work = (1.923 * (size * size.ln().powi(2)).cbrt() - 4.69) / std::f64::consts::LN_2;
    #[expect(clippy::cast_possible_truncation, reason = "it is below 300")]
    let work = work as i32;
    ((work + 4) & !7).min(if bits <= 7680 { 192 } else { 256 })
}
