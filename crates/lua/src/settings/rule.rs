//! How values are read and shown.

use std::collections::BTreeMap;
use std::time::Duration;

use mlua::Value;
use trochee::{KeepAlive, Networks, PortOptions};

use super::{IO_THREADS, Place, Settings, io_threads};
use crate::convert::{self, described, integer, seconds};

/// How the value of a setting is read and where it is stored, and so what values are valid.
pub(super) enum Rule {
    Seconds(fn(&mut Settings) -> &mut Duration),
    SecondsOrFalse(fn(&mut Settings) -> &mut Option<Duration>),
    Size(fn(&mut Settings) -> &mut usize),
    SizeOrFalse(fn(&mut Settings) -> &mut Option<usize>),
    /// `None` is what the engine finds right.
    SizeOrAuto(fn(&mut Settings) -> &mut Option<usize>),
    Length(fn(&mut Settings) -> &mut u32),
    LengthOrFalse(fn(&mut Settings) -> &mut Option<u32>),
    Flag(fn(&mut Settings) -> &mut bool),
    NetworkList(fn(&mut Settings) -> &mut Networks),
    Nagle,
    TcpKeepalive,
    KeepaliveInterval,
    KeepaliveCount,
    OfPorts,
    PortsOrFalse(fn(&mut Settings) -> &mut Option<Vec<u16>>),
    Poller,
    IoThreads,
    /// The path of a UNIX socket.
    SocketPath(fn(&mut Settings) -> &mut Place),
    /// A setting of another backend, or of a later version of Prosody. It is accepted, and has no effect.
    Unused,
}

use Rule::*;

