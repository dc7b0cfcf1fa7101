//! The words of a plan: what a step is about, what it does, and why, in one line.
//!
//! The dry run, progress, errors and tests all print these.

use std::fmt;

use orc_base::units::format_duration;

use crate::plan::{Action, Operation, Plan, Until, When};
use crate::provider::metadata::Verb;

/// How much of a command is shown.
const MAX_COMMAND: usize = 60;

impl Action {
    /// What the step is about, as progress shows it: `Container demo-web-1`.
    pub fn subject(&self) -> String {
        match self {
            Self::PullImage { image, .. }
            | Self::BuildImage { image, .. }
            | Self::RemoveImage { image } => format!("Image {image}"),
            Self::CreateNetwork(spec) => format!("Network {}", spec.name),
            Self::RemoveNetwork { name } => format!("Network {name}"),
            Self::CreateVolume(spec) => format!("Volume {}", spec.name),
            Self::RemoveVolume { name } => format!("Volume {name}"),
            Self::CreateContainer { name, .. }
            | Self::StartContainer { name }
            | Self::StopContainer { name, .. }
            | Self::RestartContainer { name, .. }
            | Self::KillContainer { name, .. }
            | Self::RemoveContainer { name, .. }
            | Self::RenameContainer { name, .. }
            | Self::Prove { name, .. }
            | Self::RunHook {
                container: name, ..
            } => format!("Container {name}"),
            Self::RunProvider { service, .. } => format!("Provider {service}"),
            Self::PrepareModel { key, .. } => format!("Model {key}"),
            Self::Pause { .. } => "Pause".into(),
            Self::Wait { containers, .. } => format!("Container {}", containers.join(", ")),
        }
    }

    /// One word for what the step does, for programs: `create`, `pull`, `wait`. It does not change.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::PullImage { .. } => "pull",
            Self::BuildImage { .. } => "build",
            Self::CreateNetwork(_) | Self::CreateVolume(_) | Self::CreateContainer { .. } => {
                "create"
            }
            Self::RemoveNetwork { .. }
            | Self::RemoveVolume { .. }
            | Self::RemoveContainer { .. }
            | Self::RemoveImage { .. } => "remove",
            Self::StartContainer { .. } => "start",
            Self::RunHook { .. } | Self::RunProvider { .. } => "run",
            Self::PrepareModel { .. } => "prepare",
            Self::StopContainer { .. } => "stop",
            Self::RestartContainer { .. } => "restart",
            Self::KillContainer { .. } => "kill",
            Self::RenameContainer { .. } => "rename",
            Self::Wait { .. } | Self::Prove { .. } | Self::Pause { .. } => "wait",
        }
    }

    /// docker compose's words for under way and for done.
    pub fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::PullImage { .. } => ("Pulling", "Pulled"),
            Self::BuildImage { .. } => ("Building", "Built"),
            Self::CreateNetwork(_) | Self::CreateVolume(_) | Self::CreateContainer { .. } => {
                ("Creating", "Created")
            }
            Self::RemoveNetwork { .. }
            | Self::RemoveVolume { .. }
            | Self::RemoveContainer { .. }
            | Self::RemoveImage { .. } => ("Removing", "Removed"),
            Self::StartContainer { .. } => ("Starting", "Started"),
            Self::RunHook { when, .. } => match when {
                When::PostStart => ("Running post_start", "Ran post_start"),
                When::PreStop => ("Running pre_stop", "Ran pre_stop"),
            },
            Self::RunProvider { verb, .. } => match verb {
                Verb::Up => ("Creating", "Created"),
                Verb::Down => ("Removing", "Removed"),
                Verb::Stop => ("Stopping", "Stopped"),
            },
            Self::PrepareModel { .. } => ("Configuring", "Configured"),
            Self::StopContainer { .. } => ("Stopping", "Stopped"),
            Self::RestartContainer { .. } => ("Restarting", "Started"),
            Self::KillContainer { .. } => ("Killing", "Killed"),
            Self::RenameContainer { .. } => ("Renaming", "Renamed"),
            Self::Prove { .. } => ("Waiting", "Ready"),
            Self::Pause { .. } => ("Waiting", "Waited"),
            Self::Wait { until, .. } => match until {
                Until::Healthy => ("Waiting", "Healthy"),
                Until::Completed => ("Waiting", "Exited"),
                Until::Ready => ("Waiting", "Ready"),
            },
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullImage { image, .. } => write!(f, "pull {image}"),
            Self::BuildImage { image, .. } => write!(f, "build {image}"),
            Self::CreateNetwork(spec) => write!(f, "create network {}", spec.name),
            Self::RemoveNetwork { name } => write!(f, "remove network {name}"),
            Self::CreateVolume(spec) => write!(f, "create volume {}", spec.name),
            Self::RemoveVolume { name } => write!(f, "remove volume {name}"),
            Self::CreateContainer { name, .. } => write!(f, "create {name}"),
            Self::StartContainer { name } => write!(f, "start {name}"),
            Self::RunHook {
                container,
                when,
                number,
                process,
            } => {
                let command: String = process.command.join(" ");
                let shown: String = command.chars().take(MAX_COMMAND).collect();
                let more = if shown.len() < command.len() {
                    "…"
                } else {
                    ""
                };
                let shown = shown.escape_debug();
                write!(
                    f,
                    "run {} {number} in {container}: {shown}{more}",
                    when.as_str()
                )
            }
            Self::StopContainer { name, .. } => write!(f, "stop {name}"),
            Self::RestartContainer { name, .. } => write!(f, "restart {name}"),
            Self::KillContainer { name, signal } => {
                write!(
                    f,
                    "kill {name} with {}",
                    signal.as_deref().unwrap_or("SIGKILL")
                )
            }
            Self::RemoveContainer { name, .. } => write!(f, "remove {name}"),
            Self::Wait {
                containers, until, ..
            } => write!(f, "wait for {}: {}", containers.join(", "), until.as_str()),
            Self::RunProvider {
                service,
                verb,
                call,
            } => {
                let (program, verb) = (call.program.escape_debug(), verb.as_str());
                write!(f, "run provider {program}: {verb} {service}")
            }
            Self::PrepareModel { key, model, .. } => {
                write!(f, "prepare model {key}: {}", model.model.escape_debug())
            }
            Self::RemoveImage { image } => write!(f, "remove image {image}"),
            Self::RenameContainer { name, new_name } => write!(f, "rename {name} to {new_name}"),
            Self::Prove { name, steady, .. } => match steady.is_zero() {
                true => write!(f, "wait for {name}: ready"),
                false => write!(f, "wait for {name}: ready for {}", format_duration(*steady)),
            },
            Self::Pause { time } => write!(f, "wait {}", format_duration(*time)),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ({})", self.action, self.cause)
    }
}

impl fmt::Display for Plan {
    /// One line a step: number, step, cause, and the numbers it comes after.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for operation in &self.operations {
            write!(f, "{:>3} {operation}", operation.id)?;
            if !operation.after.is_empty() {
                let after: Vec<_> = operation.after.iter().map(usize::to_string).collect();
                write!(f, "  after {}", after.join(" "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
