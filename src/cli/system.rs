//! `version`, `info` and `system prune`.

use clap::{Args, Subcommand};
use orc_base::units;
use serde_json::json;

use crate::cli::failure::{OK, Outcome};
use crate::cli::session::Session;
use crate::cli::{connect, images, lifecycle, networks, prompt, volumes};
use crate::ui::format::{Format, Row};
use crate::ui::{escape, out};

/// This machine
#[derive(Debug, Subcommand)]
pub(crate) enum System {
    /// Show facts about this machine
    Info(Info),
    /// Remove what nothing uses
    Prune(Prune),
    /// Show what happens, as it happens
    Events(crate::cli::look::Events),
}

impl System {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
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

/// Remove stopped containers, unused networks and images without a name
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// All images that no container uses
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Anonymous volumes that no container uses, too
    #[arg(long)]
    volumes: bool,
}

impl Prune {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let images = if self.all {
            "all images that no container uses"
        } else {
            "all images without a name"
        };
        let volumes = if self.volumes {
            ", all anonymous volumes that no container uses"
        } else {
            ""
        };
        let what = format!(
            "This will remove all stopped containers, all networks that no container uses{volumes}, and {images}."
        );
        if !self.force && !prompt::confirm(&what)? {
            return Ok(OK);
        }
        let host = session.host().await?;
        let section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                out::line(&format!("{title}:\n{}\n", lines.join("\n")));
            }
        };
        section("Deleted Containers", lifecycle::prune(&*host, &[]).await?);
        section("Deleted Networks", networks::prune(&*host, &[]).await?);
        if self.volumes {
            section("Deleted Volumes", volumes::prune(&*host, false, &[]).await?);
        }
        let (lines, bytes) = images::prune(&*host, self.all).await?;
        section("Deleted Images", lines);
        out::line(&format!(
            "Total reclaimed space: {}",
            units::format_bytes(bytes)
        ));
        Ok(OK)
    }
}
