//! Subnets and MAC addresses as checked types.
//!
//! A [`Subnet`] never has host bits, a [`Mac`] is always one that a single interface may carry.
//! Both are written and read as text, in JSON too. A subnet is of one family, told by its type;
//! [`Address`] is what the families have in common.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

/// An address of one family, as a number of [`Address::BITS`] bits.
pub trait Address:
    Copy + Ord + Hash + fmt::Debug + fmt::Display + FromStr + Into<IpAddr> + Send + Sync + 'static
{
    /// How many bits it has.
    const BITS: u8;
    /// What an error calls its subnets, with an example.
    const SUBNET: &'static str;
    /// Whether the highest address of a subnet reaches all its hosts.
    const BROADCASTS: bool;

    /// The address as a number; the lower [`Address::BITS`] count.
    fn number(self) -> u128;

    /// The inverse of [`Address::number`].
    fn from_number(number: u128) -> Self;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;
    const SUBNET: &'static str = "IPv4 subnet such as 172.20.0.0/24";
    const BROADCASTS: bool = true;

    fn number(self) -> u128 {
        self.to_bits().into()
    }

    fn from_number(number: u128) -> Self {
        Self::from_bits(number as u32)
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;
    const SUBNET: &'static str = "IPv6 subnet such as fd00:20::/64";
    const BROADCASTS: bool = false;

    fn number(self) -> u128 {
        self.to_bits()
    }

    fn from_number(number: u128) -> Self {
        Self::from_bits(number)
    }
}

/// A network such as `172.17.0.0/22`, or `fd00:17::/64` with IPv6 addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(
    try_from = "String",
    into = "String",
    bound(serialize = "A: Address", deserialize = "A: Address")
)]
pub struct Subnet<A = Ipv4Addr> {
    address: A,
    prefix: u8,
}

/// An IPv6 subnet.
pub type Subnet6 = Subnet<Ipv6Addr>;

impl Subnet {
    /// A subnet that the source text of this crate names.
    pub(crate) const fn literal(address: [u8; 4], prefix: u8) -> Self {
        let mask = match prefix {
            0 => 0,
            bits => u32::MAX << (32 - bits),
        };
        Self {
            address: Ipv4Addr::from_bits(u32::from_be_bytes(address) & mask),
            prefix,
        }
    }
}

impl Subnet6 {
    /// An IPv6 subnet that the source text of this crate names, by its first 16 bits.
    pub(crate) const fn literal6(first: u16, prefix: u8) -> Self {
        Self {
            address: Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0),
            prefix,
        }
    }
}

impl<A: Address> Subnet<A> {
    /// The network of `prefix` bits that `address` is in: host bits are dropped.
    pub fn of(address: A, prefix: u8) -> Result<Self> {
        if prefix > A::BITS {
            return Err(Error::invalid(format!(
                "`{address}/{prefix}` is not a subnet: a prefix has at most {} bits",
                A::BITS
            )));
        }
        Ok(Self {
            address: A::from_number(address.number() & mask::<A>(prefix)),
            prefix,
        })
    }

    /// Its lowest address, which names the network itself.
    pub fn address(self) -> A {
        self.address
    }

    /// How many leading bits all its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its highest address; with IPv4, the one that reaches all its hosts.
    pub fn last(self) -> A {
        A::from_number(self.address.number() | !mask::<A>(self.prefix) & mask::<A>(A::BITS))
    }

