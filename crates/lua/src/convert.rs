//! Lua values to the engine's types and back. A value that does not fit becomes an error text that says what would fit.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::time::Duration;

use mlua::{Lua, MultiValue, Result, Value};
use trochee::{Key, ReadSize, SocketOption, TimerId};

/// What a command returns to Lua: its result, or why there is none.
pub(crate) type Answer = std::result::Result<Value, String>;

/// The longest time, in seconds: longer than any server runs, and short enough to be added to a clock without overflow.
const LONGEST: f64 = 1e9;

pub(crate) fn answer(lua: &Lua, answer: Answer) -> Result<MultiValue> {
    Ok(match answer {
        Ok(value) => MultiValue::from_iter([value]),
        Err(text) => MultiValue::from_iter([Value::Nil, Value::String(lua.create_string(text)?)]),
    })
}

/// The answer of a command that opens a source: its key.
pub(crate) fn opened(key: std::result::Result<Key, trochee::Error>) -> Answer {
    key.map(|key| Value::Integer(key_number(key)))
        .map_err(|error| error.to_string())
}

/// The answer of a command that has no result: true.
pub(crate) fn done(result: std::result::Result<(), trochee::Error>) -> Answer {
    result
        .map(|()| Value::Boolean(true))
        .map_err(|error| error.to_string())
}

/// A key as a Lua number: [`Key::to_bits`] fits.
pub(crate) fn key_number(key: Key) -> i64 {
    key.to_bits() as i64
}

/// The key of a handle. `nil`, the key of a handle that is over, names nothing.
pub(crate) fn key(number: Option<i64>) -> Key {
    Key::from_bits(number.map_or(u64::MAX, |number| number as u64))
}

/// A timer's id as a Lua number: [`TimerId::to_bits`] fits.
pub(crate) fn timer_number(id: TimerId) -> i64 {
    id.to_bits() as i64
}

pub(crate) fn timer(number: i64) -> TimerId {
    TimerId::from_bits(number as u64)
}

/// Seconds as Lua counts them. A negative number, or not-a-number, is no time at all.
pub(crate) fn seconds(seconds: f64) -> Duration {
    if seconds > 0.0 {
        Duration::from_secs_f64(seconds.min(LONGEST))
    } else {
        Duration::ZERO
    }
}

/// The value as an integer, if nothing is lost by that. LuaSocket hands out descriptors and ports as floats, and configuration
/// files may have numbers in quotes.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 2f64.powi(53) => {
            Some(*number as i64)
        }
        Value::String(text) => text.to_str().ok()?.trim().parse().ok(),
        _ => None,
    }
}

pub(crate) fn descriptor(value: &Value) -> std::result::Result<RawFd, String> {
    match integer(value).map(RawFd::try_from) {
        Some(Ok(fd)) if fd >= 0 => Ok(fd),
        Some(_) => Err("invalid fd".into()),
        None => Err(format!(
            "a descriptor must be a number, not {}",
            described(value)
        )),
    }
}

pub(crate) fn port(value: &Value) -> std::result::Result<u16, String> {
    integer(value)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| {
            format!(
                "a port must be a number from 0 to 65535, not {}",
                described(value)
            )
        })
}

pub(crate) fn host(value: &Value) -> std::result::Result<String, String> {
    match value {
        Value::String(text) => Ok(text.to_string_lossy()),
        other => Err(format!(
            "an address must be a string, not {}",
            described(other)
        )),
    }
}

/// The address to connect to. A name is looked up, and this waits for the answer, as LuaSocket does. Prosody passes addresses only.
pub(crate) fn peer(
    host: &str,
    port: u16,
    family: Option<u8>,
) -> std::result::Result<SocketAddr, String> {
    let fits = |address: &SocketAddr| match family {
        Some(4) => address.is_ipv4(),
        Some(6) => address.is_ipv6(),
        _ => true,
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        let address = SocketAddr::new(ip, port);
        return if fits(&address) {
            Ok(address)
        } else {
            Err("address family for hostname not supported".into())
        };
    }
    (host, port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.find(fits))
        .ok_or_else(|| "host or service not provided, or not known".into())
}

/// LuaSocket's read patterns, as far as they make sense on a socket that does not block.
pub(crate) fn read_size(value: &Value, default: ReadSize) -> std::result::Result<ReadSize, String> {
    match value {
        Value::Nil | Value::Boolean(false) => return Ok(default),
        Value::String(text) if text == "*a" || text == "a" => return Ok(ReadSize::All),
        Value::Number(number) if *number == f64::INFINITY => return Ok(ReadSize::All),
        _ => {}
    }
    match integer(value).map(usize::try_from) {
        Some(Ok(size)) if size > 0 => Ok(ReadSize::UpTo(size)),
        _ if value.is_string() => Err(format!(
            "read_size must be a number of bytes or \"*a\", not \"{}\"",
            value.to_string().unwrap_or_default()
        )),
        _ => Err(format!(
            "read_size must be a number of bytes or \"*a\", not {}",
            described(value)
        )),
    }
}

/// Why a value is no name of an option.
pub(crate) fn option_name(value: &Value) -> String {
    format!(
        "an option's name must be a string, not {}",
        described(value)
    )
}

/// LuaSocket's socket options.
pub(crate) fn socket_option(
    name: &str,
    value: &Value,
) -> std::result::Result<SocketOption, String> {
    let on = match value {
        Value::Boolean(on) => Some(*on),
        _ => None,
    };
    let count = integer(value).and_then(|count| u32::try_from(count).ok());
    let duration = count.map(|seconds| Duration::from_secs(seconds.into()));
    let option = match name {
        "tcp-nodelay" => on.map(SocketOption::NoDelay),
        "keepalive" => on.map(SocketOption::KeepAlive),
        "tcp-keepidle" => duration.map(SocketOption::KeepIdle),
        "tcp-keepintvl" => duration.map(SocketOption::KeepInterval),
        "tcp-keepcnt" => count.map(SocketOption::KeepCount),
        "tcp-user-timeout" => duration.map(SocketOption::UserTimeout),
        _ => return Err(format!("unsupported option '{name}'")),
    };
    option.ok_or_else(|| {
        let expected = if matches!(name, "tcp-nodelay" | "keepalive") {
            "true or false"
        } else {
            "a whole number"
        };
        format!(
            "option '{name}' must be {expected}, not {}",
            described(value)
        )
    })
}

/// A value in a sentence: "must be a number, not …".
pub(crate) fn described(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        other => format!("a {}", other.type_name()),
    }
}
