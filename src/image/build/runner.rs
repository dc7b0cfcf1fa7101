//! The seam behind which the programs of `RUN` steps run.
//!
//! The engine implements it on its runtime, one runner for each build: confined like a container, on
//! the default network, and in no list of containers. Everything is plain data; whoever asks made the
//! directories, and removes them. After the future ends, or is dropped, no process of the step is left
//! and nothing is mounted.

use std::path::PathBuf;

use async_trait::async_trait;

use orc_base::{Id, Result};

use crate::build::graph::Network;
use crate::snapshot::Snapshot;

/// Runs the program of one step.
#[async_trait]
pub trait StepRunner: Send + Sync {
    /// Runs it to its end and returns its exit code. `output` is called with what it writes, as it is
    /// read. Errors: `NotFound` (no such program), `Denied` (not executable), `Invalid` (a user that
    /// the root file system does not know).
    async fn run(&self, step: &RunStep, output: &StepOutput<'_>) -> Result<i32>;

    /// All in which its programs run otherwise than by default (limits, further hosts, the size of
    /// `/dev/shm`), as text: results under other settings are other results.
    fn settings(&self) -> String;
}

/// Takes what a program writes: `true` for standard error.
pub type StepOutput<'a> = dyn Fn(bool, &[u8]) + Send + Sync + 'a;

/// One program to run.
#[derive(Debug, Clone)]
pub struct RunStep {
    /// Names what is made for it on the machine.
    pub id: Id,
    /// Its root file system; changes are in `upper` afterwards.
    pub rootfs: Snapshot,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Where it starts.
    pub working_dir: String,
    /// Who runs it: `name`, `uid`, `name:group`, `uid:gid`; root when empty.
    pub user: String,
    /// What is mounted, parents first.
    pub mounts: Vec<StepMount>,
    /// Its network.
    pub network: Network,
    /// All capabilities and devices, no filter.
    pub insecure: bool,
}

/// What is mounted for a step.
#[derive(Debug, Clone)]
pub enum StepMount {
    /// A file, directory or socket of the machine, at `target`, which is made when it is missing and
    /// removed from `upper` afterwards when the program left it empty.
    Bind {
        /// A path whose every component whoever asks has made or checked.
        source: PathBuf,
        /// Where.
        target: String,
        /// Nothing can be written.
        readonly: bool,
    },
    /// Memory.
    Tmpfs {
        /// Where.
        target: String,
        /// How much.
        size_bytes: Option<u64>,
    },
    /// A socket of its own, made with this owner and mode, behind which an ssh-agent(1) answers for as
    /// long as the program runs.
    Agent {
        /// The agent's socket on the machine.
        socket: PathBuf,
        /// Where.
        target: String,
        /// Mode of the socket.
        mode: u32,
        /// Owner and group of the socket.
        owner: (u32, u32),
    },
}
