//! Where clients connect, and where the servers behind are, as the operator writes it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// The longest path of a UNIX socket in bytes, unix(7): `sun_path` without the byte that ends it.
const LONGEST_PATH: usize = 107;

/// What clients connect to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// `host:port`
    Tcp(String),
    Unix(PathBuf),
    /// Sockets that the service manager has opened: those of one name, or all, sd_listen_fds(3).
    Inherited(Option<String>),
}

/// A server behind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    Address(SocketAddr),
    /// A name that is looked up, and the port.
    Name(String, u16),
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Listen::Unix(unix_path(path)?));
        }
        if text == "systemd" {
            return Ok(Listen::Inherited(None));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return Ok(Listen::Inherited(Some(name.to_owned())));
        }
        let (host, port) = host_and_port(text)?;
        Ok(Listen::Tcp(with_port(host, port)))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Target::Unix(unix_path(path)?));
        }
        let (host, port) = host_and_port(text)?;
        if port == 0 {
            return Err(format!("{text:?}: nobody can be reached on port 0"));
        }
        if host == "*" {
            return Err(format!(
                "{text:?}: * is every address of this machine, and not one to connect to"
            ));
        }
        Ok(match host.parse::<IpAddr>() {
            Ok(address) => Target::Address((address, port).into()),
            Err(_) => Target::Name(host.to_owned(), port),
        })
    }
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err("\"unix:\" has no path: unix:/run/relay/socket, for example".into());
    }
    if path.len() > LONGEST_PATH {
        return Err(format!(
            "the path in \"unix:{path}\" has {} bytes, and that of a UNIX socket {LONGEST_PATH} at most",
            path.len()
        ));
    }
    if path.contains('\0') {
        return Err(format!("the path in {:?} has a zero byte in it", path));
    }
    Ok(path.into())
}

/// Splits `host:port`, and takes the brackets from an IPv6 address.
fn host_and_port(text: &str) -> Result<(&str, u16), String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let example = with_port(&address.to_string(), 5222);
        return Err(format!("{text:?} has no port: {example}, for example"));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("{text:?} has no port: {text}:5222, for example"));
    };
    let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let host = match bracketed {
        Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner,
        Some(inner) => return Err(format!("{text:?}: {inner:?} is no IPv6 address")),
        None if host.contains(':') => {
            return Err(format!(
                "{text:?}: an IPv6 address stands in brackets: [{host}]:{port}"
            ));
        }
        None if host.is_empty() => return Err(format!("{text:?} has no host before the port")),
        None => host,
    };
    let wrong = || format!("{text:?}: {port:?} is no port, which is a number from 0 to 65535");
    if port.is_empty() || !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    Ok((host, port.parse().map_err(|_| wrong())?))
}

fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => f.write_str(address),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
            Listen::Inherited(None) => f.write_str("systemd"),
            Listen::Inherited(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => address.fmt(f),
            Target::Name(host, port) => f.write_str(&with_port(host, *port)),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for text in ["*:5223", "192.0.2.1:0", "[::]:5223", "a.test:1"] {
            assert_eq!(text.parse(), Ok(Listen::Tcp(text.to_owned())));
        }
        assert_eq!("unix:/a".parse(), Ok(Listen::Unix("/a".into())));
        assert_eq!("systemd".parse(), Ok(Listen::Inherited(None)));
        assert_eq!(
            "systemd:c2s".parse(),
            Ok(Listen::Inherited(Some("c2s".into())))
        );
        let address = "[2001:db8::1]:5222";
        assert_eq!(
            address.parse(),
            Ok(Target::Address(address.parse().unwrap()))
        );
        assert_eq!("a.test:1".parse(), Ok(Target::Name("a.test".into(), 1)));
        let longest = format!("unix:/{}", "x".repeat(LONGEST_PATH - 1));
        assert!(longest.parse::<Listen>().is_ok());
        assert!(format!("{longest}x").parse::<Listen>().is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("127.0.0.1", "has no port: 127.0.0.1:5222"),
            ("::1", "has no port: [::1]:5222"),
            ("a.test", "has no port"),
            ("127.0.0.1:99999", "\"99999\" is no port"),
            ("127.0.0.1:", "is no port"),
            ("127.0.0.1:+1", "is no port"),
            ("127.0.0.1:xmpp", "is no port"),
            ("2001:db8::1:5222:", "in brackets"),
            ("[a.test]:1", "no IPv6 address"),
            (":5222", "no host"),
            ("unix:", "no path"),
        ] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.contains(word), "{error}");
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        for (text, word) in [("a.test:0", "port 0"), ("*:5222", "every address")] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
