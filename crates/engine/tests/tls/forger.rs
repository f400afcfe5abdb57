//! Records that are sealed as they should be, and have anything in them.

use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion, SupportedProtocolVersion,
};

use super::*;

pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

/// A peer after an honest handshake, whose records are made here.
pub struct Forger {
    version: ProtocolVersion,
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

impl Forger {
    pub fn join(stream: &TcpStream, version: &'static SupportedProtocolVersion) -> Forger {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots())
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        let name = ServerName::try_from("example.test").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut both_ways = stream;
        while client.is_handshaking() || client.wants_write() {
            client.complete_io(&mut both_ways).unwrap();
        }
        Forger::of(version, client.dangerous_extract_secrets().unwrap())
    }

    /// The same for a server, which has no tickets to give but forged ones. It shows these certificates behind its own.
    pub fn serve(
        stream: &TcpStream,
        version: &'static SupportedProtocolVersion,
        behind: &[Vec<u8>],
    ) -> Forger {
        let pair = server_pair();
        let mut chain = vec![CertificateDer::from_pem_file(&pair.certificate).unwrap()];
        chain.extend(behind.iter().cloned().map(Into::into));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&pair.key).unwrap())
            .unwrap();
        config.enable_secret_extraction = true;
        config.send_tls13_tickets = 0;
        let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut both_ways = stream;
        while server.is_handshaking() || server.wants_write() {
            server.complete_io(&mut both_ways).unwrap();
        }
        Forger::of(version, server.dangerous_extract_secrets().unwrap())
    }

    fn of(version: &SupportedProtocolVersion, secrets: ExtractedSecrets) -> Forger {
        let (sequence, secrets) = secrets.tx;
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

    /// A ticket of TLS 1.3 in a record.
    pub fn ticket(&mut self, length: usize) -> Vec<u8> {
        const NEW_SESSION_TICKET: u8 = 4;
        let mut body = 7200u32.to_be_bytes().to_vec();
        body.extend([1, 2, 3, 4]);
        body.extend([8; 9]);
        body.extend(u16::try_from(length).unwrap().to_be_bytes());
        body.resize(body.len() + length, 5);
        body.extend([0, 0]);
        let mut message = (body.len() as u32).to_be_bytes().to_vec();
        message[0] = NEW_SESSION_TICKET;
        message.extend(body);
        self.seal(HANDSHAKE, &message)
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
