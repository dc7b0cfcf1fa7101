//! The daemon's end of the connection to one monitor.

use std::os::fd::OwnedFd;

use orc_base::{Context, Error, Result};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::wire::{Ask, Packet, Report};

/// One packet socket, waited on without a thread.
#[derive(Debug)]
pub(crate) struct Control(AsyncFd<OwnedFd>);

impl Control {
    /// Must be called in a tokio runtime.
    pub(crate) fn new(socket: OwnedFd) -> Result<Self> {
        crate::sys::linux::watch(socket)
            .map(Self)
            .context(|| "watch the socket of a monitor")
    }

    /// The next report and its descriptors; none when the monitor has ended.
    pub(crate) async fn receive(&self) -> Result<Option<(Report, Vec<OwnedFd>)>> {
        let Some(packet) = self.packet().await? else {
            return Ok(None);
        };
        Ok(Some((packet.parse()?, packet.fds)))
    }

    async fn packet(&self) -> Result<Option<Packet>> {
        loop {
            let mut ready = self.0.readable().await?;
            let received = ready.try_io(|socket| {
                Ok(crate::wire::receive_packet(
                    socket.get_ref(),
                    RecvFlags::DONTWAIT,
                )?)
            });
            if let Ok(received) = received {
                return received.context(|| "receive from a monitor");
            }
        }
    }

    /// Asks the monitor for something.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<()> {
        let bytes = serde_json::to_vec(&ask)?;
        let send = self.0.async_io(Interest::WRITABLE, |socket| {
            Ok(crate::wire::send_packet(
                socket,
                &bytes,
                &[],
                SendFlags::DONTWAIT,
            )?)
        });
        send.await.context(|| "ask a monitor")
    }
}

/// What a socket error means for a caller who waits for a monitor's answer.
pub(crate) fn gone(what: &str) -> Error {
    Error::unavailable(format!(
        "{what}: its monitor ended without a word (was it killed?)"
    ))
}

/// Duplicates a descriptor for someone who keeps it.
pub(crate) fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    const FIRST: std::os::fd::RawFd = 3;
    rustix::io::fcntl_dupfd_cloexec(fd, FIRST)
}
