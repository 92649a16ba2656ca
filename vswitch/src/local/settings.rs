//! What an endpoint is: its Ethernet address, its IP addresses, and who takes packets on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::limits;

/// An endpoint as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Ethernet address, 48 bits.
    pub mac: u64,
    /// IP addresses, each with its link.
    pub addresses: Vec<Prefix>,
    /// Who takes on what goes to other links.
    pub gateways: Vec<IpAddr>,
}

/// An address and how many of its bits all addresses on its link have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// Bits.
    pub length: u8,
}

impl Settings {
    /// Reads the lists of addresses and gateways, parted by commas; the error says what is allowed.
    pub fn parse(mac: u64, addresses: &str, gateways: &str) -> Result<Settings, String> {
        let addresses: Vec<_> = items(addresses)
            .map(Prefix::parse)
            .collect::<Result<_, _>>()?;
        let gateways: Vec<_> = items(gateways)
            .map(|text| {
                text.parse()
                    .map_err(|_| format!("\"{text}\" is no IP address"))
            })
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() || addresses.len() > limits::ADDRESSES_MAX {
            let most = limits::ADDRESSES_MAX;
            return Err(format!("1 to {most} addresses such as 10.0.0.1/24"));
        }
        Ok(Settings {
            mac,
            addresses,
            gateways,
        })
    }

    /// Whether an address is its own.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// Whether an address is on one of its links.
    pub fn is_near(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.holds(address))
    }

    /// The address that it uses towards another one: that of their common link, else the first that
    /// is heard of beyond its link (RFC 1812 §4.3.2.4, RFC 4443 §2.2).
    pub fn source_for(&self, other: IpAddr) -> Option<IpAddr> {
        let family = |own: &&Prefix| own.address.is_ipv4() == other.is_ipv4();
        let mut alike = self.addresses.iter().filter(family);
        let near = alike.clone().find(|own| own.holds(other));
        let far = || alike.clone().find(|own| !own.is_of_link());
        let found = near.or_else(far).or_else(|| alike.next());
        found.map(|own| own.address)
    }
}

impl Prefix {
    /// Reads `10.0.0.1/24` or `fd00::1/64`; without a length an address is alone on its link.
    fn parse(text: &str) -> Result<Prefix, String> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let prefix = address.parse().ok().and_then(|address: IpAddr| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let length = match text.len() == address_len(text) {
                true => most,
                false => length.parse().ok().filter(|length| *length <= most)?,
            };
            Some(Prefix { address, length })
        });
        let prefix = prefix.filter(|prefix| is_unicast(prefix.address));
        prefix.ok_or_else(|| format!("\"{text}\" is no address of a host such as 10.0.0.1/24"))
    }

    /// Whether an address is on its link.
    pub fn holds(&self, other: IpAddr) -> bool {
        let differs = match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                u128::from(own.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= self.length.into()
    }

    /// Whether an address is that of all hosts on its link.
    pub fn is_broadcast(&self, other: IpAddr) -> bool {
        let IpAddr::V4(address) = other else {
            return false;
        };
        let host = u32::MAX.checked_shr(self.length.into()).unwrap_or(0);
        self.length < 31 && self.holds(other) && address.to_bits() & host == host
    }

    fn is_of_link(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
    }
}

/// Whether an address can be that of one host, seen from another.
pub fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let is_null = address.octets()[0] == 0;
            let is_reserved = address.octets()[0] >= 240;
            !(is_null || is_reserved || address.is_loopback() || address.is_multicast())
        }
        IpAddr::V6(address) => {
            !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
        }
    }
}

/// An address of a key.
pub fn v4(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

/// An address of a key.
pub fn v6([high, low]: [u64; 2]) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn address_len(text: &str) -> usize {
    text.find('/').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(addresses: &str) -> Settings {
        Settings::parse(0x0200_0000_0001, addresses, "").unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_read_with_their_links() {
        let settings = settings("10.0.0.1/24, fd00::1/64,192.0.2.9");
        assert!(settings.has(ip("10.0.0.1")) && !settings.has(ip("10.0.0.2")));
        assert!(settings.is_near(ip("10.0.0.200")) && !settings.is_near(ip("10.0.1.1")));
        assert!(settings.is_near(ip("fd00::ffff")) && !settings.is_near(ip("192.0.2.8")));
        assert!(settings.addresses[0].is_broadcast(ip("10.0.0.255")));
        assert!(!settings.addresses[2].is_broadcast(ip("192.0.2.9")));
    }

    #[test]
    fn what_is_no_address_of_a_host_is_refused() {
        for text in [
            "",
            "x",
            "10.0.0.1/",
            "10.0.0.1/33",
            "224.0.0.1",
            "0.0.0.0/0",
            "::/0",
            "ff02::1",
            "127.0.0.1/8",
        ] {
            assert!(Settings::parse(1, text, "").is_err(), "{text}");
        }
        assert!(Settings::parse(1, "10.0.0.1/24", "x").is_err());
        let many = "10.0.0.1,".repeat(limits::ADDRESSES_MAX + 1);
        assert!(Settings::parse(1, &many, "").is_err());
    }

    #[test]
    fn a_source_is_on_the_link_or_reaches_far() {
        let settings = settings("fe80::1/64,fd00::1/64,10.0.0.1/24,10.0.1.1/24");
        for (other, own) in [
            ("fe80::9", "fe80::1"),
            ("2001:db8::9", "fd00::1"),
            ("10.0.1.9", "10.0.1.1"),
            ("8.8.8.8", "10.0.0.1"),
        ] {
            assert_eq!(settings.source_for(ip(other)), Some(ip(own)), "{other}");
        }
    }
}
