//! Which of our certificates a peer is shown.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates for one name, such as one for RSA and one for ECDSA. None at all is a server that serves names only.
#[derive(Debug)]
pub(in crate::tls) struct Choice(pub(in crate::tls) Vec<Arc<CertifiedKey>>);

impl Choice {
    /// The certificate that can sign by the scheme that the peer prefers, as OpenSSL chooses; the first where none can, so
    /// that the handshake ends with the reason.
    fn suitable(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let can = |certified: &&Arc<CertifiedKey>, scheme: SignatureScheme| {
            certified.key.choose_scheme(&[scheme]).is_some()
        };
        schemes
            .iter()
            .find_map(|scheme| self.0.iter().find(|certified| can(certified, *scheme)))
            .or(self.0.first())
            .cloned()
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Under TLS 1.2 rustls has left out what no cipher suite of the client goes with
        self.suitable(hello.signature_schemes())
    }
}

impl ResolvesClientCert for Choice {
    fn resolve(
        &self,
        _acceptable_issuers: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.suitable(schemes)
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
