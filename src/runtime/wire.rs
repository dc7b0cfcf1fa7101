//! What daemon, launcher and monitors tell each other, and how it crosses a socket.
//!
//! Sockets are `SOCK_SEQPACKET`: one message is one packet of JSON with descriptors beside it. An
//! order is too large for a packet, so it travels as a sealed memory file. Everything has a bound; a
//! peer that breaks the form is an error, never a guess.

use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orc_base::{Context, Error, Kind, Result};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::spec::{ContainerSpec, ExecSpec, Exit};

/// The most bytes of one packet.
pub(crate) const MAX_PACKET: usize = 32 << 10;
/// The most descriptors beside one packet.
pub(crate) const MAX_FDS: usize = 8;
/// The most bytes of an order.
pub(crate) const MAX_ORDER: u64 = 16 << 20;
/// The most characters of one level of an error that are sent on.
const MAX_MESSAGE: usize = 2 << 10;
/// The most levels of an error, and the most warnings, that are sent on.
const MAX_MESSAGES: usize = 8;

/// What the daemon asks the launcher to start. Beside it: the monitor's end of the control socket,
/// and for an exec a pidfd of the container's first process.
#[derive(Debug, Deserialize)]
pub(crate) enum Order {
    Start(Box<ContainerSpec>),
    Exec(Box<ExecSpec>),
}

/// An [`Order`] as the sender has it.
#[derive(Debug, Serialize)]
pub(crate) enum OrderRef<'a> {
    Start(&'a ContainerSpec),
    Exec(&'a ExecSpec),
}

/// What a monitor tells a daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program has been executed. Beside it: the pidfd, then as many descriptors as `stdio` says.
    Running {
        pid: i32,
        stdio: Handed,
        warnings: Vec<String>,
    },
    /// It could not be started and nothing is left of it.
    Failed(Trouble),
    /// It has ended; nothing follows.
    Exited(Exit),
}

/// Which descriptors follow the pidfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Handed {
    /// None.
    Nothing,
    /// The master side of the terminal.
    Terminal,
    /// The writing end of standard input.
    Input,
    /// The reading ends of standard output and error.
    Output,
    /// Standard input, output and error.
    InputOutput,
}

impl Handed {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Terminal | Self::Input => 1,
            Self::Output => 2,
            Self::InputOutput => 3,
        }
    }
}

/// What a daemon asks of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Close the writing end of standard input.
    CloseStdin,
}

/// An [`Error`] on its way home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    kind: String,
    /// Innermost first.
    trail: Vec<String>,
}

const KINDS: [(Kind, &str); 11] = [
    (Kind::NotFound, "not-found"),
    (Kind::Conflict, "conflict"),
    (Kind::Invalid, "invalid"),
    (Kind::Denied, "denied"),
    (Kind::Unavailable, "unavailable"),
    (Kind::Timeout, "timeout"),
    (Kind::Exhausted, "exhausted"),
    (Kind::Unsupported, "unsupported"),
    (Kind::Unchanged, "unchanged"),
    (Kind::Expired, "expired"),
    (Kind::Internal, "internal"),
];

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind());
        let mut trail: Vec<String> = error.trail().map(clip).collect();
        trail.reverse();
        trail.truncate(MAX_MESSAGES);
        Self {
            kind: kind.map_or("internal", |(_, name)| name).into(),
            trail,
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let kind = KINDS.iter().find(|(_, name)| *name == trouble.kind);
        let kind = kind.map_or(Kind::Internal, |(kind, _)| *kind);
        let mut trail = trouble.trail.into_iter();
        let first = trail.next().unwrap_or_else(|| "unknown error".into());
        trail.fold(Error::new(kind, first), Error::within)
    }
}

/// At most [`MAX_MESSAGES`] warnings, none too long for a packet.
pub(crate) fn clip_warnings(warnings: &[String]) -> Vec<String> {
    let clipped = warnings.iter().map(|warning| clip(warning));
    clipped.take(MAX_MESSAGES).collect()
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE / 4) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Two ends of a packet socket.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .context(|| "make a socket pair")
}

/// Sends one message.
pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_PACKET {
        return Err(Error::exhausted(format!(
            "a message of {} bytes is larger than {MAX_PACKET}",
            bytes.len()
        )));
    }
    send_packet(socket, &bytes, fds, SendFlags::empty()).context(|| "send to the other process")
}

/// Sends one packet. It is never empty: an empty one would look like the end.
pub(crate) fn send_packet(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    debug_assert!(!bytes.is_empty() && fds.len() <= MAX_FDS);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    let iov = [IoSlice::new(bytes)];
    loop {
        let flags = flags | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(&socket, &iov, &mut control, flags) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// A packet and what came with it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Packet {
    /// Reads the packet as a message.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.bytes).context(|| "read a message of the other process")
    }
}

/// Receives one packet; none when the other side has closed.
pub(crate) fn receive(socket: impl AsFd) -> Result<Option<Packet>> {
    receive_packet(socket, RecvFlags::empty()).context(|| "receive from the other process")
}

