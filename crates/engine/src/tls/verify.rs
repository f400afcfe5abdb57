//! Is the peer's certificate good? webpki decides; where it says no, [`diagnose`] finds OpenSSL's words for it.
//!
//! Names are not checked here: Prosody knows which of a certificate's names it wants to see (XMPP addresses, SRV names).

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Tlsa;
use super::dane;
use super::store::Store;
use super::transcript;

mod diagnose;

/// Errors by depth: the leaf's first. Empty for a good chain.
pub(super) type Errors = Vec<Vec<String>>;

/// Which end the peer is: its certificate must be meant for that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// What a context asks of the peer's certificate.
pub(super) struct Policy {
    pub(super) store: Store,
    pub(super) role: Role,
    /// Whether the chain is checked at all, and a client asked for one.
    pub(super) verify: bool,
    /// Whether a client must send one.
    pub(super) required: bool,
    /// Whether the handshake goes on with a bad one (`lsec_continue`).
    pub(super) tolerant: bool,
    /// Whether a certificate for one role is good for the other (`lsec_ignore_purpose`).
    pub(super) any_purpose: bool,
    /// Most certificates above the leaf.
    pub(super) depth: usize,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Policy {
    /// What is wrong with `chain`, with regard to `tlsa` where there are usable records of it (RFC 7671).
    pub(super) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        tlsa: &[Tlsa],
        now: UnixTime,
    ) -> Errors {
        if tlsa.iter().any(Tlsa::is_usable) {
            return dane::check(self, chain, tlsa, now);
        }
        self.check_pkix(chain, now)
    }

    /// What is wrong with `chain` by the rules of RFC 5280.
    pub(super) fn check_pkix(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Errors {
        match self.path(chain, &self.store.anchors(), now, |_| true) {
            Ok(()) => Vec::new(),
            Err(refused) => {
                let errors = diagnose::diagnose(self, chain, now, &refused);
                let is_no_chain = matches!(
                    refused,
                    webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity
                );
                if errors.is_empty() && !is_no_chain {
                    return vec![vec![diagnose::words(&refused).into()]];
                }
                // No errors: a certificate that is trusted as it is, which webpki knows no chain for.
                errors
            }
        }
    }

    /// Whether webpki finds a path to one of `anchors` that `accept` likes; it is given the certificates above the leaf.
    pub(super) fn path(
        &self,
        chain: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
        now: UnixTime,
        accept: impl Fn(&Path<'_>) -> bool,
    ) -> Result<(), webpki::Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(webpki::Error::UnknownIssuer);
        };
        let leaf = EndEntityCert::try_from(leaf)?;
        let mine = match self.role {
            Role::Server => KeyUsage::server_auth(),
            Role::Client => KeyUsage::client_auth(),
        };
        let other = match self.role {
            Role::Server => KeyUsage::client_auth(),
            Role::Client => KeyUsage::server_auth(),
        };
        let mut result = Err(webpki::Error::UnknownIssuer);
        for (usage, tried) in [(mine, true), (other, self.any_purpose)] {
            if !tried {
                continue;
            }
            let inspect = |path: &webpki::VerifiedPath<'_>| {
                let path = Path {
                    above: path
                        .intermediate_certificates()
                        .map(|cert| cert.der())
                        .collect(),
                    anchor: path.anchor(),
                };
                if path.above.len() <= self.depth && accept(&path) {
                    Ok(())
                } else {
                    Err(webpki::Error::UnknownIssuer)
                }
            };
            result = leaf
                .verify_for_usage(
                    self.algorithms.all,
                    anchors,
                    intermediates,
                    now,
                    usage,
                    None,
                    Some(&inspect),
                )
                .map(|_| ());
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

/// What webpki verified, above the leaf.
pub(super) struct Path<'a> {
    pub(super) above: Vec<CertificateDer<'a>>,
    pub(super) anchor: &'a TrustAnchor<'a>,
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
        now: UnixTime,
    ) -> Result<(), Error> {
        if !self.strict {
            return Ok(());
        }
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        let errors = self.policy.check_pkix(&chain, now);
        match errors.iter().flatten().next() {
            None => Ok(()),
            // This decides which alert the peer gets.
            Some(first) => Err(Error::InvalidCertificate(match first.as_str() {
                "certificate has expired" => CertificateError::Expired,
                "certificate is not yet valid" => CertificateError::NotValidYet,
                "certificate signature failure" => CertificateError::BadSignature,
                "unsuitable certificate purpose" => CertificateError::InvalidPurpose,
                "unhandled critical extension" => CertificateError::UnhandledCriticalExtension,
                _ => CertificateError::UnknownIssuer,
            })),
        }
    }

    fn tls12(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.policy.algorithms;
        let Some(key) = self.key_alone(leaf)? else {
            return rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms);
        };
        let refused = || Error::InvalidCertificate(CertificateError::BadSignature);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| refused())?;
        algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, candidates)| *candidates)
            .any(|algorithm| {
                key.verify_signature(*algorithm, message, signature.signature())
                    .is_ok()
            })
            .then(HandshakeSignatureValid::assertion)
            .ok_or_else(refused)
    }

    fn tls13(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.policy.algorithms;
        match self.key_alone(leaf)? {
            None => rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms),
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, signature, algorithms),
        }
    }

    /// The key of a certificate that webpki does not read (X.509 version 1, an unknown critical extension), where that is
    /// to be an error in the list and not the end of the handshake. The peer still proves that it has the key.
    fn key_alone(
        &self,
        leaf: &CertificateDer<'_>,
    ) -> Result<Option<SubjectPublicKeyInfoDer<'static>>, Error> {
        if self.strict || EndEntityCert::try_from(leaf).is_ok() {
            return Ok(None);
        }
        match X509Certificate::from_der(leaf) {
            Ok(([], certificate)) => Ok(Some(certificate.public_key().raw.to_vec().into())),
            _ => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(leaf, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.policy.algorithms.supported_schemes()
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
        self.judge(leaf, intermediates, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(&transcript::as_sent(message), leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.policy.algorithms.supported_schemes()
    }
}
