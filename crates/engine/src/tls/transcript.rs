//! The transcript hash (RFC 8446, section 4.4.1) of handshakes in which rustls does not see all of the ClientHello.
//!
//! rustls ends a handshake over a server name that is no DNS name, also where no name decides anything. So the name is
//! [hidden](hello::hide_name) from it; but what both ends hash, sign and derive keys from is what the client sent. These
//! are rustls's cipher suites with hashes that put it back.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;

use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

use super::hello;

thread_local! {
    /// Whether rustls is at work on a handshake with a hidden name.
    static HIDDEN: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, what this thread hashes is put back as the client sent it.
pub(super) struct Restoring(());

impl Restoring {
    pub(super) fn new() -> Restoring {
        HIDDEN.set(true);
        Restoring(())
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        HIDDEN.set(false);
    }
}

/// Handshake messages as they were sent. The ClientHello is the first of those that are hashed or signed together.
pub(super) fn as_sent(messages: &[u8]) -> Cow<'_, [u8]> {
    if HIDDEN.get() {
        hello::as_sent(messages)
    } else {
        Cow::Borrowed(messages)
    }
}

/// A server's cipher suites: all that rustls has.
pub(super) static CIPHER_SUITES: LazyLock<Vec<SupportedCipherSuite>> =
    LazyLock::new(|| ALL_CIPHER_SUITES.iter().map(restoring).collect());

fn restoring(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: Box::leak(Box::new(Restored(common.hash_provider))),
        confidentiality_limit: common.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: suite.quic,
            })))
        }
    }
}

/// A hash of what was sent.
struct Restored(&'static dyn Hash);

impl Hash for Restored {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Running(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(&as_sent(data))
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Running(Box<dyn Context>);

impl Context for Running {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Running(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    /// rustls adds message by message.
    fn update(&mut self, data: &[u8]) {
        self.0.update(&as_sent(data));
    }
}
