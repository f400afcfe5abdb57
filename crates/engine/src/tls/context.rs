//! From settings to what handshakes are made with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::NoClientAuth;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use super::keys::Choice;
use super::sessions::Sessions;
use super::store::{Store, TrustedFiles};
use super::verify::{Policy, Verifier};
use super::x509::Role;
use super::{Error, Material, Mode, OwnCertificate, Settings, ciphers, exporter, keys};

/// Tickets that a server hands out per TLS 1.3 handshake, a resumed one included: one for the next connection.
const TICKETS: usize = 1;

/// Tickets that a client may ask for (RFC 9149), to connect several times at once.
const MOST_TICKETS: usize = 4;

/// OpenSSL's default where no depth is given, as LuaSec leaves it.
const DEPTH: usize = 100;

/// Options that hold here always.
const ALWAYS: &[&str] = &[
    "no_sslv2",
    "no_sslv3",
    "no_tlsv1",
    "no_tlsv1_1",
    "no_tlsv1_2",
    "no_tlsv1_3",
    "no_compression",
    "no_renegotiation",
    "single_dh_use",
    "single_ecdh_use",
    "cipher_server_preference",
    "no_session_resumption_on_renegotiation",
    "dont_insert_empty_fragments",
    "no_query_mtu",
];

/// What handshakes are made with: certificates, rules, ciphers, and the tickets to resume sessions by.
///
/// Cheap to clone; clones are the same context. It may be used by many connections and threads at a time.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    side: Side,
    policy: Arc<Policy>,
    /// Of ours; none where a server serves names only, or rustls's own configuration has them.
    certificate: Option<Arc<CertifiedKey>>,
    _alive: Alive,
}

/// How many contexts there are.
static ALIVE: AtomicU64 = AtomicU64::new(0);

/// One of these.
struct Alive;

