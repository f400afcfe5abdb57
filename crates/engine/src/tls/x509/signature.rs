//! What a peer signed in a handshake, checked with the key of its certificate, whatever aws-lc can check.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as ffi;
use rustls::SignatureScheme;

use super::PublicKey;

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

impl PublicKey<'_> {
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
