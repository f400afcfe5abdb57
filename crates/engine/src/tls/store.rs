//! Trusted certificates: a file, OpenSSL's hashed directory, or both.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use super::interned::Interned;
use super::x509::Certificate;
use super::{Error, keys};
use crate::sync::{Arc, Mutex, lock};

/// Where systems have what they trust in one file: Debian and its kin, Fedora and its kin, Alpine and the BSDs.
const SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Files of a hashed directory that are read; Debian's has about 150.
const MOST_FILES: usize = 2000;

/// Places whose contents are kept in memory; past that all are forgotten and read again.
const MOST_PLACES: usize = 64;

/// The certificates of one file or directory, which contexts share.
pub(super) struct Certificates {
    all: Vec<Certificate>,
    /// Where those with a subject of this hash are.
    by_subject: HashMap<u32, Vec<usize>>,
}

impl Certificates {
    /// Of certificates in DER. What cannot be parsed is left out, as OpenSSL does in a directory.
    fn new<'a>(encoded: impl Iterator<Item = &'a [u8]>) -> Certificates {
        let all: Vec<Certificate> = encoded.filter_map(Certificate::parse_trusted).collect();
        let mut by_subject: HashMap<u32, Vec<usize>> = HashMap::new();
        for (index, certificate) in all.iter().enumerate() {
            by_subject
                .entry(certificate.subject_hash())
                .or_default()
                .push(index);
        }
        Certificates { all, by_subject }
    }
}

/// What `cafile` and `capath` hold, for contexts that are made together, as at a reload.
///
/// A context looks whether the files have changed since they were read. In a directory that is a look at each of its files, of which a
/// system has 150. With this it is looked at once: what changes in a file of a directory meanwhile is not seen.
#[derive(Default)]
pub struct TrustedFiles(Mutex<HashMap<PathBuf, LookedAt>>);

/// What a place was like, and what was in it.
type LookedAt = (Option<State>, Arc<Certificates>);

impl TrustedFiles {
    fn get(
        &self,
        place: &Path,
        read: impl FnOnce(&Path) -> Result<Vec<CertificateDer<'static>>, Error>,
    ) -> Result<Arc<Certificates>, Error> {
        let state = State::of(place);
        let mut looked_at = lock(&self.0);
        if let Some((before, certificates)) = looked_at.get(place)
            && *before == state
        {
            return Ok(Arc::clone(certificates));
        }
        let certificates = cached(place, read)?;
        looked_at.insert(place.to_owned(), (state, Arc::clone(&certificates)));
        Ok(certificates)
    }
}

/// Everything that one context trusts.
#[derive(Default)]
pub(super) struct Store {
    places: Vec<Arc<Certificates>>,
}

impl Store {
    /// Reads what `cafile` and `capath` name. A directory need not exist, as in OpenSSL.
    ///
    /// # Errors
    ///
    /// "error loading CA locations (…)" for a file that cannot be read.
    pub(super) fn load(
        cafile: Option<&Path>,
        capath: Option<&Path>,
        authorities: &[u8],
        files: &TrustedFiles,
    ) -> Result<Store, Error> {
        let refused = |reason: &str| keys::loading("CA locations", reason);
        let mut places = Vec::new();
        if let Some(file) = cafile {
            places.push(files.get(file, |file| {
                let text = keys::read(file, "CA locations")?;
                keys::trusted_in_pem(&text).map_err(|reason| refused(reason).in_file(file))
            })?);
        }
        if let Some(directory) = capath {
            places.push(files.get(directory, |directory| Ok(hashed(directory)))?);
        }
        if !authorities.is_empty() {
            places.push(shared(
                &keys::trusted_in_pem(authorities).map_err(refused)?,
            )?);
        }
        Ok(Store { places })
    }

    /// What this system trusts.
    ///
    /// # Errors
    ///
    /// That there is no file of it in any of the places that are known.
    pub(super) fn of_system(files: &TrustedFiles) -> Result<Store, Error> {
        match SYSTEM.iter().map(Path::new).find(|file| file.exists()) {
            Some(file) => Store::load(Some(file), None, &[], files),
            None => Err(Error::new(
                "there is nothing to verify servers with: the system has no file of trusted certificates, and neither \
                 cafile nor capath is set",
            )),
        }
    }

    /// Those that may have issued `certificate`, by their name.
    pub(super) fn issuers_of(
        &self,
        certificate: &Certificate,
    ) -> impl Iterator<Item = &Certificate> {
        let hash = certificate.issuer_hash();
        self.places.iter().flat_map(move |place| {
            place
                .by_subject
                .get(&hash)
                .into_iter()
                .flatten()
                .map(|index| &place.all[*index])
        })
    }
}

/// Certificates that are in memory already, by what they are: files of other names have them, too.
fn shared(encoded: &[CertificateDer<'static>]) -> Result<Arc<Certificates>, Error> {
    static KNOWN: Interned<Certificates> = Interned::new();
    let parts = || encoded.iter().map(AsRef::as_ref);
    KNOWN.get(parts(), || Ok(Certificates::new(parts())))
}

/// Prosody makes dozens of contexts over one directory of 150 files: it is read once for as long as it does not change.
fn cached(
    place: &Path,
    read: impl FnOnce(&Path) -> Result<Vec<CertificateDer<'static>>, Error>,
) -> Result<Arc<Certificates>, Error> {
    type Known = HashMap<PathBuf, (Vec<State>, Arc<Certificates>)>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let state = state(place);
    let mut known = lock(&KNOWN);
    let known = known.get_or_insert_default();
    if let Some((before, certificates)) = known.get(place)
        && !state.is_empty()
        && *before == state
    {
        return Ok(Arc::clone(certificates));
    }
    let certificates = shared(&read(place)?)?;
    if known.len() >= MOST_PLACES {
        known.clear();
    }
    known.insert(place.to_owned(), (state, Arc::clone(&certificates)));
    Ok(certificates)
}

/// What changes when a file is written or another one takes its place. The time of its last modification alone does not: copies
/// keep it, and package managers set it.
#[derive(PartialEq, Eq)]
struct State {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(path: &Path) -> Option<State> {
        let metadata = fs::metadata(path).ok()?;
        Some(State {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Of a file, or of a directory and the files in it that count.
fn state(place: &Path) -> Vec<State> {
    State::of(place)
        .into_iter()
        .chain(files(place).iter().filter_map(|file| State::of(file)))
        .collect()
}

/// The certificates of a directory. What cannot be read is skipped, as OpenSSL does.
fn hashed(directory: &Path) -> Vec<CertificateDer<'static>> {
    files(directory)
        .iter()
        .filter_map(|file| keys::read(file, "CA locations").ok())
        .filter_map(|text| keys::trusted_in_pem(&text).ok())
        .flatten()
        .collect()
}

/// The files of a directory that c_rehash(1) made: eight digits of hash, a dot, a number. None of what is no directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| is_hash(&entry.file_name().to_string_lossy()))
        .take(MOST_FILES)
        .map(|entry| entry.path())
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
