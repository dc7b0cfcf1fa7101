//! An nftables ruleset as a value: tables, sets, maps, chains and rules.
//!
//! Only the parts of the language that [`crate::rules`] speaks. `Display` writes it in nft's own
//! syntax and in stable order, so a diff of two texts is a diff of intent; [`crate::nft`] writes the
//! same value as netlink messages.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::address::{Address, Mac, Subnet};
use crate::model::Protocol;

/// Everything that is replaced in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ruleset {
    pub(crate) tables: Vec<Table>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) family: Family,
    pub(crate) name: String,
    pub(crate) sets: Vec<Set>,
    pub(crate) chains: Vec<Chain>,
}

/// What kind of packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 packets on their way through the host.
    Ip,
    /// IPv6 packets on their way through the host.
    Ip6,
    /// Frames on their way through a bridge.
    Bridge,
}

/// A set of keys, or a map when it has a [`MapTo`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: Cow<'static, str>,
    pub(crate) key: Vec<Type>,
    pub(crate) to: Option<MapTo>,
    pub(crate) elements: Elements,
}

/// What a map's values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapTo {
    Verdict,
    Data(Vec<Type>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Elements {
    Keys(Vec<Vec<Value>>),
    Subnets(Vec<Cidr>),
    Verdicts(Vec<(Vec<Value>, Verdict)>),
    Data(Vec<(Vec<Value>, Vec<Value>)>),
}

/// A subnet of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cidr {
    /// Its lowest address.
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    /// Its highest address.
    pub(crate) last: IpAddr,
}

impl<A: Address> From<Subnet<A>> for Cidr {
    fn from(subnet: Subnet<A>) -> Self {
        Self {
            address: subnet.address().into(),
            prefix: subnet.prefix(),
            last: subnet.last().into(),
        }
    }
}

/// The types of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Interface,
    Address,
    Address6,
    Mac,
    Protocol,
    Port,
    Icmp6,
    /// What [`Statement::Spread`] chooses.
    Number,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Interface(String),
    Address(IpAddr),
    Mac(Mac),
    Protocol(Protocol),
    Port(u16),
    Icmp6(Icmp6),
    Number(u32),
}

/// Messages by which IPv6 neighbours find each other, with their numbers (RFC 4861, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Icmp6 {
    /// A router says that it is one.
    RouterAdvertisement = 134,
    /// Somebody asks who has an address.
    NeighbourSolicitation = 135,
    /// Somebody says that an address is his.
    NeighbourAdvertisement = 136,
    /// A router says that another way is better.
    Redirect = 137,
}

/// A list of rules; with a hook, one that the kernel starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<Rule>,
}

impl Chain {
    /// One that the kernel starts with.
    pub(crate) fn base(
        name: &str,
        kind: HookKind,
        point: HookPoint,
        priority: i32,
        rules: Vec<Rule>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            hook: Some(Hook {
                kind,
                point,
                priority,
            }),
            rules,
        }
    }

    /// One that others lead to.
    pub(crate) fn plain(name: &str, rules: Vec<Rule>) -> Self {
        Self {
            name: name.to_owned(),
            hook: None,
            rules,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) kind: HookKind,
    pub(crate) point: HookPoint,
    pub(crate) priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookKind {
    Filter,
    Nat,
}

/// Where the kernel looks; the numbers are `NF_INET_*` and `NF_BR_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookPoint {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Conditions and what to do when all hold.
pub(crate) type Rule = Vec<Statement>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// The key made of these fields is in the set.
    In(Vec<Field>, &'static str),
    /// It came in by another interface.
    NotFrom(&'static str),
    /// It leaves by this interface.
    OutBy(String),
    /// An address field is in the subnet.
    Within(Field, Cidr),
    /// An address field is not in the subnet.
    NotWithin(Field, Cidr),
    /// It is a message of ICMPv6, whose fields may be looked at from here on.
    IsIcmp6,
    /// The frame carries this.
    Carries(Frame),
    /// The destination is an address of this host.
    LocalDestination,
    /// It belongs to a connection that was let through.
    Established,
    /// Its destination was rewritten.
    Redirected,
    /// Its destination is what the client asked for.
    Unredirected,
    /// Rewrite the destination to what the map has for the key, if it has. The family is that of
    /// the table.
    Redirect(Family, Vec<Field>, &'static str),
    /// Rewrite the destination of an IPv4 packet to what the map has for a number.
    Spread(By, String),
    /// Do what the map has for the key, if it has.
    Choose(Vec<Field>, &'static str),
    /// Rewrite the source to the address of the interface it leaves by.
    Masquerade,
    /// Drop it and tell the client that the port is closed.
    Reject,
    Do(Verdict),
}

/// How a number is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// One after the other, below this.
    Turn(u32),
    /// By the client's address.
    Client {
        /// The number is below this.
        places: u32,
        /// Another seed gives another order.
        seed: u32,
    },
}

impl By {
    /// The number chosen is below this.
    pub(crate) fn places(self) -> u32 {
        match self {
            Self::Turn(places) | Self::Client { places, .. } => places,
        }
    }
}

/// Parts of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    InInterface,
    OutInterface,
    Source,
    Destination,
    Source6,
    Destination6,
    Protocol,
    DestinationPort,
    SourceMac,
    ArpSourceMac,
    ArpSource,
    Icmp6Type,
    /// Whose neighbour it is that a message is about.
    Icmp6Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Ip,
    Ip6,
    Arp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables.iter().try_for_each(|table| table.fmt(f))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family, self.name)?;
        for set in &self.sets {
            set.fmt(f)?;
        }
        for chain in &self.chains {
            chain.fmt(f)?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Bridge => "bridge",
        })
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.to.is_some() { "map" } else { "set" };
        writeln!(f, "\t{word} {} {{", self.name)?;
        write!(f, "\t\ttype {}", joined(&self.key, " . "))?;
        match &self.to {
            None => writeln!(f)?,
            Some(MapTo::Verdict) => writeln!(f, " : verdict")?,
            Some(MapTo::Data(types)) => writeln!(f, " : {}", joined(types, " . "))?,
        }
        if let Elements::Subnets(_) = self.elements {
            writeln!(f, "\t\tflags interval")?;
        }
        let elements = self.elements.texts();
        if !elements.is_empty() {
            writeln!(
                f,
                "\t\telements = {{ {} }}",
                elements.join(",\n\t\t\t     ")
            )?;
        }
        writeln!(f, "\t}}\n")
    }
}

