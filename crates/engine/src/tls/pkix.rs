//! The peer's chain, judged as OpenSSL 3.0 judges it: a path is built, its certificates are looked at one by one, then
//! signatures and dates, from the top down.
//!
//! OpenSSL goes on after an error where its caller wants that, so there is a list of errors for each depth. The order of
//! the steps is OpenSSL's (`crypto/x509/x509_vfy.c`), as the order of errors is. A path in which nothing is wrong is put to
//! aws-lc's own verifier as well: it is good when both say so.

use std::net::IpAddr;

use super::VerifyError;
use super::dane::Records;
use super::store::Store;
use super::x509::{self, Authority, Certificate, Issuing, Role, Trust};

mod building;

/// Errors by depth: the leaf's first. Empty for a good chain.
pub(super) type Errors = Vec<Vec<VerifyError>>;

/// The least strength of keys and digests in bits: OpenSSL's security level 2, which Debian's is compiled for.
const LEAST_STRENGTH: i32 = 112;

/// Whom the certificate must be for.
pub(super) enum Name {
    Host(String),
    Address(IpAddr),
}

/// What a chain is judged by.
pub(super) struct Question<'a> {
    pub(super) store: &'a Store,
    /// TLSA records that count; none where the store alone decides.
    pub(super) records: Option<&'a Records<'a>>,
    /// What the peer's certificate must be meant for.
    pub(super) role: Role,
    /// Most certificates between the peer's and the trusted one.
    pub(super) depth: usize,
    /// Whom it must be for, if that is to be checked.
    pub(super) name: Option<&'a Name>,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// Whether to look for more than one error.
    pub(super) all: bool,
}

/// The answer.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) errors: Errors,
    /// What was found first, which decides over the alert.
    pub(super) first: Option<VerifyError>,
}

/// What is wrong with a leaf that came with `sent`.
pub(super) fn judge(question: &Question<'_>, leaf: Certificate, sent: Vec<Certificate>) -> Verdict {
    let mut walk = Walk {
        question,
        path: vec![leaf],
        untrusted: 1,
        matched: false,
        trusted_by_store: false,
        verdict: Verdict::default(),
    };
    // The end of the walk after the first error, where one is enough.
    let _ = walk.run(sent);
    x509::forget_errors();
    walk.verdict
}

/// The error that stands is enough.
struct Stop;

struct Walk<'a> {
    question: &'a Question<'a>,
    path: Vec<Certificate>,
    /// How many certificates at the beginning of the path are the peer's, the others being the store's.
    untrusted: usize,
    /// A TLSA record that asks for PKIX as well has been found to fit.
    matched: bool,
    /// The store vouches for the path, whatever the records say.
    trusted_by_store: bool,
    verdict: Verdict,
}

