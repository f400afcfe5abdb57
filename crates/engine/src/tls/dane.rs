//! TLSA records (RFC 6698, RFC 7671): what the DNS says of a server's certificate.

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::verify::{Errors, Policy};

/// One TLSA record, as the DNS has it. It must have come with DNSSEC: that is for the caller to see to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// 0: the certificate; 1: its public key.
    pub selector: u8,
    /// 0: the data itself; 1: its SHA-256; 2: its SHA-512.
    pub matching: u8,
    /// What to find.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Whether it is of a kind that is known; others do not count (RFC 7671, section 10.3).
    pub(super) fn is_usable(&self) -> bool {
        self.usage <= 3
            && self.selector <= 1
            && match self.matching {
                0 => !self.data.is_empty(),
                1 => self.data.len() == 32,
                2 => self.data.len() == 64,
                _ => false,
            }
    }

    fn matches(&self, certificate: &[u8]) -> bool {
        let selected = match self.selector {
            0 => certificate,
            _ => match X509Certificate::from_der(certificate) {
                Ok((_, parsed)) => parsed.tbs_certificate.subject_pki.raw,
                Err(_) => return false,
            },
        };
        match self.matching {
            0 => selected == self.data,
            1 => digest(&rustls_digest::SHA256, selected) == self.data,
            _ => digest(&rustls_digest::SHA512, selected) == self.data,
        }
    }
}

use aws_lc_rs::digest as rustls_digest;

fn digest(algorithm: &'static rustls_digest::Algorithm, data: &[u8]) -> Vec<u8> {
    rustls_digest::digest(algorithm, data).as_ref().to_vec()
}

/// What is wrong with `chain`, given that there are usable records.
pub(super) fn check(
    policy: &Policy,
    chain: &[CertificateDer<'_>],
    tlsa: &[Tlsa],
    now: UnixTime,
) -> Errors {
    let Some(leaf) = chain.first() else {
        return no_match();
    };
    let of = |usage: u8| {
        tlsa.iter()
            .filter(move |record| record.is_usable() && record.usage == usage)
    };
    // DANE-EE: the key is what counts, dates and names do not (RFC 7671, section 5.1).
    if of(3).any(|record| record.matches(leaf)) {
        return Vec::new();
    }
    // DANE-TA: an authority of the chain is trusted for the occasion.
    for authority in chain
        .iter()
        .filter(|der| of(2).any(|record| record.matches(der)))
    {
        let anchored = webpki::anchor_from_trusted_cert(authority)
            .is_ok_and(|anchor| policy.path(chain, &[anchor], now, |_| true).is_ok());
        if anchored {
            return Vec::new();
        }
    }
    let pkix = policy.check_pkix(chain, now);
    if pkix.is_empty() && of(1).any(|record| record.matches(leaf)) {
        return Vec::new();
    }
    // PKIX-TA: the path must lead through the authority, or end in it.
    if of(0).next().is_some() {
        let leads_through = policy.path(chain, &policy.store.anchors(), now, |path| {
            path.above
                .iter()
                .any(|der| of(0).any(|record| record.matches(der)))
                || policy.store.iter().any(|trusted| {
                    trusted.anchor.as_ref().is_some_and(|anchor| {
                        anchor.subject == path.anchor.subject
                            && anchor.subject_public_key_info == path.anchor.subject_public_key_info
                    }) && of(0).any(|record| record.matches(&trusted.der))
                })
        });
        if leads_through.is_ok() {
            return Vec::new();
        }
    }
    // With records that ask for PKIX as well, what failed there is worth knowing, too.
    let mut errors = no_match();
    if tlsa
        .iter()
        .any(|record| record.is_usable() && record.usage <= 1)
    {
        for (depth, texts) in pkix.into_iter().enumerate() {
            if errors.len() <= depth {
                errors.push(Vec::new());
            }
            errors[depth].extend(texts);
        }
    }
    errors
}

fn no_match() -> Errors {
    vec![vec!["no matching DANE TLSA records".into()]]
}
