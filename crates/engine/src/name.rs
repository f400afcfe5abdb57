//! The address of one end of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

/// The address of one end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Name {
    /// TCP or UDP over IPv4 or IPv6.
    Inet(SocketAddr),
    /// The path of a UNIX socket; empty for an unnamed one.
    Unix(PathBuf),
    /// A UNIX socket of Linux's abstract namespace, without the zero byte in front: unix(7).
    Abstract(Vec<u8>),
}

impl Name {
    /// Of a UNIX socket without a name, such as a client's.
    pub(crate) fn unnamed() -> Name {
        Name::Unix(PathBuf::new())
    }

    pub(crate) fn from_system(address: SocketAddrAny) -> Option<Name> {
        if let Ok(address) = SocketAddr::try_from(address.clone()) {
            return Some(Name::Inet(unmapped(address)));
        }
        let address = SocketAddrUnix::try_from(address).ok()?;
        // One without a name may come as an abstract one whose name is empty.
        if let Some(name) = address.abstract_name().filter(|name| !name.is_empty()) {
            return Some(Name::Abstract(name.to_vec()));
        }
        let path = address.path().map(|path| {
            use std::os::unix::ffi::OsStringExt;
            std::ffi::OsString::from_vec(path.to_bytes().to_vec()).into()
        });
        Some(Name::Unix(path.unwrap_or_default()))
    }

    /// The address of a UNIX socket; EAFNOSUPPORT for anything else, ENAMETOOLONG for a path of more than 107 bytes.
    pub(crate) fn to_unix(&self) -> rustix::io::Result<SocketAddrUnix> {
        match self {
            Name::Unix(path) => SocketAddrUnix::new(path),
            Name::Abstract(name) => SocketAddrUnix::new_abstract_name(name),
            Name::Inet(_) => Err(rustix::io::Errno::AFNOSUPPORT),
        }
    }
}

impl From<SocketAddr> for Name {
    fn from(address: SocketAddr) -> Name {
        Name::Inet(address)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Inet(address) => address.fmt(f),
            Name::Unix(path) => write!(f, "unix:{}", path.display()),
            // As ss(8) and socat(1) write it.
            Name::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
        }
    }
}

/// An IPv4 peer of an adopted dual-stack socket, as an IPv4 address.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => (v4, v6.port()).into(),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}
