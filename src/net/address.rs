//! IPv4 subnets and MAC addresses as checked types.
//!
//! A [`Subnet`] never has host bits, a [`Mac`] is always one that a single interface may carry.
//! Both are written and read as text, in JSON too.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

/// An IPv4 network such as `172.17.0.0/22`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The network of `prefix` bits that `address` is in: host bits are dropped.
    pub fn of(address: Ipv4Addr, prefix: u8) -> Result<Self> {
        if prefix > 32 {
            return Err(Error::invalid(format!(
                "`{address}/{prefix}` is not a subnet: a prefix has at most 32 bits"
            )));
        }
        Ok(Self {
            address: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)),
            prefix,
        })
    }

    /// A subnet that the source text of this crate names.
    pub(crate) const fn literal(address: [u8; 4], prefix: u8) -> Self {
        let address = u32::from_be_bytes(address) & mask(prefix);
        Self {
            address: Ipv4Addr::from_bits(address),
            prefix,
        }
    }

    /// Its lowest address, which names the network itself.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// How many leading bits all its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its highest address, which reaches all its hosts.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !mask(self.prefix))
    }

    /// Whether `address` is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Subnet) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether it shares an address with `other`.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The addresses a host may have: all but the first and the last.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let first = u64::from(self.address.to_bits()) + 1;
        let last = u64::from(self.broadcast().to_bits());
        (first..last).map(|bits| Ipv4Addr::from_bits(bits as u32))
    }

    /// Whether a host may have `address`.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.address && address != self.broadcast()
    }

    /// Its parts of `prefix` bits, itself when it is no larger than that.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Subnet> {
        let prefix = prefix.clamp(self.prefix, 32);
        let count = 1u64 << (prefix - self.prefix);
        let step = 1u64 << (32 - prefix);
        let base = u64::from(self.address.to_bits());
        (0..count).map(move |index| Subnet {
            address: Ipv4Addr::from_bits((base + index * step) as u32),
            prefix,
        })
    }
}

const fn mask(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        bits => u32::MAX << (32 - bits),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    /// Host bits are dropped, as Docker does: `10.1.2.3/24` is `10.1.2.0/24`.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once('/')
            .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
        match parsed {
            Some((address, prefix)) => Self::of(address, prefix),
            None => Err(Error::invalid(format!(
                "`{}` is not an IPv4 subnet such as 172.20.0.0/24",
                shown(text)
            ))),
        }
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

/// The hardware address of one interface: never zero and never a group's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address an interface gets when it asks for none.
    ///
    /// It follows from the IPv4 address, so that peers who remember an address that is used again
    /// need not ask anew.
    pub fn from_address(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Its six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::invalid(format!(
                "`{}` is not a MAC address such as 02:42:ac:11:00:02{why}",
                shown(text)
            )))
        };
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().unwrap_or_default();
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            match u8::from_str_radix(part, 16) {
                Ok(value) if digits => *octet = value,
                _ => return refuse(""),
            }
        }
        if parts.next().is_some() {
            return refuse("");
        }
        if octets[0] & 1 == 1 || octets == [0; 6] {
            return refuse(": it must not be zero or a multicast address");
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// Text from outside, short and without control characters, for an error message.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_read_and_compare() {
        assert_eq!(subnet("10.1.2.3/24").to_string(), "10.1.2.0/24");
        assert!(subnet("10.0.0.0/8").covers(subnet("10.255.0.0/16")));
        assert!(subnet("10.255.0.0/16").overlaps(subnet("10.0.0.0/8")));
        assert!(!subnet("10.0.0.0/24").overlaps(subnet("10.0.1.0/24")));
        assert!(subnet("0.0.0.0/0").contains(Ipv4Addr::BROADCAST));
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/8",
            "10.0.0.0/-1",
        ] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets_list_their_hosts_and_parts() {
        let hosts: Vec<_> = subnet("10.0.0.0/30").hosts().collect();
        assert_eq!(
            hosts,
            [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]
        );
        assert_eq!(subnet("10.0.0.0/31").hosts().count(), 0);
        assert_eq!(subnet("255.255.255.255/32").hosts().count(), 0);
        assert!(!subnet("10.0.0.0/24").is_host(Ipv4Addr::new(10, 0, 0, 255)));
        let parts: Vec<_> = subnet("10.0.0.0/23").split(24).collect();
        assert_eq!(parts, [subnet("10.0.0.0/24"), subnet("10.0.1.0/24")]);
        assert_eq!(subnet("10.0.0.0/24").split(22).count(), 1);
    }

    #[test]
    fn macs_are_of_one_interface() {
        let mac: Mac = "02:42:AC:11:00:02".parse().unwrap();
        assert_eq!(mac, Mac::from_address(Ipv4Addr::new(172, 17, 0, 2)));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "+2:42:ac:11:00:02",
            "ff:ff:ff:ff:ff:ff",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
