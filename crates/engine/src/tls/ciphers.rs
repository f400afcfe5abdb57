//! OpenSSL's words for protocols, cipher suites and groups, turned into what rustls has.

use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion};

use super::{Error, Mode, Settings, p521, transcript};

/// One cipher suite: rustls's name for it and OpenSSL's, the bits of its key, and the words of a cipher list
/// (ciphers(1)) that mean it.
struct Suite {
    suite: CipherSuite,
    name: &'static str,
    bits: u32,
    words: &'static [&'static str],
}

/// The suites of TLS 1.2 that rustls has, and of TLS 1.3. All of them have forward secrecy and authenticated encryption.
const SUITES: &[Suite] = &[
    Suite {
        suite: CipherSuite::TLS13_AES_256_GCM_SHA384,
        name: "TLS_AES_256_GCM_SHA384",
        bits: 256,
        words: &[],
    },
    Suite {
        suite: CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        name: "TLS_CHACHA20_POLY1305_SHA256",
        bits: 256,
        words: &[],
    },
    Suite {
        suite: CipherSuite::TLS13_AES_128_GCM_SHA256,
        name: "TLS_AES_128_GCM_SHA256",
        bits: 128,
        words: &[],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        bits: 256,
        words: &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        bits: 256,
        words: &["aRSA", "AES", "AES256", "AESGCM"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        bits: 256,
        words: &["aECDSA", "ECDSA", "CHACHA20"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        bits: 256,
        words: &["aRSA", "CHACHA20"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        bits: 128,
        words: &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        bits: 128,
        words: &["aRSA", "AES", "AES128", "AESGCM"],
    },
];

/// Words that mean every suite of TLS 1.2 that rustls has.
const EVERY: &[&str] = &[
    "ALL", "DEFAULT", "HIGH", "FIPS", "TLSv1.2", "kECDHE", "kEECDH", "ECDHE", "EECDH", "ECDH",
];

/// OpenSSL's name of a suite and the bits of its key; `None` for one that rustls would not negotiate.
pub(super) fn name(suite: CipherSuite) -> Option<(&'static str, u32)> {
    SUITES
        .iter()
        .find(|known| known.suite == suite)
        .map(|known| (known.name, known.bits))
}

fn is_tls13(suite: &Suite) -> bool {
    suite.name.starts_with("TLS_")
}

/// The protocol versions that `protocol` and the `no_…` options leave.
///
/// # Errors
///
/// Nothing is left that rustls has: TLS 1.2 and 1.3.
pub(super) fn versions(
    settings: &Settings,
    remarks: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let protocol = settings.protocol.as_deref().unwrap_or("tlsv1_2+");
    let (mut tls12, mut tls13) = match protocol {
        "sslv23" | "any" | "tlsv1_2+" => (true, true),
        "tlsv1+" | "tlsv1_1+" => {
            remarks.push(format!(
                "protocol \"{protocol}\": TLS 1.2 is the oldest there is here, RFC 8996 withdrew what came before"
            ));
            (true, true)
        }
        "tlsv1_2" => (true, false),
        "tlsv1_3" | "tlsv1_3+" => (false, true),
        "sslv2" | "sslv3" | "tlsv1" | "tlsv1_1" => {
            return Err(Error::new(format!(
                "protocol \"{protocol}\" is not supported, RFC 8996 withdrew it: TLS 1.2 and 1.3 are"
            )));
        }
        other => return Err(Error::new(format!("invalid protocol ({other})"))),
    };
    for option in &settings.options {
        match option.as_str() {
            "no_tlsv1_2" => tls12 = false,
            "no_tlsv1_3" => tls13 = false,
            _ => {}
        }
    }
    let mut versions = Vec::new();
    if tls13 {
        versions.push(&TLS13);
    }
    if tls12 {
        versions.push(&TLS12);
    }
    if versions.is_empty() {
        return Err(Error::new(format!(
            "protocol \"{protocol}\" with the options {} leaves no protocol version",
            settings.options.join(", ")
        )));
    }
    Ok(versions)
}

/// The provider with the suites and groups that the settings leave.
///
/// # Errors
///
/// A list that leaves nothing, named.
pub(super) fn provider(
    settings: &Settings,
    versions: &[&'static SupportedProtocolVersion],
    remarks: &mut Vec<String>,
) -> Result<CryptoProvider, Error> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let (tls12, tls13) = (versions.contains(&&TLS12), versions.contains(&&TLS13));
    let mut suites: Vec<&Suite> = Vec::new();
    if tls13 {
        suites.extend(suites_of_tls13(settings, remarks)?);
    }
    if tls12 {
        suites.extend(suites_of_tls12(settings, remarks)?);
    }
    let known = match settings.mode {
        Mode::Server => transcript::CIPHER_SUITES.as_slice(),
        Mode::Client => ALL_CIPHER_SUITES,
    };
    provider.cipher_suites = suites
        .iter()
        .filter_map(|wanted| {
            known
                .iter()
                .find(|have: &&SupportedCipherSuite| have.suite() == wanted.suite)
                .copied()
        })
        .collect();
    match &settings.curveslist {
        Some(list) => provider.kx_groups = groups(list, remarks)?,
        None => provider.kx_groups.push(p521::SECP521R1),
    }
    Ok(provider)
}

fn suites_of_tls13(
    settings: &Settings,
    remarks: &mut Vec<String>,
) -> Result<Vec<&'static Suite>, Error> {
    let Some(list) = &settings.ciphersuites else {
        return Ok(SUITES.iter().filter(|suite| is_tls13(suite)).collect());
    };
    let mut suites = Vec::new();
    let mut missing = Vec::new();
    for name in list.split(':').filter(|name| !name.is_empty()) {
        match SUITES
            .iter()
            .find(|suite| is_tls13(suite) && suite.name == name)
        {
            Some(suite) => suites.push(suite),
            None => missing.push(name),
        }
    }
    remark_missing("ciphersuites", &missing, remarks);
    if suites.is_empty() {
        return Err(Error::new(format!(
            "error setting cipher suites (no cipher match): \"{list}\" names none that is supported"
        )));
    }
    Ok(suites)
}

/// Evaluates a cipher list as ciphers(1) describes it, over the suites there are.
fn suites_of_tls12(
    settings: &Settings,
    remarks: &mut Vec<String>,
) -> Result<Vec<&'static Suite>, Error> {
    let all = || SUITES.iter().filter(|suite| !is_tls13(suite));
    let Some(list) = &settings.ciphers else {
        return Ok(all().collect());
    };
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut killed: Vec<CipherSuite> = Vec::new();
    let mut missing = Vec::new();
    for item in list.split([':', ',', ' ']).filter(|item| !item.is_empty()) {
        if let Some(command) = item.strip_prefix('@') {
            if command == "STRENGTH" {
                chosen.sort_by_key(|suite| std::cmp::Reverse(suite.bits));
            }
            continue;
        }
        let (verb, words) = match item.as_bytes()[0] {
            verb @ (b'!' | b'-' | b'+') => (verb, &item[1..]),
            _ => (b' ', item),
        };
        let meant: Vec<&Suite> = all().filter(|suite| means(words, suite)).collect();
        if meant.is_empty() && verb == b' ' && words.contains('-') {
            missing.push(words);
        }
        let is_meant = |suite: &&Suite| meant.iter().any(|other| other.suite == suite.suite);
        match verb {
            b'!' => {
                chosen.retain(|suite| !is_meant(suite));
                killed.extend(meant.iter().map(|suite| suite.suite));
            }
            b'-' => chosen.retain(|suite| !is_meant(suite)),
            b'+' => {
                let (last, first): (Vec<&Suite>, Vec<&Suite>) =
                    chosen.into_iter().partition(|suite| is_meant(suite));
                chosen = first;
                chosen.extend(last);
            }
            _ => {
                for suite in meant {
                    let known = chosen.iter().any(|other| other.suite == suite.suite);
                    if !known && !killed.contains(&suite.suite) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    remark_missing("ciphers", &missing, remarks);
    if chosen.is_empty() {
        return Err(Error::new(format!(
            "error setting cipher list (no cipher match): \"{list}\" leaves nothing that is supported; for TLS 1.2 \
             that is ECDHE with AES-GCM or ChaCha20-Poly1305"
        )));
    }
    Ok(chosen)
}

/// Whether `words`, joined with `+`, mean this suite: all of them must.
fn means(words: &str, suite: &Suite) -> bool {
    words
        .split('+')
        .all(|word| word == suite.name || EVERY.contains(&word) || suite.words.contains(&word))
}

fn remark_missing(setting: &str, missing: &[&str], remarks: &mut Vec<String>) {
    if !missing.is_empty() {
        remarks.push(format!(
            "{setting}: not supported and left out: {} (static RSA, finite-field DHE, CBC and CCM suites are not built in)",
            missing.join(", ")
        ));
    }
}

/// The groups of a `curveslist`, in its order. Where X25519 is on it, its post-quantum hybrid goes first: it is X25519 and
/// more, and no list that was written before it existed can have meant to rule it out.
fn groups(
    list: &str,
    remarks: &mut Vec<String>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, Error> {
    let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    let mut missing = Vec::new();
    for name in list.split(':').filter(|name| !name.is_empty()) {
        let group = match name.to_ascii_lowercase().as_str() {
            "x25519" => kx_group::X25519,
            "p-256" | "prime256v1" | "secp256r1" => kx_group::SECP256R1,
            "p-384" | "secp384r1" => kx_group::SECP384R1,
            "p-521" | "secp521r1" => p521::SECP521R1,
            "x25519mlkem768" => kx_group::X25519MLKEM768,
            _ => {
                missing.push(name);
                continue;
            }
        };
        if !groups.iter().any(|known| known.name() == group.name()) {
            groups.push(group);
        }
    }
    if !missing.is_empty() {
        remarks.push(format!(
            "curveslist: not supported and left out: {}",
            missing.join(", ")
        ));
    }
    let has = |name: NamedGroup| groups.iter().any(|group| group.name() == name);
    if has(NamedGroup::X25519) && !has(NamedGroup::X25519MLKEM768) {
        groups.insert(0, kx_group::X25519MLKEM768);
    }
    if groups.is_empty() {
        return Err(Error::new(format!(
            "error setting curves list: \"{list}\" names none of X25519MLKEM768, X25519, P-256, P-384, P-521"
        )));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(list: &str) -> Result<(Vec<&'static str>, Vec<String>), Error> {
        let settings = Settings {
            ciphers: Some(list.into()),
            ..Settings::default()
        };
        let mut remarks = Vec::new();
        let suites = suites_of_tls12(&settings, &mut remarks)?;
        Ok((suites.iter().map(|suite| suite.name).collect(), remarks))
    }

    #[test]
    fn prosodys_own_list_leaves_every_suite() {
        let (names, remarks) = suites("HIGH+kEECDH:HIGH+kEDH:HIGH:!PSK:!SRP:!3DES:!aNULL").unwrap();
        assert_eq!(names.len(), 6);
        assert_eq!(remarks, [""; 0]);
    }

    #[test]
    fn a_list_of_names_is_taken_in_its_order_and_what_is_missing_is_named() {
        let (names, remarks) = suites(
            "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:AES256-SHA",
        )
        .unwrap();
        assert_eq!(
            names,
            [
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305"
            ]
        );
        assert!(remarks[0].contains("DHE-RSA-AES256-GCM-SHA384, AES256-SHA"));
    }

    #[test]
    fn verbs_kill_remove_and_move() {
        assert!(
            suites("ALL:!ECDSA:ECDSA")
                .unwrap()
                .0
                .iter()
                .all(|name| name.contains("RSA-") && !name.contains("ECDSA"))
        );
        let (names, _) = suites("AES:+AES256").unwrap();
        assert!(names[..2].iter().all(|name| name.contains("AES128")));
        let (names, _) = suites("ALL:-AES:AES256").unwrap();
        assert!(names[0].contains("CHACHA20") && names.len() == 4);
    }

    #[test]
    fn a_list_that_leaves_nothing_is_an_error_that_names_it() {
        let error = suites("AES256-SHA:DHE-RSA-AES128-SHA")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no cipher match") && error.contains("AES256-SHA"),
            "{error}"
        );
    }
}