    /// Whether `address` is in it.
    pub fn contains(self, address: A) -> bool {
        address.number() & mask::<A>(self.prefix) == self.address.number()
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether it shares an address with `other`.
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// All its addresses, lowest first: so many that only a search that ends should go along.
    pub(crate) fn addresses(self) -> impl Iterator<Item = A> {
        (self.address.number()..=self.last().number()).map(A::from_number)
    }

    /// The addresses a host may have: all but the first, and with IPv4 all but the last.
    pub fn hosts(self) -> impl Iterator<Item = A> {
        self.addresses()
            .filter(move |address| self.is_host(*address))
    }

    /// Whether a host may have `address`. The first one is the network itself, and with IPv6 any of
    /// its routers (RFC 4291, 2.6.1).
    pub fn is_host(self, address: A) -> bool {
        self.contains(address)
            && address != self.address
            && !(A::BROADCASTS && address == self.last())
    }

    /// Its parts of `prefix` bits, itself when it is no larger than that.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Self> {
        let prefix = prefix.clamp(self.prefix, A::BITS);
        let base = self.address.number();
        let step = !mask::<A>(prefix) & mask::<A>(A::BITS);
        let last = self.last().number() - step;
        let mut next = Some(base);
        std::iter::from_fn(move || {
            let number = next?;
            next = (number < last).then(|| number + step + 1);
            Some(Self {
                address: A::from_number(number),
                prefix,
            })
        })
    }
}

/// The upper `prefix` of an address's bits.
fn mask<A: Address>(prefix: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(A::BITS));
    let rest = all.checked_shr(prefix.into()).unwrap_or(0);
    all & !rest
}

impl<A: Address> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<A: Address> fmt::Debug for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<A: Address> FromStr for Subnet<A> {
    type Err = Error;

    /// Host bits are dropped, as Docker does: `10.1.2.3/24` is `10.1.2.0/24`.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once('/')
            .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
        match parsed {
            Some((address, prefix)) => Self::of(address, prefix),
            None => Err(Error::invalid(format!(
                "`{}` is not an {}",
                shown(text),
                A::SUBNET
            ))),
        }
    }
}

impl<A: Address> TryFrom<String> for Subnet<A> {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl<A: Address> From<Subnet<A>> for String {
    fn from(subnet: Subnet<A>) -> Self {
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

    /// These six bytes; nothing when they are zero or a group's.
    pub(crate) fn from_octets(octets: [u8; 6]) -> Option<Self> {
        (octets[0] & 1 == 0 && octets != [0; 6]).then_some(Self(octets))
    }

    /// Its six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The address that an interface with this hardware address has on its wire alone (RFC 4291,
    /// appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            a ^ 2,
            b,
            c,
            0xff,
            0xfe,
            d,
            e,
            f,
        ])
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
        match Self::from_octets(octets) {
            Some(mac) => Ok(mac),
            None => refuse(": it must not be zero or a multicast address"),
        }
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
        assert_eq!(subnet("0.0.0.0/0").split(1).count(), 2);
    }

    #[test]
    fn both_families_do_the_same() {
        let net: Subnet6 = "fd00:1::7/64".parse().unwrap();
        assert_eq!(net.to_string(), "fd00:1::/64");
        assert_eq!(net.last().to_string(), "fd00:1::ffff:ffff:ffff:ffff");
        assert_eq!(net.hosts().next().unwrap().to_string(), "fd00:1::1");
        // No address reaches all, so the last one is a host's.
        assert!(net.is_host(net.last()) && !net.is_host(net.address()));
        assert!("::/0".parse::<Subnet6>().unwrap().covers(net));
        assert_eq!(net.split(66).count(), 4);
        assert_eq!(
            "fd00::1/128".parse::<Subnet6>().unwrap().split(128).count(),
            1
        );
        for bad in ["fd00::/129", "10.0.0.0/8", "fd00::", "fd00::/", "::ffff/x"] {
            assert!(bad.parse::<Subnet6>().is_err(), "{bad}");
        }
        let text = serde_json::to_string(&net).unwrap();
        assert_eq!(text, "\"fd00:1::/64\"");
        assert_eq!(serde_json::from_str::<Subnet6>(&text).unwrap(), net);
    }

    #[test]
    fn macs_are_of_one_interface() {
        let mac: Mac = "02:42:AC:11:00:02".parse().unwrap();
        assert_eq!(mac, Mac::from_address(Ipv4Addr::new(172, 17, 0, 2)));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(mac.link_local().to_string(), "fe80::42:acff:fe11:2");
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