impl Walk<'_> {
    fn note(&mut self, depth: usize, error: VerifyError) -> Result<(), Stop> {
        let Verdict { errors, first } = &mut self.verdict;
        first.get_or_insert(error);
        if errors.len() <= depth {
            errors.resize(depth + 1, Vec::new());
        }
        errors[depth].push(error);
        if self.question.all { Ok(()) } else { Err(Stop) }
    }

    fn note_if(&mut self, wrong: bool, depth: usize, error: VerifyError) -> Result<(), Stop> {
        if wrong {
            self.note(depth, error)
        } else {
            Ok(())
        }
    }

    fn run(&mut self, sent: Vec<Certificate>) -> Result<(), Stop> {
        let weak = strength(&self.path[0]) < LEAST_STRENGTH;
        self.note_if(weak, 0, VerifyError::EeKeyTooSmall)?;
        if let Some(records) = self.question.records {
            if records.vouch_for_leaf(&self.path[0]) {
                // Dates and names do not count (RFC 7671, section 5.1).
                return Ok(());
            }
            self.matched = records.match_pkix_leaf(&self.path[0]);
            if !self.matched && !records.have_authorities() {
                return self.note(0, VerifyError::DaneNoMatch);
            }
        }
        self.build(sent)?;
        self.extensions()?;
        self.strengths()?;
        self.names()?;
        self.signatures()
    }

    /// What each certificate says about itself.
    fn extensions(&mut self) -> Result<(), Stop> {
        let mut below = 0;
        for depth in 0..self.path.len() {
            let certificate = self.path[depth].clone();
            let critical = certificate.has_unknown_critical_extension();
            self.note_if(critical, depth, VerifyError::UnhandledCriticalExtension)?;
            let is_last = depth + 1 == self.path.len();
            let certifies = match certificate.authority() {
                Authority::Yes => true,
                Authority::AtTheTop => is_last,
                Authority::No => false,
            };
            self.note_if(depth > 0 && !certifies, depth, VerifyError::InvalidCa)?;
            let explicit = self.path.len() > 1
                && certificate
                    .key()
                    .is_some_and(|key| key.has_explicit_parameters());
            self.note_if(explicit, depth, VerifyError::EcKeyExplicitParams)?;
            // The trust settings of a certificate of the store count more than what it is meant for.
            let trust = if depth >= self.untrusted {
                certificate.trust(self.question.role)
            } else {
                Trust::Unsaid
            };
            let is_meant = match trust {
                Trust::Trusted => true,
                Trust::Rejected => false,
                Trust::Unsaid => certificate.is_meant_for(self.question.role, depth > 0),
            };
            self.note_if(!is_meant, depth, VerifyError::InvalidPurpose)?;
            let too_long = depth > 1 && certificate.path_length().is_some_and(|most| below > most);
            self.note_if(too_long, depth, VerifyError::PathLengthExceeded)?;
            if depth > 0 && !certificate.is_self_issued() {
                below += 1;
            }
        }
        Ok(())
    }

    /// Keys and digests that can be broken.
    fn strengths(&mut self) -> Result<(), Stop> {
        let top = self.path.len() - 1;
        for depth in 0..=top {
            let weak_key = depth > 0 && strength(&self.path[depth]) < LEAST_STRENGTH;
            self.note_if(weak_key, depth, VerifyError::CaKeyTooSmall)?;
            // What vouches for itself needs no signature.
            let weak_digest = depth < top && self.path[depth].signature_strength() < LEAST_STRENGTH;
            self.note_if(weak_digest, depth, VerifyError::CaMdTooWeak)?;
        }
        Ok(())
    }

    fn names(&mut self) -> Result<(), Stop> {
        let leaf = &self.path[0];
        match self.question.name {
            Some(Name::Host(name)) if !leaf.is_for_host(name) => {
                self.note(0, VerifyError::HostnameMismatch)
            }
            Some(Name::Address(address)) if !leaf.is_for_address(*address) => {
                self.note(0, VerifyError::IpAddressMismatch)
            }
            _ => Ok(()),
        }
    }

    /// Signatures, dates and name constraints.
    fn signatures(&mut self) -> Result<(), Stop> {
        if self.verdict.first.is_none() && self.path.len() > 1 {
            let found = self.confirmation();
            if found.is_empty() {
                return Ok(());
            }
            self.signatures_one_by_one()?;
            let is_all = self.verdict.first.is_none();
            for (depth, error) in found {
                self.note_if(is_all || error.is_of_name_constraints(), depth, error)?;
            }
            return Ok(());
        }
        self.signatures_one_by_one()?;
        if self.path.iter().skip(1).any(Certificate::constrains_names) {
            for (depth, error) in self.confirmation() {
                self.note_if(error.is_of_name_constraints(), depth, error)?;
            }
        }
        Ok(())
    }

    /// What aws-lc's verifier has against the path, without what is OpenSSL's to say: in 3.0 that has other rules for the
    /// top, and [`extensions`](Walk::extensions) has followed them.
    fn confirmation(&self) -> Vec<x509::Found> {
        let top = self.path.len() - 1;
        let mut found = x509::confirm(&self.path, self.question.now);
        found.retain(|(depth, error)| match error {
            VerifyError::InvalidCa | VerifyError::UnhandledCriticalExtension => false,
            VerifyError::CertNotYetValid | VerifyError::CertHasExpired => {
                *depth < top || self.path[top].is_self_signed()
            }
            _ => true,
        });
        found
    }

    /// OpenSSL's `internal_verify`.
    fn signatures_one_by_one(&mut self) -> Result<(), Stop> {
        let top = self.path.len() - 1;
        let mut from = top;
        if !self.path[top].is_self_signed() {
            // Of what somebody else vouches for nothing is known but the name.
            if top == 0 {
                self.note(0, VerifyError::UnableToVerifyLeafSignature)?;
            } else {
                from -= 1;
            }
        }
        for depth in (0..=from).rev() {
            let certificate = self.path[depth].clone();
            if let Some(issuer) = self.path.get(depth + 1).cloned() {
                let forbidden = issuer.issued(&certificate) == Issuing::KeyUsage;
                self.note_if(forbidden, depth + 1, VerifyError::KeyUsageNoCertSign)?;
                if issuer.key().is_none() {
                    self.note(depth + 1, VerifyError::UnableToDecodeIssuerPublicKey)?;
                } else if !issuer.signed(&certificate) && !certificate.is_signed_obsoletely() {
                    self.note(depth, VerifyError::CertSignatureFailure)?;
                }
            }
            if let Some(error) = certificate.dates(self.question.now) {
                self.note(depth, error)?;
            }
        }
        Ok(())
    }
}

fn strength(certificate: &Certificate) -> i32 {
    // A key that cannot be read protects nothing.
    certificate.key().map_or(0, |key| key.strength())
}
