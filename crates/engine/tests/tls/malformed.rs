//! Our own certificates in bytes that no certificate has: what OpenSSL does not read is not loaded.
//!
//! The form of a certificate does not depend on the poller, so `tls.rs` compiles this once, beside the suites of the pollers.

#[allow(dead_code)]
#[path = "der.rs"]
mod der;
#[allow(dead_code)]
#[path = "pki.rs"]
mod pki;
#[allow(dead_code)]
#[path = "../reactor/support.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use rcgen::KeyPair;
use trochee::tls::{Context, Mode, Settings};

use der::*;
use pki::*;
use support::*;

/// Of a tag: the value is made of others.
const CONSTRUCTED: u8 = 0x20;

/// A value of DER, or some bytes.
#[derive(Clone)]
enum Node {
    Made(u8, Vec<Node>),
    Plain(u8, Vec<u8>),
    Bytes(Vec<u8>),
}

impl Node {
    fn parse_all(mut bytes: &[u8]) -> Vec<Node> {
        let mut nodes = Vec::new();
        while let [tag, length, rest @ ..] = bytes {
            let (length, rest) = match length {
                0x82 => (
                    usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                    &rest[2..],
                ),
                0x81 => (usize::from(rest[0]), &rest[1..]),
                length => (usize::from(*length), rest),
            };
            let (contents, rest) = rest.split_at(length);
            nodes.push(match tag & CONSTRUCTED {
                0 => Node::Plain(*tag, contents.to_vec()),
                _ => Node::Made(*tag, Node::parse_all(contents)),
            });
            bytes = rest;
        }
        nodes
    }

    fn encode(&self) -> Vec<u8> {
        let (tag, contents) = match self {
            Node::Made(tag, nodes) => (*tag, nodes.iter().flat_map(Node::encode).collect()),
            Node::Plain(tag, contents) => (*tag, contents.clone()),
            Node::Bytes(bytes) => return bytes.clone(),
        };
        der::value(tag, &contents)
    }

    fn nodes(&mut self) -> &mut Vec<Node> {
        match self {
            Node::Made(_, nodes) => nodes,
            _ => panic!("not made of others"),
        }
    }

    fn at(&mut self, path: &[usize]) -> &mut Node {
        path.iter()
            .fold(self, |node, index| &mut node.nodes()[*index])
    }
}

/// Where things are in a certificate of version 3 (RFC 5280, section 4.1).
const SIGNED: &[usize] = &[0];
const VERSION: &[usize] = &[0, 0, 0];
const SERIAL_NUMBER: &[usize] = &[0, 1];
const ALGORITHM: &[usize] = &[0, 2, 0];
const VALIDITY: &[usize] = &[0, 4];
const NOT_AFTER: &[usize] = &[0, 4, 1];
const COMMON_NAME: &[usize] = &[0, 5, 0, 0, 1];
const EXTENSION: &[usize] = &[0, 7, 0, 0];
const SIGNATURE: &[usize] = &[2];

type Change = Box<dyn Fn(&mut Node)>;

fn set(path: &'static [usize], tag: u8, contents: &'static [u8]) -> Change {
    Box::new(move |root| *root.at(path) = Node::Plain(tag, contents.to_vec()))
}

fn add(path: &'static [usize], bytes: &'static [u8]) -> Change {
    Box::new(move |root| root.at(path).nodes().push(Node::Bytes(bytes.to_vec())))
}

fn remove(path: &'static [usize]) -> Change {
    let (last, above) = path.split_last().unwrap();
    Box::new(move |root| drop(root.at(above).nodes().remove(*last)))
}

