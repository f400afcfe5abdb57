//! What cryptography a server's side of a full TLS 1.3 handshake cannot do without, done by aws-lc with nothing around it: the floor
//! of a handshake, beside the kernel's part of a connection.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PSS_SHA256, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use rustix::time::{ClockId, clock_gettime};

use crate::usage::micros;

/// Key schedule by RFC 8446 §7.1 with one ticket: three times HKDF-Extract; twice "derived", six traffic, exporter and resumption
/// secrets, four keys with their IVs, two keys of Finished, the ticket's secret; and the two Finished.
const HMACS: usize = 3 + 2 + 6 + 8 + 2 + 1 + 2;

/// Bytes of the messages of a handshake with one certificate of P-256, which the transcript's hash is over, and how often its value
/// is asked for.
const TRANSCRIPT: usize = 1_000;
const TRANSCRIPT_VALUES: usize = 5;

/// Records that are sealed or opened: the server's flight, the client's Finished, the ticket, the end.
const RECORDS: [usize; 4] = [650, 53, 250, 19];

/// One of them takes so many runs that the clock is not what is measured.
const RUNS: u32 = 50;

/// The line of JSON: microseconds of the processor for each, and their sum. `certificate` is "p256" or "rsa2048".
pub fn run(certificate: &str, seconds: Duration) -> Result<String, String> {
    let random = SystemRandom::new();
    let message = [b' '; 130]; // what CertificateVerify signs
    let mut sign: Box<dyn FnMut() -> Option<()>> = match certificate {
        "p256" => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
            Box::new(move || key.sign(&random, &message).ok().map(drop))
        }
        "rsa2048" => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let mut signature = vec![0; key.public_modulus_len()];
            Box::new(move || {
                key.sign(&RSA_PSS_SHA256, &random, &message, &mut signature)
                    .ok()
            })
        }
        _ => return Err(format!("the certificate cannot be {certificate:?}")),
    };
    let peer = PrivateKey::generate(&X25519).map_err(failed)?;
    let peer = UnparsedPublicKey::new(&X25519, peer.compute_public_key().map_err(failed)?);
    let mut exchange = || {
        let own = PrivateKey::generate(&X25519).ok()?;
        own.compute_public_key().ok()?;
        agree(&own, &peer, (), |_| Ok(())).ok()
    };
    let mut schedule = || {
        for _ in 0..HMACS {
            let key = hmac::Key::new(hmac::HMAC_SHA384, &[7; 48]);
            std::hint::black_box(hmac::sign(&key, &[9; 60]));
        }
        let mut transcript = digest::Context::new(&digest::SHA384);
        for _ in 0..TRANSCRIPT_VALUES {
            transcript.update(&[3; TRANSCRIPT / TRANSCRIPT_VALUES]);
            std::hint::black_box(transcript.clone().finish());
        }
        Some(())
    };
    let mut records = || {
        for length in RECORDS {
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[5; 32]).ok()?);
            let mut record = [0; 650];
            let nonce = Nonce::assume_unique_for_key([1; NONCE_LEN]);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut record[..length]);
            let _ = std::hint::black_box(tag.ok()?);
        }
        Some(())
    };
    let mut parts: [(&str, &mut dyn FnMut() -> Option<()>); 4] = [
        ("signature", &mut sign),
        ("key_exchange", &mut exchange),
        ("key_schedule", &mut schedule),
        ("records", &mut records),
    ];
    let each = seconds / parts.len() as u32;
    let mut line = Vec::new();
    let mut sum = 0.0;
    for (name, part) in &mut parts {
        let took = time(each, part).ok_or_else(|| format!("{name} failed"))?;
        sum += took;
        line.push(format!(r#""{name}_us": {took:.2}"#));
    }
    Ok(format!(r#"{{{}, "sum_us": {sum:.2}}}"#, line.join(", ")))
}

fn failed(_: impl Sized) -> String {
    "a key could not be made".to_owned()
}

/// Microseconds of the processor for one run.
fn time(most: Duration, part: &mut dyn FnMut() -> Option<()>) -> Option<f64> {
    let now = || -> Option<Duration> { clock_gettime(ClockId::ThreadCPUTime).try_into().ok() };
    let begin = now()?;
    let mut runs = 0;
    loop {
        for _ in 0..RUNS {
            part()?;
        }
        runs += RUNS;
        let spent = now()? - begin;
        if spent >= most {
            return Some(micros(spent) / f64::from(runs));
        }
    }
}
