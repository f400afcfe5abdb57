//! Is the peer's certificate good? What a context asks of it, and what rustls asks of a context.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::dane::Records;
use super::pkix::{self, Name, Question, Verdict};
use super::store::Store;
use super::transcript;
use super::x509::{Certificate, RSA_PSS_PSS, Role};
use super::{Tlsa, VerifyError};

/// What a context asks of the peer's certificate.
pub(super) struct Policy {
    pub(super) store: Store,
    /// What the peer's certificate must be meant for.
    pub(super) role: Role,
    /// Whether the chain is checked at all, and a client asked for one.
    pub(super) verify: bool,
    /// Whether it must have the name that a client asked for.
    pub(super) verify_name: bool,
    /// Whether a client must send one.
    pub(super) required: bool,
    /// Whether the handshake goes on with a bad one (`lsec_continue`).
    pub(super) tolerant: bool,
    /// Most certificates between the peer's and a trusted one.
    pub(super) depth: usize,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Policy {
    /// What is wrong with `chain`, with regard to `tlsa` where there are usable records of it (RFC 7671), and to `name`
    /// where names are checked.
    pub(super) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        tlsa: &[Tlsa],
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Verdict {
        let mut sent = chain.iter().map(|der| Certificate::parse(der));
        let Some(Some(leaf)) = sent.next() else {
            return Verdict {
                errors: vec![vec![VerifyError::Unspecified]],
                first: Some(VerifyError::Unspecified),
            };
        };
        let name = name.filter(|_| self.verify_name).map(|name| match name {
            ServerName::IpAddress(address) => Name::Address((*address).into()),
            name => Name::Host(name.to_str().into_owned()),
        });
        let records = Records::new(tlsa);
        let question = Question {
            store: &self.store,
            records: records.as_ref(),
            role: self.role,
            depth: self.depth,
            name: name.as_ref(),
            now: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            all: self.tolerant,
        };
        pkix::judge(&question, leaf, sent.flatten().collect())
    }
}

/// rustls's question, put to a [`Policy`].
pub(super) struct Verifier {
    pub(super) policy: Arc<Policy>,
    /// Whether a bad chain ends the handshake here. Otherwise the session asks the policy afterwards.
    pub(super) strict: bool,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if !self.strict {
            return Ok(());
        }
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        match self.policy.check(&chain, &[], name, now).first {
            None => Ok(()),
            Some(first) => Err(Error::InvalidCertificate(refusal(first))),
        }
    }

    /// Whether the peer has the key of its certificate.
    fn signed(
        &self,
        tls13: bool,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.policy.algorithms;
        let checked = if tls13 {
            rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
        } else {
            rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms)
        };
        checked.or_else(|error| {
            // rustls has no answer for weak and unusual keys, nor for certificates that it cannot read. That they are not
            // good is a verdict; whether the peer has their key is another question.
            let certificate = Certificate::parse(leaf).ok_or_else(|| error.clone())?;
            let is_signed = certificate.key().is_some_and(|key| {
                key.verify(signature.scheme, tls13, message, signature.signature())
            });
            if is_signed {
                Ok(HandshakeSignatureValid::assertion())
            } else {
                Err(error)
            }
        })
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.policy.algorithms.supported_schemes();
        schemes.extend(RSA_PSS_PSS);
        schemes
    }
}

/// What rustls makes the alert of, which tells the peer what OpenSSL would (RFC 8446, section 6.2).
fn refusal(error: VerifyError) -> CertificateError {
    use VerifyError as V;
    match error {
        V::CertHasExpired => CertificateError::Expired,
        V::CertNotYetValid | V::EeKeyTooSmall | V::CaKeyTooSmall | V::CaMdTooWeak => {
            CertificateError::BadEncoding
        }
        V::HostnameMismatch | V::IpAddressMismatch => CertificateError::NotValidForName,
        V::CertSignatureFailure => CertificateError::BadSignature,
        V::CertRevoked => CertificateError::Revoked,
        V::InvalidPurpose => CertificateError::InvalidPurpose,
        V::DepthZeroSelfSignedCert
        | V::SelfSignedCertInChain
        | V::UnableToGetIssuerCert
        | V::UnableToGetIssuerCertLocally
        | V::UnableToVerifyLeafSignature
        | V::CertChainTooLong
        | V::InvalidCa
        | V::PathLengthExceeded => CertificateError::UnknownIssuer,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(leaf, intermediates, Some(name), now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(false, message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(true, message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.policy.verify
    }

    fn client_auth_mandatory(&self) -> bool {
        self.policy.required
    }

    /// None, as OpenSSL unless it is told some: clients then send what they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, intermediates, None, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(false, &transcript::as_sent(message), leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(true, message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
