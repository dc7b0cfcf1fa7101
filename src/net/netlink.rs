//! Netlink messages and sockets: what rtnetlink, nftables and conntrack have in common.
//!
//! Messages are built attribute by attribute and sent in one datagram; every request waits for its
//! answer, at most [`TIMEOUT`]. A socket belongs to the network namespace of the thread that opened
//! it, for ever. Knows no message by name. The format: <https://docs.kernel.org/userspace-api/netlink/intro.html>.

use std::os::fd::OwnedFd;
use std::time::Duration;

use orc_base::{Context, Error, Result};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The message is a request, `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// An answer is wanted even when all went well, `NLM_F_ACK`.
pub(crate) const ACK: u16 = 0x4;
/// All there is, `NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x300;
/// The thing must not exist, `NLM_F_CREATE | NLM_F_EXCL`.
pub(crate) const CREATE_NEW: u16 = 0x600;
/// The thing may exist and is made as asked, `NLM_F_CREATE | NLM_F_REPLACE`.
pub(crate) const CREATE_OR_REPLACE: u16 = 0x500;
/// The thing may exist, `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// The dump changed while it was made, `NLM_F_DUMP_INTR`.
const INTERRUPTED: u16 = 0x10;

/// Types of the control messages.
const NOOP: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The length of a message header and of an attribute header.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// An attribute that holds attributes, `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// The flags in an attribute's type.
const TYPE_MASK: u16 = 0x3fff;

/// How long the kernel may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// No message of the kernel is longer.
pub(crate) const RECEIVE: usize = 64 << 10;
/// The most messages a dump may have.
const DUMP_LIMIT: usize = 1 << 17;
/// How often a dump that changed under us is repeated.
const DUMP_TRIES: usize = 4;

/// One message under construction, its numbers in the machine's byte order.
#[derive(Debug, Clone)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A request of `kind` with extra `flags`.
    pub(crate) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        Self(bytes)
    }

    /// The fixed part that follows the header.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// An attribute of raw bytes.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.nest_as(kind, |message| message.0.extend_from_slice(value))
    }

    /// A number in the machine's byte order.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A number in network byte order.
    pub(crate) fn put_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Text with the zero that ends it.
    pub(crate) fn put_str(&mut self, kind: u16, value: &str) -> &mut Self {
        self.nest_as(kind, |message| {
            message.0.extend_from_slice(value.as_bytes());
            message.0.push(0);
        })
    }

    /// An attribute that holds what `content` adds.
    pub(crate) fn nest(&mut self, kind: u16, content: impl FnOnce(&mut Self)) -> &mut Self {
        self.nest_as(kind | NESTED, content)
    }

    /// The same without the flag that old interfaces do not expect.
    pub(crate) fn nest_as(&mut self, kind: u16, content: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; ATTRIBUTE]);
        content(self);
        let length = u16::try_from(self.0.len() - start);
        debug_assert!(length.is_ok(), "an attribute of more than 64 KiB");
        self.0[start..start + 2].copy_from_slice(&length.unwrap_or(u16::MAX).to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.pad();
        self
    }

    /// Raw bytes inside an attribute, for structures of old interfaces.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Sets more flags in the header.
    pub(crate) fn add_flags(&mut self, flags: u16) {
        let now = u16::from_ne_bytes([self.0[6], self.0[7]]);
        self.0[6..8].copy_from_slice(&(now | flags).to_ne_bytes());
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32, into: &mut Vec<u8>) {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        into.append(&mut self.0);
    }
}

/// The attributes in `bytes`; ends early at one that is cut off.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(ATTRIBUTE..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of `kind` in `bytes`.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(this, value)| (this == kind).then_some(value))
}

/// The text of an attribute up to its zero.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

/// A number in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// A message that the kernel sent.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// Its type.
    pub(crate) kind: u16,
    flags: u16,
    sequence: u32,
    /// The socket whose request it answers or tells of.
    pub(crate) port: u32,
    /// The fixed part and the attributes.
    pub(crate) payload: &'a [u8],
}

/// The messages in one datagram; ends early at one that is cut off.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = Received {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            port: u32_at(bytes, 12)?,
            payload: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// A message and the words for it in an error.
