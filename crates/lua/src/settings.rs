//! `network_settings`: what each setting means, and what the operator is told about a bad one.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use mlua::{Lua, Result, Table, Value};
use trochee::poller::OpenError;
use trochee::tls::log_keys;
use trochee::{Config, EventLoop};

use crate::convert::described;
use crate::similar::similar;
use rule::Rule::{self, *};

mod rule;

/// A line for the log: one of Prosody's levels, and the text.
pub(crate) type Message = (&'static str, String);

/// The settings in force.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Those of the engine.
    pub(crate) config: Config,
    /// Those of the loop, which is written in Lua.
    front: Front,
    poller: Option<String>,
    io_threads: Option<usize>,
    /// The warnings that were given once, and are not repeated when the configuration is read again.
    warned: HashSet<String>,
}

#[derive(Clone)]
struct Front {
    /// Whether an error in a callback is logged, or leaves the loop.
    protect_listeners: bool,
    /// Whether a callback's error ends its connection.
    fatal_errors: bool,
    /// Whether to log what only developers of trochee want to know.
    verbose: bool,
    /// How many bytes of garbage Lua's heap may hold before a cycle of the collector begins.
    gc_headroom: Option<usize>,
    /// How long connections may take to close when the server stops.
    shutdown_deadline: Option<Duration>,
    /// How long a callback may hold the loop before the log is told.
    slow_callback: Option<Duration>,
    /// Whether the keys of TLS sessions are written to the file that the environment names.
    tls_key_log: bool,
    /// Where a UNIX socket answers with statistics.
    stats_socket: Place,
    /// The longest wait of a turn; Prosody's own bound.
    max_wait: Duration,
    /// The least pause before a timer repeats, so that one that says 0 does not keep the processor busy.
    min_wait: Duration,
}

/// Where a file is.
#[derive(Clone, PartialEq)]
enum Place {
    /// Where the program has such files.
    Usual,
    At(String),
    Nowhere,
}

impl Place {
    /// The path, or "auto", as the operator would write it.
    fn path(&self) -> Option<&str> {
        match self {
            Place::Usual => Some("auto"),
            Place::At(path) => Some(path),
            Place::Nowhere => None,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            config: Config::default(),
            front: Front {
                protect_listeners: true,
                fatal_errors: false,
                verbose: false,
                gc_headroom: Some(32 << 20),
                shutdown_deadline: Some(Duration::from_secs(5)),
                slow_callback: Some(Duration::from_millis(250)),
                tls_key_log: false,
                stats_socket: Place::Usual,
                max_wait: Duration::from_secs(86400),
                min_wait: Duration::from_millis(1),
            },
            poller: None,
            io_threads: None,
            warned: HashSet::new(),
        }
    }
}

