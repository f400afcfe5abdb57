//! A chain that webpki refused, walked the way OpenSSL does, to say in its words what is wrong at which depth.
//!
//! The walk never makes a chain good that webpki refused, with one exception: a certificate that is itself among the
//! trusted ones, which for OpenSSL needs no issuer.

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::*;

use super::{Errors, Policy, Role};

/// One certificate of the path.
struct Link<'a> {
    certificate: X509Certificate<'a>,
    der: &'a [u8],
}

impl Link<'_> {
    fn is_self_signed(&self) -> bool {
        self.certificate.subject().as_raw() == self.certificate.issuer().as_raw()
    }

    fn is_issued_by(&self, other: &Link<'_>) -> bool {
        self.certificate.issuer().as_raw() == other.certificate.subject().as_raw()
    }
}

/// What is wrong, by depth. Empty if the leaf is trusted as it is.
pub(super) fn diagnose(
    policy: &Policy,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
    refused: &webpki::Error,
) -> Errors {
    let sent: Vec<Link<'_>> = chain.iter().filter_map(|der| link(der)).collect();
    let Some(leaf) = sent.first() else {
        return vec![vec![words(refused).into()]];
    };
    let trusted: Vec<Link<'_>> = policy
        .store
        .iter()
        .filter_map(|known| link(&known.der))
        .collect();

    let mut path: Vec<&Link<'_>> = vec![leaf];
    let mut errors: Errors = vec![Vec::new()];
    let mut is_trusted = policy.store.contains(leaf.der) && leaf.is_self_signed();
    while !is_trusted && path.len() <= policy.depth + 1 {
        let top = path[path.len() - 1];
        if let Some(issuer) = trusted
            .iter()
            .find(|other| top.is_issued_by(other) && is_signed_by(policy, top, other))
        {
            is_trusted = true;
            if issuer.der != top.der {
                path.push(issuer);
            }
        } else if top.is_self_signed() {
            break;
        } else if let Some(issuer) = sent.iter().find(|other| {
            top.is_issued_by(other) && !path.iter().any(|known| known.der == other.der)
        }) {
            path.push(issuer);
        } else {
            break;
        }
    }
    errors.resize(path.len(), Vec::new());

    let top = path.len() - 1;
    let mut note = |depth: usize, text: &str| errors[depth].push(text.into());
    if !is_trusted {
        if path.len() > policy.depth + 1 {
            note(top, "certificate chain too long");
        } else if path[top].is_self_signed() {
            note(
                top,
                if top == 0 {
                    "self-signed certificate"
                } else {
                    "self-signed certificate in certificate chain"
                },
            );
        } else {
            note(top, "unable to get local issuer certificate");
        }
    }
    for (depth, link) in path.iter().enumerate() {
        if link.has_unknown_critical_extension() {
            note(depth, "unhandled critical extension");
        }
        if depth == 0 && !policy.any_purpose && !link.is_meant_for(policy.role) {
            note(0, "unsuitable certificate purpose");
        }
        // A trusted certificate is what the operator says it is.
        if depth > 0 && !(depth == top && is_trusted) {
            match link.path_length() {
                None => note(depth, "invalid CA certificate"),
                Some(Some(most)) if depth - 1 > most => {
                    note(depth, "path length constraint exceeded");
                }
                Some(_) => {}
            }
        }
    }
    if !is_trusted && top == 0 && !leaf.is_self_signed() {
        note(0, "unable to verify the first certificate");
    }
    for (depth, link) in path.iter().enumerate() {
        if path
            .get(depth + 1)
            .is_some_and(|issuer| !is_signed_by(policy, link, issuer))
        {
            note(depth, "certificate signature failure");
        }
        let validity = link.certificate.validity();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if validity.not_before.timestamp() > now {
            note(depth, "certificate is not yet valid");
        } else if validity.not_after.timestamp() < now {
            note(depth, "certificate has expired");
        }
    }
    if errors.iter().all(Vec::is_empty) {
        // Whatever else it is that webpki found.
        if !is_trusted || top > 0 {
            return vec![vec![words(refused).into()]];
        }
        errors.clear();
    }
    while errors.last().is_some_and(Vec::is_empty) {
        errors.pop();
    }
    errors
}

fn link(der: &[u8]) -> Option<Link<'_>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Link { certificate, der })
}

impl Link<'_> {
    /// Whether the extended key usage, if there is one, has this role.
    fn is_meant_for(&self, role: Role) -> bool {
        match self.certificate.extended_key_usage() {
            Ok(Some(usage)) => match role {
                Role::Server => usage.value.server_auth,
                Role::Client => usage.value.client_auth,
            },
            _ => true,
        }
    }

    /// `None` for what is no authority, else the path length constraint.
    fn path_length(&self) -> Option<Option<usize>> {
        match self.certificate.basic_constraints() {
            Ok(Some(constraints)) if constraints.value.ca => Some(
                constraints
                    .value
                    .path_len_constraint
                    .map(|most| most as usize),
            ),
            _ => None,
        }
    }

    fn has_unknown_critical_extension(&self) -> bool {
        self.certificate
            .extensions()
            .iter()
            .any(|extension| extension.critical && extension.parsed_extension().unsupported())
    }
}

/// Whether the signature on `child` is that of `issuer`'s key.
fn is_signed_by(policy: &Policy, child: &Link<'_>, issuer: &Link<'_>) -> bool {
    let signed = child.certificate.tbs_certificate.as_ref();
    let signature = &child.certificate.signature_value.data;
    let Some(algorithm) = algorithm_of_signature(child.der) else {
        return false;
    };
    let Some(key_algorithm) =
        elements(issuer.certificate.public_key().raw).and_then(|mut fields| fields.next())
    else {
        return false;
    };
    policy.algorithms.all.iter().any(|candidate| {
        candidate.signature_alg_id().as_ref() == algorithm
            && candidate.public_key_alg_id().as_ref() == key_algorithm
            && candidate
                .verify_signature(
                    &issuer.certificate.public_key().subject_public_key.data,
                    signed,
                    signature,
                )
                .is_ok()
    })
}

/// The contents of the AlgorithmIdentifier outside the signed part.
fn algorithm_of_signature(der: &[u8]) -> Option<&[u8]> {
    elements(der)?.nth(1)
}

/// The contents of the elements of a DER sequence.
fn elements(der: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let (mut rest, _) = element(der)?;
    Some(std::iter::from_fn(move || {
        let (contents, after) = element(rest)?;
        rest = after;
        Some(contents)
    }))
}

/// The contents of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..=127 => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// OpenSSL's words for an error of webpki, where the walk found nothing better.
pub(super) fn words(error: &webpki::Error) -> &'static str {
    match error {
        webpki::Error::CertExpired { .. } => "certificate has expired",
        webpki::Error::CertNotValidYet { .. } => "certificate is not yet valid",
        webpki::Error::EndEntityUsedAsCa | webpki::Error::CaUsedAsEndEntity => {
            "invalid CA certificate"
        }
        webpki::Error::PathLenConstraintViolated => "path length constraint exceeded",
        webpki::Error::NameConstraintViolation => "permitted subtree violation",
        webpki::Error::UnknownIssuer => "unable to get local issuer certificate",
        webpki::Error::UnsupportedCriticalExtension => "unhandled critical extension",
        webpki::Error::RequiredEkuNotFoundContext(_) => "unsuitable certificate purpose",
        webpki::Error::InvalidSignatureForPublicKey => "certificate signature failure",
        _ => "unspecified certificate verification error",
    }
}
