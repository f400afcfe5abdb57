//! Certificates as aws-lc reads them: the only place where its X.509 functions are called.
//!
//! aws-lc has OpenSSL's reader and OpenSSL's comparison of names, keys and dates. What follows from them is decided in
//! [`pkix`](super::pkix), in safe code.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::net::IpAddr;
use std::ptr::{self, NonNull};

use aws_lc_sys as ffi;

use super::VerifyError;

/// What is left of SHA-1, in bits.
const SHA1_STRENGTH: i32 = 63;

mod confirm;
mod key;
mod trust;

pub(super) use confirm::{Found, confirm};
pub(super) use key::RSA_PSS_PSS;
pub(super) use trust::Trust;

/// A certificate, parsed. Clones share it.
pub(super) struct Certificate(NonNull<ffi::X509>);

// SAFETY: the object is never changed once it is parsed. What aws-lc works out later (the digest, the extensions) it keeps
// in it behind a lock, and the reference count is atomic ("crypto/x509/internal.h").
unsafe impl Send for Certificate {}
// SAFETY: as above.
unsafe impl Sync for Certificate {}

impl Drop for Certificate {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours, with the reference that this value holds.
        unsafe { ffi::X509_free(self.0.as_ptr()) }
    }
}

impl Clone for Certificate {
    fn clone(&self) -> Certificate {
        // SAFETY: the pointer is valid while self lives; the reference taken is the clone's.
        unsafe { ffi::X509_up_ref(self.0.as_ptr()) };
        Certificate(self.0)
    }
}

/// The same certificate, byte for byte.
impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        // SAFETY: both pointers are valid; digests are compared.
        unsafe { ffi::X509_cmp(self.0.as_ptr(), other.0.as_ptr()) == 0 }
    }
}

/// What keeps one certificate from being the issuer of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issuing {
    /// Names, key identifiers and algorithms fit, and the issuer's key usage allows it.
    Allowed,
    /// They fit, and the issuer's key usage has no keyCertSign.
    KeyUsage,
    /// They do not fit.
    No,
}

/// What OpenSSL makes of the extensions that say whether a certificate is an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authority {
    No,
    /// basicConstraints says so.
    Yes,
    /// X.509 version 1 and self-signed, or keyCertSign without basicConstraints: enough for the top of a chain.
    AtTheTop,
}

/// Which end of a connection a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

impl Role {
    fn purpose(self) -> c_int {
        match self {
            Role::Server => ffi::X509_PURPOSE_SSL_SERVER,
            Role::Client => ffi::X509_PURPOSE_SSL_CLIENT,
        }
    }

    fn usage(self) -> i32 {
        match self {
            // Server-gated cryptography, of the time of export restrictions, is for servers, too
            Role::Server => ffi::XKU_SSL_SERVER | ffi::XKU_SGC,
            Role::Client => ffi::XKU_SSL_CLIENT,
        }
    }

    fn usage_id(self) -> c_int {
        match self {
            Role::Server => ffi::NID_server_auth,
            Role::Client => ffi::NID_client_auth,
        }
    }
}

impl Certificate {
    /// A certificate in DER; `None` for what is none, or has something behind it.
    pub(super) fn parse(der: &[u8]) -> Option<Certificate> {
        Certificate::parse_with(der, ffi::d2i_X509)
    }

    /// The same, with OpenSSL's trust settings behind the certificate where there are any (`BEGIN TRUSTED CERTIFICATE`).
    pub(super) fn parse_trusted(der: &[u8]) -> Option<Certificate> {
        Certificate::parse_with(der, ffi::d2i_X509_AUX)
    }

    fn parse_with(
        der: &[u8],
        parse: unsafe extern "C" fn(*mut *mut ffi::X509, *mut *const u8, c_long) -> *mut ffi::X509,
    ) -> Option<Certificate> {
        let length = c_long::try_from(der.len()).ok()?;
        let mut at = der.as_ptr();
        // SAFETY: `at` and `length` describe `der`; a null pointer asks for a new object, which is ours.
        let parsed = unsafe { parse(ptr::null_mut(), &mut at, length) };
        let parsed = Certificate(NonNull::new(parsed)?);
        (at == der.as_ptr_range().end).then_some(parsed)
    }

