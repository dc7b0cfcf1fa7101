//! `stats`: what containers use, again and again.
//!
//! A rate needs two looks, so what is shown once is looked at twice. A container that does not run, or
//! that ended between two looks, is shown with dashes.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use orc_base::{Kind, Result, units};
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter};
use orc_host::stats::Stats as Used;

use crate::cli::describe;
use crate::cli::failure::{OK, Outcome};
use crate::cli::session::Session;
use crate::ui::format::{Column, Format, Row};
use crate::ui::{out, terminal};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Cursor to the corner, and everything after it gone: what was shown is written over.
const AGAIN: &str = "\u{1b}[H\u{1b}[J";
/// What is not known.
const UNKNOWN: &str = "--";

/// How use is shown.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StatsFlags {
    /// Also those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,
    /// table, json, or a template such as '{{.Name}} {{.CPUPerc}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show it once
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
}

/// Show what containers use
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    flags: StatsFlags,
    /// Only these containers; all that run when none is named
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Stats {
    /// Goes on until it is interrupted, or until none of those that were named is left.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        for name in &self.names {
            host.inspect_container(name).await?;
        }
        let wanted = Wanted {
            filter: ContainerFilter {
                all: self.flags.all,
                ..ContainerFilter::default()
            },
            names: self.names,
        };
        show(&*host, &self.flags, &wanted).await
    }
}

/// Whose use is shown.
pub(crate) struct Wanted {
    /// Looked up anew each time, so that new ones come and old ones go.
    pub(crate) filter: ContainerFilter,
    /// Only these, running or not; all of the filter's when empty.
    pub(crate) names: Vec<String>,
}

impl Wanted {
    async fn containers(&self, host: &dyn Host) -> Result<Vec<Container>> {
        if self.names.is_empty() {
            return host.list_containers(&self.filter).await;
        }
        let mut found = Vec::new();
        for name in &self.names {
            match host.inspect_container(name).await {
                Ok(container) => found.push(container),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// Shows what containers use.
pub(crate) async fn show(host: &dyn Host, flags: &StatsFlags, wanted: &Wanted) -> Outcome {
    let format = Format::parse(flags.format.as_deref(), false)?;
    let live = !flags.no_stream && format == Format::Table && terminal::stdout_is_terminal();
    let mut before: Option<BTreeMap<String, Used>> = None;
    loop {
        let containers = wanted.containers(host).await?;
        let now = look(host, &containers).await?;
        let last = flags.no_stream && (before.is_some() || now.is_empty());
        if last || !flags.no_stream {
            let earlier = |id| before.as_ref().and_then(|before| before.get(id));
            let rows: Vec<Row> = containers
                .iter()
                .map(|container| {
                    let id = &container.id;
                    row(container, now.get(id), earlier(id), flags.no_trunc)
                })
                .collect();
            if live {
                out::bytes(AGAIN.as_bytes());
            }
            format.print(COLUMNS, &rows)?;
        }
        if last || (containers.is_empty() && !wanted.names.is_empty()) {
            return Ok(OK);
        }
        before = Some(now);
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks at all that run, at once.
async fn look(host: &dyn Host, containers: &[Container]) -> Result<BTreeMap<String, Used>> {
    let running = containers
        .iter()
        .filter(|container| container.state.is_running());
    let looks = join_all(running.map(|container| async move {
        let used = host.stats(&container.id).await;
        (container.id.clone(), used)
    }));
    let mut found = BTreeMap::new();
    for (id, used) in looks.await {
        match used {
            Ok(used) => drop(found.insert(id, used)),
            // It ended a moment ago.
            Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

const COLUMNS: &[Column] = &[
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];

/// One container with Docker's fields.
fn row(container: &Container, now: Option<&Used>, before: Option<&Used>, whole: bool) -> Row {
    let id = match whole {
        true => container.id.as_str(),
        false => describe::short_id(&container.id),
    };
    let unknown = || UNKNOWN.to_owned();
    let pair = |one: u64, other: u64| {
        let bytes = units::format_bytes;
        format!("{} / {}", bytes(one), bytes(other))
    };
    let blocks = now.and_then(|now| now.read_bytes.zip(now.written_bytes));
    let cpu = now
        .zip(before)
        .map(|(now, before)| format!("{:.2}%", now.cpu_percent_since(before)));
    let none = || format!("{UNKNOWN} / {UNKNOWN}");
    Row {
        labels: container.labels.clone(),
        ..Row::default()
    }
    .with(
        "BlockIO",
        blocks.map_or_else(none, |(read, written)| pair(read, written)),
    )
    .with("CPUPerc", cpu.unwrap_or_else(unknown))
    .with("Container", id)
    .with("ID", id)
    .with(
        "MemPerc",
        now.map_or_else(unknown, |now| {
            let share = match now.memory_limit_bytes {
                0 => 0.0,
                limit => now.memory_used_bytes() as f64 / limit as f64 * 100.0,
            };
            format!("{share:.2}%")
        }),
    )
    .with(
        "MemUsage",
        now.map_or_else(none, |now| {
            let bytes = units::format_bytes_binary;
            let (used, limit) = (now.memory_used_bytes(), now.memory_limit_bytes);
            format!("{} / {}", bytes(used), bytes(limit))
        }),
    )
    .with("Name", container.name.clone())
    .with(
        "NetIO",
        now.map_or_else(none, |now| {
            let sum = |of: fn(&orc_host::stats::NetworkUse) -> u64| {
                now.networks.values().map(of).fold(0, u64::saturating_add)
            };
            pair(sum(|used| used.received_bytes), sum(|used| used.sent_bytes))
        }),
    )
    .with(
        "PIDs",
        now.and_then(|now| now.pids)
            .map_or_else(unknown, |pids| pids.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use orc_base::Time;
    use orc_base::clock::SystemClock;
    use orc_host::container::ContainerSpec;
    use orc_host::fake::FakeHost;
    use orc_host::image::ImageConfig;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_line_is_what_docker_shows() {
        let host = FakeHost::new(Arc::new(SystemClock));
        host.add_image("example/app:1", ImageConfig::default());
        let spec = ContainerSpec {
            image: "example/app:1".into(),
            command: Some(vec!["sleep".into(), "1000".into()]),
            ..ContainerSpec::default()
        };
        host.create_container(Some("web"), &spec).await.unwrap();
        let container = host.inspect_container("web").await.unwrap();
        let cells = |row: Row| {
            let text = Format::Table.render(&COLUMNS[1..], &[row]).unwrap();
            let line = text.lines().nth(1).unwrap().to_owned();
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            cells(row(&container, None, None, false)),
            ["web", "--", "-- / --", "--", "-- / --", "-- / --", "--"]
        );
        host.start_container("web").await.unwrap();
        let before = Used {
            read: Time::from_secs(1),
            cpu_ns: Some(500_000_000),
            ..host.stats("web").await.unwrap()
        };
        let now = Used {
            read: Time::from_secs(3),
            cpu_ns: Some(1_500_000_000),
            ..before.clone()
        };
        assert_eq!(
            cells(row(&container, Some(&now), Some(&before), false)),
            [
                "web",
                "50.00%",
                "2MiB / 1GiB",
                "0.20%",
                "0B / 0B",
                "4.1kB / 8.19kB",
                "1"
            ]
        );
    }
}
