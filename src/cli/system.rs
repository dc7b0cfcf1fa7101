//! `version`, `info` and `system prune`.

use clap::{Args, Subcommand};
use orc_base::units;
use serde_json::json;

use crate::cli::failure::{OK, Outcome};
use crate::cli::session::Session;
use crate::cli::{connect, disk, prune};
use crate::ui::format::{Format, Row};
use crate::ui::{escape, out};

/// This machine
#[derive(Debug, Subcommand)]
pub(crate) enum System {
    /// Compare what is kept on disk with what it should be
    Check(disk::Check),
    /// Show how much space images, containers, volumes and the build cache take
    Df(disk::Df),
    /// Show facts about this machine
    Info(Info),
    /// Remove what nothing uses
    Prune(prune::Everything),
    /// Show what happens, as it happens
    Events(crate::cli::look::Events),
}

impl System {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Check(verb) => verb.run(session).await,
            Self::Df(verb) => verb.run(session).await,
            Self::Info(verb) => verb.run(session).await,
            Self::Prune(verb) => verb.run(session).await,
            Self::Events(verb) => verb.run(session).await,
        }
    }
}

/// Show the versions of the command line and of the daemon
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// json, or a template such as '{{.Server.Version}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Version {
    /// Starts no daemon.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        use orc_host::Host;
        let version = env!("CARGO_PKG_VERSION");
        let server = match connect::running(&session.place).await? {
            Some(client) => Some(client.info().await?),
            None => None,
        };
        if let Some(format) = &self.format {
            let server = server.map(|info| json!({
                "Version": info.version, "Os": "linux", "Arch": info.architecture, "KernelVersion": info.kernel,
            }));
            let row = Row::default()
                .with(
                    "Client",
                    json!({"Version": version, "Os": "linux", "Arch": std::env::consts::ARCH}),
                )
                .with("Server", server.unwrap_or_default());
            Format::parse(Some(format), false)?.print(&[], &[row])?;
            return Ok(OK);
        }
        out::line(&format!(
            "Client:\n Version:    {version}\n OS/Arch:    linux/{}",
            std::env::consts::ARCH
        ));
        match server {
            Some(info) => out::line(&format!(
                "\nServer:\n Version:    {}\n OS/Arch:    linux/{}\n Kernel:     {}",
                info.version, info.architecture, info.kernel
            )),
            None => out::line("\nServer: not running"),
        }
        Ok(OK)
    }
}

/// Show facts about this machine
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// json, or a template such as '{{.OperatingSystem}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Info {
    /// Warnings go to standard error.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let info = session.host().await?.info().await?;
        if let Some(format) = &self.format {
            let row = Row::default()
                .with("Architecture", info.architecture)
                .with("CgroupVersion", info.cgroup_version.to_string())
                .with("Containers", info.running + info.paused + info.stopped)
                .with("ContainersPaused", info.paused)
                .with("ContainersRunning", info.running)
                .with("ContainersStopped", info.stopped)
                .with("DockerRootDir", info.data_root)
                .with("Images", info.images)
                .with("KernelVersion", info.kernel)
                .with("MemTotal", info.memory_bytes)
                .with("NCPU", info.cpus)
                .with("Name", info.name)
                .with("OperatingSystem", info.operating_system)
                .with("ServerVersion", info.version)
                .with("Warnings", info.warnings);
            Format::parse(Some(format), false)?.print(&[], &[row])?;
            return Ok(OK);
        }
        let rows = [
            (
                "Containers",
                (info.running + info.paused + info.stopped).to_string(),
            ),
            (" Running", info.running.to_string()),
            (" Paused", info.paused.to_string()),
            (" Stopped", info.stopped.to_string()),
            ("Images", info.images.to_string()),
            ("Server Version", info.version),
            ("Cgroup Version", info.cgroup_version.to_string()),
            ("Kernel Version", info.kernel),
            ("Operating System", info.operating_system),
            ("Architecture", info.architecture),
            ("CPUs", info.cpus.to_string()),
            (
                "Total Memory",
                units::format_bytes_binary(info.memory_bytes),
            ),
            ("Name", info.name),
            ("Root Dir", info.data_root),
        ];
        for (name, value) in rows {
            out::line(&format!("{name}: {}", escape::line(&value)));
        }
        info.warnings
            .iter()
            .for_each(|warning| out::warning(warning));
        Ok(OK)
    }
}