    /// In DER.
    pub(super) fn der(&self) -> Vec<u8> {
        // SAFETY: the pointer is valid, and the function writes as `encoded` promises.
        encoded(|out| unsafe { ffi::i2d_X509(self.0.as_ptr(), out) })
    }

    /// Its SubjectPublicKeyInfo in DER.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        // SAFETY: the key is part of the certificate, and the function writes as `encoded` promises.
        encoded(|out| unsafe {
            ffi::i2d_X509_PUBKEY(ffi::X509_get_X509_PUBKEY(self.0.as_ptr()), out)
        })
    }

    /// The same for names that are equal. It is no secret, and strangers can make collisions.
    pub(super) fn subject_hash(&self) -> u32 {
        // SAFETY: the name is part of the certificate.
        unsafe { ffi::X509_NAME_hash(ffi::X509_get_subject_name(self.0.as_ptr())) }
    }

    /// [`subject_hash`](Certificate::subject_hash) of who issued it.
    pub(super) fn issuer_hash(&self) -> u32 {
        // SAFETY: as above.
        unsafe { ffi::X509_NAME_hash(ffi::X509_get_issuer_name(self.0.as_ptr())) }
    }

    fn has(&self, flag: i32) -> bool {
        // SAFETY: the pointer is valid.
        let flags = unsafe { ffi::X509_get_extension_flags(self.0.as_ptr()) };
        flags & flag.cast_unsigned() != 0
    }

    /// Whether subject and issuer have the same name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.has(ffi::EXFLAG_SI)
    }

    /// Whether it looks signed with its own key: names, key identifiers and algorithms say so.
    pub(super) fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.issued(self) != Issuing::No
    }

    /// Whether `other` looks issued by this one, without regard to the signature itself.
    pub(super) fn issued(&self, other: &Certificate) -> Issuing {
        // SAFETY: both pointers are valid.
        let found = unsafe { ffi::X509_check_issued(self.0.as_ptr(), other.0.as_ptr()) };
        let allowed = match found {
            ffi::X509_V_OK => Issuing::Allowed,
            ffi::X509_V_ERR_KEYUSAGE_NO_CERTSIGN => Issuing::KeyUsage,
            _ => return Issuing::No,
        };
        match (self.key(), other.signer()) {
            (Some(key), Some(signer))
                if key.kind() == signer || key.is_rsa() && signer == ffi::NID_rsassaPss =>
            {
                allowed
            }
            _ => Issuing::No,
        }
    }

    pub(super) fn authority(&self) -> Authority {
        // SAFETY: the pointer is valid.
        let usage = unsafe { ffi::X509_get_key_usage(self.0.as_ptr()) };
        if usage & ffi::X509v3_KU_KEY_CERT_SIGN.cast_unsigned() == 0 {
            Authority::No
        } else if self.has(ffi::EXFLAG_BCONS) {
            if self.has(ffi::EXFLAG_CA) {
                Authority::Yes
            } else {
                Authority::No
            }
        } else if self.has(ffi::EXFLAG_KUSAGE) || self.has(ffi::EXFLAG_V1) && self.is_self_signed()
        {
            Authority::AtTheTop
        } else {
            Authority::No
        }
    }

    /// Most intermediate certificates below it, if it has a limit.
    pub(super) fn path_length(&self) -> Option<usize> {
        // SAFETY: the pointer is valid.
        usize::try_from(unsafe { ffi::X509_get_pathlen(self.0.as_ptr()) }).ok()
    }

    /// Whether keys and extensions allow the role: of the peer itself, or of who certifies peers in that role.
    ///
    /// Nothing is known of one whose extensions cannot be read. Nobody has issued such a certificate, see
    /// [`issued`](Certificate::issued), so it is not good anyway.
    pub(super) fn is_meant_for(&self, role: Role, certifies: bool) -> bool {
        if self.has(ffi::EXFLAG_INVALID) {
            return true;
        }
        // SAFETY: the pointer is valid.
        if !certifies && unsafe { ffi::X509_check_purpose(self.0.as_ptr(), role.purpose(), 0) == 1 }
        {
            return true;
        }
        // SAFETY: the pointer is valid.
        let usage = unsafe { ffi::X509_get_extended_key_usage(self.0.as_ptr()) };
        usage & role.usage().cast_unsigned() != 0
            && if certifies {
                self.authority() != Authority::No
            } else {
                // All that aws-lc can have found is that it does not know the purpose.
                usage & ffi::XKU_SSL_SERVER.cast_unsigned() == 0
                    && role == Role::Server
                    && self.may_be_used_for_tls()
            }
    }

    fn may_be_used_for_tls(&self) -> bool {
        const TLS: i32 = ffi::X509v3_KU_DIGITAL_SIGNATURE
            | ffi::X509v3_KU_KEY_ENCIPHERMENT
            | ffi::X509v3_KU_KEY_AGREEMENT;
        // SAFETY: the pointer is valid.
        let usage = unsafe { ffi::X509_get_key_usage(self.0.as_ptr()) };
        usage & TLS.cast_unsigned() != 0
    }

    /// Whether a critical extension is one that OpenSSL does not know either.
    pub(super) fn has_unknown_critical_extension(&self) -> bool {
        // SAFETY: indexes are below the count, and extensions are part of the certificate.
        self.has(ffi::EXFLAG_CRITICAL)
            && unsafe {
                (0..ffi::X509_get_ext_count(self.0.as_ptr())).any(|index| {
                    let extension = ffi::X509_get_ext(self.0.as_ptr(), index);
                    ffi::X509_EXTENSION_get_critical(extension) != 0
                        && ffi::X509_supported_extension(extension) == 0
                        // OpenSSL knows it, and has nothing to check about it
                        && ffi::OBJ_obj2nid(ffi::X509_EXTENSION_get_object(extension))
                            != ffi::NID_id_pkix_OCSP_noCheck
                })
            }
    }

    /// Whether it restricts the names of those below it.
    pub(super) fn constrains_names(&self) -> bool {
        // SAFETY: the pointer is valid.
        unsafe { ffi::X509_get_ext_by_NID(self.0.as_ptr(), ffi::NID_name_constraints, -1) >= 0 }
    }

    /// What is wrong with its dates, at `now` in seconds since 1970.
    pub(super) fn dates(&self, now: i64) -> Option<VerifyError> {
        // SAFETY: the dates are part of the certificate.
        let (before, after) = unsafe {
            (
                ffi::X509_cmp_time_posix(ffi::X509_get0_notBefore(self.0.as_ptr()), now),
                ffi::X509_cmp_time_posix(ffi::X509_get0_notAfter(self.0.as_ptr()), now),
            )
        };
        match (before, after) {
            (0, _) => Some(VerifyError::ErrorInCertNotBeforeField),
            (1.., _) => Some(VerifyError::CertNotYetValid),
            (_, 0) => Some(VerifyError::ErrorInCertNotAfterField),
            (_, ..0) => Some(VerifyError::CertHasExpired),
            _ => None,
        }
    }

    /// When it expires, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        let mut seconds = i64::MIN;
        // SAFETY: the date is part of the certificate; where it is none, nothing is written.
        unsafe { ffi::ASN1_TIME_to_posix(ffi::X509_get0_notAfter(self.0.as_ptr()), &mut seconds) };
        seconds
    }

    /// Whether a subjectAltName has this name (RFC 6125, section 6.4); without regard to the common name (RFC 9525).
    pub(super) fn is_for_host(&self, name: &str) -> bool {
        const FLAGS: c_uint = ffi::X509_CHECK_FLAG_NEVER_CHECK_SUBJECT.cast_unsigned();
        // SAFETY: pointer and length describe `name`, and nobody asks which name it was.
        unsafe {
            ffi::X509_check_host(
                self.0.as_ptr(),
                name.as_ptr().cast(),
                name.len(),
                FLAGS,
                ptr::null_mut(),
            ) == 1
        }
    }

    /// Whether a subjectAltName has this address.
    pub(super) fn is_for_address(&self, address: IpAddr) -> bool {
        let check = |bytes: &[u8]| {
            // SAFETY: pointer and length describe `bytes`.
            unsafe { ffi::X509_check_ip(self.0.as_ptr(), bytes.as_ptr(), bytes.len(), 0) == 1 }
        };
        match address {
            IpAddr::V4(address) => check(&address.octets()),
            IpAddr::V6(address) => check(&address.octets()),
        }
    }

    /// Whether its key signed `other`.
    pub(super) fn signed(&self, other: &Certificate) -> bool {
        // SAFETY: both pointers are valid, and the key is part of the certificate.
        self.key()
            .is_some_and(|key| unsafe { ffi::X509_verify(other.0.as_ptr(), key.pointer()) == 1 })
    }

    /// The kind of key that signed it, as what is signed says. The same stands beside the signature, where anybody can change
    /// it.
    fn signer(&self) -> Option<c_int> {
        let (mut object, mut signer) = (ptr::null(), 0);
        // SAFETY: the pointer is valid, what is written to are variables of that type, and what is not wanted may be null.
        let (algorithm, known) = unsafe {
            let algorithm = ffi::X509_get0_tbs_sigalg(self.0.as_ptr());
            ffi::X509_ALGOR_get0(&mut object, ptr::null_mut(), ptr::null_mut(), algorithm);
            let algorithm = ffi::OBJ_obj2nid(object);
            (
                algorithm,
                ffi::OBJ_find_sigid_algs(algorithm, ptr::null_mut(), &mut signer),
            )
        };
        match algorithm {
            ffi::NID_rsassaPss => Some(algorithm),
            _ => (known == 1).then_some(signer),
        }
    }

    /// Whether it is signed in a way that aws-lc does not check any more (MD5). It is too weak by far, and whether the
    /// signature is right is not known.
    pub(super) fn is_signed_obsoletely(&self) -> bool {
        self.signature_strength() < SHA1_STRENGTH
    }

    /// The strength of the digest that was signed, in bits (SP 800-57).
    pub(super) fn signature_strength(&self) -> i32 {
        let (mut digest, mut signer, mut bits, mut flags) = (0, 0, 0, 0);
        // SAFETY: the pointer is valid, and what is written to are variables of that type.
        let (known, algorithm) = unsafe {
            let known = ffi::X509_get_signature_info(
                self.0.as_ptr(),
                &mut digest,
                &mut signer,
                &mut bits,
                &mut flags,
            );
            (known, ffi::X509_get_signature_nid(self.0.as_ptr()))
        };
        match (algorithm, digest) {
            _ if known != 1 => 0,
            // aws-lc checks such a signature with SHA-256 or better, or not at all
            (ffi::NID_rsassaPss, _) => 128,
            // Both fall short of what their length promises
            (_, ffi::NID_sha1) => SHA1_STRENGTH,
            (_, ffi::NID_md5) => 39,
            // Signatures without a digest of their own
            (_, ffi::NID_undef) => 128,
            _ => bits,
        }
    }
}