impl Rule {
    /// Stores the value, or returns what it must be.
    pub(super) fn read(
        &self,
        value: &Value,
        to: &mut Settings,
    ) -> std::result::Result<(), &'static str> {
        let seconds = if value.is_number() || value.is_integer() {
            "more than 0 seconds"
        } else {
            "a number of seconds"
        };
        const SECONDS_OR_FALSE: &str = "a number of seconds or false";
        const SIZE: &str = "a whole number above 0";
        const LENGTH_OR_FALSE: &str = "a queue length above 0 or false";
        match self {
            Seconds(field) => {
                *field(to) = duration(value)
                    .filter(|after| !after.is_zero())
                    .ok_or(seconds)?
            }
            SecondsOrFalse(field) => {
                *field(to) = unless_false(value, duration).ok_or(SECONDS_OR_FALSE)?
            }
            Size(field) => *field(to) = size(value).ok_or(SIZE)?,
            SizeOrFalse(field) => {
                *field(to) = unless_false(value, size).ok_or("a whole number above 0 or false")?
            }
            SizeOrAuto(field) => {
                *field(to) = match value {
                    Value::String(text) if text.as_bytes() == *b"auto" => None,
                    other => Some(size(other).ok_or("a whole number above 0 or \"auto\"")?),
                }
            }
            Length(field) => *field(to) = length(value).ok_or(SIZE)?,
            LengthOrFalse(field) => {
                *field(to) = unless_false(value, length).ok_or(LENGTH_OR_FALSE)?
            }
            Flag(field) => *field(to) = value.as_boolean().ok_or("true or false")?,
            NetworkList(field) => {
                *field(to) = networks(value)
                    .map_err(|_| "a list of networks such as { \"loopback\", \"192.0.2.0/24\" }")?;
            }
            Nagle => to.config.nodelay = !value.as_boolean().ok_or("true or false")?,
            TcpKeepalive => {
                to.config.tcp_keepalive =
                    keepalive(value).ok_or("true, false or a whole number of seconds")?;
            }
            KeepaliveInterval => {
                to.config.tcp_keepalive_interval = unless_false(value, whole_seconds)
                    .ok_or("a whole number of seconds or false")?;
            }
            KeepaliveCount => {
                to.config.tcp_keepalive_count =
                    unless_false(value, probes).ok_or("a whole number from 1 to 127 or false")?;
            }
            OfPorts => {
                to.config.port_options = port_options(value).ok_or(
                    "a table such as { [5269] = { tcp_keepalive = 60; tcp_user_timeout = 90 } }",
                )?;
            }
            PortsOrFalse(field) => {
                *field(to) = unless_false(value, ports)
                    .ok_or("a list of ports, such as { 5222 }, or false")?;
            }
            Poller => match value {
                Value::String(name) => to.poller = Some(name.to_string_lossy()),
                _ => return Err("the name of a poller or \"auto\""),
            },
            IoThreads => {
                let count = match value {
                    Value::String(text) => io_threads(&text.to_string_lossy()),
                    other => integer(other).and_then(|count| io_threads(&count.to_string())),
                };
                to.io_threads = Some(count.ok_or(IO_THREADS)?);
            }
            SocketPath(field) => {
                *field(to) =
                    place(value).ok_or("a path of at most 107 bytes, \"auto\" or false")?;
            }
            Unused => {}
        }
        Ok(())
    }

    pub(super) fn copy(&self, from: &mut Settings, to: &mut Settings) {
        match self {
            Seconds(field) => *field(to) = *field(from),
            SecondsOrFalse(field) => *field(to) = *field(from),
            Size(field) => *field(to) = *field(from),
            SizeOrFalse(field) | SizeOrAuto(field) => *field(to) = *field(from),
            Length(field) => *field(to) = *field(from),
            LengthOrFalse(field) => *field(to) = *field(from),
            Flag(field) => *field(to) = *field(from),
            NetworkList(field) => *field(to) = field(from).clone(),
            Nagle => to.config.nodelay = from.config.nodelay,
            TcpKeepalive => to.config.tcp_keepalive = from.config.tcp_keepalive,
            KeepaliveInterval => {
                to.config.tcp_keepalive_interval = from.config.tcp_keepalive_interval;
            }
            KeepaliveCount => to.config.tcp_keepalive_count = from.config.tcp_keepalive_count,
            OfPorts => to.config.port_options = from.config.port_options.clone(),
            PortsOrFalse(field) => *field(to) = field(from).clone(),
            Poller => to.poller = from.poller.clone(),
            IoThreads => to.io_threads = from.io_threads,
            SocketPath(field) => *field(to) = field(from).clone(),
            Unused => {}
        }
    }

    /// What a value is that was refused, for the message.
    pub(super) fn found(&self, value: &Value) -> String {
        match (self, networks(value)) {
            (NetworkList(_), Err(Some(entry))) => format!("one with {entry}"),
            (PortsOrFalse(_) | OfPorts, _) if value.is_table() => "one with something else".into(),
            _ => described(value),
        }
    }

    /// The value in force, as a Lua value. `nil` for a list, for a path, for the poller, whose name `backend()` gives, and for what has no effect.
    pub(super) fn value(&self, settings: &mut Settings) -> Value {
        fn seconds(duration: Duration) -> Value {
            Value::Number(duration.as_secs_f64())
        }
        fn or_false<T>(value: Option<T>, convert: fn(T) -> Value) -> Value {
            value.map_or(Value::Boolean(false), convert)
        }
        fn bytes(size: usize) -> Value {
            i64::try_from(size).map_or(Value::Number(f64::INFINITY), Value::Integer)
        }
        fn number(length: u32) -> Value {
            Value::Integer(length.into())
        }
        match self {
            Seconds(field) => seconds(*field(settings)),
            SecondsOrFalse(field) => or_false(*field(settings), seconds),
            Size(field) => bytes(*field(settings)),
            SizeOrFalse(field) => or_false(*field(settings), bytes),
            // Without one, there is no number for it.
            SizeOrAuto(field) => bytes(field(settings).unwrap_or(usize::MAX)),
            Length(field) => number(*field(settings)),
            LengthOrFalse(field) => or_false(*field(settings), number),
            Flag(field) => Value::Boolean(*field(settings)),
            Nagle => Value::Boolean(!settings.config.nodelay),
            TcpKeepalive => match settings.config.tcp_keepalive {
                KeepAlive::Off => Value::Boolean(false),
                KeepAlive::On => Value::Boolean(true),
                KeepAlive::Idle(after) => seconds(after),
            },
            KeepaliveInterval => or_false(settings.config.tcp_keepalive_interval, seconds),
            KeepaliveCount => or_false(settings.config.tcp_keepalive_count, number),
            IoThreads => Value::Integer(settings.config.io_threads as i64),
            SocketPath(field) => or_false(field(settings).path(), |_| Value::Nil),
            NetworkList(_) | PortsOrFalse(_) | OfPorts | Poller | Unused => Value::Nil,
        }
    }

    /// The value in force, as the operator would write it.
    pub(super) fn show(&self, settings: &mut Settings) -> String {
        match (self, self.value(settings)) {
            (NetworkList(field), _) => {
                let names = field(settings).names().iter();
                let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
                if names.is_empty() {
                    "{}".into()
                } else {
                    format!("{{ {} }}", names.join(", "))
                }
            }
            (OfPorts, _) if settings.config.port_options.is_empty() => "{}".into(),
            (OfPorts, _) => "what it was".into(),
            (PortsOrFalse(field), _) => match field(settings) {
                Some(ports) => {
                    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                    format!("{{ {} }}", ports.join(", "))
                }
                None => "false".into(),
            },
            (SizeOrAuto(field), _) if field(settings).is_none() => "\"auto\"".into(),
            (SocketPath(field), _) => match field(settings).path() {
                Some(path) => format!("\"{path}\""),
                None => "false".into(),
            },
            (Poller, _) => format!("\"{}\"", settings.poller.as_deref().unwrap_or("auto")),
            (_, Value::Number(number)) if number.is_infinite() => "no limit".into(),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Integer(number)) => number.to_string(),
            (_, Value::Boolean(flag)) => flag.to_string(),
            _ => "the default".into(),
        }
    }
}

