//! What a context is made of, and why there is none.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Mode;

/// What a [`Context`](super::Context) is made of, in the words of LuaSec's `newcontext`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The end that the context is for.
    pub mode: Mode,
    /// A PEM file: the certificate, then what certifies it. A server without one serves only connections that are given
    /// another context by [`Reactor::accept_tls`](crate::Reactor::accept_tls).
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key: RSA, RSA-PSS, ECDSA (P-256, P-384, P-521) or Ed25519 as PKCS#1, PKCS#8 or SEC1;
    /// encrypted as PKCS#8 (RFC 8018) with AES or, with the feature `legacy-keys`, in the older ways: Triple-DES, PKCS#12's
    /// schemes (RFC 7292) and OpenSSL's traditional format.
    pub key: Option<PathBuf>,
    /// The password of the key, in the bytes that it was encrypted with.
    pub password: Option<Vec<u8>>,
    /// Further certificates, such as one for ECDSA beside one for RSA, or one that is in memory. A peer is shown the one
    /// whose signatures it prefers, among those that it understands.
    pub certificates: Vec<OwnCertificate>,
    /// A PEM file of trusted certificates. One that certifies itself is the end of a chain; one that is no authority
    /// vouches for itself only.
    pub cafile: Option<PathBuf>,
    /// A directory of trusted certificates in files named by OpenSSL's hash, such as `/etc/ssl/certs`.
    pub capath: Option<PathBuf>,
    /// Further trusted certificates in PEM, one after the other.
    pub authorities: Vec<u8>,
    /// Whether a client that verifies, and is given none of the three, trusts what the system does. On.
    pub system_trust: bool,
    /// `"tlsv1_2"`, `"tlsv1_3"`: exactly that; `"tlsv1_2+"`, `"sslv23"`: from TLS 1.2 on. `None` is `"tlsv1_2+"`.
    pub protocol: Option<String>,
    /// An OpenSSL cipher list, ciphers(1), for TLS 1.2.
    pub ciphers: Option<String>,
    /// The suites of TLS 1.3, separated by colons.
    pub ciphersuites: Option<String>,
    /// Groups for the key exchange in the order of preference, separated by colons.
    pub curveslist: Option<String>,
    /// OpenSSL's options in LuaSec's names, such as `"no_tlsv1_2"` and `"cipher_server_preference"`.
    pub options: Vec<String>,
    /// `"none"`, `"peer"`, `"client_once"`, `"fail_if_no_peer_cert"`. Where nothing is said, a client verifies the server,
    /// and a server asks for no certificate.
    pub verify: Vec<String>,
    /// Whether a client that verifies wants to see in the server's certificate the name that it asked for, or the address
    /// that it connected to where it asked for none (RFC 9525, subjectAltName alone). On.
    pub verify_name: bool,
    /// `"lsec_continue"`: the handshake goes on with a certificate that is not good;
    /// [`Reactor::peer_verification`](crate::Reactor::peer_verification) tells. `"lsec_ignore_purpose"`: also clients are
    /// judged as if they were servers.
    pub verifyext: Vec<String>,
    /// Most certificates between the peer's and a trusted one.
    pub depth: Option<u32>,
    /// Application protocols (RFC 7301): a client's offer, or a server's choice, in the order of preference.
    pub alpn: Vec<String>,
    /// A server's: whether a client that offers application protocols, and none of ours, is refused with the alert
    /// no_application_protocol, as RFC 7301, section 3.2, wants it. Off: as with OpenSSL, nothing is agreed on then.
    pub alpn_strict: bool,
    /// Whether parameters for finite-field Diffie-Hellman were given. They are not used.
    pub dhparam: bool,
    /// Whether sessions can be resumed (RFC 8446, section 2.2; RFC 5077). On.
    pub tickets: bool,
}

impl Settings {
    /// Of a server with a certificate and its key, in PEM files.
    pub fn server(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Settings {
        Settings {
            certificate: Some(certificate.into()),
            key: Some(key.into()),
            ..Settings::default()
        }
    }

    /// Of a client that verifies the server's chain and name by what the system trusts.
    pub fn client() -> Settings {
        Settings {
            mode: Mode::Client,
            ..Settings::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            mode: Mode::Server,
            certificate: None,
            key: None,
            password: None,
            certificates: Vec::new(),
            cafile: None,
            capath: None,
            authorities: Vec::new(),
            system_trust: true,
            protocol: None,
            ciphers: None,
            ciphersuites: None,
            curveslist: None,
            options: Vec::new(),
            verify: Vec::new(),
            verify_name: true,
            verifyext: Vec::new(),
            depth: None,
            alpn: Vec::new(),
            alpn_strict: false,
            dhparam: false,
            tickets: true,
        }
    }
}

/// Where a certificate or a key is.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Material {
    /// A PEM file.
    File(PathBuf),
    /// PEM or DER. A chain takes PEM.
    Memory(Vec<u8>),
}

/// Without what is in memory: it may be a key.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Material::File(path) => write!(f, "File({path:?})"),
            Material::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
        }
    }
}

/// A certificate of ours and its key.
///
/// ```no_run
/// # use trochee::tls::{Context, Material, OwnCertificate, Settings};
/// # let (certificate, key): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
/// let own = OwnCertificate::new(Material::Memory(certificate), Material::Memory(key));
/// let mut settings = Settings::default();
/// settings.certificates.push(own);
/// let (context, remarks) = Context::build(&settings)?;
/// # Ok::<(), trochee::tls::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OwnCertificate {
    /// The certificate, then what certifies it. It is not judged, that is the peer's part; but its key must be at least as
    /// strong as RSA of 2048 bits, as OpenSSL's default security level has it.
    pub certificate: Material,
    /// The private key, as for [`Settings::key`].
    pub key: Material,
    /// The password of the key, in the bytes that it was encrypted with.
    pub password: Option<Vec<u8>>,
}

impl OwnCertificate {
    /// A certificate with a key that has no password.
    pub fn new(certificate: Material, key: Material) -> OwnCertificate {
        OwnCertificate {
            certificate,
            key,
            password: None,
        }
    }
}

/// Why there is no context, in LuaSec's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    text: String,
    file: Option<PathBuf>,
}

impl Error {
    pub(super) fn new(text: impl Into<String>) -> Error {
        Error {
            text: text.into(),
            file: None,
        }
    }

    pub(super) fn in_file(self, file: &Path) -> Error {
        Error {
            file: Some(file.to_owned()),
            ..self
        }
    }

    /// The file that is at fault. It is not part of the text: Prosody puts it there.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