/// Every setting of Prosody's three backends, and those that only trochee has.
const SETTINGS: &[(&str, Rule)] = &[
    (
        "accept_retry_interval",
        Seconds(|s| &mut s.config.accept_retry_interval),
    ),
    (
        "all_listeners_multiple",
        Size(|s| &mut s.config.all_listeners_multiple),
    ),
    (
        "connect_timeout",
        Seconds(|s| &mut s.config.connect_timeout),
    ),
    (
        "connection_burst_per_address",
        Size(|s| &mut s.config.connection_burst_per_address),
    ),
    (
        "connection_rate_per_address",
        Size(|s| &mut s.config.connection_rate_per_address),
    ),
    ("debug", Unused),
    ("event_clear_interval", Unused),
    (
        "exempt_addresses",
        NetworkList(|s| &mut s.config.exempt_addresses),
    ),
    ("fatal_errors", Flag(|s| &mut s.front.fatal_errors)),
    ("gc_headroom", SizeOrFalse(|s| &mut s.front.gc_headroom)),
    ("highest_allowed_fd", Unused),
    ("io_threads", IoThreads),
    (
        "ipv6_site_multiple",
        Size(|s| &mut s.config.ipv6_site_multiple),
    ),
    ("keep_buffers", Unused),
    ("linger_timeout", Seconds(|s| &mut s.config.linger_timeout)),
    (
        "max_connections",
        SizeOrAuto(|s| &mut s.config.max_connections),
    ),
    (
        "max_connections_per_address",
        Size(|s| &mut s.config.max_connections_per_address),
    ),
    (
        "max_queued_memory",
        SizeOrAuto(|s| &mut s.config.max_queued_memory),
    ),
    (
        "max_receive_buffer_size",
        Size(|s| &mut s.config.max_receive_buffer_size),
    ),
    (
        "max_send_buffer_size",
        Size(|s| &mut s.config.max_send_buffer_size),
    ),
    ("max_send_chunk", Unused),
    ("max_ssl_handshake_roundtrips", Unused),
    ("max_wait", Seconds(|s| &mut s.front.max_wait)),
    (
        "max_waiting_handshakes",
        Size(|s| &mut s.config.max_waiting_handshakes),
    ),
    ("max_newcomers", Size(|s| &mut s.config.max_newcomers)),
    (
        "min_send_rate",
        SizeOrFalse(|s| &mut s.config.min_send_rate),
    ),
    ("min_wait", Seconds(|s| &mut s.front.min_wait)),
    ("nagle", Nagle),
    ("newcomer_bytes", Size(|s| &mut s.config.newcomer_bytes)),
    (
        "newcomer_data_timeout",
        Seconds(|s| &mut s.config.newcomer_data_timeout),
    ),
    (
        "newcomer_timeout",
        Seconds(|s| &mut s.config.newcomer_timeout),
    ),
    ("opportunistic_writes", Unused),
    ("poller", Poller),
    ("port_options", OfPorts),
    (
        "proxy_protocol_ports",
        PortsOrFalse(|s| &mut s.config.proxy_protocol.ports),
    ),
    (
        "proxy_protocol_timeout",
        Seconds(|s| &mut s.config.proxy_protocol.timeout),
    ),
    (
        "proxy_protocol_trusted",
        NetworkList(|s| &mut s.config.proxy_protocol.trusted),
    ),
    (
        "protect_listeners",
        Flag(|s| &mut s.front.protect_listeners),
    ),
    ("read_retry_delay", Unused),
    ("read_size", SizeOrAuto(|s| &mut s.config.read_size)),
    ("read_timeout", Seconds(|s| &mut s.config.read_timeout)),
    ("select_idle_check_interval", Unused),
    ("select_timeout", Unused),
    ("send_buffer_chunks", Unused),
    ("send_timeout", Seconds(|s| &mut s.config.send_timeout)),
    (
        "shutdown_deadline",
        SecondsOrFalse(|s| &mut s.front.shutdown_deadline),
    ),
    (
        "slow_callback",
        SecondsOrFalse(|s| &mut s.front.slow_callback),
    ),
    ("stats_socket", SocketPath(|s| &mut s.front.stats_socket)),
    (
        "ssl_handshake_timeout",
        Seconds(|s| &mut s.config.tls_handshake_timeout),
    ),
    ("tcp_backlog", Length(|s| &mut s.config.backlog)),
    (
        "tcp_defer_accept",
        SecondsOrFalse(|s| &mut s.config.tcp_defer_accept),
    ),
    (
        "tcp_fastopen",
        LengthOrFalse(|s| &mut s.config.tcp_fastopen),
    ),
    ("tcp_keepalive", TcpKeepalive),
    ("tcp_keepalive_count", KeepaliveCount),
    ("tcp_keepalive_interval", KeepaliveInterval),
    (
        "tcp_user_timeout",
        SecondsOrFalse(|s| &mut s.config.tcp_user_timeout),
    ),
    ("tls_key_log", Flag(|s| &mut s.front.tls_key_log)),
    ("verbose", Flag(|s| &mut s.front.verbose)),
];

/// The variable in the environment that names the poller. It goes before `network_settings`.
const POLLER_VARIABLE: &str = "TROCHEE_POLLER";