/// Has OpenSSL's `i2d_…` functions allocate, and takes over what they wrote.
fn encoded(encode: impl FnOnce(*mut *mut u8) -> c_int) -> Vec<u8> {
    let mut out = ptr::null_mut();
    let length = usize::try_from(encode(&mut out)).unwrap_or(0);
    if out.is_null() {
        return Vec::new();
    }
    // SAFETY: `length` bytes were written to memory of aws-lc, which is freed by it once they are copied.
    unsafe {
        let bytes = std::slice::from_raw_parts(out, length).to_vec();
        ffi::OPENSSL_free(out.cast::<c_void>());
        bytes
    }
}

/// What `parse` made of bytes, or else why it made nothing of them, in aws-lc's words, which are OpenSSL's: "wrong tag".
pub(super) fn explained<T>(parse: impl FnOnce() -> Option<T>) -> Result<T, String> {
    forget_errors();
    let parsed = parse();
    // SAFETY: no arguments; the first error that this thread noted, 0 for none.
    let error = unsafe { ffi::ERR_peek_error() };
    // SAFETY: the words of any number, for ever; a null pointer for a number without.
    let words = unsafe { ffi::ERR_reason_error_string(error) };
    forget_errors();
    parsed.ok_or_else(|| {
        if error == 0 || words.is_null() {
            // Something stands behind what was read
            return "too long".to_owned();
        }
        // SAFETY: it is not null, and such words end with a NUL.
        let words = unsafe { CStr::from_ptr(words) };
        words.to_string_lossy().to_lowercase().replace('_', " ")
    })
}

/// Forgets what aws-lc noted about failures on this thread: nobody reads it.
pub(super) fn forget_errors() {
    // SAFETY: no arguments, and what is freed belongs to this thread.
    unsafe { ffi::ERR_clear_error() }
}