fn duration(value: &Value) -> Option<Duration> {
    let number = match value {
        Value::Integer(number) => *number as f64,
        Value::Number(number) => *number,
        _ => return None,
    };
    (number >= 0.0).then(|| seconds(number))
}

/// A list of names of networks; or else the entry that is none, as far as it is the entries that are wrong.
fn networks(value: &Value) -> Result<Networks, Option<String>> {
    let Value::Table(table) = value else {
        return Err(None);
    };
    let mut names = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        match pair {
            Ok((Value::Integer(_), Value::String(name))) => names.push(name.to_string_lossy()),
            Ok((Value::Integer(_), other)) => return Err(Some(described(&other))),
            _ => return Err(None),
        }
    }
    let named = Networks::named(names.iter().map(String::as_str));
    named.map_err(|error| Some(format!("{:?}", error.text())))
}

/// sun_path of unix(7) holds so many bytes and the zero behind them.
const LONGEST_PATH: usize = 107;

fn place(value: &Value) -> Option<Place> {
    match value {
        Value::Boolean(false) => Some(Place::Nowhere),
        Value::String(text) if text.as_bytes() == *b"auto" => Some(Place::Usual),
        Value::String(text) => {
            let path = text.to_str().ok()?.to_owned();
            let fits = !path.is_empty() && path.len() <= LONGEST_PATH && !path.contains('\0');
            fits.then_some(Place::At(path))
        }
        _ => None,
    }
}

fn size(value: &Value) -> Option<usize> {
    match value {
        // math.huge is how Lua says "no limit"
        Value::Number(number) if *number >= usize::MAX as f64 => Some(usize::MAX),
        Value::String(_) => None,
        other => integer(other)
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| *size > 0),
    }
}

fn length(value: &Value) -> Option<u32> {
    size(value).and_then(|length| u32::try_from(length).ok())
}

fn keepalive(value: &Value) -> Option<KeepAlive> {
    match value {
        Value::Boolean(false) => Some(KeepAlive::Off),
        Value::Boolean(true) => Some(KeepAlive::On),
        idle => whole_seconds(idle).map(KeepAlive::Idle),
    }
}

/// As many as the system takes for keepalive, tcp(7).
fn whole_seconds(value: &Value) -> Option<Duration> {
    let seconds = length(value).filter(|seconds| *seconds <= 32_767)?;
    Some(Duration::from_secs(seconds.into()))
}

fn probes(value: &Value) -> Option<u32> {
    length(value).filter(|count| *count <= 127)
}

/// Options by port; each has the values of the setting of its name.
fn port_options(value: &Value) -> Option<BTreeMap<u16, PortOptions>> {
    let of_port = |options: Value| {
        let mut found = PortOptions::default();
        for pair in options.as_table()?.pairs::<String, Value>() {
            let (name, value) = pair.ok()?;
            match &*name {
                "tcp_keepalive" => found.tcp_keepalive = Some(keepalive(&value)?),
                "tcp_keepalive_interval" => {
                    found.tcp_keepalive_interval = Some(whole_seconds(&value)?)
                }
                "tcp_keepalive_count" => found.tcp_keepalive_count = Some(probes(&value)?),
                "tcp_user_timeout" => {
                    found.tcp_user_timeout =
                        Some(unless_false(&value, duration)?.unwrap_or_default());
                }
                _ => return None,
            }
        }
        Some(found)
    };
    let pairs = value.as_table()?.pairs::<Value, Value>();
    pairs
        .map(|pair| {
            let (port, options) = pair.ok()?;
            Some((convert::port(&port).ok()?, of_port(options)?))
        })
        .collect()
}

/// A list of ports.
fn ports(value: &Value) -> Option<Vec<u16>> {
    let entries = value.as_table()?.sequence_values::<Value>();
    let port = |entry: mlua::Result<Value>| convert::port(&entry.ok()?).ok();
    entries
        .map(|entry| port(entry).filter(|port| *port > 0))
        .collect()
}

fn unless_false<T>(value: &Value, read: fn(&Value) -> Option<T>) -> Option<Option<T>> {
    if matches!(value, Value::Boolean(false)) {
        Some(None)
    } else {
        read(value).map(Some)
    }
}
