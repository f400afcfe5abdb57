//! Names of hosts, which are written with U-labels and sent with A-labels: IDNA (RFC 5890) by UTS 46.

use std::borrow::Cow;

use idna::AsciiDenyList;

/// A name as DNS and SNI (RFC 6066, section 3) have it: lower case, A-labels, no dot at the end. What is no name by UTS 46
/// stays as it is but for the letters A to Z; bytes that are not UTF-8 become U+FFFD, which no name has.
///
/// Two names are the same host when this makes the same of them.
pub fn to_ascii(name: &[u8]) -> String {
    let name = name.strip_suffix(b".").unwrap_or(name);
    // Underscores and the like are for whoever looks the name up to judge.
    idna::domain_to_ascii_cow(name, AsciiDenyList::EMPTY).map_or_else(
        |_| String::from_utf8_lossy(name).to_ascii_lowercase(),
        Cow::into_owned,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_name_on_the_wire() {
        for (given, sent) in [
            ("example.test", "example.test"),
            ("Example.TEST.", "example.test"),
            ("bücher.test", "xn--bcher-kva.test"),
            ("BÜCHER.test", "xn--bcher-kva.test"),
            ("bu\u{308}cher.test", "xn--bcher-kva.test"),
            ("XN--BCHER-KVA.test", "xn--bcher-kva.test"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("faß.test", "xn--fa-hia.test"),
            ("my_host.test", "my_host.test"),
            ("Host.test:5223", "host.test:5223"),
            ("a b.test", "a b.test"),
            ("xn--zzzz.test", "xn--zzzz.test"),
            ("*.Example.test", "*.example.test"),
            ("", ""),
        ] {
            assert_eq!(to_ascii(given.as_bytes()), sent, "{given:?}");
        }
        assert_eq!(to_ascii(b"b\xfccher.TEST"), "b\u{fffd}cher.test");
    }
}