/// Each with what we say; nothing where it is loaded.
fn cases() -> Vec<(&'static str, Change, Option<&'static str>)> {
    const LEFT_OVER: Option<&str> = Some("sequence length mismatch");
    const NO_TIME: Option<&str> = Some("invalid time format");
    let left_over = |path| add(path, &[NULL, 0]);
    let time = |tag, text: &'static str| set(NOT_AFTER, tag, text.as_bytes());
    vec![
        ("as it was made", Box::new(|_| ()), None),
        // The date is read as it stands, and the Z is no part of it any more
        (
            "a date without its last byte, which is left over",
            Box::new(|root| {
                set(NOT_AFTER, GENERALIZED_TIME, b"20460101000000")(root);
                add(VALIDITY, b"Z")(root);
            }),
            NO_TIME,
        ),
        ("more than two dates", left_over(VALIDITY), LEFT_OVER),
        ("more than a certificate has", left_over(&[]), LEFT_OVER),
        ("more than is signed", left_over(SIGNED), LEFT_OVER),
        (
            "more than an extension has",
            left_over(EXTENSION),
            LEFT_OVER,
        ),
        ("no signature", remove(SIGNATURE), Some("field missing")),
        ("no serial number", remove(SERIAL_NUMBER), Some("wrong tag")),
        (
            "a serial number with a byte that says nothing",
            set(SERIAL_NUMBER, INTEGER, &[0, 0, 1]),
            Some("invalid integer"),
        ),
        (
            "an identifier without its end",
            set(ALGORITHM, OBJECT_IDENTIFIER, &[0x55, 0x9d]),
            Some("invalid object encoding"),
        ),
        (
            "more unused bits than a byte has",
            set(SIGNATURE, BIT_STRING, &[9, 1]),
            Some("invalid bit string bits left"),
        ),
        (
            "a date that is a number",
            set(NOT_AFTER, INTEGER, &[1]),
            Some("mstring wrong tag"),
        ),
        (
            "a name that is no UTF-8",
            set(COMMON_NAME, UTF8_STRING, &[0xff, 0xff]),
            Some("invalid utf8string"),
        ),
        (
            "a length in more bytes than it takes",
            Box::new(|root| {
                let Node::Plain(tag, contents) = root.at(SIGNATURE).clone() else {
                    panic!("a signature is bytes");
                };
                let length = u8::try_from(contents.len()).unwrap();
                let head = vec![tag, 0x82, 0, length];
                *root.at(SIGNATURE) = Node::Bytes([head, contents].concat());
            }),
            None,
        ),
        // OpenSSL leaves these to the peers, of which few take them
        ("a date without Z", time(UTC_TIME, "460101000000"), NO_TIME),
        (
            "a date without seconds",
            time(UTC_TIME, "4601010000Z"),
            NO_TIME,
        ),
        (
            "a thirteenth month",
            time(UTC_TIME, "461301000000Z"),
            NO_TIME,
        ),
        (
            "letters for a date",
            time(UTC_TIME, "abcdefghijklm"),
            NO_TIME,
        ),
        (
            "version 4",
            set(VERSION, INTEGER, &[3]),
            Some("invalid version"),
        ),
        (
            "extensions in version 1",
            remove(&[0, 0]),
            Some("invalid field for version"),
        ),
    ]
}

/// What [`cases`] has that OpenSSL reads all the same.
const READ_BY_OPENSSL: &[&str] = &[
    "a date without Z",
    "a date without seconds",
    "a thirteenth month",
    "letters for a date",
    "version 4",
    "extensions in version 1",
];

fn pem(der: &[u8]) -> String {
    use base64ct::{Base64, Encoding as _};
    let text = Base64::encode_string(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

fn is_read_by_openssl(file: &Path) -> bool {
    let done = Command::new("openssl")
        .args(["x509", "-noout", "-in"])
        .arg(file)
        .output()
        .unwrap();
    done.status.success()
}

fn loaded(certificate: &Path, key: &Path) -> Result<(), String> {
    Context::build(&Settings::server(certificate, key))
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn what_openssl_does_not_read_is_not_loaded() {
    let key = KeyPair::generate().unwrap();
    let made = params("malformed.test").self_signed(&key).unwrap();
    let key = file(&key.serialize_pem());
    let tree = Node::parse_all(made.der()).pop().unwrap();
    assert_eq!(tree.encode(), &made.der()[..], "the tree has all of it");
    for (what, change, refused) in cases() {
        let mut tree = tree.clone();
        change(&mut tree);
        let changed = pem(&tree.encode());
        let alone = file(&changed);
        let expected = match refused {
            None => Ok(()),
            Some(words) => Err(format!("error loading certificate ({words})")),
        };
        assert_eq!(loaded(&alone, &key), expected, "{what}");
        assert_eq!(
            is_read_by_openssl(&alone),
            refused.is_none() || READ_BY_OPENSSL.contains(&what),
            "{what}"
        );
        // Of what certifies it no more is looked at, and no less
        let behind = file(&(made.pem() + &changed));
        assert_eq!(loaded(&behind, &key), expected, "{what}, behind another");
    }
    let mut behind = made.der().to_vec();
    behind.extend([0, 0]);
    assert_eq!(
        loaded(&file(&pem(&behind)), &key),
        Err("error loading certificate (too long)".into())
    );
}