impl Elements {
    fn texts(&self) -> Vec<String> {
        let key = |key: &Vec<Value>| joined(key, " . ");
        match self {
            Self::Keys(keys) => keys.iter().map(key).collect(),
            Self::Subnets(subnets) => subnets.iter().map(Cidr::to_string).collect(),
            Self::Verdicts(pairs) => pairs
                .iter()
                .map(|(from, to)| format!("{} : {to}", key(from)))
                .collect(),
            Self::Data(pairs) => pairs
                .iter()
                .map(|(from, to)| format!("{} : {}", key(from), key(to)))
                .collect(),
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(hook) = self.hook {
            writeln!(f, "\t\t{hook}")?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{}", joined(rule, " "))?;
        }
        writeln!(f, "\t}}\n")
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            HookKind::Filter => "filter",
            HookKind::Nat => "nat",
        };
        let point = match self.point {
            HookPoint::Prerouting => "prerouting",
            HookPoint::Input => "input",
            HookPoint::Forward => "forward",
            HookPoint::Output => "output",
            HookPoint::Postrouting => "postrouting",
        };
        let priority = self.priority;
        write!(
            f,
            "type {kind} hook {point} priority {priority}; policy accept;"
        )
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(fields, set) => write!(f, "{} @{set}", joined(fields, " . ")),
            Self::NotFrom(interface) => write!(f, "iifname != \"{interface}\""),
            Self::OutBy(interface) => write!(f, "oifname \"{interface}\""),
            Self::Within(field, subnet) => write!(f, "{field} {subnet}"),
            Self::NotWithin(field, subnet) => write!(f, "{field} != {subnet}"),
            Self::IsIcmp6 => f.write_str("meta l4proto ipv6-icmp"),
            Self::Carries(Frame::Ip) => f.write_str("meta protocol ip"),
            Self::Carries(Frame::Ip6) => f.write_str("meta protocol ip6"),
            Self::Carries(Frame::Arp) => f.write_str("meta protocol arp"),
            Self::LocalDestination => f.write_str("fib daddr type local"),
            Self::Established => f.write_str("ct state established,related"),
            Self::Redirected => f.write_str("ct status dnat"),
            Self::Unredirected => f.write_str("ct status & dnat == 0"),
            Self::Redirect(family, fields, map) => {
                write!(f, "dnat {family} to {} map @{map}", joined(fields, " . "))
            }
            Self::Spread(by, map) => write!(f, "dnat ip to {by} map @{map}"),
            Self::Choose(fields, map) => write!(f, "{} vmap @{map}", joined(fields, " . ")),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Reject => f.write_str("reject"),
            Self::Do(verdict) => verdict.fmt(f),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Turn(places) => write!(f, "numgen inc mod {places}"),
            Self::Client { places, seed } => {
                write!(f, "jhash ip saddr mod {places} seed {seed:#x}")
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InInterface => "iifname",
            Self::OutInterface => "oifname",
            Self::Source => "ip saddr",
            Self::Destination => "ip daddr",
            Self::Source6 => "ip6 saddr",
            Self::Destination6 => "ip6 daddr",
            Self::Protocol => "meta l4proto",
            Self::DestinationPort => "th dport",
            Self::SourceMac => "ether saddr",
            Self::ArpSourceMac => "arp saddr ether",
            Self::ArpSource => "arp saddr ip",
            Self::Icmp6Type => "icmpv6 type",
            Self::Icmp6Target => "icmpv6 taddr",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interface => "ifname",
            Self::Address => "ipv4_addr",
            Self::Address6 => "ipv6_addr",
            Self::Mac => "ether_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::Icmp6 => "icmpv6_type",
            Self::Number => "integer",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Address(address) => address.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Port(port) => port.fmt(f),
            Self::Icmp6(message) => message.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for Icmp6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RouterAdvertisement => "nd-router-advert",
            Self::NeighbourSolicitation => "nd-neighbor-solicit",
            Self::NeighbourAdvertisement => "nd-neighbor-advert",
            Self::Redirect => "nd-redirect",
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn joined(items: &[impl fmt::Display], between: &str) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(between)
}
