//! PEM (RFC 7468, RFC 1421) with what OpenSSL overlooks: a byte order mark, text in any encoding around the sections,
//! CRLF, blanks at the ends of lines, sections of other kinds.

use base64ct::{Base64, Encoding as _};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::der;
use crate::tls::x509::{self, Certificate};

/// The file has no section of the kind that is looked for.
pub(super) const NO_START_LINE: &str = "no start line";
const BAD_END_LINE: &str = "bad end line";
const BAD_BASE64: &str = "bad base64 decode";
const WRONG_TAG: &str = "wrong tag";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const CERTIFICATE: &[u8] = b"CERTIFICATE";

/// The label of a certificate with OpenSSL's notes behind it.
const TRUSTED: &[u8] = b"TRUSTED CERTIFICATE";

/// What is between a BEGIN line and its END line.
pub(super) struct Section<'a> {
    pub(super) label: &'a [u8],
    /// RFC 1421's headers, such as `DEK-Info: AES-256-CBC,…`.
    pub(super) headers: Vec<&'a [u8]>,
    lines: Vec<&'a [u8]>,
}

impl Section<'_> {
    /// The bytes that the section encodes.
    ///
    /// # Errors
    ///
    /// "bad base64 decode".
    pub(super) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let text = Zeroizing::new(self.lines.concat());
        let text = std::str::from_utf8(&text).map_err(|_| BAD_BASE64)?;
        Base64::decode_vec(text)
            .map(Zeroizing::new)
            .map_err(|_| BAD_BASE64)
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .filter_map(|line| std::str::from_utf8(line).ok())
            .filter_map(|line| line.split_once(':'))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.trim())
    }
}

/// The sections of a file, one after the other.
///
/// An error is the last item: "bad end line" for a section that is cut off.
pub(super) fn sections(text: &[u8]) -> impl Iterator<Item = Result<Section<'_>, &'static str>> {
    let mut lines = lines(text).map(<[u8]>::trim_ascii_end);
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        // Files that each begin with a mark are joined to a chain
        let label = lines.find_map(|line| {
            let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            boundary(line, b"-----BEGIN ")
        })?;
        let section = section(label, &mut lines);
        failed = section.is_none();
        Some(section.ok_or(BAD_END_LINE))
    })
}

/// The lines as OpenSSL reads them, with fgets(3) and strlen(3): of a line that has a NUL counts what is before it.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// What OpenSSL reads of a file of certificates, for which a line that begins with a NUL is the end. For keys it is none.
fn before_nul(text: &[u8]) -> &[u8] {
    if text.first() == Some(&0) {
        return &[];
    }
    let end = text.windows(2).position(|pair| pair == b"\n\0");
    end.map_or(text, |at| &text[..=at])
}

/// The label in a line that begins with `start`, and is a boundary.
fn boundary<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(b"-----")
}

fn section<'a>(label: &'a [u8], lines: &mut impl Iterator<Item = &'a [u8]>) -> Option<Section<'a>> {
    let mut section = Section {
        label,
        headers: Vec::new(),
        lines: Vec::new(),
    };
    for line in lines {
        if let Some(end) = boundary(line, b"-----END ") {
            return (end == label).then_some(section);
        }
        if line.starts_with(b"-----BEGIN ") {
            return None;
        }
        // Base64 has no colon. What follows the first header, up to an empty line, is a header or goes on with one
        let is_header = section.lines.is_empty() && line.contains(&b':');
        if is_header || section.lines.is_empty() && line.starts_with(b" ") {
            section.headers.push(line);
        } else {
            section.lines.push(line.trim_ascii_start());
        }
    }
    None
}

/// Our own certificates in a PEM file, in DER and in their order.
///
/// # Errors
///
/// In OpenSSL's words: "no start line" where there is none; "bad end line", "bad base64 decode", or those of [`own`] for
/// one that is broken.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates_by(text, own)
}

/// The trusted certificates of a PEM file. Each `TRUSTED CERTIFICATE` keeps OpenSSL's notes on what it is trusted for behind
/// its DER. What is in them is not looked at.
///
/// # Errors
///
/// Those of [`certificates`]: one that is broken makes the whole file unusable, as in OpenSSL.
pub(in crate::tls) fn trusted(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    certificates_by(text, |label, bytes| {
        let bare = bare(bytes)?;
        Ok(if label == TRUSTED {
            bytes.to_vec().into()
        } else {
            bare
        })
    })
}

fn certificates_by<E: From<&'static str>>(
    text: &[u8],
    take: impl Fn(&[u8], &[u8]) -> Result<CertificateDer<'static>, E>,
) -> Result<Vec<CertificateDer<'static>>, E> {
    let mut certificates = Vec::new();
    for section in sections(before_nul(text)) {
        let section = section?;
        if is_certificate(section.label) {
            certificates.push(take(section.label, &section.decode()?)?);
        }
    }
    if certificates.is_empty() {
        return Err(NO_START_LINE.into());
    }
    Ok(certificates)
}

