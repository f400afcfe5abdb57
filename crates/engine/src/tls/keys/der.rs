//! DER (X.690), as much of it as it takes to find something in a certificate or a key.

use std::fmt::Write as _;

const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// One element.
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// What is in it.
    pub(super) contents: &'a [u8],
    /// All of it, tag and length included.
    pub(super) whole: &'a [u8],
}

/// Takes the first element off `input`. `None` where there is no whole one.
pub(super) fn next<'a>(input: &mut &'a [u8]) -> Option<Element<'a>> {
    let all = *input;
    let (&tag, rest) = all.split_first()?;
    // Tags of several bytes occur neither in certificates nor in keys.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0u64, |length, byte| length << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    let whole = &all[..all.len() - rest.len()];
    *input = rest;
    Some(Element {
        tag,
        contents,
        whole,
    })
}

/// The contents of the first element of `input`, which must have this tag.
pub(super) fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let mut ahead = *input;
    let element = next(&mut ahead).filter(|element| element.tag == tag)?;
    *input = ahead;
    Some(element.contents)
}

/// The value of a small INTEGER that is not negative.
pub(super) fn number(contents: &[u8]) -> Option<u64> {
    if contents.is_empty() || contents[0] & 0x80 != 0 || contents.len() > 9 {
        return None;
    }
    if contents.len() == 9 && contents[0] != 0 {
        return None;
    }
    Some(
        contents
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

/// An object identifier in dotted form.
pub(super) fn dotted(contents: &[u8]) -> String {
    let mut text = String::new();
    let mut value: u64 = 0;
    for byte in contents {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (value / 40).min(2);
            let _ = write!(text, "{first}.{}", value - 40 * first);
        } else {
            let _ = write!(text, ".{value}");
        }
        value = 0;
    }
    text
}

/// What a certificate (RFC 5280, section 4.1) has from its public key on, whatever its version and extensions are.
fn fields_from_public_key(mut certificate: &[u8]) -> Option<&[u8]> {
    const VERSION: u8 = 0xa0;
    let mut certificate = take(&mut certificate, SEQUENCE)?;
    let mut fields = take(&mut certificate, SEQUENCE)?;
    let _version = take(&mut fields, VERSION);
    let _serial_number = take(&mut fields, INTEGER)?;
    for _signature_issuer_validity_subject in 0..4 {
        take(&mut fields, SEQUENCE)?;
    }
    Some(fields)
}

/// The subjectPublicKeyInfo of a certificate.
pub(super) fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    next(&mut fields_from_public_key(certificate)?)
        .filter(|element| element.tag == SEQUENCE)
        .map(|element| element.whole)
}

/// The DNS names of a certificate (RFC 5280, section 4.2.1.6); none where it has no such extension, or is broken.
pub(in crate::tls) fn dns_names(certificate: &[u8]) -> Vec<String> {
    const DNS_NAME: u8 = 0x82;
    let Some(mut names) = alternative_names(certificate) else {
        return Vec::new();
    };
    std::iter::from_fn(|| next(&mut names))
        .filter(|name| name.tag == DNS_NAME)
        .filter_map(|name| String::from_utf8(name.contents.to_vec()).ok())
        .collect()
}

/// The contents of the extension subjectAltName.
fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    const EXTENSIONS: u8 = 0xa3;
    const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    let mut fields = fields_from_public_key(certificate)?;
    let mut extensions = std::iter::from_fn(|| next(&mut fields))
        .find(|field| field.tag == EXTENSIONS)?
        .contents;
    let mut extensions = take(&mut extensions, SEQUENCE)?;
    while let Some(mut extension) = take(&mut extensions, SEQUENCE) {
        if take(&mut extension, OBJECT_IDENTIFIER)? == SUBJECT_ALTERNATIVE_NAME {
            let _critical = take(&mut extension, BOOLEAN);
            let mut value = take(&mut extension, OCTET_STRING)?;
            return take(&mut value, SEQUENCE);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_one_by_one_and_what_is_cut_off_is_none() {
        let mut input: &[u8] = &[0x30, 0x03, 0x02, 0x01, 0x05, 0xff];
        let element = next(&mut input).unwrap();
        assert_eq!(element.tag, SEQUENCE);
        assert_eq!(element.whole, [0x30, 0x03, 0x02, 0x01, 0x05]);
        assert_eq!(number(&element.contents[2..]), Some(5));
        assert_eq!(input, [0xff]);
        for cut in [
            &[0x30u8][..],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x82, 0x01],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0x81, 0x00],
            &[],
        ] {
            assert!(next(&mut { cut }).is_none(), "{cut:x?}");
        }
    }

    #[test]
    fn object_identifiers_are_written_as_people_know_them() {
        assert_eq!(dotted(&[0x2b, 0x65, 0x71]), "1.3.101.113");
        assert_eq!(
            dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]),
            "1.2.840.113549.1.5.13"
        );
        assert_eq!(dotted(&[0x88, 0x37]), "2.999");
    }
}
