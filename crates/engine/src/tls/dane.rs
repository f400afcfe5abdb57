//! TLSA records (RFC 6698, RFC 7671): what the DNS says of a server's certificate.

use aws_lc_rs::digest::{SHA256, SHA512, digest};

use super::Tlsa;
use super::x509::Certificate;

const PKIX_TA: u8 = 0;
const PKIX_EE: u8 = 1;
const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;

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

    fn matches(&self, certificate: &Certificate) -> bool {
        let selected = match self.selector {
            0 => certificate.der(),
            _ => certificate.public_key_info(),
        };
        match self.matching {
            0 => selected == self.data,
            1 => digest(&SHA256, &selected).as_ref() == self.data,
            _ => digest(&SHA512, &selected).as_ref() == self.data,
        }
    }
}

/// The records of a server that count, at least one.
pub(super) struct Records<'a>(Vec<&'a Tlsa>);

impl<'a> Records<'a> {
    /// Leaves out what is not usable, and weaker digests where there is a stronger one (RFC 7671, section 9); `None` if
    /// nothing is left, so that the server is judged as one without records.
    pub(super) fn new(all: &'a [Tlsa]) -> Option<Records<'a>> {
        let usable = || all.iter().filter(|record| record.is_usable());
        let records: Vec<&Tlsa> = usable()
            .filter(|record| {
                record.matching != 1
                    || !usable().any(|other| {
                        (other.usage, other.selector, other.matching)
                            == (record.usage, record.selector, 2)
                    })
            })
            .collect();
        (!records.is_empty()).then_some(Records(records))
    }

    fn of(&self, usage: u8) -> impl Iterator<Item = &'a Tlsa> + '_ {
        self.0
            .iter()
            .copied()
            .filter(move |record| record.usage == usage)
    }

    fn match_any(&self, usage: u8, certificate: &Certificate) -> bool {
        self.of(usage).any(|record| record.matches(certificate))
    }

    /// Whether trusted certificates count besides them.
    pub(super) fn use_store(&self) -> bool {
        self.0.iter().any(|record| record.usage <= PKIX_EE)
    }

    pub(super) fn have_authorities(&self) -> bool {
        self.of(PKIX_TA).chain(self.of(DANE_TA)).next().is_some()
    }

    /// Authorities that a record has whole: a server need not send them (RFC 7671, section 5.2.2).
    pub(super) fn authorities(&self) -> Vec<Certificate> {
        self.of(DANE_TA)
            .chain(self.of(PKIX_TA))
            .filter(|record| (record.selector, record.matching) == (0, 0))
            .filter_map(|record| Certificate::parse(&record.data))
            .collect()
    }

    /// Whether the server's certificate is good because of a record alone.
    pub(super) fn vouch_for_leaf(&self, leaf: &Certificate) -> bool {
        self.match_any(DANE_EE, leaf)
    }

    /// Whether a record has the server's certificate, which must be good by the store as well.
    pub(super) fn match_pkix_leaf(&self, leaf: &Certificate) -> bool {
        self.match_any(PKIX_EE, leaf)
    }

    /// Whether an authority is to be trusted because of a record alone.
    pub(super) fn vouch_for_authority(&self, authority: &Certificate) -> bool {
        self.match_any(DANE_TA, authority)
    }

    /// Whether a record has an authority, which must be good by the store as well.
    pub(super) fn match_pkix_authority(&self, authority: &Certificate) -> bool {
        self.match_any(PKIX_TA, authority)
    }
}