/// [`receive`] with flags, and with the bare error for callers who wait on `EAGAIN`.
pub(crate) fn receive_packet(socket: impl AsFd, flags: RecvFlags) -> Result<Option<Packet>, Errno> {
    let mut bytes = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut iov = [IoSliceMut::new(&mut bytes)];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(&socket, &mut iov, &mut control, flags) {
            // The other side ended without reading all that was sent to it. The kernel says so once,
            // before it gives out what the other side has sent; then comes the end.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            fds.extend(received);
        }
    }
    if message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(Errno::MSGSIZE);
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(message.bytes);
    bytes.shrink_to_fit();
    Ok(Some(Packet { bytes, fds }))
}

/// Writes an order into a sealed memory file.
pub(crate) fn pack(order: &OrderRef<'_>) -> Result<OwnedFd> {
    let bytes = serde_json::to_vec(order)?;
    if bytes.len() as u64 > MAX_ORDER {
        return Err(Error::exhausted(format!(
            "the container's description has {} bytes, more than {MAX_ORDER}: fewer or shorter arguments, variables and mounts are needed",
            bytes.len()
        )));
    }
    let write = || -> Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"orc-order", flags)?;
        let mut file = std::fs::File::from(fd);
        file.write_all(&bytes)?;
        let fd = OwnedFd::from(file);
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&fd, seals)?;
        Ok(fd)
    };
    write().context(|| "pack the container's description")
}

/// Reads an order back.
pub(crate) fn unpack(fd: OwnedFd) -> Result<Order> {
    let read = || -> Result<Order> {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::from(fd);
        let size = file.metadata()?.len();
        if size > MAX_ORDER {
            return Err(Error::exhausted(format!("larger than {MAX_ORDER} bytes")));
        }
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    read().context(|| "unpack the container's description")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ProcessSpec;

    #[test]
    fn errors_come_home_whole() {
        for (kind, _) in KINDS {
            let error = Error::new(kind, "no such file or directory")
                .within("exec `/bin/nope`")
                .within("start web");
            let home = Error::from(Trouble::from(&error));
            assert_eq!(home.kind(), kind);
            assert_eq!(
                home.to_string(),
                "start web: exec `/bin/nope`: no such file or directory"
            );
        }
    }

    #[test]
    fn even_a_huge_error_fits_into_a_packet() {
        let (ours, theirs) = pair().unwrap();
        let error = (0..100).fold(Error::internal("x".repeat(1 << 20)), |error, _| {
            error.within("é\u{1}".repeat(1 << 16))
        });
        send(&ours, &Report::Failed(Trouble::from(&error)), &[]).unwrap();
        let packet = receive(&theirs).unwrap().unwrap();
        assert!(matches!(packet.parse().unwrap(), Report::Failed(_)));
    }

    #[test]
    fn descriptors_travel_and_the_end_is_seen() {
        let (ours, theirs) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(&ours, &Ask::CloseStdin, &[write.as_fd()]).unwrap();
        drop(write);
        let packet = receive(&theirs).unwrap().unwrap();
        assert_eq!(packet.parse::<Ask>().unwrap(), Ask::CloseStdin);
        rustix::io::write(&packet.fds[0], b"hi").unwrap();
        drop(packet);
        let mut bytes = [0; 8];
        assert_eq!(rustix::io::read(&read, &mut bytes).unwrap(), 2);
        drop(ours);
        assert!(receive(&theirs).unwrap().is_none());
    }

    #[test]
    fn last_words_are_heard_from_who_did_not_listen() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, &Ask::CloseStdin, &[]).unwrap();
        send(&theirs, &Ask::CloseStdin, &[]).unwrap();
        drop(theirs);
        assert!(receive(&ours).unwrap().is_some());
        assert!(receive(&ours).unwrap().is_none());
    }

    #[test]
    fn what_breaks_the_form_is_refused() {
        let (ours, theirs) = pair().unwrap();
        let empty = SendFlags::empty();
        send_packet(&ours, b"{\"Nope\":1}", &[], empty).unwrap();
        let packet = receive(&theirs).unwrap().unwrap();
        assert!(packet.parse::<Ask>().is_err());
        send_packet(&ours, &[b' '; MAX_PACKET + 1], &[], empty).unwrap();
        assert!(receive(&theirs).is_err());
        assert!(send(&ours, &"x".repeat(MAX_PACKET), &[]).is_err());
    }

    #[test]
    fn an_order_is_read_back_and_bounded() {
        let exec = |arg: String| ExecSpec {
            process: ProcessSpec::new([arg]),
            stdin: false,
            terminal: false,
            size: None,
            cgroup: "/orc/x".into(),
            oom_score_adj: None,
        };
        let long = "y".repeat(1 << 20);
        let fd = pack(&OrderRef::Exec(&exec(long.clone()))).unwrap();
        assert!(rustix::io::pwrite(&fd, b"z", 0).is_err(), "sealed");
        let Order::Exec(back) = unpack(fd).unwrap() else {
            panic!("another order");
        };
        assert_eq!(back.process.args, [long]);
        let error = pack(&OrderRef::Exec(&exec("y".repeat(17 << 20)))).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
    }
}
