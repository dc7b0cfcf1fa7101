//! The seam to the machine a pod runs on. The agent implements it; tests have a twin.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use orc_base::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::object::Object;

/// A container of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerTarget {
    /// The pod, as it is stored.
    pub pod: Object,
    /// The container's name.
    pub container: String,
}

/// A size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The three streams of a program and its terminal's size, as the client sees them.
#[derive(Debug)]
pub struct Terminal {
    /// What the client types; ends when it has closed its input. Nothing when it sends none.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// Takes what the program prints.
    pub stdout: Option<mpsc::Sender<Bytes>>,
    /// Takes its complaints; nothing with a terminal, where they are one.
    pub stderr: Option<mpsc::Sender<Bytes>>,
    /// The sizes the client's window takes.
    pub sizes: mpsc::Receiver<Size>,
    /// Whether there is a terminal.
    pub tty: bool,
}

/// Which lines of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Stays and tells what is added.
    pub follow: bool,
    /// Of the container before the last restart.
    pub previous: bool,
    /// The last so many lines.
    pub tail: Option<u64>,
    /// Only what is younger than so many seconds.
    pub since_s: Option<u64>,
    /// Only what came after this time.
    pub since: Option<orc_base::Time>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Ends after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// The bytes of a log.
pub type Log = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A connection into a pod.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Reaches into pods, wherever they run. `NotFound` when the container does not run, `Unavailable` when
/// its machine cannot be reached.
#[async_trait]
pub trait NodeStreams: Send + Sync {
    /// Runs a program in a container; its exit code. Dropping the call ends the program.
    async fn exec(
        &self,
        target: &ContainerTarget,
        command: &[String],
        terminal: Terminal,
    ) -> Result<i32>;

    /// Connects to the container's own program until it ends; its exit code.
    async fn attach(&self, target: &ContainerTarget, terminal: Terminal) -> Result<i32>;

    /// Opens a container's log.
    async fn logs(&self, target: &ContainerTarget, options: &LogOptions) -> Result<Log>;

    /// Connects to a port inside the pod's network.
    async fn forward(&self, pod: &Object, port: u16) -> Result<Box<dyn Connection>>;
}
