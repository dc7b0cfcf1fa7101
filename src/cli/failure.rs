//! How a command ends: a code for the shell, and an error to be printed once when there is one.

use std::future::Future;

use orc_base::{Context, Error};
use tokio::signal::unix::{SignalKind, signal};

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the shell sees.
    pub(crate) code: u8,
    /// What a person sees; `None` when it was said already.
    pub(crate) error: Option<Error>,
}

/// The exit code of a command that did what it was asked to.
pub(crate) type Outcome = std::result::Result<u8, Failure>;

/// Everything went well.
pub(crate) const OK: u8 = 0;
/// Docker's code for an error of `run` that is not the container's.
pub(crate) const DAEMON: u8 = 125;
/// The program of `run` or `exec` cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
pub(crate) const NO_PROGRAM: u8 = 127;
/// A shell's code for a program that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: 1,
            error: Some(error),
        }
    }
}

impl Failure {
    /// Ends with `code`; all was said.
    pub(crate) fn silent(code: u8) -> Self {
        Self { code, error: None }
    }
}

/// Gives the errors of a step another code.
pub(crate) trait OrExit<T> {
    /// An error ends the command with `code`.
    fn or_exit(self, code: u8) -> std::result::Result<T, Failure>;
}

impl<T> OrExit<T> for orc_base::Result<T> {
    fn or_exit(self, code: u8) -> std::result::Result<T, Failure> {
        self.map_err(|error| Failure {
            code,
            error: Some(error),
        })
    }
}

/// Ends with [`INTERRUPTED`] when somebody interrupts or terminates this process before `work` is done,
/// as docker compose does. Not for work that heeds signals itself.
pub(crate) async fn or_interrupted(work: impl Future<Output = Outcome>) -> Outcome {
    let listen = |kind| signal(kind).context(|| "listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        outcome = work => outcome,
        _ = interrupt.recv() => Err(Failure::silent(INTERRUPTED)),
        _ = terminate.recv() => Err(Failure::silent(INTERRUPTED)),
    }
}

/// A container's exit code as ours: 0 to 255.
pub(crate) fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(DAEMON)
}