/// The same for the number of I/O threads.
const IO_THREADS_VARIABLE: &str = "TROCHEE_IO_THREADS";

/// The file for the keys of TLS sessions, as other programs have it.
const KEY_LOG_VARIABLE: &str = "SSLKEYLOGFILE";

/// The most I/O threads: more than one Lua thread can keep busy.
const MOST_IO_THREADS: usize = 64;

const IO_THREADS: &str = "a whole number from 0 to 64 or \"auto\"";

impl Settings {
    /// Takes over `network_settings`. A setting that is absent gets its default, even if it was set before. One with a bad value
    /// keeps the value that it had.
    ///
    /// The result is what to log.
    pub(crate) fn apply(&mut self, given: &Value, reactor: &mut EventLoop) -> Result<Vec<Message>> {
        let table = match given {
            Value::Table(table) => Some(table),
            Value::Nil => None,
            other => {
                let text = format!(
                    "network_settings must be a table, not {}; keeping what it was",
                    described(other)
                );
                return Ok(vec![("error", text)]);
            }
        };
        let mut messages = Vec::new();
        let mut defaults = Settings::default();
        for (name, rule) in SETTINGS {
            let value = table.map_or(Ok(Value::Nil), |table| table.raw_get(*name))?;
            if value.is_nil() {
                rule.copy(&mut defaults, self);
            } else if let Err(expected) = rule.read(&value, self) {
                let kept = rule.show(self);
                let found = rule.found(&value);
                messages.push((
                    "error",
                    format!(
                        "network_settings.{name} must be {expected}, not {found}; keeping {kept}"
                    ),
                ));
            }
        }
        if let Some(table) = table {
            self.warn_of_unknown(table, &mut messages)?;
        }
        // 0 seconds is how the system itself says "off".
        self.config.tcp_user_timeout = self
            .config
            .tcp_user_timeout
            .filter(|after| !after.is_zero());
        self.config.tcp_defer_accept = self
            .config
            .tcp_defer_accept
            .filter(|after| !after.is_zero());
        self.log_keys(&mut messages);
        self.choose_io_threads(reactor, &mut messages);
        reactor.configure(self.config.clone());
        self.choose_poller(reactor, &mut messages);
        Ok(messages)
    }

    fn warn_of_unknown(&mut self, table: &Table, messages: &mut Vec<Message>) -> Result<()> {
        for pair in table.pairs::<Value, Value>() {
            // Whatever else Lua has as a key, no operator has meant it
            let name = match pair?.0 {
                Value::String(name) => name.to_string_lossy(),
                other => described(&other),
            };
            if SETTINGS.iter().all(|(known, _)| *known != name) && self.warned.insert(name.clone())
            {
                let meant = similar(&name, SETTINGS.iter().map(|(known, _)| *known))
                    .map_or(String::new(), |meant| format!(". Did you mean {meant}?"));
                messages.push((
                    "warn",
                    format!("network_settings.{name} is not a setting that trochee knows; it has no effect{meant}"),
                ));
            }
        }
        Ok(())
    }

    fn choose_poller(&mut self, reactor: &mut EventLoop, messages: &mut Vec<Message>) {
        let variable = variable(POLLER_VARIABLE);
        let (source, name) = match (&variable, &self.poller) {
            (Some(name), _) => (POLLER_VARIABLE, name.as_str()),
            (None, Some(name)) => ("network_settings.poller", name.as_str()),
            (None, None) => ("network_settings.poller", "auto"),
        };
        let in_use = reactor.backend();
        // libevent names its own choice as well.
        if in_use.split(' ').next() == Some(name) {
            return;
        }
        let (level, text) = match reactor.set_backend(name) {
            Ok(()) => return,
            // "auto" would choose the same again; and where an operator has removed another name, a restart is soon enough.
            Err(trochee::Error::BackendInUse) if name == "auto" => return,
            Err(trochee::Error::BackendInUse) => (
                "warn",
                format!(
                    "{source} = \"{name}\" takes effect after a restart; until then the poller is {in_use}"
                ),
            ),
            Err(trochee::Error::Backend(OpenError::Unavailable { reason, .. }))
                if reason.kind() == std::io::ErrorKind::NotFound =>
            {
                (
                    "error",
                    format!(
                        "{name} not found, falling back to {in_use} ({source} = \"{name}\": {reason})"
                    ),
                )
            }
            Err(error) => (
                "error",
                format!("{source} = \"{name}\": {error}; keeping {in_use}"),
            ),
        };
        // The environment does not change while the process runs, so once is enough for what it says.
        if source != POLLER_VARIABLE || self.warned.insert(text.clone()) {
            messages.push((level, text));
        }
    }

