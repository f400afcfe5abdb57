//! Kinds of private keys by the names that people know, for what is said of those that cannot sign here.

use super::der;

/// Why there is no key of a kind; two-prime RSA and the usual curves are refused for what is in them alone.
pub(super) fn cannot_sign(kind: &str) -> String {
    match kind {
        "RSA" | "RSA-PSS" | "Ed25519" | "EC on P-256" | "EC on P-384" | "EC on P-521" => {
            format!("the {kind} key is damaged")
        }
        _ => format!(
            "keys of the kind {kind} are not supported: issue a certificate for ECDSA on P-256, or RSA of 2048 bits"
        ),
    }
}

/// The kind of key in a PrivateKeyInfo, and the key itself.
pub(super) fn private_key_info(mut info: &[u8]) -> Option<(String, &[u8])> {
    let mut info = der::take(&mut info, der::SEQUENCE)?;
    let _version = der::take(&mut info, der::INTEGER)?;
    let mut algorithm = der::take(&mut info, der::SEQUENCE)?;
    let key = der::take(&mut info, der::OCTET_STRING)?;
    let oid = der::dotted(der::take(&mut algorithm, der::OBJECT_IDENTIFIER)?);
    let kind = match oid.as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10045.2.1" => return Some((kind_of_curve(algorithm), key)),
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.113549.1.3.1" => "DH",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        other => other,
    };
    Some((kind.to_owned(), key))
}

pub(super) fn kind_of_sec1(mut key: &[u8]) -> String {
    const PARAMETERS: u8 = 0xa0;
    let parameters = || {
        let mut fields = der::take(&mut key, der::SEQUENCE)?;
        let _version = der::take(&mut fields, der::INTEGER)?;
        let _private_key = der::take(&mut fields, der::OCTET_STRING)?;
        der::take(&mut fields, PARAMETERS)
    };
    kind_of_curve({ parameters }().unwrap_or_default())
}

/// From the parameters of an EC key (RFC 5480, section 2.1.1).
fn kind_of_curve(mut parameters: &[u8]) -> String {
    let Some(oid) = der::take(&mut parameters, der::OBJECT_IDENTIFIER) else {
        return "EC with parameters of its own".into();
    };
    let oid = der::dotted(oid);
    let name = match oid.as_str() {
        "1.2.840.10045.3.1.1" => "P-192",
        "1.3.132.0.33" => "P-224",
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.10" => "secp256k1",
        "1.2.156.10197.1.301" => "SM2",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.36.3.3.2.8.1.1.8" => "brainpoolP256t1",
        "1.3.36.3.3.2.8.1.1.9" => "brainpoolP320r1",
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
        other => other,
    };
    format!("EC on {name}")
}
