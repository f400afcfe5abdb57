//! SCRAM-SHA-1 without channel binding (RFC 5802), the client's side.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64ct::{Base64, Encoding as _};

const PASSWORD: &[u8] = b"secret";

type Digest = [u8; digest::SHA1_OUTPUT_LEN];

/// What the password becomes with the salt and count that were seen last: the costly part, done once, for all accounts have
/// the same, as if clients had kept it.
static SALTED: Mutex<Option<(Vec<u8>, NonZeroU32, Digest)>> = Mutex::new(None);

/// A login that has begun.
pub struct Scram {
    /// The client-first-message-bare.
    first: String,
    /// What the server has to prove itself with, in base64.
    verifier: String,
}

impl Scram {
    /// With the content of `<auth/>`. `nonce`: nobody else's, ever.
    pub fn begin(user: &str, nonce: &str) -> (Self, String) {
        let first = format!("n={user},r={nonce}");
        let message = Base64::encode_string(format!("n,,{first}").as_bytes());
        let verifier = String::new();
        (Self { first, verifier }, message)
    }

    /// The content of `<response/>` to that of `<challenge/>`. None: it is no such challenge.
    pub fn answer(&mut self, challenge: &str) -> Option<String> {
        let challenge = String::from_utf8(Base64::decode_vec(challenge).ok()?).ok()?;
        let mut fields = challenge.splitn(3, ',');
        let nonce = fields.next()?.strip_prefix("r=")?;
        let salt = Base64::decode_vec(fields.next()?.strip_prefix("s=")?).ok()?;
        let count = fields.next()?.strip_prefix("i=")?.parse().ok()?;
        let salted = salted(&salt, count);
        let client = sign(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &client);
        let last = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{last}", self.first);
        let mut proof = sign(stored.as_ref(), message.as_bytes());
        for (byte, key) in proof.iter_mut().zip(client) {
            *byte ^= key;
        }
        let server = sign(&salted, b"Server Key");
        self.verifier = Base64::encode_string(&sign(&server, message.as_bytes()));
        let response = format!("{last},p={}", Base64::encode_string(&proof));
        Some(Base64::encode_string(response.as_bytes()))
    }

    /// The same of somebody who does not know the password.
    pub fn answer_wrongly(&mut self, challenge: &str) -> Option<String> {
        let right = Base64::decode_vec(&self.answer(challenge)?).ok()?;
        let right = String::from_utf8(right).ok()?;
        let (last, _) = right.split_once(",p=")?;
        let proof = Base64::encode_string(&[0; digest::SHA1_OUTPUT_LEN]);
        Some(Base64::encode_string(
            format!("{last},p={proof}").as_bytes(),
        ))
    }

    /// Whether the content of `<success/>` shows that the server knows the password.
    pub fn is_proven(&self, success: &str) -> bool {
        let decoded = Base64::decode_vec(success).unwrap_or_default();
        !self.verifier.is_empty() && decoded.strip_prefix(b"v=") == Some(self.verifier.as_bytes())
    }
}

fn salted(salt: &[u8], count: NonZeroU32) -> Digest {
    let mut known = SALTED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*known {
        Some((of, times, salted)) if of == salt && *times == count => *salted,
        _ => {
            let mut salted = Digest::default();
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, count, salt, PASSWORD, &mut salted);
            *known = Some((salt.to_vec(), count, salted));
            salted
        }
    }
}

fn sign(key: &[u8], data: &[u8]) -> Digest {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut result = Digest::default();
    result.copy_from_slice(hmac::sign(&key, data).as_ref());
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of RFC 5802, section 5, but for their password.
    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let (mut scram, auth) = Scram::begin("user", "fyko+d2lbbFgONRv9qkxdawL");
        assert_eq!(
            Base64::decode_vec(&auth).unwrap(),
            b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
        );
        let challenge = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        let response = scram.answer(&Base64::encode_string(challenge)).unwrap();
        let response = String::from_utf8(Base64::decode_vec(&response).unwrap()).unwrap();
        assert!(response.starts_with("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p="));
        let theirs = Base64::encode_string(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
        assert!(!scram.is_proven(&theirs));
        let ours = Base64::encode_string(format!("v={}", scram.verifier).as_bytes());
        assert!(scram.is_proven(&ours));
        assert!(scram.answer("bm9uc2Vuc2U=").is_none());
    }
}