    /// Begins to write the keys of TLS sessions to a file, or ends it; each time that it is asked for, the log says so.
    fn log_keys(&self, messages: &mut Vec<Message>) {
        let file = std::env::var_os(KEY_LOG_VARIABLE).filter(|file| !file.is_empty());
        let path = file.as_ref().map(Path::new);
        let path = path.filter(|_| self.front.tls_key_log);
        let opened = log_keys(path);
        if !self.front.tls_key_log {
            return;
        }
        messages.push(match (path, opened) {
            (None, _) => (
                "warn",
                format!(
                    "network_settings.tls_key_log has no effect, because the environment has no {KEY_LOG_VARIABLE}, which names the file"
                ),
            ),
            (Some(path), Ok(())) => (
                "warn",
                format!(
                    "The keys of all TLS connections are written to {} (network_settings.tls_key_log): whoever reads it can read what they say. \
                     Take the setting out, and delete the file, when you have seen enough",
                    path.display()
                ),
            ),
            (Some(path), Err(error)) => (
                "error",
                format!(
                    "network_settings.tls_key_log: {} cannot be opened ({error}); no keys are written",
                    path.display()
                ),
            ),
        });
    }

    fn choose_io_threads(&mut self, reactor: &EventLoop, messages: &mut Vec<Message>) {
        let variable = variable(IO_THREADS_VARIABLE);
        let wanted = match (&variable, self.io_threads) {
            (Some(text), _) => match io_threads(text) {
                Some(count) => count,
                None => {
                    let text = format!(
                        "{IO_THREADS_VARIABLE} must be {IO_THREADS}, not \"{text}\"; it has no effect"
                    );
                    messages.push(("error", text));
                    self.io_threads.unwrap_or(0)
                }
            },
            (None, Some(count)) => count,
            (None, None) => 0,
        };
        let in_use = reactor.config().io_threads;
        if reactor.has_begun() && wanted != in_use {
            messages.push((
                "warn",
                format!("io_threads = {wanted} takes effect after a restart; until then there are {in_use}"),
            ));
        }
        self.config.io_threads = wanted;
    }

    pub(crate) fn max_wait(&self) -> Duration {
        self.front.max_wait
    }

    /// From how many nanoseconds on a callback is slow.
    pub(crate) fn slow_callback(&self) -> Option<i64> {
        /// A clock that goes on every few milliseconds tells no shorter time.
        const LEAST: i64 = 1_000_000;
        let most = self.front.slow_callback?.as_nanos();
        Some(
            i64::try_from(most)
                .unwrap_or(i64::MAX)
                .clamp(LEAST, i64::MAX / 2),
        )
    }

    /// The settings in force by their names, as a Lua table.
    pub(crate) fn in_force(&mut self, lua: &Lua) -> Result<Table> {
        let table = lua.create_table()?;
        for (name, rule) in SETTINGS {
            table.set(*name, rule.value(self))?;
        }
        if let Some(path) = self.front.stats_socket.path() {
            table.set("stats_socket", path)?;
        }
        Ok(table)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// A number, or "auto": one for every core but the loop's own, four at most.
fn io_threads(text: &str) -> Option<usize> {
    if text == "auto" {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        return Some((cores - 1).min(4));
    }
    text.parse().ok().filter(|count| *count <= MOST_IO_THREADS)
}
