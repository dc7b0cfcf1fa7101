//! Further processes in a running container.

use serde::{Deserialize, Serialize};

use crate::stream::TerminalSize;

/// A process to run in a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, over the container's own.
    pub env: Vec<String>,
    /// The container's own when absent.
    pub working_dir: Option<String>,
    /// The container's own when absent.
    pub user: Option<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Connect standard input.
    pub stdin: bool,
    /// Connect standard output.
    pub stdout: bool,
    /// Connect standard error.
    pub stderr: bool,
    /// All capabilities, no seccomp filter.
    pub privileged: bool,
    /// The terminal's size at the start.
    pub size: Option<TerminalSize>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Its identifier.
    pub id: String,
    /// The container's id.
    pub container: String,
    /// What was asked for.
    pub spec: ExecSpec,
    /// Whether it runs now.
    pub running: bool,
    /// Its process on the machine, while it runs.
    pub pid: Option<i32>,
    /// 0 to 255; 126 not executable, 127 not found; absent before it ends.
    pub exit_code: Option<i32>,
}