#[derive(Debug)]
pub(crate) struct Request {
    what: String,
    message: Message,
}

impl Request {
    /// `what` completes "cannot …".
    pub(crate) fn new(what: impl Into<String>, message: Message) -> Self {
        Self {
            what: what.into(),
            message,
        }
    }

    /// Sets more flags in the message's header.
    pub(crate) fn add_flags(&mut self, flags: u16) {
        self.message.add_flags(flags);
    }

    /// The words for it in an error.
    #[cfg(test)]
    pub(crate) fn what(&self) -> &str {
        &self.what
    }
}

/// A netlink socket of one namespace.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket that also hears the multicast `groups`, a bit mask.
    pub(crate) fn open(protocol: Option<Protocol>, groups: u32) -> Result<Self> {
        let open = || -> Result<Self, Errno> {
            let fd = rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                protocol,
            )?;
            sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(TIMEOUT))?;
            rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
            let port = SocketAddrNetlink::try_from(rustix::net::getsockname(&fd)?)?.pid();
            Ok(Self {
                fd,
                port,
                sequence: 0,
                buffer: vec![0; RECEIVE],
            })
        };
        open().context(|| "open a netlink socket")
    }

    /// Its number, which the kernel puts into messages about its requests.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Makes room for `bytes` in one datagram out, and for what comes back in.
    pub(crate) fn reserve(&self, bytes: usize) {
        // Refused without CAP_NET_ADMIN in the first user namespace; a send that is too large then
        // fails by itself.
        let _ = sockopt::set_socket_send_buffer_size_force(&self.fd, bytes);
        let _ = sockopt::set_socket_recv_buffer_size_force(&self.fd, bytes);
    }

    /// Sends all requests at once; the kernel carries them out in order. The first failure is
    /// returned, after all have been answered.
    pub(crate) fn apply(&mut self, requests: Vec<Request>) -> Result<()> {
        let names: Vec<String> = requests
            .iter()
            .map(|request| request.what.clone())
            .collect();
        let outcomes = self.apply_each(requests)?;
        for (outcome, name) in outcomes.into_iter().zip(names) {
            outcome.context(|| name)?;
        }
        Ok(())
    }

    /// Sends all requests at once and returns what became of each.
    pub(crate) fn apply_each(&mut self, requests: Vec<Request>) -> Result<Vec<Result<(), Errno>>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(requests.len() * 256);
        let mut outcomes: Vec<Option<Result<(), Errno>>> = vec![None; requests.len()];
        for mut request in requests {
            request.add_flags(ACK);
            self.sequence = self.sequence.wrapping_add(1);
            request.message.finish(self.sequence, &mut bytes);
        }
        if !bytes.is_empty() {
            self.send(&bytes)?;
        }
        while outcomes.iter().any(Option::is_none) {
            let length = self.receive()?;
            for message in messages(&self.buffer[..length]) {
                let index = message.sequence.wrapping_sub(first) as usize;
                if message.kind == ERROR
                    && let Some(slot) = outcomes.get_mut(index)
                {
                    *slot = Some(outcome(message.payload));
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Sends one transaction and waits for the answer to its last message, or the first failure.
    /// Only the last message asks for an answer.
    pub(crate) fn transaction(&mut self, requests: Vec<Request>) -> Result<(), (Errno, String)> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(requests.len() * 128);
        let mut names = Vec::with_capacity(requests.len());
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.message.finish(self.sequence, &mut bytes);
            names.push(request.what);
        }
        let failed = |errno: Errno, name: &str| (errno, name.to_owned());
        self.send_raw(&bytes)
            .map_err(|errno| failed(errno, "send the transaction"))?;
        loop {
            let length = self
                .receive_raw()
                .map_err(|errno| failed(errno, "wait for the transaction"))?;
            for message in messages(&self.buffer[..length]) {
                let index = message.sequence.wrapping_sub(first) as usize;
                if message.kind != ERROR || index >= names.len() {
                    continue;
                }
                return outcome(message.payload).map_err(|errno| failed(errno, &names[index]));
            }
        }
    }

    /// The payloads of all messages that answer a request for all of `kind`.
    pub(crate) fn dump(&mut self, kind: u16, fixed: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.dump_with(&Message::new(kind, 0).fixed(fixed))
    }

    /// The same for a request with attributes.
    pub(crate) fn dump_with(&mut self, request: &Message) -> Result<Vec<Vec<u8>>> {
        let mut request = request.clone();
        request.add_flags(DUMP);
        for _ in 0..DUMP_TRIES {
            if let Some(items) = self.dump_once(request.clone())? {
                return Ok(items);
            }
        }
        Err(Error::unavailable(
            "the kernel's tables kept changing while they were read; try again",
        ))
    }

    fn dump_once(&mut self, request: Message) -> Result<Option<Vec<Vec<u8>>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        request.finish(self.sequence, &mut bytes);
        self.send(&bytes)?;
        let mut items = Vec::new();
        let mut interrupted = false;
        loop {
            let length = self.receive()?;
            for message in messages(&self.buffer[..length]) {
                if message.sequence != self.sequence || message.kind == NOOP {
                    continue;
                }
                interrupted |= message.flags & INTERRUPTED != 0;
                match message.kind {
                    DONE => return Ok((!interrupted).then_some(items)),
                    ERROR => outcome(message.payload).context(|| "read the kernel's tables")?,
                    _ => items.push(message.payload.to_vec()),
                }
                if items.len() > DUMP_LIMIT {
                    return Err(Error::exhausted(format!(
                        "the kernel lists more than {DUMP_LIMIT} objects"
                    )));
                }
            }
        }
    }

    /// The payload of the one message that answers `message`; `None` when there is no such thing.
    pub(crate) fn get(&mut self, message: Message) -> Result<Option<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        message.finish(self.sequence, &mut bytes);
        self.send(&bytes)?;
        loop {
            let length = self.receive()?;
            for message in messages(&self.buffer[..length]) {
                if message.sequence != self.sequence {
                    continue;
                }
                if message.kind != ERROR {
                    return Ok(Some(message.payload.to_vec()));
                }
                return match outcome(message.payload) {
                    Ok(()) | Err(Errno::NODEV | Errno::NOENT) => Ok(None),
                    Err(errno) => Err(errno.into()),
                };
            }
        }
    }

    /// The bare socket, for one that only listens.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        self.send_raw(bytes).context(|| "send to the kernel")
    }

    fn send_raw(&self, bytes: &[u8]) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))?;
        Ok(())
    }

    fn receive(&mut self) -> Result<usize> {
        self.receive_raw().map_err(|errno| match errno {
            Errno::AGAIN => Error::timeout(format!(
                "the kernel did not answer within {} seconds",
                TIMEOUT.as_secs()
            )),
            errno => errno.into(),
        })
    }

    fn receive_raw(&mut self) -> Result<usize, Errno> {
        let buffer = self.buffer.as_mut_slice();
        loop {
            match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Ok((_, length)) if length > RECEIVE => return Err(Errno::MSGSIZE),
                other => return other.map(|(_, length)| length),
            }
        }
    }
}

/// What an `NLMSG_ERROR` says.
fn outcome(payload: &[u8]) -> Result<(), Errno> {
    match u32_at(payload, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(-code)),
        None => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_back() {
        let mut message = Message::new(16, ACK).fixed(&[1, 2, 3]);
        message.put_str(3, "eth0").nest(18, |inner| {
            inner.put_u32(1, 7);
        });
        let mut bytes = Vec::new();
        message.finish(9, &mut bytes);
        let received = messages(&bytes).next().unwrap();
        assert_eq!((received.kind, received.sequence), (16, 9));
        let attributes = &received.payload[4..];
        assert_eq!(text(attribute(attributes, 3).unwrap()), "eth0");
        let inner = attribute(attributes, 18).unwrap();
        assert_eq!(u32_at(attribute(inner, 1).unwrap(), 0), Some(7));
        assert!(attribute(attributes, 4).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _ = outcome(message.payload);
            }
            proptest::prop_assert!(attributes(&bytes).count() <= bytes.len());
            for (_, value) in attributes(&bytes) {
                let _ = text(value);
            }
        }
    }
}
