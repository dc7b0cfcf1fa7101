//! What flows while a call is open: output, input, log lines.

use std::pin::Pin;
use std::time::Duration;

pub use bytes::Bytes;
use orc_base::{Result, Time};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;

/// Items that arrive one after the other; an error item is the last one.
pub type Stream<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T>> + Send>>;

/// Which of its outputs a program wrote to. All output of a terminal is [`Output::Stdout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// One piece of output, as it was read: not split into lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was written.
    pub output: Output,
    /// What was written.
    pub bytes: Bytes,
}

/// Both directions of a program's stdio.
pub struct Attached {
    /// Its standard input, when it has one; shutting it down is end of file.
    pub input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Its output until it ends.
    pub output: Stream<Chunk>,
    /// Whether there is a terminal between (raw bytes, one output).
    pub terminal: bool,
}

/// Which log lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Go on with what is written from now on, until the container stops.
    pub follow: bool,
    /// Only the last so many lines of what there is.
    pub tail: Option<usize>,
    /// Nothing older.
    pub since: Option<Time>,
    /// Nothing newer.
    pub until: Option<Time>,
    /// Only this output.
    pub only: Option<Output>,
}

/// One line, with its line feed unless the program ended without one. Lines over 16 KiB come in
/// pieces, as Docker cuts them; of a terminal, carriage returns are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it was written.
    pub output: Output,
    /// When its first byte was read from the program.
    pub time: Time,
    /// The line.
    pub bytes: Bytes,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// How long a container may take to stop when neither it nor the caller says.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
