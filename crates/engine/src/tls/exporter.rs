//! Keying material for channel binding and the like (RFC 5705; RFC 8446, section 7.5).
//!
//! rustls derives it for its buffered connections only. To others it tells, as to a key log, the secret that it is
//! derived from.

use std::cell::Cell;

use rustls::crypto::tls13::OkmBlock;
use rustls::{KeyLog, SupportedCipherSuite};

use super::key_log;

/// The secret of one session. Erased when it is dropped.
pub(super) struct Exporter {
    /// The exporter secret of TLS 1.3, or the master secret of TLS 1.2. The type is the one that rustls derives with.
    secret: OkmBlock,
    /// The client's, then the server's; not needed in TLS 1.3.
    randoms: Vec<u8>,
}

/// What was logged last, until [`take`] fetches it.
struct Logged {
    secret: OkmBlock,
    /// In TLS 1.2.
    client_random: Option<[u8; 32]>,
}

thread_local! {
    /// From the log to the session: rustls logs while it is called, so that nobody's comes in between.
    static LOGGED: Cell<Option<Logged>> = const { Cell::new(None) };
}

/// The key log of every context.
#[derive(Debug)]
pub(super) struct Log;

const TLS13: &str = "EXPORTER_SECRET";
const TLS12: &str = "CLIENT_RANDOM";

impl KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        key_log::write(label, client_random, secret);
        if is_exporters(label) && secret.len() <= OkmBlock::MAX_LEN {
            LOGGED.set(Some(Logged {
                secret: OkmBlock::new(secret),
                client_random: client_random.try_into().ok().filter(|_| label == TLS12),
            }));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        is_exporters(label) || key_log::is_on()
    }
}

fn is_exporters(label: &str) -> bool {
    label == TLS13 || label == TLS12
}

/// What the session that rustls was just called for can export with. `None` if nothing was logged, or the server's random
/// is needed and not known.
pub(super) fn take(server_random: Option<[u8; 32]>) -> Option<Exporter> {
    let logged = LOGGED.take()?;
    let randoms = match (logged.client_random, server_random) {
        (None, _) => Vec::new(),
        (Some(client), Some(server)) => [client, server].concat(),
        (Some(_), None) => return None,
    };
    Some(Exporter {
        secret: logged.secret,
        randoms,
    })
}

/// The random of a ServerHello at the beginning of `records`, which is where it is in TLS 1.2.
pub(super) fn server_random(records: &[u8]) -> Option<[u8; 32]> {
    /// A record's header is five bytes, a handshake message's four; then come two of the version.
    const AT: usize = 5 + 4 + 2;
    const HANDSHAKE: u8 = 22;
    const SERVER_HELLO: u8 = 2;
    let random = records.get(AT..AT + 32)?;
    if records[0] != HANDSHAKE || records[5] != SERVER_HELLO {
        return None;
    }
    random.try_into().ok()
}

impl Exporter {
    /// Fills `output`. `None` for a label or context too long to be encoded, or more output than the hash can give.
    pub(super) fn export(
        &self,
        suite: SupportedCipherSuite,
        label: &[u8],
        context: Option<&[u8]>,
        output: &mut [u8],
    ) -> Option<()> {
        match suite {
            SupportedCipherSuite::Tls13(suite) => {
                let hash = |data| suite.common.hash_provider.hash(data);
                let expander = suite.hkdf_provider.expander_for_okm(&self.secret);
                let info = hkdf_label(expander.hash_len(), label, hash(&[]).as_ref())?;
                let secret = expander.expand_block(&[&info]);
                let context = hash(context.unwrap_or_default());
                let info = hkdf_label(output.len(), b"exporter", context.as_ref())?;
                suite
                    .hkdf_provider
                    .expander_for_okm(&secret)
                    .expand_slice(&[&info], output)
                    .ok()
            }
            SupportedCipherSuite::Tls12(suite) => {
                let mut seed = self.randoms.clone();
                if let Some(context) = context {
                    seed.extend(u16::try_from(context.len()).ok()?.to_be_bytes());
                    seed.extend(context);
                }
                suite
                    .prf_provider
                    .for_secret(output, self.secret.as_ref(), label, &seed);
                Some(())
            }
        }
    }
}

/// HkdfLabel, RFC 8446, section 7.1.
fn hkdf_label(length: usize, label: &[u8], context: &[u8]) -> Option<Vec<u8>> {
    const PREFIX: &[u8] = b"tls13 ";
    let mut encoded = u16::try_from(length).ok()?.to_be_bytes().to_vec();
    encoded.push(u8::try_from(PREFIX.len() + label.len()).ok()?);
    encoded.extend(PREFIX);
    encoded.extend(label);
    encoded.push(u8::try_from(context.len()).ok()?);
    encoded.extend(context);
    Some(encoded)
}
