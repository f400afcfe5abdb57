//! From the leaf to what is trusted: OpenSSL's `build_chain`, which looks into the store first, then into what was sent.

use super::{Stop, Walk};
use crate::tls::VerifyError;
use crate::tls::dane::Records;
use crate::tls::x509::{Certificate, Issuing, Trust};

/// Who vouches for a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Trusted,
    Unknown,
}

impl Walk<'_> {
    /// Builds the path from the leaf up to what is trusted, or as far as it goes.
    pub(super) fn build(&mut self, mut sent: Vec<Certificate>) -> Result<(), Stop> {
        let most = self.question.depth.saturating_add(1);
        let uses_store = self.question.records.is_none_or(Records::use_store);
        let mut uses_sent = true;
        if let Some(records) = self.question.records {
            sent.splice(0..0, records.authorities());
        }
        sent.retain(|other| *other != self.path[0]);
        let mut standing = Standing::Unknown;
        while standing == Standing::Unknown {
            let top = self.path[self.path.len() - 1].clone();
            let is_short = self.path.len() <= most;
            if uses_store
                && is_short
                && let Some(trusted) = self.trusted_issuer(&top)
            {
                uses_sent = false;
                if top.is_self_signed() {
                    // The same certificate, with what the store knows about it.
                    self.path.pop();
                    self.untrusted = self.untrusted.min(self.path.len());
                }
                self.path.push(trusted);
                standing = self.standing()?;
                if standing == Standing::Unknown && self.path[self.path.len() - 1].is_self_signed()
                {
                    break;
                }
                continue;
            }
            if !uses_sent || !is_short || top.is_self_signed() {
                break;
            }
            let Some(issuer) = best_issuer(&top, sent.iter(), self.question.now).cloned() else {
                break;
            };
            // Each is tried once, so that a path cannot go in circles.
            sent.retain(|other| *other != issuer);
            self.path.push(issuer);
            self.untrusted += 1;
            if self.authority_is_vouched_for(self.path.len() - 1) {
                standing = Standing::Trusted;
            }
        }
        match standing {
            Standing::Trusted => Ok(()),
            Standing::Unknown => self.no_end(self.path.len() > most),
        }
    }

    /// Nobody is known to vouch for the path.
    fn no_end(&mut self, is_too_long: bool) -> Result<(), Stop> {
        let top = self.path.len() - 1;
        let records_fail = self
            .question
            .records
            .is_some_and(|records| !records.use_store() || self.trusted_by_store);
        if let Some(earlier) = self.verdict.first {
            // OpenSSL takes what it has found so far for the reason.
            return self.note(top, earlier);
        }
        self.note_if(is_too_long, top, VerifyError::CertChainTooLong)?;
        self.note_if(records_fail, top, VerifyError::DaneNoMatch)?;
        let error = if self.path[top].is_self_signed() {
            if top == 0 {
                VerifyError::DepthZeroSelfSignedCert
            } else {
                VerifyError::SelfSignedCertInChain
            }
        } else if self.untrusted <= top {
            VerifyError::UnableToGetIssuerCert
        } else {
            VerifyError::UnableToGetIssuerCertLocally
        };
        self.note(top, error)
    }

    /// The certificate of the store that issued this one; for one that is self-signed, that is itself.
    fn trusted_issuer(&self, certificate: &Certificate) -> Option<Certificate> {
        let mut named = self.question.store.issuers_of(certificate);
        if certificate.is_self_signed() {
            named.find(|known| *known == certificate).cloned()
        } else {
            best_issuer(certificate, named, self.question.now).cloned()
        }
    }

    /// Whether the store's certificate at the top, the last that was found, is the end of the path.
    fn standing(&mut self) -> Result<Standing, Stop> {
        let top = self.path.len() - 1;
        if self.untrusted > 0 && self.authority_is_vouched_for(top) {
            return Ok(Standing::Trusted);
        }
        let trusted = match self.path[top].trust(self.question.role) {
            Trust::Trusted => true,
            Trust::Unsaid => self.path[top].is_self_signed(),
            Trust::Rejected => {
                self.note(top, VerifyError::CertRejected)?;
                false
            }
        };
        self.trusted_by_store |= trusted;
        Ok(
            if trusted && (self.question.records.is_none() || self.matched) {
                Standing::Trusted
            } else {
                Standing::Unknown
            },
        )
    }

    /// Whether a TLSA record makes the authority at `depth` one to trust. One that asks for PKIX as well is noted.
    fn authority_is_vouched_for(&mut self, depth: usize) -> bool {
        let Some(records) = self.question.records else {
            return false;
        };
        let authority = &self.path[depth];
        if records.vouch_for_authority(authority) {
            return true;
        }
        self.matched |= records.match_pkix_authority(authority);
        false
    }
}

/// Of those who look as if they had issued `certificate`: the first whose dates are right, else the one that expires last.
fn best_issuer<'a>(
    certificate: &Certificate,
    candidates: impl Iterator<Item = &'a Certificate>,
    now: i64,
) -> Option<&'a Certificate> {
    let mut best: Option<&Certificate> = None;
    for candidate in candidates {
        if candidate.issued(certificate) == Issuing::No {
            continue;
        }
        if candidate.dates(now).is_none() {
            return Some(candidate);
        }
        if best.is_none_or(|best| candidate.not_after() > best.not_after()) {
            best = Some(candidate);
        }
    }
    best
}
