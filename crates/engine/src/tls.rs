//! TLS for connections of a [`Reactor`](crate::Reactor): settings as Prosody gives them, contexts, and what a connection
//! tells of its session.
//!
//! The library is rustls: TLS 1.2 and 1.3, always with forward secrecy and authenticated encryption, with the
//! post-quantum hybrid X25519MLKEM768 where the peer has it. What OpenSSL can do beyond that (TLS before 1.2, static RSA,
//! finite-field Diffie-Hellman, renegotiation, compression, `tls-unique`) it has left out on purpose;
//! [`Context::build`] says where a setting asks for it. Names of ciphers and texts of errors are OpenSSL's, and peers'
//! certificates are judged as OpenSSL 3.0 judges them.
//!
//! A handshake is begun with [`Reactor::start_tls`](crate::Reactor::start_tls).
//!
//! Without the feature `tls` the types that events and commands speak of are there, and nothing that could make a [`Context`]:
//! no connection has TLS then.

#[cfg(not(feature = "tls"))]
pub(crate) mod absent;
#[cfg(feature = "tls")]
mod ciphers;
#[cfg(feature = "tls")]
mod context;
#[cfg(feature = "tls")]
mod dane;
#[cfg(feature = "tls")]
mod exporter;
#[cfg(feature = "tls")]
mod hello;
#[cfg(feature = "tls")]
mod interned;
#[cfg(feature = "tls")]
mod key_log;
#[cfg(feature = "tls")]
mod keys;
#[cfg(feature = "tls")]
pub mod name;
#[cfg(feature = "tls")]
mod p521;
#[cfg(feature = "tls")]
mod pkix;
#[cfg(feature = "tls")]
pub(crate) mod session;
#[cfg(feature = "tls")]
mod sessions;
#[cfg(feature = "tls")]
mod settings;
#[cfg(feature = "tls")]
mod store;
#[cfg(feature = "tls")]
mod text;
#[cfg(feature = "tls")]
mod transcript;
#[cfg(feature = "tls")]
mod verify;
mod verify_error;
#[cfg(feature = "tls")]
mod x509;

#[cfg(not(feature = "tls"))]
pub use absent::Context;
#[cfg(not(feature = "tls"))]
pub(crate) use absent::{self as session, contexts_alive, name};
#[cfg(feature = "tls")]
pub use context::Context;
#[cfg(feature = "tls")]
pub(crate) use context::alive as contexts_alive;
#[cfg(feature = "tls")]
pub use key_log::log_keys;
/// In the version whose configurations [`Context::from_rustls_server`] and [`Context::from_rustls_client`] take.
#[cfg(feature = "tls")]
pub use rustls;
#[cfg(feature = "tls")]
pub use settings::{Error, Material, OwnCertificate, Settings};
#[cfg(feature = "tls")]
pub use store::TrustedFiles;
pub use verify_error::VerifyError;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The end that waits for a ClientHello.
    #[default]
    Server,
    /// The end that sends one.
    Client,
}

/// How [`Reactor::start_tls`](crate::Reactor::start_tls) begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Start {
    /// What with. Its [mode](Context::mode) says which end we are.
    pub context: Context,
    /// A client's: the name to ask for (SNI, RFC 6066), and to look for in the server's certificate, with U-labels or
    /// A-labels; the latter are sent ([`name::to_ascii`]). An address is looked for and not sent. For what is neither,
    /// nothing is sent, and the address of the connection is looked for.
    pub server_name: Option<String>,
    /// A server's: whether [`Event::ClientHello`](crate::Event::ClientHello) asks which context it shall be.
    pub choose: bool,
    /// A client's: the server's TLSA records (RFC 6698). If any is of a known kind they decide, and not the trusted
    /// certificates alone.
    pub tlsa: Vec<Tlsa>,
}

impl Start {
    /// A handshake with nothing but a context.
    pub fn new(context: Context) -> Start {
        Start {
            context,
            server_name: None,
            choose: false,
            tlsa: Vec::new(),
        }
    }
}

/// One TLSA record (RFC 6698), as the DNS has it. It must have come with DNSSEC: that is for the caller to see to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// 0: the certificate; 1: its public key.
    pub selector: u8,
    /// 0: the data itself; 1: its SHA-256; 2: its SHA-512.
    pub matching: u8,
    /// What to find.
    pub data: Vec<u8>,
}

/// What was agreed on in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// `"TLSv1.2"` or `"TLSv1.3"`.
    pub protocol: &'static str,
    /// OpenSSL's name of the cipher suite.
    pub cipher: &'static str,
    /// The length of the cipher's key in bits.
    pub bits: u32,
    /// The group of the key exchange, in the TLS registry's name, e.g. `"X25519MLKEM768"`; `None` where there was none.
    pub group: Option<String>,
    /// The name that the client asked for, as [`name::to_ascii`] has it.
    pub server_name: Option<String>,
    /// The application protocol, if one was agreed on.
    pub alpn: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}
