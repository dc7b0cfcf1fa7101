//! Hands a ruleset to the kernel in one nftables transaction, by netlink.
//!
//! The tables are deleted and made anew in the same transaction: packets see all of the old rules or
//! all of the new, and a refused ruleset leaves the old. Byte for byte what the `nft` program would
//! send; the attribute numbers are those of `linux/netfilter/nf_tables.h`.

use std::net::IpAddr;

use orc_base::{Error, Kind, Result};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::netlink::{ACK, CREATE, Message, Request, Socket};
use crate::ruleset::{
    By, Chain, Cidr, Elements, Family, Field, Frame, HookKind, MapTo, Ruleset, Set, Statement,
    Table, Type, Value, Verdict,
};

/// `NFNL_SUBSYS_NFTABLES`, the upper half of a message's type.
pub(crate) const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// Rules are added at the end, `NLM_F_APPEND`.
const APPEND: u16 = 0x800;

/// The first of the sixteen 4-byte registers, `NFT_REG32_00`.
const REGISTER: u32 = 8;
/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_DATA_VERDICT`: the type of a map's values that are verdicts.
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// Elements in one message: an attribute holds less than 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 256;
/// A datagram's share for each request: the kernel counts its own bookkeeping too.
const BYTES_PER_REQUEST: usize = 4096;
/// The most room that is asked for.
const BYTES_LIMIT: usize = 64 << 20;

/// What our tables can be of, in the order in which they are set.
const FAMILIES: [Family; 3] = [Family::Ip, Family::Ip6, Family::Bridge];

/// The rules of the namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Nft(Socket);

impl Nft {
    pub(crate) fn open() -> Result<Self> {
        Socket::open(Some(NETFILTER), 0).map(Self)
    }

    /// Its number in the messages that [`crate::watch`] hears.
    pub(crate) fn port(&self) -> u32 {
        self.0.port()
    }

    /// Replaces the tables of that name, of all families, by those of `ruleset`. Without one of the
    /// families in this kernel, that is [`Kind::Unsupported`] when the ruleset has such a table.
    pub(crate) fn replace(&mut self, table: &str, ruleset: &Ruleset) -> Result<()> {
        let needed: Vec<Family> = ruleset.tables.iter().map(|table| table.family).collect();
        self.transact(table, ruleset, &FAMILIES)
            .or_else(|failure| match unsupported(failure.0) {
                // Nothing of a family that is not there has to go: only what is asked for makes it
                // an error.
                true if needed != FAMILIES => self.transact(table, ruleset, &needed),
                _ => Err(failure),
            })
            .map_err(|(errno, what)| {
                let error = Error::from(errno).within(what).within("set firewall rules");
                match unsupported(errno) {
                    true => error.with_kind(Kind::Unsupported),
                    false => error,
                }
            })
    }

    /// Whether there is an IPv4 table of that name.
    #[cfg(test)]
    pub(crate) fn table_exists(&mut self, table: &str) -> Result<bool> {
        let mut message = message(SUBSYSTEM | 1, 0, number(Family::Ip), 0);
        message.put_str(1, table);
        Ok(self.0.get(message)?.is_some())
    }

    fn transact(
        &mut self,
        table: &str,
        ruleset: &Ruleset,
        families: &[Family],
    ) -> Result<(), (Errno, String)> {
        let requests = requests(table, ruleset, families);
        let room = requests.len().saturating_mul(BYTES_PER_REQUEST);
        self.0.reserve(room.clamp(1 << 20, BYTES_LIMIT));
        self.0.transaction(requests)
    }
}

fn unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::AFNOSUPPORT | Errno::OPNOTSUPP)
}

fn requests(table: &str, ruleset: &Ruleset, families: &[Family]) -> Vec<Request> {
    let mut out = Vec::new();
    out.push(Request::new("begin", message(BATCH_BEGIN, 0, 0, 10)));
    for family in families {
        // Added first, so that there is something to delete.
        out.push(table_request(NEW_TABLE, CREATE, *family, table));
        out.push(table_request(DELETE_TABLE, 0, *family, table));
    }
    for table in &ruleset.tables {
        add_table(table, &mut out);
    }
    out.push(Request::new("end", message(BATCH_END, 0, 0, 10)));
    // The last request but the end marker is the one that answers.
    let mut end = out.split_off(out.len() - 2);
    end[0].add_flags(ACK);
    out.append(&mut end);
    out
}

/// A message with its `nfgenmsg`: family, version and resource.
fn message(kind: u16, flags: u16, family: u8, resource: u16) -> Message {
    let [high, low] = resource.to_be_bytes();
    Message::new(kind, flags).fixed(&[family, 0, high, low])
}

fn number(family: Family) -> u8 {
    match family {
        Family::Ip => 2,
        Family::Ip6 => 10,
        Family::Bridge => 7,
    }
}

fn table_request(kind: u16, flags: u16, family: Family, table: &str) -> Request {
    let mut message = message(kind, flags, number(family), 0);
    message.put_str(1, table);
    Request::new(format!("table {family} {table}"), message)
}

fn add_table(table: &Table, out: &mut Vec<Request>) {
    out.push(table_request(NEW_TABLE, CREATE, table.family, &table.name));
    // Chains first: maps and rules jump to them. Sets before the rules that look into them.
    for chain in &table.chains {
        out.push(chain_request(table, chain));
    }
    for (index, set) in table.sets.iter().enumerate() {
        out.push(set_request(table, set, index as u32 + 1));
        add_elements(table, set, out);
    }
    for chain in &table.chains {
        for rule in &chain.rules {
            out.push(rule_request(table, chain, rule));
        }
    }
}

fn chain_request(table: &Table, chain: &Chain) -> Request {
    let mut message = message(NEW_CHAIN, CREATE, number(table.family), 0);
    message.put_str(1, &table.name).put_str(3, &chain.name);
    if let Some(hook) = chain.hook {
        let kind = match hook.kind {
            HookKind::Filter => "filter",
            HookKind::Nat => "nat",
        };
        message
            .nest(4, |nest| {
                nest.put_be32(1, hook.point as u32)
                    .put_be32(2, hook.priority.cast_unsigned());
            })
            .put_str(7, kind);
    }
    Request::new(format!("chain {}", chain.name), message)
}

fn set_request(table: &Table, set: &Set, id: u32) -> Request {
    const INTERVAL: u32 = 0x4;
    const MAP: u32 = 0x8;
    let interval = match set.elements {
        Elements::Subnets(_) => INTERVAL,
        _ => 0,
    };
    let map = if set.to.is_some() { MAP } else { 0 };
    let mut message = message(NEW_SET, CREATE, number(table.family), 0);
    message
        .put_str(1, &table.name)
        .put_str(2, &set.name)
        .put_be32(3, interval | map)
        .put_be32(4, type_number(&set.key))
        .put_be32(5, length(&set.key))
        .put_be32(10, id);
    if set.key == [Type::Interface] {
        // Only for the eyes of who lists the rules: the key is in the machine's byte order, which
        // nft takes for the other one unless it is told (NFTNL_UDATA_SET_KEYBYTEORDER).
        message.put(13, &[0, 4, 1, 0, 0, 0]);
    }
    match &set.to {
        None => {}
        Some(MapTo::Verdict) => {
            message.put_be32(6, VERDICT_TYPE);
        }
        Some(MapTo::Data(types)) => {
            message
                .put_be32(6, type_number(types))
                .put_be32(7, length(types));
        }
    }
    Request::new(format!("set {}", set.name), message)
}

/// The numbers that `nft` gives its types; a key of several has them in six bits each.
fn type_number(types: &[Type]) -> u32 {
    types.iter().fold(0, |number, kind| {
        let this = match kind {
            Type::Address => 7,
            Type::Address6 => 8,
            Type::Icmp6 => 29,
            Type::Mac => 9,
            Type::Protocol => 12,
            Type::Port => 13,
            Type::Interface => 41,
            Type::Number => 4,
        };
        number << 6 | this
    })
}

/// Parts of a key fill whole registers.
fn length(types: &[Type]) -> u32 {
    types.iter().copied().map(registers).sum::<u32>() * 4
}

fn registers(kind: Type) -> u32 {
    match kind {
        Type::Interface | Type::Address6 => 4,
        Type::Mac => 2,
        Type::Address | Type::Protocol | Type::Port | Type::Icmp6 | Type::Number => 1,
    }
}

fn add_elements(table: &Table, set: &Set, out: &mut Vec<Request>) {
    let elements = encode(&set.elements);
    for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
        let mut message = message(NEW_ELEMENTS, CREATE, number(table.family), 0);
        message
            .put_str(1, &table.name)
            .put_str(2, &set.name)
            .nest(3, |list| {
                for element in chunk {
                    list.nest(1, |nest| put_element(nest, element));
                }
            });
        out.push(Request::new(format!("elements of {}", set.name), message));
    }
}

/// An element as the kernel sees it.
struct Element<'a> {
    key: Vec<u8>,
    ends_interval: bool,
    value: Option<ElementValue<'a>>,
}

enum ElementValue<'a> {
    Data(Vec<u8>),
    Verdict(&'a Verdict),
}

fn encode(elements: &Elements) -> Vec<Element<'_>> {
    let element = |key: &[Value], value| Element {
        key: bytes(key),
        ends_interval: false,
        value,
    };
    match elements {
        Elements::Keys(keys) => keys.iter().map(|key| element(key, None)).collect(),
        Elements::Subnets(subnets) => intervals(subnets),
        Elements::Verdicts(pairs) => pairs
            .iter()
            .map(|(key, verdict)| element(key, Some(ElementValue::Verdict(verdict))))
            .collect(),
        Elements::Data(pairs) => pairs
            .iter()
            .map(|(key, value)| element(key, Some(ElementValue::Data(bytes(value)))))
            .collect(),
    }
}

/// Each subnet is where it begins and where it has ended; the last address of all has no end.
fn intervals(subnets: &[Cidr]) -> Vec<Element<'static>> {
    let at = |key: IpAddr, ends_interval| Element {
        key: octets(key),
        ends_interval,
        value: None,
    };
    let mut out = Vec::new();
    for subnet in subnets {
        out.push(at(subnet.address, false));
        if let Some(end) = after(subnet.last) {
            out.push(at(end, true));
        }
    }
    out
}

/// The next higher address.
fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(address.to_bits().checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(address.to_bits().checked_add(1)?.into())),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

fn put_element(nest: &mut Message, element: &Element<'_>) {
    nest.nest(1, |key| {
        key.put(1, &element.key);
    });
    match &element.value {
        None => {}
        Some(ElementValue::Data(value)) => {
            nest.nest(2, |data| {
                data.put(1, value);
            });
        }
        Some(ElementValue::Verdict(verdict)) => {
            nest.nest(2, |data| put_verdict(data, verdict));
        }
    }
    if element.ends_interval {
        nest.put_be32(3, 1);
    }
}

fn put_verdict(data: &mut Message, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0_i32, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
    };
    data.nest(2, |verdict| {
        verdict.put_be32(1, code.cast_unsigned());
        if let Some(chain) = chain {
            verdict.put_str(2, chain);
        }
    });
}

fn bytes(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        match value {
            Value::Interface(name) => out.extend_from_slice(&interface(name)),
            Value::Address(address) => out.extend_from_slice(&octets(*address)),
            Value::Icmp6(message) => out.push(*message as u8),
            Value::Mac(mac) => out.extend_from_slice(&mac.octets()),
            Value::Protocol(protocol) => out.push(protocol.number()),
            Value::Port(port) => out.extend_from_slice(&port.to_be_bytes()),
            Value::Number(number) => out.extend_from_slice(&number.to_ne_bytes()),
        }
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// `IFNAMSIZ` bytes, filled with zeros.
fn interface(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

fn rule_request(table: &Table, chain: &Chain, rule: &[Statement]) -> Request {
    let mut message = message(NEW_RULE, CREATE | APPEND, number(table.family), 0);
    message
        .put_str(1, &table.name)
        .put_str(2, &chain.name)
        .nest(4, |list| {
            for statement in rule {
                put_statement(list, statement);
            }
        });
    Request::new(format!("rule in chain {}", chain.name), message)
}

fn put_statement(list: &mut Message, statement: &Statement) {
    match statement {
        Statement::In(fields, set) => {
            load(list, fields);
            lookup(list, set, None);
        }
        Statement::NotFrom(name) => {
            load(list, &[Field::InInterface]);
            compare(list, NOT_EQUAL, &interface(name));
        }
        Statement::OutBy(name) => {
            load(list, &[Field::OutInterface]);
            compare(list, EQUAL, &interface(name));
        }
        Statement::Within(field, subnet) => within(list, *field, subnet, EQUAL),
        Statement::NotWithin(field, subnet) => within(list, *field, subnet, NOT_EQUAL),
        Statement::IsIcmp6 => {
            load(list, &[Field::Protocol]);
            compare(list, EQUAL, &[ICMP6]);
        }
        Statement::Carries(frame) => {
            let protocol: u16 = match frame {
                Frame::Ip => 0x0800,
                Frame::Ip6 => 0x86dd,
                Frame::Arp => 0x0806,
            };
            meta(list, 1, REGISTER, Type::Protocol);
            compare(list, EQUAL, &protocol.to_be_bytes());
        }
        Statement::LocalDestination => {
            const ADDRESS_TYPE: u32 = 3;
            const OF_DESTINATION: u32 = 2;
            const LOCAL: u32 = 2;
            expression(list, "fib", |data| {
                data.put_be32(1, REGISTER)
                    .put_be32(2, ADDRESS_TYPE)
                    .put_be32(3, OF_DESTINATION);
            });
            compare(list, EQUAL, &LOCAL.to_ne_bytes());
        }
        Statement::Established => connection(list, 0, ESTABLISHED | RELATED, NOT_EQUAL),
        Statement::Redirected => connection(list, 2, DESTINATION_NAT, NOT_EQUAL),
        Statement::Unredirected => connection(list, 2, DESTINATION_NAT, EQUAL),
        Statement::Redirect(family, fields, map) => {
            let address = match family {
                Family::Ip6 => Type::Address6,
                Family::Ip | Family::Bridge => Type::Address,
            };
            load(list, fields);
            lookup(list, map, Some(REGISTER));
            rewrite_destination(list, *family, address);
        }
        Statement::Spread(by, map) => {
            choose_number(list, *by);
            lookup(list, map, Some(REGISTER));
            rewrite_destination(list, Family::Ip, Type::Address);
        }
        Statement::Choose(fields, map) => {
            load(list, fields);
            lookup(list, map, Some(VERDICT_REGISTER));
        }
        Statement::Masquerade => expression(list, "masq", |_| {}),
        Statement::Reject => expression(list, "reject", |data| {
            const UNREACHABLE: u32 = 0;
            const PORT: u8 = 3;
            data.put_be32(1, UNREACHABLE).put(2, &[PORT]);
        }),
        Statement::Do(verdict) => expression(list, "immediate", |data| {
            data.put_be32(1, VERDICT_REGISTER)
                .nest(2, |value| put_verdict(value, verdict));
        }),
    }
}

/// The number of ICMPv6 among the protocols (RFC 8200's next headers).
const ICMP6: u8 = 58;

/// Bits of `ct state` and `ct status`.
const ESTABLISHED: u32 = 1 << 1;
const RELATED: u32 = 1 << 2;
const DESTINATION_NAT: u32 = 1 << 5;

/// Operators of `cmp`.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

fn expression(list: &mut Message, name: &str, content: impl FnOnce(&mut Message)) {
    list.nest(1, |expression| {
        expression.put_str(1, name).nest(2, content);
    });
}

/// Puts the fields side by side into registers, each at the start of a 4-byte one.
fn load(list: &mut Message, fields: &[Field]) {
    const LINK: u32 = 0;
    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;
    let mut register = REGISTER;
    for field in fields {
        let kind = match field {
            Field::InInterface => meta(list, 6, register, Type::Interface),
            Field::OutInterface => meta(list, 7, register, Type::Interface),
            Field::Protocol => meta(list, 16, register, Type::Protocol),
            Field::Source => payload(list, (NETWORK, 12, 4), register, Type::Address),
            Field::Destination => payload(list, (NETWORK, 16, 4), register, Type::Address),
            Field::Source6 => payload(list, (NETWORK, 8, 16), register, Type::Address6),
            Field::Destination6 => payload(list, (NETWORK, 24, 16), register, Type::Address6),
            Field::Icmp6Type => payload(list, (TRANSPORT, 0, 1), register, Type::Icmp6),
            Field::Icmp6Target => payload(list, (TRANSPORT, 8, 16), register, Type::Address6),
            Field::DestinationPort => payload(list, (TRANSPORT, 2, 2), register, Type::Port),
            Field::SourceMac => payload(list, (LINK, 6, 6), register, Type::Mac),
            Field::ArpSourceMac => payload(list, (NETWORK, 8, 6), register, Type::Mac),
            Field::ArpSource => payload(list, (NETWORK, 14, 4), register, Type::Address),
        };
        register += registers(kind);
    }
}

/// Puts a number into the first register, in the machine's byte order.
fn choose_number(list: &mut Message, by: By) {
    match by {
        By::Turn(places) => expression(list, "numgen", |data| {
            const IN_TURN: u32 = 0;
            data.put_be32(1, REGISTER)
                .put_be32(2, places)
                .put_be32(3, IN_TURN);
        }),
        By::Client { places, seed } => {
            const JENKINS: u32 = 0;
            load(list, &[Field::Source]);
            expression(list, "hash", |data| {
                data.put_be32(1, REGISTER)
                    .put_be32(2, REGISTER)
                    .put_be32(3, 4)
                    .put_be32(4, places)
                    .put_be32(5, seed)
                    .put_be32(7, JENKINS);
            });
        }
    }
}

/// Rewrites the destination to the address in the first register and the port behind it.
fn rewrite_destination(list: &mut Message, family: Family, address: Type) {
    const DESTINATION: u32 = 1;
    expression(list, "nat", |data| {
        data.put_be32(1, DESTINATION)
            .put_be32(2, u32::from(number(family)))
            .put_be32(3, REGISTER)
            .put_be32(5, REGISTER + registers(address));
    });
}

fn within(list: &mut Message, field: Field, subnet: &Cidr, operator: u32) {
    let address = octets(subnet.address);
    load(list, &[field]);
    and(list, &mask(subnet.prefix, address.len()));
    compare(list, operator, &address);
}

fn meta(list: &mut Message, key: u32, register: u32, kind: Type) -> Type {
    expression(list, "meta", |data| {
        data.put_be32(1, register).put_be32(2, key);
    });
    kind
}

/// Loads (header, offset, length).
fn payload(list: &mut Message, part: (u32, u32, u32), register: u32, kind: Type) -> Type {
    expression(list, "payload", |data| {
        data.put_be32(1, register)
            .put_be32(2, part.0)
            .put_be32(3, part.1)
            .put_be32(4, part.2);
    });
    kind
}

fn lookup(list: &mut Message, set: &str, into: Option<u32>) {
    expression(list, "lookup", |data| {
        data.put_str(1, set).put_be32(2, REGISTER);
        if let Some(register) = into {
            data.put_be32(3, register);
        }
    });
}

fn compare(list: &mut Message, operator: u32, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.put_be32(1, REGISTER)
            .put_be32(2, operator)
            .nest(3, |nest| {
                nest.put(1, value);
            });
    });
}

fn and(list: &mut Message, mask: &[u8]) {
    expression(list, "bitwise", |data| {
        data.put_be32(1, REGISTER)
            .put_be32(2, REGISTER)
            .put_be32(3, mask.len() as u32)
            .nest(4, |nest| {
                nest.put(1, mask);
            })
            .nest(5, |nest| {
                nest.put(1, &vec![0; mask.len()]);
            });
    });
}

/// `length` bytes of which the first `prefix` bits are set.
fn mask(prefix: u8, length: usize) -> Vec<u8> {
    let set = |index: usize| usize::from(prefix).saturating_sub(index * 8).min(8);
    (0..length)
        .map(|index| (0xff00_u16 >> set(index)) as u8)
        .collect()
}

fn connection(list: &mut Message, key: u32, bits: u32, operator: u32) {
    expression(list, "ct", |data| {
        data.put_be32(1, REGISTER).put_be32(2, key);
    });
    and(list, &bits.to_ne_bytes());
    compare(list, operator, &[0; 4]);
}
