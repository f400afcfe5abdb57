//! What a relay is told, on the command line or in a file: the same names and the same syntax in both.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use trochee::{Config, Network};

use super::addresses::{Listen, Target};

/// `trochee relay`
#[derive(Args)]
pub struct Options {
    /// A TOML file with any number of relays, instead of the options
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub relay: Relay,
    #[command(flatten)]
    pub server: Server,
}

/// What one relay does; a `[[relay]]` of the file.
#[derive(Args, Clone, Default, Deserialize)]
#[group(id = "relay options", conflicts_with = "config")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Relay {
    /// Where clients connect: 192.0.2.1:5223, `[::1]:5223`, *:5223, unix:PATH, `systemd[:NAME]`; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Listen>,
    /// Terminate TLS with this certificate (PEM, chain included) and key. Further ones serve the names in them
    #[arg(long, value_name = "CERT,KEY")]
    pub tls: Vec<Files>,
    /// The certificate for clients that ask for this name; *.example.org is all names one level below
    #[arg(long, value_name = "HOST=CERT,KEY")]
    pub sni: Vec<Named>,
    /// An application protocol to agree on, such as xmpp-client; may be repeated, in the order of preference
    #[arg(long, value_name = "NAME")]
    pub alpn: Vec<String>,
    /// Refuse clients that offer application protocols of which none is ours (RFC 7301); else nothing is agreed on then
    #[arg(long)]
    pub alpn_strict: bool,
    /// The server behind: host:port or unix:PATH; may be repeated
    #[arg(long, value_name = "ADDR")]
    #[serde(deserialize_with = "one_or_more")]
    pub to: Vec<Target>,
    /// Which of several servers behind gets the next client
    #[arg(long, value_name = "HOW", default_value = "round-robin")]
    pub balance: Balance,
    /// Tell the server behind who the client is, by the PROXY protocol
    #[arg(long, value_name = "VERSION")]
    pub proxy_protocol: Option<Version>,
    /// Expect the PROXY protocol from a front in these networks, and turn everybody else away. Loopback unless named
    #[arg(long, value_name = "NETWORK,…", num_args = 0..=1, require_equals = true,
        default_missing_value = "127.0.0.0/8,::1", value_delimiter = ',')]
    #[serde(deserialize_with = "networks")]
    pub accept_proxy_protocol: Vec<Network>,
}