impl Alive {
    fn new() -> Alive {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Alive
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many contexts the process has.
pub(crate) fn alive() -> u64 {
    ALIVE.load(Ordering::Relaxed)
}

pub(super) enum Side {
    Server {
        /// With the context's protocols (ALPN), and without any: for clients that have none of them in common, unless
        /// they are to be refused. It is no error to OpenSSL.
        config: Arc<ServerConfig>,
        without_alpn: Option<Arc<ServerConfig>>,
    },
    Client {
        config: Arc<ClientConfig>,
        /// Where TLSA records decide, rustls must not.
        with_tlsa: Arc<ClientConfig>,
    },
}

impl Context {
    /// Builds a context: reads files, checks that key and certificate belong together.
    ///
    /// Also gives remarks for the log: what was asked for and is not done, by the name of the setting, and why. What is
    /// left is never weaker than what was asked for.
    ///
    /// # Errors
    ///
    /// In LuaSec's words, which Prosody parses: `"error loading private key (No such file or directory)"`,
    /// `"private key does not match public key"`. Settings that leave nothing to negotiate are errors, too.
    pub fn build(settings: &Settings) -> Result<(Context, Vec<String>), Error> {
        Context::build_with(settings, &TrustedFiles::default())
    }

    /// The same for one of many contexts that are made together: what they trust is looked at once.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Context::build).
    pub fn build_with(
        settings: &Settings,
        files: &TrustedFiles,
    ) -> Result<(Context, Vec<String>), Error> {
        let mut remarks = Vec::new();
        let versions = ciphers::versions(settings, &mut remarks)?;
        let provider = Arc::new(ciphers::provider(settings, &versions, &mut remarks)?);
        remark_options(settings, &mut remarks);
        let choice = Arc::new(Choice(own_certificates(settings)?));
        let policy = Arc::new(policy(settings, &provider, files, &mut remarks)?);
        let certificate = choice.0.first().cloned();
        let side = match settings.mode {
            Mode::Server => server(settings, provider, &versions, choice, &policy)?,
            Mode::Client => client(settings, provider, &versions, choice, &policy)?,
        };
        let inner = Arc::new(Inner {
            side,
            policy,
            certificate,
            _alive: Alive::new(),
        });
        Ok((Context { inner }, remarks))
    }

    /// A server's context out of a configuration of rustls's, taken as it is: its certificates, verifier, tickets, ALPN.
    ///
    /// What a peer's certificate is worth is then decided by that configuration alone, and
    /// [`Reactor::peer_verification`](crate::Reactor::peer_verification) has nothing to add. There is no keying material to
    /// export, for that takes a key log of ours; a client that has none of the protocols (ALPN) in common is refused.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use trochee::tls::{Context, rustls};
    /// # fn config() -> rustls::ServerConfig {
    /// #     let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    /// #     rustls::ServerConfig::builder_with_provider(provider)
    /// #         .with_safe_default_protocol_versions()
    /// #         .unwrap()
    /// #         .with_no_client_auth()
    /// #         .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()))
    /// # }
    /// let config: rustls::ServerConfig = config();
    /// let context = Context::from_rustls_server(Arc::new(config));
    /// ```
    pub fn from_rustls_server(config: Arc<ServerConfig>) -> Context {
        let algorithms = config.crypto_provider().signature_verification_algorithms;
        Context::of_rustls(
            Side::Server {
                config,
                without_alpn: None,
            },
            Role::Client,
            algorithms,
        )
    }

    /// A client's context out of a configuration of rustls's, taken as it is. What
    /// [`from_rustls_server`](Context::from_rustls_server) says holds here, too; TLSA records are asked for more than the
    /// configuration does, not for less.
    pub fn from_rustls_client(config: Arc<ClientConfig>) -> Context {
        let algorithms = config.crypto_provider().signature_verification_algorithms;
        let with_tlsa = Arc::clone(&config);
        Context::of_rustls(Side::Client { config, with_tlsa }, Role::Server, algorithms)
    }

    fn of_rustls(side: Side, role: Role, algorithms: WebPkiSupportedAlgorithms) -> Context {
        // As if we verified: what rustls let pass is good
        let policy = Policy {
            store: Store::default(),
            role,
            verify: true,
            verify_name: false,
            required: false,
            tolerant: false,
            depth: DEPTH,
            algorithms,
        };
        let inner = Inner {
            side,
            policy: Arc::new(policy),
            certificate: None,
            _alive: Alive::new(),
        };
        Context {
            inner: Arc::new(inner),
        }
    }

    /// Which end of a connection it is for.
    pub fn mode(&self) -> Mode {
        match self.inner.side {
            Side::Server { .. } => Mode::Server,
            Side::Client { .. } => Mode::Client,
        }
    }

    /// Our own certificate in DER, then what certifies it; of several the first. None for a client without, or a server that
    /// serves names only.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        let certificate = self.inner.certificate.iter();
        certificate.flat_map(|certified| certified.cert.iter().map(AsRef::as_ref))
    }

    /// The DNS names (subjectAltName, RFC 5280) in our own certificate; of several in the first.
    pub fn names(&self) -> Vec<String> {
        let certificate = self.certificates().next();
        certificate.map(keys::dns_names).unwrap_or_default()
    }

    pub(super) fn side(&self) -> &Side {
        &self.inner.side
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.inner.policy
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({:?})", self.mode())
    }
}

fn remark_options(settings: &Settings, remarks: &mut Vec<String>) {
    let mut ignored = Vec::new();
    for option in &settings.options {
        if option == "no_ticket" && settings.tickets {
            remarks.push(
                "options: \"no_ticket\" is not followed: tickets are sealed with keys that change every few hours, \
                 so the reason for it does not apply"
                    .into(),
            );
        } else if !ALWAYS.contains(&option.as_str()) && option != "no_ticket" {
            ignored.push(option.as_str());
        }
    }
    if !ignored.is_empty() {
        remarks.push(format!(
            "options: not supported and left out: {}",
            ignored.join(", ")
        ));
    }
    if settings.dhparam {
        remarks.push(
            "dhparam: left out: there is no finite-field Diffie-Hellman here, elliptic curves are used".into(),
        );
    }
}

/// All of ours, that of the settings' own names first.
fn own_certificates(settings: &Settings) -> Result<Vec<Arc<CertifiedKey>>, Error> {
    let file = |path: &Option<PathBuf>| path.clone().map(Material::File);
    let named = match (file(&settings.certificate), file(&settings.key)) {
        (Some(certificate), Some(key)) => Some(OwnCertificate {
            certificate,
            key,
            password: settings.password.clone(),
        }),
        (Some(_), None) => {
            return Err(keys::loading("private key", "no key for the certificate"));
        }
        (None, _) => None,
    };
    named
        .iter()
        .chain(&settings.certificates)
        .map(keys::certified)
        .collect()
}

fn policy(
    settings: &Settings,
    provider: &CryptoProvider,
    files: &TrustedFiles,
    remarks: &mut Vec<String>,
) -> Result<Policy, Error> {
    let has = |list: &[String], word: &str| list.iter().any(|item| item == word);
    for word in &settings.verify {
        if !["none", "peer", "client_once", "fail_if_no_peer_cert"].contains(&word.as_str()) {
            return Err(Error::new(format!("invalid verify option ({word})")));
        }
    }
    for word in &settings.verifyext {
        if word.starts_with("crl_check") {
            return Err(Error::new(format!(
                "verifyext \"{word}\" is not supported: revocation lists are not read"
            )));
        }
        if word != "lsec_continue" && word != "lsec_ignore_purpose" {
            remarks.push(format!(
                "verifyext: \"{word}\" is not supported and left out"
            ));
        }
    }
    let is_client = settings.mode == Mode::Client;
    let verify = has(&settings.verify, "peer") || is_client && settings.verify.is_empty();
    let no_place =
        settings.cafile.is_none() && settings.capath.is_none() && settings.authorities.is_empty();
    Ok(Policy {
        store: if no_place && is_client && verify && settings.system_trust {
            Store::of_system(files)?
        } else {
            Store::load(
                settings.cafile.as_deref(),
                settings.capath.as_deref(),
                &settings.authorities,
                files,
            )?
        },
        // LuaSec's "ignore": what a certificate is for is checked, but not whether that is what it is used for
        role: if is_client || has(&settings.verifyext, "lsec_ignore_purpose") {
            Role::Server
        } else {
            Role::Client
        },
        verify,
        verify_name: is_client && verify && settings.verify_name,
        required: verify && has(&settings.verify, "fail_if_no_peer_cert"),
        tolerant: has(&settings.verifyext, "lsec_continue"),
        depth: settings.depth.map_or(DEPTH, |depth| depth as usize),
        algorithms: provider.signature_verification_algorithms,
    })
}

fn server(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    choice: Arc<Choice>,
    policy: &Arc<Policy>,
) -> Result<Side, Error> {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| Error::new(error.to_string()))?;
    let builder = if policy.verify {
        builder.with_client_cert_verifier(Arc::new(Verifier {
            policy: Arc::clone(policy),
            strict: !policy.tolerant,
        }))
    } else {
        builder.with_client_cert_verifier(Arc::new(NoClientAuth))
    };
    let mut config = builder.with_cert_resolver(choice);
    config.ignore_client_order = settings
        .options
        .iter()
        .any(|option| option == "cipher_server_preference");
    if settings.tickets {
        config.ticketer = Ticketer::new().map_err(|error| Error::new(error.to_string()))?;
        config.send_tls13_tickets = TICKETS;
        config.max_tls13_tickets = MOST_TICKETS;
    } else {
        config.send_tls13_tickets = 0;
    }
    // Sessions of TLS 1.2 live in tickets alone: a store would be memory that the peers decide over.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.key_log = Arc::new(exporter::Log);
    let without_alpn = (!settings.alpn_strict).then(|| Arc::new(config.clone()));
    config.alpn_protocols = protocols(&settings.alpn);
    Ok(Side::Server {
        config: Arc::new(config),
        without_alpn,
    })
}

fn client(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    choice: Arc<Choice>,
    policy: &Arc<Policy>,
) -> Result<Side, Error> {
    let config = |strict: bool| -> Result<ClientConfig, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| Error::new(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier {
                policy: Arc::clone(policy),
                strict,
            }));
        let mut config =
            builder.with_client_cert_resolver(Arc::clone(&choice) as Arc<dyn ResolvesClientCert>);
        config.alpn_protocols = protocols(&settings.alpn);
        config.key_log = Arc::new(exporter::Log);
        config.resumption = if settings.tickets {
            Resumption::store(Arc::new(Sessions::default()))
        } else {
            Resumption::disabled()
        };
        Ok(config)
    };
    Ok(Side::Client {
        config: Arc::new(config(policy.verify && !policy.tolerant)?),
        with_tlsa: Arc::new(config(false)?),
    })
}

fn protocols(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.clone().into_bytes()).collect()
}
