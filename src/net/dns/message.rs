//! DNS messages, as much of them as a server of a small zone needs (RFC 1035, EDNS of RFC 6891).
//!
//! Reads the one question of a query and writes answers to it; everything else of a message is
//! passed on unread. No allocation but the name and the answer; no compression pointer is ever
//! followed, so there is nothing to loop in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Record types.
pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;
pub(crate) const ANY: u16 = 255;
const OPT: u16 = 41;

/// The length of the fixed part.
const HEADER: usize = 12;
/// The longest name on the wire.
const NAME_LIMIT: usize = 255;
/// What fits a datagram when the client says nothing.
const PLAIN_LIMIT: usize = 512;
/// What fits a datagram at most: no fragments on common networks.
const DATAGRAM_LIMIT: usize = 1232;
/// The longest message.
pub(crate) const MESSAGE_LIMIT: usize = 65_535;

/// How long an answer may be kept, in seconds. A container's address changes when it is made
/// anew, and asking again costs microseconds.
const TTL: u32 = 1;

/// Bits of the header's third and fourth byte.
const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const AUTHORITATIVE: u8 = 0x04;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;

/// A query with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// The name in lower case without the dot at its end; `None` when a label holds a dot or bytes
    /// that are no ASCII text: such a name is none of ours.
    pub(crate) name: Option<String>,
    /// The record type.
    pub(crate) kind: u16,
    /// Whether it is about the Internet.
    pub(crate) internet: bool,
    question: Range<usize>,
    /// The size of datagram that the client takes, when it speaks EDNS.
    datagram: Option<u16>,
}

/// Why a message is not a [`Query`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reject {
    /// It must not be answered: not even a header, or itself an answer.
    Ignore,
    /// It is answered with this code.
    Answer(Code),
}

/// Response codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What the records of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Records<'a> {
    None,
    /// `A` and `AAAA` records, each as its address is.
    Addresses(&'a [IpAddr]),
    /// The name that an address has.
    Pointer(&'a str),
    /// Text of less than 256 bytes.
    Text(&'a str),
    /// Ports and the names of who has them, all of one rank and weight (RFC 2782).
    Services(&'a [(u16, String)]),
}

impl Query {
    /// Reads a message from a client.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Reject> {
        let header = message.get(..HEADER).ok_or(Reject::Ignore)?;
        if header[2] & RESPONSE != 0 {
            return Err(Reject::Ignore);
        }
        if header[2] & OPCODE != 0 {
            return Err(Reject::Answer(Code::NotImplemented));
        }
        let malformed = Reject::Answer(Code::FormatError);
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if count(4) != 1 || count(6) != 0 {
            return Err(malformed);
        }
        let (name, end) = parse_name(message, HEADER).ok_or(malformed)?;
        let kind = u16_at(message, end).ok_or(malformed)?;
        let class = u16_at(message, end + 2).ok_or(malformed)?;
        Ok(Self {
            name,
            kind,
            internet: class == 1 || class == ANY,
            question: HEADER..end + 4,
            datagram: (count(8) == 0)
                .then(|| edns_datagram(&message[end + 4..], count(10)))
                .flatten(),
        })
    }

    /// The most bytes the answer may have.
    fn limit(&self, transport: Transport) -> usize {
        match (transport, self.datagram) {
            (Transport::Tcp, _) => MESSAGE_LIMIT,
            (Transport::Udp, None) => PLAIN_LIMIT,
            (Transport::Udp, Some(size)) => usize::from(size).clamp(PLAIN_LIMIT, DATAGRAM_LIMIT),
        }
    }

    /// Writes the answer to this query, which `message` holds, into `out`. What does not fit is
    /// left out and the client told to ask again by TCP.
    pub(crate) fn answer(
        &self,
        message: &[u8],
        code: Code,
        records: Records<'_>,
        transport: Transport,
        out: &mut Vec<u8>,
    ) {
        write_header(message, code, out);
        out[2] |= AUTHORITATIVE;
        out[5] = 1;
        out.extend_from_slice(&message[self.question.clone()]);
        let edns = if self.datagram.is_some() { 11 } else { 0 };
        let room = self.limit(transport) - edns;
        let mut written: u16 = 0;
        for record in 0..records.count() {
            let before = out.len();
            records.write(record, out);
            if out.len() > room {
                out.truncate(before);
                out[2] |= TRUNCATED;
                break;
            }
            written += 1;
        }
        out[6..8].copy_from_slice(&written.to_be_bytes());
        if self.datagram.is_some() {
            out[11] = 1;
            // The root's name, the type, our size of datagram, no flags, no options.
            out.extend_from_slice(&[0]);
            out.extend_from_slice(&OPT.to_be_bytes());
            out.extend_from_slice(&(DATAGRAM_LIMIT as u16).to_be_bytes());
            out.extend_from_slice(&[0; 6]);
        }
    }

    /// Whether `reply` answers the same question: only then may it be passed on.
    pub(crate) fn is_answered_by(&self, message: &[u8], reply: &[u8]) -> bool {
        reply.len() >= HEADER
            && reply[2] & RESPONSE != 0
            && reply[4..6] == [0, 1]
            && reply.get(self.question.clone()).is_some_and(|question| {
                question.eq_ignore_ascii_case(&message[self.question.clone()])
            })
    }
}

impl Records<'_> {
    fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Addresses(addresses) => addresses.len(),
            Self::Pointer(_) | Self::Text(_) => 1,
            Self::Services(all) => all.len(),
        }
    }

    fn write(self, index: usize, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Pointer(_) => PTR,
            Self::Text(_) => TXT,
            Self::Services(_) => SRV,
            Self::Addresses(addresses) if addresses[index].is_ipv6() => AAAA,
            _ => A,
        };
        // The name is the question's: a pointer to just behind the header.
        out.extend_from_slice(&[0xc0, HEADER as u8]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&TTL.to_be_bytes());
        let length = out.len();
        out.extend_from_slice(&[0; 2]);
        match self {
            Self::None => {}
            Self::Addresses(addresses) => match addresses[index] {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            },
            Self::Pointer(name) => write_name(name, out),
            Self::Text(text) => {
                let bytes = &text.as_bytes()[..text.len().min(255)];
                out.push(bytes.len() as u8);
                out.extend_from_slice(bytes);
            }
            Self::Services(all) => {
                const RANK_AND_WEIGHT: [u8; 4] = [0, 0, 0, 100];
                let (port, name) = &all[index];
                out.extend_from_slice(&RANK_AND_WEIGHT);
                out.extend_from_slice(&port.to_be_bytes());
                write_name(name, out);
            }
        }
        let written = (out.len() - length - 2) as u16;
        out[length..length + 2].copy_from_slice(&written.to_be_bytes());
    }
}

