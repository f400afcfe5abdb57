//! Networks by their address and prefix, as operators write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses that begin alike: `192.0.2.0/24`, `2001:db8::/32`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// What is no [`Network`], in whole words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor a network such as 192.0.2.0/24")]
pub struct NotANetwork(String);

impl NotANetwork {
    /// What was written.
    pub fn text(&self) -> &str {
        &self.0
    }
}

const fn v4(a: u8, b: u8, bits: u32) -> Network {
    Network {
        address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)),
        bits,
    }
}

const fn v6(first: u16, last: u16, bits: u32) -> Network {
    Network {
        address: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last)),
        bits,
    }
}

/// What is of this machine alone, RFC 1122 and RFC 4291.
const LOOPBACK: [Network; 2] = [v4(127, 0, 8), v6(0, 1, 128)];

/// What is not routed on the Internet: RFC 1918, RFC 4193, and the addresses of a link (RFC 3927, RFC 4291). The shared addresses
/// of carriers (RFC 6598) are not among them, because strangers come from there.
const PRIVATE: [Network; 6] = [
    v4(10, 0, 8),
    v4(172, 16, 12),
    v4(192, 168, 16),
    v4(169, 254, 16),
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 10),
];

impl Network {
    /// Whether the address is one of them. An IPv4 address is in no network of IPv6, and the other way round.
    pub fn contains(&self, address: IpAddr) -> bool {
        /// As the first bits of 128.
        fn bits(address: IpAddr) -> u128 {
            match address {
                IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
                IpAddr::V6(v6) => v6.to_bits(),
            }
        }
        let differs = bits(self.address) ^ bits(address);
        self.address.is_ipv4() == address.is_ipv4() && differs.leading_zeros() >= self.bits
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Networks {
        let networks: Vec<Network> = networks.into_iter().collect();
        Networks {
            names: networks.iter().map(Network::to_string).collect(),
            networks,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match bits.unwrap_or(most) {
            bits if bits <= most => Ok(Network { address, bits }),
            _ => Err(wrong()),
        }
    }
}

/// A list of networks, as it was written. Beside networks it may have the words `loopback` (127.0.0.0/8, ::1) and `private`
/// (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    names: Vec<String>,
    networks: Vec<Network>,
}

impl Networks {
    /// Those of these names.
    ///
    /// # Errors
    ///
    /// The first that is neither a network nor one of the two words.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Networks, NotANetwork> {
        let mut all = Networks::default();
        for name in names {
            match name {
                "loopback" => all.networks.extend(LOOPBACK),
                "private" => all.networks.extend(PRIVATE),
                other => all.networks.push(other.parse()?),
            }
            all.names.push(name.to_owned());
        }
        Ok(all)
    }

    /// The loopback addresses and the private ones.
    pub fn loopback_and_private() -> Networks {
        Networks {
            names: vec!["loopback".to_owned(), "private".to_owned()],
            networks: LOOPBACK.into_iter().chain(PRIVATE).collect(),
        }
    }

    /// These and others.
    pub fn with(mut self, others: &Networks) -> Networks {
        self.names.extend_from_slice(&others.names);
        self.networks.extend_from_slice(&others.networks);
        self
    }

    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(address))
    }

    /// What they were called.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(networks: &[&str], address: &str) -> bool {
        let networks = Networks::named(networks.iter().copied()).unwrap();
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        assert!(has(&["192.0.2.0/24"], "192.0.2.255"));
        assert!(!has(&["192.0.2.0/24"], "192.0.3.0"));
        assert!(has(&["2001:db8::/33"], "2001:db8:7fff::1"));
        assert!(!has(&["2001:db8::/33"], "2001:db8:8000::1"));
        assert!(has(&["192.0.2.7"], "192.0.2.7") && !has(&["192.0.2.7"], "192.0.2.6"));
        assert!(has(&["0.0.0.0/0"], "255.255.255.255") && !has(&["0.0.0.0/0"], "::1"));
        assert!(has(&["::/0"], "::1") && !has(&["::/0"], "127.0.0.1"));
        assert!(!has(&[], "127.0.0.1"));
        let more = Networks::named(["loopback"])
            .unwrap()
            .with(&Networks::from_iter(["192.0.2.1".parse().unwrap()]));
        assert!(more.contains("192.0.2.1".parse().unwrap()));
        assert_eq!(more.to_string(), "loopback, 192.0.2.1/32");
    }

    #[test]
    fn the_two_words_stand_for_what_is_not_of_the_internet() {
        for address in ["127.0.0.1", "127.255.0.1", "::1"] {
            assert!(
                has(&["loopback"], address) && !has(&["private"], address),
                "{address}"
            );
        }
        for address in [
            "10.1.2.3",
            "172.31.0.1",
            "192.168.7.7",
            "169.254.1.1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(
                has(&["private"], address) && !has(&["loopback"], address),
                "{address}"
            );
        }
        for address in [
            "172.32.0.1",
            "100.64.0.1",
            "192.0.2.1",
            "2001:db8::1",
            "::2",
        ] {
            assert!(!has(&["private", "loopback"], address), "{address}");
        }
        assert_eq!(
            Networks::loopback_and_private(),
            Networks::named(["loopback", "private"]).unwrap()
        );
    }

    #[test]
    fn what_is_no_network_is_named() {
        for wrong in [
            "",
            "example.org",
            "192.0.2.0/33",
            "::1/129",
            "192.0.2.0/",
            "10/8",
            "::/-1",
        ] {
            let error = Networks::named(["loopback", wrong])
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("{wrong:?} is neither")),
                "{error}"
            );
        }
    }
}