/// The labels under which OpenSSL finds a certificate.
fn is_certificate(label: &[u8]) -> bool {
    [CERTIFICATE, b"X509 CERTIFICATE", TRUSTED].contains(&label)
}

/// One certificate of ours, if it can be read. A peer that cannot read it would not be told so by anybody.
///
/// # Errors
///
/// Why it is none, such as "wrong tag", "sequence length mismatch", "invalid time format".
fn own(label: &[u8], bytes: &[u8]) -> Result<CertificateDer<'static>, String> {
    x509::explained(|| match label {
        TRUSTED => Certificate::parse_trusted(bytes),
        _ => Certificate::parse(bytes),
    })?;
    Ok(bare(bytes)?)
}

/// One certificate of ours in DER.
///
/// # Errors
///
/// Those of [`own`].
pub(super) fn certificate(bytes: &[u8]) -> Result<CertificateDer<'static>, String> {
    own(CERTIFICATE, bytes)
}

/// One certificate without what follows it: `TRUSTED CERTIFICATE` has OpenSSL's notes on what it is trusted for.
fn bare(mut bytes: &[u8]) -> Result<CertificateDer<'static>, &'static str> {
    der::next(&mut bytes)
        .filter(|element| element.tag == der::SEQUENCE)
        .map(|element| element.whole.to_vec().into())
        .ok_or(WRONG_TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &[u8]) -> Vec<Result<String, &'static str>> {
        sections(text)
            .map(|section| {
                section.map(|section| String::from_utf8_lossy(section.label).into_owned())
            })
            .collect()
    }

    #[test]
    fn what_openssl_overlooks_is_overlooked() {
        let text = b"\xef\xbb\xbf-----BEGIN A-----  \r\nMAMC\r\nAQU= \r\n-----END A-----\r\n\xff\xfe text\n\
            \xef\xbb\xbf-----BEGIN B-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,00\n\nMAMCAQU=\n-----END B-----";
        assert_eq!(labels(text), [Ok("A".into()), Ok("B".into())]);
        for section in sections(text) {
            assert_eq!(**section.unwrap().decode().unwrap(), [0x30, 3, 2, 1, 5]);
        }
        let last = sections(text).last().unwrap().unwrap();
        assert_eq!(last.header("DEK-Info"), Some("X,00"));
    }

    #[test]
    fn a_nul_ends_its_line_and_certificates_where_a_line_begins_with_it() {
        const SECTION: &[u8] = b"-----BEGIN A-----\nMAMCAQU=\n-----END A-----\n";
        let with = |line_end: &[u8]| {
            let text = [
                SECTION,
                b"-----BEGIN B-----",
                line_end,
                b"MAMC\nAQU=\n-----END B-----\n",
            ];
            text.concat()
        };
        for line_end in [&b"\n"[..], b"\0\n", b"\0what nobody reads\n"] {
            let text = with(line_end);
            assert_eq!(labels(&text), [Ok("A".into()), Ok("B".into())]);
            let last = sections(&text).last().unwrap().unwrap();
            assert_eq!(**last.decode().unwrap(), [0x30, 3, 2, 1, 5]);
        }
        // The first line of what the section encodes is lost
        let text = with(b"\0");
        let last = sections(&text).last().unwrap().unwrap();
        assert_eq!(**last.decode().unwrap(), [1, 5]);
        let certificate = b"-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";
        let twice = |between: &[u8]| trusted(&[&certificate[..], between, certificate].concat());
        assert_eq!(twice(b"").unwrap().len(), 2);
        assert_eq!(twice(b"\0\n").unwrap().len(), 1);
        let behind = [b"\0\n", &certificate[..]].concat();
        assert_eq!(trusted(&behind), Err(NO_START_LINE));
        assert_eq!(labels(&behind), [Ok("CERTIFICATE".into())]);
    }

    #[test]
    fn what_is_broken_is_said_in_openssls_words() {
        assert_eq!(
            labels(b"-----BEGIN A-----\nMAMCAQU=\n"),
            [Err(BAD_END_LINE)]
        );
        assert_eq!(
            labels(b"-----BEGIN A-----\nMAMCAQU=\n-----END B-----\n"),
            [Err(BAD_END_LINE)]
        );
        assert_eq!(
            labels(b"-----BEGIN A-----\nMAMC\n-----BEGIN A-----\nMAMC\n-----END A-----\n"),
            [Err(BAD_END_LINE)]
        );
        assert_eq!(certificates(b"nothing"), Err(NO_START_LINE.into()));
        let broken = |body: &str| {
            let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
            certificates(text.as_bytes()).unwrap_err()
        };
        assert_eq!(broken("MAMC*QU="), BAD_BASE64);
        assert_eq!(broken("MAMCAQ"), BAD_BASE64);
        assert_eq!(broken("AgEF"), WRONG_TAG);
    }
}
