//! Trusted certificates: a file, OpenSSL's hashed directory, or both.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::{Error, keys};

/// Files of a hashed directory that are read; Debian's has about 150.
const MOST_FILES: usize = 2000;

/// Places whose contents are kept in memory; past that all are forgotten and read again.
const MOST_PLACES: usize = 64;

/// The certificates of one file or directory.
pub(super) type Certificates = Arc<Vec<Trusted>>;

/// A certificate that is trusted as it is.
pub(super) struct Trusted {
    pub(super) der: CertificateDer<'static>,
    /// What webpki needs of it; `None` for a certificate that it does not understand, which only helps to find the words
    /// for a failure.
    pub(super) anchor: Option<TrustAnchor<'static>>,
}

/// Everything that one context trusts.
#[derive(Default)]
pub(super) struct Store {
    places: Vec<Certificates>,
}

impl Store {
    /// Reads what `cafile` and `capath` name. A directory need not exist, as in OpenSSL.
    ///
    /// # Errors
    ///
    /// "error loading CA locations (…)" for a file that can not be read.
    pub(super) fn load(
        cafile: Option<&Path>,
        capath: Option<&Path>,
        authorities: &[u8],
    ) -> Result<Store, Error> {
        let refused = |reason: &str| keys::loading("CA locations", reason);
        let mut places = Vec::new();
        if let Some(file) = cafile {
            places.push(cached(file, |file| {
                let text = keys::read(file, "CA locations")?;
                parse(&text).map_err(|reason| refused(reason).in_file(file))
            })?);
        }
        if let Some(directory) = capath {
            places.push(cached(directory, |directory| Ok(hashed(directory)))?);
        }
        if !authorities.is_empty() {
            places.push(Arc::new(parse(authorities).map_err(refused)?));
        }
        Ok(Store { places })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Trusted> {
        self.places.iter().flat_map(|place| place.iter())
    }

    pub(super) fn anchors(&self) -> Vec<TrustAnchor<'_>> {
        self.iter()
            .filter_map(|trusted| trusted.anchor.as_ref())
            .map(|anchor| TrustAnchor {
                subject: anchor.subject.as_ref().into(),
                subject_public_key_info: anchor.subject_public_key_info.as_ref().into(),
                name_constraints: anchor
                    .name_constraints
                    .as_ref()
                    .map(|constraints| constraints.as_ref().into()),
            })
            .collect()
    }

    pub(super) fn contains(&self, certificate: &[u8]) -> bool {
        self.iter()
            .any(|trusted| trusted.der.as_ref() == certificate)
    }
}

/// Prosody makes dozens of contexts over one directory of 150 files: it is read once for as long as it does not change.
fn cached(
    place: &Path,
    read: impl FnOnce(&Path) -> Result<Vec<Trusted>, Error>,
) -> Result<Certificates, Error> {
    type Known = HashMap<PathBuf, (SystemTime, Certificates)>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let changed = std::fs::metadata(place)
        .and_then(|metadata| metadata.modified())
        .ok();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let (Some((at, certificates)), Some(changed)) = (known.get(place), changed)
        && *at == changed
    {
        return Ok(Arc::clone(certificates));
    }
    let certificates = Arc::new(read(place)?);
    if let Some(changed) = changed {
        if known.len() >= MOST_PLACES {
            known.clear();
        }
        known.insert(place.to_owned(), (changed, Arc::clone(&certificates)));
    }
    Ok(certificates)
}

/// The files of a directory that c_rehash(1) made: eight digits of hash, a dot, a number. What can not be read is
/// skipped, as OpenSSL does.
fn hashed(directory: &Path) -> Vec<Trusted> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| is_hash(&entry.file_name().to_string_lossy()))
        .take(MOST_FILES)
        .filter_map(|entry| keys::read(&entry.path(), "CA locations").ok())
        .filter_map(|text| parse(&text).ok())
        .flatten()
        .collect()
}

fn is_hash(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        hash.len() == 8
            && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// The certificates of a PEM file. One that is broken makes the whole file unusable, as in OpenSSL.
fn parse(text: &[u8]) -> Result<Vec<Trusted>, &'static str> {
    Ok(keys::pem_certificates(text)?
        .into_iter()
        .map(|der| Trusted {
            anchor: webpki::anchor_from_trusted_cert(&der)
                .ok()
                .map(|anchor| anchor.to_owned()),
            der,
        })
        .collect())
}
