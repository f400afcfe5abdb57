//! What OpenSSL notes beside a trusted certificate about what it is trusted for.

use aws_lc_sys as ffi;

use super::{Certificate, Role, encoded};

/// What `openssl x509 -trustout` wrote beside a trusted certificate about a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Trust {
    /// Nothing, so that being in the store is what counts.
    Unsaid,
    Trusted,
    Rejected,
}

impl Certificate {
    /// What its trust settings say of a role. Only certificates of the store have such settings.
    pub(in crate::tls) fn trust(&self, role: Role) -> Trust {
        let said = [role.usage_id(), ffi::NID_anyExtendedKeyUsage].map(|usage| {
            // SAFETY: the pointer is valid. For the number of a usage, aws-lc looks it up in the two lists.
            unsafe { ffi::X509_check_trust(self.0.as_ptr(), usage, 0) }
        });
        if said.contains(&ffi::X509_TRUST_REJECTED) {
            Trust::Rejected
        } else if said.contains(&ffi::X509_TRUST_TRUSTED) {
            Trust::Trusted
        } else if self.is_trusted_for_something() {
            Trust::Rejected
        } else {
            Trust::Unsaid
        }
    }

    /// Whether its trust settings begin with a list of usages that it is trusted for.
    fn is_trusted_for_something(&self) -> bool {
        const SEQUENCE: u8 = 0x30;
        // SAFETY: the pointer is valid, and the function writes as `encoded` promises.
        let all = encoded(|out| unsafe { ffi::i2d_X509_AUX(self.0.as_ptr(), out) });
        let settings = all.get(self.der().len()..).unwrap_or_default();
        let contents = match settings.get(1) {
            Some(length) if *length > 0x80 => 2 + usize::from(*length & 0x7f),
            _ => 2,
        };
        settings.get(contents) == Some(&SEQUENCE)
    }
}