/// What all relays of a process share; the `[server]` of the file.
#[derive(Args, Clone, Deserialize)]
#[group(id = "server options", conflicts_with = "config")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Server {
    /// The poller, as in "trochee backends"
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub backend: String,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Most clients at a time, of all listeners but UNIX sockets [default: what half of the descriptors allow]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,
    /// Most clients of one address at a time: of an IPv4 address, or of an IPv6 network of 64 bits
    #[arg(long, value_name = "N", default_value_t = Server::default().max_connections_per_address)]
    pub max_connections_per_address: NonZeroUsize,
    /// New connections a second that one address may open, once it has used up connection-burst-per-address
    #[arg(long, value_name = "N", default_value_t = Server::default().connection_rate_per_address)]
    pub connection_rate_per_address: NonZeroUsize,
    /// New connections that one address may open at once
    #[arg(long, value_name = "N", default_value_t = Server::default().connection_burst_per_address)]
    pub connection_burst_per_address: NonZeroUsize,
    /// Whose connections are not counted by address. Loopback and private networks unless named
    #[arg(long, value_name = "NETWORK,…", value_delimiter = ',')]
    pub exempt_addresses: Vec<String>,
    /// Most bytes that wait for one side before the other is read no further
    #[arg(long, value_name = "BYTES", default_value_t = Server::default().buffer)]
    pub buffer: usize,
    /// Most bytes that wait for all sides together; beyond it those end for which most waits [default: a quarter of the memory]
    #[arg(long, value_name = "BYTES")]
    pub max_queued_memory: Option<NonZeroUsize>,
    /// Bytes a second that a side has to take over send-timeout while more than 1 MiB waits for it; 0 for any progress
    #[arg(long, value_name = "BYTES", default_value_t = Server::default().min_send_rate)]
    pub min_send_rate: usize,
    /// How long an address of a server behind may take to accept
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().connect_timeout)]
    pub connect_timeout: Seconds,
    /// For how long an address that did not accept comes last
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().fail_timeout)]
    pub fail_timeout: Seconds,
    /// How long a client may take for its PROXY header, and for each step of a TLS handshake
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().handshake_timeout)]
    pub handshake_timeout: Seconds,
    /// How long both sides may be silent; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().idle_timeout)]
    pub idle_timeout: Seconds,
    /// How long both may be silent once one of them has ended its side; 0 for idle-timeout alone
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().half_close_timeout)]
    pub half_close_timeout: Seconds,
    /// After how many seconds of silence TCP asks whether the other side is still there; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().keepalive)]
    pub keepalive: u16,
    /// How many seconds it waits for the answer before it asks again
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().keepalive_interval)]
    pub keepalive_interval: NonZeroU16,
    /// How many times it asks in vain before the connection is over
    #[arg(long, value_name = "N", default_value_t = Server::default().keepalive_count)]
    pub keepalive_count: NonZeroU8,
    /// How long a side may take nothing of what waits for it
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().send_timeout)]
    pub send_timeout: Seconds,
    /// How long connections may go on after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = Server::default().drain_timeout)]
    pub drain_timeout: Seconds,
    /// A UNIX socket that answers with statistics, for "trochee top" and "trochee stats". Only our own user and root can ask
    #[arg(long, value_name = "PATH")]
    pub stats_socket: Option<PathBuf>,
    /// The same for Prometheus, as http://ADDR/metrics: an address of loopback and a port
    #[arg(long, value_name = "ADDR")]
    pub stats: Option<SocketAddr>,
}

impl Default for Server {
    fn default() -> Server {
        let seconds = |seconds| Seconds(Duration::from_secs(seconds));
        let above_zero = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        let engine = Config::default();
        Server {
            backend: "auto".to_owned(),
            threads: None,
            max_connections: None,
            max_connections_per_address: above_zero(engine.max_connections_per_address),
            connection_rate_per_address: above_zero(engine.connection_rate_per_address),
            connection_burst_per_address: above_zero(engine.connection_burst_per_address),
            exempt_addresses: Vec::new(),
            // What a fast peer drains in a millisecond or two, twice for each client.
            buffer: 256 * 1024,
            max_queued_memory: None,
            min_send_rate: engine.min_send_rate.unwrap_or(0),
            connect_timeout: seconds(10),
            // As nginx.
            fail_timeout: seconds(10),
            handshake_timeout: seconds(10),
            // Prosody speaks up after 14 minutes of silence.
            idle_timeout: seconds(3600),
            // A client that ends its side with the question may have to wait for the answer.
            half_close_timeout: seconds(60),
            keepalive: 300,
            keepalive_interval: const { NonZeroU16::new(30).unwrap() },
            keepalive_count: const { NonZeroU8::new(4).unwrap() },
            send_timeout: seconds(180),
            drain_timeout: seconds(30),
            stats_socket: None,
            stats: None,
        }
    }
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    pub server: Server,
    #[serde(default)]
    pub relay: Vec<Relay>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        write!(f, "{certificate},{key}")
    }
}

impl FromStr for Files {
    type Err = String;

    fn from_str(text: &str) -> Result<Files, String> {
        match text.split_once(',') {
            Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => Ok(Files {
                certificate: certificate.into(),
                key: key.into(),
            }),
            _ => Err(format!("{text:?} is not CERT,KEY: two files in PEM")),
        }
    }
}

/// A certificate for a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Named {
    pub host: String,
    pub files: Files,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Named, String> {
        match text.split_once('=') {
            Some((host, files)) if !host.is_empty() => Ok(Named {
                host: host.to_owned(),
                files: files.parse()?,
            }),
            _ => Err(format!("{text:?} is not HOST=CERT,KEY")),
        }
    }
}