/// Writes an answer that is nothing but a code.
pub(crate) fn answer_code(message: &[u8], code: Code, out: &mut Vec<u8>) {
    write_header(message, code, out);
}

/// The header of an answer to `message`, without counts; whatever `out` held is gone.
fn write_header(message: &[u8], code: Code, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&message[..2]);
    out.push(RESPONSE | message[2] & (OPCODE | RECURSION_DESIRED));
    out.push(RECURSION_AVAILABLE | code as u8);
    out.extend_from_slice(&[0; 8]);
}

/// Reads a name that is not compressed: the text, if it is one, and where it ends.
fn parse_name(message: &[u8], start: usize) -> Option<(Option<String>, usize)> {
    let mut name = String::new();
    let mut is_text = true;
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
        let label = message.get(at..at + length)?;
        at += length;
        if at - start >= NAME_LIMIT {
            return None;
        }
        is_text &= label
            .iter()
            .all(|byte| byte.is_ascii_graphic() && *byte != b'.');
        if is_text {
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| byte.to_ascii_lowercase() as char));
        }
    }
    Some((is_text.then_some(name), at))
}

/// Labels of more than 63 bytes cannot be written: such a name is cut short to the root.
fn write_name(name: &str, out: &mut Vec<u8>) {
    let fits =
        name.len() < NAME_LIMIT - 1 && name.split('.').all(|label| (1..=63).contains(&label.len()));
    if fits {
        for label in name.split('.') {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
    }
    out.push(0);
}

/// The size of datagram in the OPT record, when that is the only record.
fn edns_datagram(additional: &[u8], count: u16) -> Option<u16> {
    let kind = u16_at(additional, 1)?;
    (count == 1 && additional[0] == 0 && kind == OPT)
        .then(|| u16_at(additional, 3))
        .flatten()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The address that a reverse name asks for: `4.3.2.1.in-addr.arpa` is 1.2.3.4, and the name of an
/// IPv6 one has a label for each of its 32 digits, the last one first (RFC 3596, 2.5).
pub(crate) fn reverse_address(name: &str) -> Option<IpAddr> {
    match name.strip_suffix(".ip6.arpa") {
        Some(digits) => reverse_ipv6(digits).map(IpAddr::V6),
        None => reverse_ipv4(name.strip_suffix(".in-addr.arpa")?).map(IpAddr::V4),
    }
}

fn reverse_ipv4(name: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut labels = name.rsplit('.');
    for octet in &mut octets {
        let label = labels.next()?;
        let plain = label.bytes().all(|byte| byte.is_ascii_digit());
        *octet = label.parse().ok().filter(|_| plain)?;
    }
    labels.next().is_none().then(|| octets.into())
}

fn reverse_ipv6(name: &str) -> Option<Ipv6Addr> {
    let mut bits = 0_u128;
    let mut labels = name.rsplit('.');
    for _ in 0..32 {
        let label = labels.next().filter(|label| label.len() == 1)?;
        let digit = label.chars().next()?.to_digit(16)?;
        bits = bits << 4 | u128::from(digit);
    }
    labels.next().is_none().then(|| bits.into())
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;

    fn query(name: &str, kind: RecordType, edns: Option<u16>) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        let name = Name::from_ascii(name).unwrap();
        message.add_query(hickory_proto::op::Query::query(name, kind));
        if let Some(size) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.edns = Some(edns);
        }
        message.to_vec().unwrap()
    }

    fn answer(message: &[u8], records: Records<'_>, transport: Transport) -> (Message, usize) {
        let mut out = b"what was there before".to_vec();
        let parsed = Query::parse(message).unwrap();
        parsed.answer(message, Code::NoError, records, transport, &mut out);
        assert!(parsed.is_answered_by(message, &out));
        (Message::from_vec(&out).unwrap(), out.len())
    }

    #[test]
    fn reads_the_question_in_any_case() {
        let message = query("WeB.Example.", RecordType::A, None);
        let parsed = Query::parse(&message).unwrap();
        assert_eq!(parsed.name.as_deref(), Some("web.example"));
        assert_eq!((parsed.kind, parsed.internet), (A, true));
        let root = Query::parse(&query(".", RecordType::NS, None)).unwrap();
        assert_eq!(root.name.as_deref(), Some(""));
    }

    #[test]
    fn answers_are_understood_by_another_implementation() {
        let own = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3)];
        let addresses = own.map(IpAddr::V4);
        for edns in [None, Some(4096)] {
            let message = query("Web.", RecordType::A, edns);
            let (reply, _) = answer(&message, Records::Addresses(&addresses), Transport::Udp);
            assert_eq!(reply.metadata.id, 7);
            assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
            assert!(reply.metadata.recursion_desired && !reply.metadata.truncation);
            assert_eq!(reply.queries[0].name().to_string(), "Web.");
            let found: Vec<_> = reply
                .answers
                .iter()
                .map(|record| record.data.clone())
                .collect();
            let wanted: Vec<_> = own.map(|address| RData::A(address.into())).into();
            assert_eq!(found, wanted);
            assert_eq!(reply.edns.is_some(), edns.is_some());
        }
        let message = query("Web.", RecordType::AAAA, None);
        let address: Ipv6Addr = "fd00::2".parse().unwrap();
        let records = [IpAddr::V6(address)];
        let (reply, _) = answer(&message, Records::Addresses(&records), Transport::Udp);
        assert_eq!(reply.answers[0].data, RData::AAAA(address.into()));
        let message = query("2.0.0.10.in-addr.arpa.", RecordType::PTR, None);
        let (reply, _) = answer(&message, Records::Pointer("web.front"), Transport::Udp);
        assert_eq!(reply.answers[0].data.to_string(), "web.front.");
    }

    #[test]
    fn what_does_not_fit_is_left_for_tcp() {
        let addresses: Vec<IpAddr> = (0..200).map(|last| [10, 0, 0, last].into()).collect();
        let records = Records::Addresses(&addresses);
        for (edns, limit) in [
            (None, 512),
            (Some(100), 512),
            (Some(1000), 1000),
            (Some(9000), 1232),
        ] {
            let message = query("web.", RecordType::A, edns);
            let (reply, length) = answer(&message, records, Transport::Udp);
            assert!(
                reply.metadata.truncation && length <= limit,
                "{length} of {limit}"
            );
            assert!(reply.answers.len() * 16 > limit - 100);
            let (reply, _) = answer(&message, records, Transport::Tcp);
            assert!(!reply.metadata.truncation);
            assert_eq!(reply.answers.len(), 200);
        }
    }

    #[test]
    fn odd_messages_are_refused_or_ignored() {
        let good = query("web.", RecordType::A, None);
        let with = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            Query::parse(&message)
        };
        assert_eq!(with(2, 0x81).unwrap_err(), Reject::Ignore);
        assert_eq!(Query::parse(&good[..11]).unwrap_err(), Reject::Ignore);
        let refused = |code| Reject::Answer(code);
        assert_eq!(with(2, 0x28).unwrap_err(), refused(Code::NotImplemented));
        assert_eq!(with(5, 2).unwrap_err(), refused(Code::FormatError));
        assert_eq!(with(5, 0).unwrap_err(), refused(Code::FormatError));
        // A pointer to itself, a label past the end, and a message that is cut off.
        assert_eq!(with(12, 0xc0).unwrap_err(), refused(Code::FormatError));
        assert_eq!(with(12, 63).unwrap_err(), refused(Code::FormatError));
        for end in 12..good.len() {
            let code = Query::parse(&good[..end]).unwrap_err();
            assert_eq!(code, refused(Code::FormatError));
        }
        // A dot inside a label is not the dot between two.
        assert_eq!(with(13, b'.').unwrap().name, None);
        let mut out = Vec::new();
        answer_code(&good, Code::Refused, &mut out);
        let reply = Message::from_vec(&out).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    }

    #[test]
    fn replies_to_other_questions_are_told_apart() {
        let message = query("web.", RecordType::A, None);
        let parsed = Query::parse(&message).unwrap();
        let mut reply = Vec::new();
        let none = Records::None;
        parsed.answer(&message, Code::NoError, none, Transport::Udp, &mut reply);
        assert!(parsed.is_answered_by(&message, &reply));
        reply[13] = b'W';
        assert!(parsed.is_answered_by(&message, &reply));
        reply[13] = b'x';
        assert!(!parsed.is_answered_by(&message, &reply));
        assert!(!parsed.is_answered_by(&message, &message));
        assert!(!parsed.is_answered_by(&message, &reply[..11]));
    }

    #[test]
    fn reverse_names_are_addresses() {
        let wanted = Some("10.0.0.2".parse().unwrap());
        assert_eq!(reverse_address("2.0.0.10.in-addr.arpa"), wanted);
        let digits = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f";
        let wanted = Some("fd00:1::2".parse().unwrap());
        assert_eq!(reverse_address(&format!("{digits}.ip6.arpa")), wanted);
        for bad in [
            &digits[2..],
            &format!("0.{digits}"),
            &format!("1{digits}"),
            &digits.replace('f', "g"),
        ] {
            assert_eq!(reverse_address(&format!("{bad}.ip6.arpa")), None, "{bad}");
        }
        for bad in [
            "0.0.10.in-addr.arpa",
            "1.2.0.0.10.in-addr.arpa",
            "+2.0.0.10.in-addr.arpa",
            "x",
        ] {
            assert_eq!(reverse_address(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            match Query::parse(&bytes) {
                Ok(query) => {
                    let mut out = Vec::new();
                    let addresses = [IpAddr::V6(Ipv6Addr::LOCALHOST); 40];
                    let records = Records::Addresses(&addresses);
                    query.answer(&bytes, Code::NoError, records, Transport::Udp, &mut out);
                    proptest::prop_assert!(out.len() <= DATAGRAM_LIMIT);
                }
                Err(Reject::Answer(code)) => answer_code(&bytes, code, &mut Vec::new()),
                Err(Reject::Ignore) => {}
            }
        }

        #[test]
        fn queries_survive_any_change(at in 0usize..40, value: u8) {
            let mut message = query("web.example.", RecordType::A, Some(1232));
            let at = at % message.len();
            message[at] = value;
            if let Ok(query) = Query::parse(&message) {
                let mut out = Vec::new();
                query.answer(&message, Code::NoError, Records::None, Transport::Udp, &mut out);
                proptest::prop_assert!(query.is_answered_by(&message, &out));
            }
        }
    }
}
