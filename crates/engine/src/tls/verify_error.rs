//! What can be wrong with a peer's certificates, under the numbers and in the words of OpenSSL 3.

use std::fmt;

#[cfg(feature = "tls")]
use aws_lc_sys as ffi;

macro_rules! errors {
    ($($name:ident = $number:literal, $text:literal, [$($aws:path),*];)+) => {
        /// What is wrong with a certificate of the peer: OpenSSL's `X509_V_ERR_…`, verify(1).
        ///
        /// [`Display`](fmt::Display) has the text of OpenSSL 3.0, which Prosody logs and its modules compare.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum VerifyError {
            $(#[doc = concat!("“", $text, "”, number ", $number)] $name = $number,)+
        }

        impl VerifyError {
            /// The number that OpenSSL 3 has for it.
            pub fn number(self) -> i32 {
                self as i32
            }

            /// From a number of aws-lc's verifier, which has some of its own.
            #[cfg(feature = "tls")]
            pub(super) fn from_aws_lc(number: i32) -> VerifyError {
                match number {
                    $($($aws => VerifyError::$name,)*)+
                    _ => VerifyError::Unspecified,
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(VerifyError::$name => $text,)+
                }
            }
        }
    };
}

errors! {
    Unspecified = 1, "unspecified certificate verification error", [];
    UnableToGetIssuerCert = 2, "unable to get issuer certificate", [ffi::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT];
    UnableToDecodeIssuerPublicKey = 6, "unable to decode issuer public key",
        [ffi::X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY, ffi::X509_V_UNABLE_TO_GET_CERTS_PUBLIC_KEY];
    CertSignatureFailure = 7, "certificate signature failure", [ffi::X509_V_ERR_CERT_SIGNATURE_FAILURE];
    CertNotYetValid = 9, "certificate is not yet valid", [ffi::X509_V_ERR_CERT_NOT_YET_VALID];
    CertHasExpired = 10, "certificate has expired", [ffi::X509_V_ERR_CERT_HAS_EXPIRED];
    ErrorInCertNotBeforeField = 13, "format error in certificate's notBefore field",
        [ffi::X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD];
    ErrorInCertNotAfterField = 14, "format error in certificate's notAfter field",
        [ffi::X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD];
    DepthZeroSelfSignedCert = 18, "self-signed certificate", [ffi::X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT];
    SelfSignedCertInChain = 19, "self-signed certificate in certificate chain",
        [ffi::X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN];
    UnableToGetIssuerCertLocally = 20, "unable to get local issuer certificate",
        [ffi::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY];
    UnableToVerifyLeafSignature = 21, "unable to verify the first certificate",
        [ffi::X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE];
    CertChainTooLong = 22, "certificate chain too long", [ffi::X509_V_ERR_CERT_CHAIN_TOO_LONG];
    CertRevoked = 23, "certificate revoked", [ffi::X509_V_ERR_CERT_REVOKED];
    PathLengthExceeded = 25, "path length constraint exceeded", [ffi::X509_V_ERR_PATH_LENGTH_EXCEEDED];
    InvalidPurpose = 26, "unsuitable certificate purpose", [ffi::X509_V_ERR_INVALID_PURPOSE];
    CertRejected = 28, "certificate rejected", [ffi::X509_V_ERR_CERT_REJECTED];
    KeyUsageNoCertSign = 32, "key usage does not include certificate signing",
        [ffi::X509_V_ERR_KEYUSAGE_NO_CERTSIGN];
    UnhandledCriticalExtension = 34, "unhandled critical extension",
        [ffi::X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION];
    InvalidExtension = 41, "invalid or inconsistent certificate extension", [ffi::X509_V_ERR_INVALID_EXTENSION];
    PermittedViolation = 47, "permitted subtree violation", [ffi::X509_V_ERR_PERMITTED_VIOLATION];
    ExcludedViolation = 48, "excluded subtree violation", [ffi::X509_V_ERR_EXCLUDED_VIOLATION];
    SubtreeMinMax = 49, "name constraints minimum and maximum not supported", [ffi::X509_V_ERR_SUBTREE_MINMAX];
    UnsupportedConstraintType = 51, "unsupported name constraint type",
        [ffi::X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE];
    UnsupportedConstraintSyntax = 52, "unsupported or invalid name constraint syntax",
        [ffi::X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX];
    UnsupportedNameSyntax = 53, "unsupported or invalid name syntax", [ffi::X509_V_ERR_UNSUPPORTED_NAME_SYNTAX];
    HostnameMismatch = 62, "hostname mismatch", [ffi::X509_V_ERR_HOSTNAME_MISMATCH];
    IpAddressMismatch = 64, "IP address mismatch", [ffi::X509_V_ERR_IP_ADDRESS_MISMATCH];
    DaneNoMatch = 65, "no matching DANE TLSA records", [];
    EeKeyTooSmall = 66, "EE certificate key too weak", [ffi::X509_V_ERR_EE_KEY_TOO_SMALL];
    CaKeyTooSmall = 67, "CA certificate key too weak", [ffi::X509_V_ERR_CA_KEY_TOO_SMALL];
    CaMdTooWeak = 68, "CA signature digest algorithm too weak", [ffi::X509_V_ERR_CA_MD_TOO_WEAK];
    InvalidCa = 79, "invalid CA certificate", [ffi::X509_V_ERR_INVALID_CA];
    EcKeyExplicitParams = 94, "Certificate public key has explicit ECC parameters",
        [ffi::X509_V_ERR_EC_KEY_EXPLICIT_PARAMS];
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for VerifyError {}

#[cfg(feature = "tls")]
impl VerifyError {
    /// Whether it is about name constraints, which aws-lc's verifier alone checks.
    pub(super) fn is_of_name_constraints(self) -> bool {
        use VerifyError as V;
        matches!(
            self,
            V::PermittedViolation
                | V::ExcludedViolation
                | V::SubtreeMinMax
                | V::UnsupportedConstraintType
                | V::UnsupportedConstraintSyntax
                | V::UnsupportedNameSyntax
        )
    }
}