/// Which of several servers behind gets the next client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after the other
    #[default]
    RoundRobin,
    /// The one that serves the fewest
    LeastConnections,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// Text, addresses only
    V1,
    /// Binary, with what was agreed on in TLS
    V2,
}

/// A time in seconds, fractions included.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Seconds(pub Duration);

impl Seconds {
    /// Where 0 stands for no limit.
    pub fn limit(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Seconds, String> {
        Duration::try_from_secs_f64(seconds)
            .map(Seconds)
            .map_err(|_| format!("{seconds} is no number of seconds"))
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        let wrong = |_| format!("{text:?} is no number of seconds");
        text.parse().map_err(wrong).and_then(f64::try_into)
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parsed = texts
        .iter()
        .map(|text| text.parse().map_err(de::Error::custom));
    parsed.collect()
}

/// In the file, a string or a list of strings.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Target>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<Target>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an address or a list of addresses")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<Target>, E> {
            Ok(vec![text.parse().map_err(E::custom)?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Vec<Target>, A::Error> {
            let mut targets = Vec::new();
            while let Some(target) = all.next_element()? {
                targets.push(target);
            }
            Ok(targets)
        }
    }

    from.deserialize_any(OneOrMore)
}

/// In the file they are strings as on the command line.
macro_rules! from_string {
    ($($kind:ty),+) => {$(
        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<$kind, String> {
                text.parse()
            }
        }
    )+};
}

from_string!(Files, Named, Listen, Target);

#[cfg(test)]
#[path = "../../../../fuzz/scenes/relay_file.rs"]
mod fuzzed;

#[cfg(test)]
mod tests {
    use super::*;

    /// The scene of fuzz/, for a moment.
    #[test]
    fn a_file_with_changes_is_refused_or_means_what_it_says() {
        const FILE: &[u8] = br#"
            [server]
            threads = 2
            drain-timeout = 1.5
            [[relay]]
            listen = ["127.0.0.1:5223", "[::1]:5223", "*:5223", "unix:/run/a", "systemd:b"]
            tls = ["a.crt,a.key"]
            sni = ["b.test=b.crt,b.key"]
            to = ["localhost:5222", "unix:/run/prosody/c2s", "192.0.2.1:1"]
            accept-proxy-protocol = ["10.0.0.0/8"]
            "#;
        fuzzed::run(FILE);
        let mut random = 1_u64;
        let mut below = |bound: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % bound
        };
        for _ in 0..5_000 {
            let mut file = FILE.to_vec();
            for _ in 0..=below(3) {
                let (from, to) = (below(file.len()), below(file.len()));
                file[to] = [file[from], b'"', b'[', b']', b'=', b':', b'9', b'-'][below(8)];
            }
            fuzzed::run(&file);
        }
    }

    #[test]
    fn names_of_the_file_are_those_of_the_options() {
        let file: File = toml::from_str(
            r#"
            [server]
            threads = 2
            idle-timeout = 0
            drain-timeout = 1.5

            [[relay]]
            listen = ["127.0.0.1:5223"]
            tls = ["a.crt,a.key"]
            sni = ["b.test=b.crt,b.key"]
            alpn = ["xmpp-client"]
            to = "unix:/run/prosody/c2s"
            proxy-protocol = "v2"
            accept-proxy-protocol = ["10.0.0.0/8"]
            "#,
        )
        .unwrap();
        assert_eq!(file.server.threads, Some(2));
        assert_eq!(file.server.drain_timeout.0, Duration::from_millis(1500));
        assert_eq!(file.server.buffer, 256 * 1024);
        let relay = &file.relay[0];
        assert_eq!(relay.sni[0].host, "b.test");
        assert_eq!(relay.proxy_protocol, Some(Version::V2));
        for wrong in [
            "[[relay]]\nlissen = []",
            "[[relay]]\ntls = ['only.crt']",
            "[server]\nthreads = 'two'",
            "[server]\nmax-connections = 0",
            "[server]\nidle-timeout = -1.0",
        ] {
            assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
        }
    }
}
