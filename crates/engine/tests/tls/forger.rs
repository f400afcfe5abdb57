//! Records that are sealed as they should be, and have anything in them.

use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedProtocolVersion};

use super::*;

pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

/// A client after an honest handshake, whose records are made here.
pub struct Forger {
    version: ProtocolVersion,
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

impl Forger {
    pub fn join(stream: &TcpStream, version: &'static SupportedProtocolVersion) -> Forger {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from(authority().der.clone()))
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        let name = ServerName::try_from("example.test").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut both_ways = stream;
        while client.is_handshaking() || client.wants_write() {
            client.complete_io(&mut both_ways).unwrap();
        }
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
            panic!("another cipher");
        };
        Forger {
            version: version.version,
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap()),
            iv: iv.as_ref().to_vec(),
            sequence,
        }
    }

    /// A record: RFC 8446, section 5.2; RFC 5246, section 6.2.3.3 with RFC 5288.
    pub fn seal(&mut self, content: u8, payload: &[u8]) -> Vec<u8> {
        let mut nonce: [u8; 12] = self.iv.as_slice().try_into().unwrap();
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        for (byte, other) in nonce[4..].iter_mut().zip(sequence) {
            *byte ^= other;
        }
        let mut sealed = payload.to_vec();
        let length = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let tag = AES_256_GCM.tag_len();
        let (mut record, added) = if self.version == ProtocolVersion::TLSv1_3 {
            sealed.push(content);
            let mut header = vec![DATA, 3, 3];
            header.extend(length(sealed.len() + tag));
            (header.clone(), header)
        } else {
            let mut header = vec![content, 3, 3];
            header.extend(length(8 + sealed.len() + tag));
            header.extend(&nonce[4..]);
            let mut added = sequence.to_vec();
            added.extend([content, 3, 3]);
            added.extend(length(sealed.len()));
            (header, added)
        };
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(added),
                &mut sealed,
            )
            .unwrap();
        record.extend(sealed);
        record
    }
}
