//! Who the other end is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::Connection;

/// The address of a peer, or none, in less memory than the standard library's. It has no flow label: that of an IPv6 peer is a matter
/// of each packet.
#[derive(Clone, Copy, Default)]
pub(super) struct Peer {
    /// An IPv4 address is in the first four.
    bytes: [u8; 16],
    scope: u32,
    port: u16,
    family: Family,
}

#[derive(Clone, Copy, Default)]
enum Family {
    #[default]
    None,
    V4,
    V6,
}

impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Peer {
        let mut peer = Peer::default();
        match address {
            None => {}
            Some(SocketAddr::V4(address)) => {
                peer.family = Family::V4;
                peer.bytes[..4].copy_from_slice(&address.ip().octets());
                peer.port = address.port();
            }
            Some(SocketAddr::V6(address)) => {
                peer.family = Family::V6;
                peer.bytes = address.ip().octets();
                (peer.port, peer.scope) = (address.port(), address.scope_id());
            }
        }
        peer
    }
}

impl From<Peer> for Option<SocketAddr> {
    fn from(peer: Peer) -> Option<SocketAddr> {
        match peer.family {
            Family::None => None,
            Family::V4 => {
                let [a, b, c, d, ..] = peer.bytes;
                let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
                Some(SocketAddr::new(ip, peer.port))
            }
            Family::V6 => {
                let ip = Ipv6Addr::from(peer.bytes);
                let address = SocketAddrV6::new(ip, peer.port, 0, peer.scope);
                Some(SocketAddr::V6(address))
            }
        }
    }
}

impl Connection {
    /// The address of the other end, where it is known; where a proxy has told of its client, that of the client.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer.into()
    }

    pub(crate) fn set_peer(&mut self, peer: Option<SocketAddr>) {
        self.peer = peer.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_out_as_it_went_in() {
        let addresses = [
            "192.0.2.1:5222",
            "[2001:db8::1]:5269",
            "[::ffff:192.0.2.1]:1",
            "[fe80::1%7]:65535",
        ];
        for address in addresses.map(|text| Some(text.parse().expect("an address"))) {
            assert_eq!(Option::from(Peer::from(address)), address);
        }
        assert_eq!(Option::<SocketAddr>::from(Peer::from(None)), None);
    }
}
