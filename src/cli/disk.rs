//! `system df` and `system check`: how much space things take, and whether they are sound.

use std::collections::BTreeMap;

use clap::Args;
use orc_base::{Result, Time, units};
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter};
use orc_host::image::Image;
use orc_host::storage::{
    CheckFinding, CheckOptions, CheckOutcome, CheckReport, DiskUsage, UsageOf,
};
use serde_json::{Value, json};

use crate::cli::describe;
use crate::cli::failure::{Failure, OK, Outcome};
use crate::cli::session::Session;
use crate::ui::format::{Column, Format, Row};
use crate::ui::{escape, out};

/// Show how much space images, containers, volumes and the build cache take
#[derive(Debug, Args)]
pub(crate) struct Df {
    /// table, json, or a template such as '{{.Type}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Each image, container, volume and build step
    #[arg(short, long)]
    verbose: bool,
}

const COLUMNS: &[Column] = &[
    ("TYPE", "Type"),
    ("TOTAL", "TotalCount"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
];
const IMAGES: &[Column] = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("CONTAINERS", "Containers"),
];
const CONTAINERS: &[Column] = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("SIZE", "Size"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
];
const VOLUMES: &[Column] = &[
    ("VOLUME NAME", "Name"),
    ("LINKS", "Links"),
    ("SIZE", "Size"),
];
const CACHE: &[Column] = &[
    ("CACHE ID", "ID"),
    ("CACHE TYPE", "CacheType"),
    ("SIZE", "Size"),
    ("CREATED", "CreatedSince"),
    ("LAST USED", "LastUsedSince"),
    ("USAGE", "UsageCount"),
    ("SHARED", "Shared"),
];

/// Everything that there is, and how much space it takes.
struct Picture {
    usage: DiskUsage,
    images: Vec<Image>,
    containers: Vec<Container>,
    now: Time,
}

impl Df {
    /// Docker's table; in blocks on disk, as du(1) counts.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let format = Format::parse(self.format.as_deref(), false)?;
        let host = session.host().await?;
        let picture = Picture::of(&*host, session.now()).await?;
        match (self.verbose, format == Format::Table) {
            (true, true) => picture.print()?,
            (true, false) => out::line(&picture.json()?),
            (false, _) => format.print(COLUMNS, &picture.summary())?,
        }
        Ok(OK)
    }
}

impl Picture {
    async fn of(host: &dyn Host, now: Time) -> Result<Self> {
        Ok(Self {
            usage: host.disk_usage(&UsageOf::everything()).await?,
            images: host.list_images().await?,
            containers: host.list_containers(&ContainerFilter::everything()).await?,
            now,
        })
    }

    fn users(&self, image: &str) -> usize {
        let containers = self.containers.iter();
        containers.filter(|one| one.image_id == image).count()
    }

    fn links(&self) -> BTreeMap<&str, usize> {
        let mut links = BTreeMap::new();
        for container in &self.containers {
            let names = container.mounts.iter();
            for name in names.filter_map(|mount| mount.name.as_deref()) {
                *links.entry(name).or_insert(0) += 1;
            }
        }
        links
    }

    fn summary(&self) -> Vec<Row> {
        let (usage, links) = (&self.usage, self.links());
        let used_images = usage.images.iter().filter(|one| self.users(&one.id) > 0);
        let runs = |id: &str| {
            let mut containers = self.containers.iter();
            containers.any(|one| one.id == id && one.state.is_running())
        };
        let written: u64 = usage.containers.iter().map(|one| one.bytes).sum();
        let idle = usage.containers.iter().filter(|one| !runs(&one.id));
        let bytes = |one: &orc_host::storage::VolumeUsage| one.bytes.unwrap_or(0);
        let linked = |one: &&orc_host::storage::VolumeUsage| links.contains_key(one.name.as_str());
        let kept: u64 = usage.volumes.iter().map(bytes).sum();
        let needed: u64 = usage.volumes.iter().filter(linked).map(bytes).sum();
        let cache = usage.build_cache.iter();
        let held: u64 = cache
            .clone()
            .filter(|one| one.in_use && !one.shared)
            .map(|one| one.bytes)
            .sum();
        vec![
            row(
                "Images",
                (usage.images.len(), used_images.count()),
                usage.images_bytes,
                usage.images_unused_bytes,
            ),
            row(
                "Containers",
                (
                    usage.containers.len(),
                    usage.containers.iter().filter(|one| runs(&one.id)).count(),
                ),
                written,
                idle.map(|one| one.bytes).sum(),
            ),
            row(
                "Local Volumes",
                (
                    usage.volumes.len(),
                    usage.volumes.iter().filter(linked).count(),
                ),
                kept,
                kept - needed,
            ),
            row(
                "Build Cache",
                (cache.len(), cache.clone().filter(|one| one.in_use).count()),
                usage.build_cache_bytes,
                usage.build_cache_bytes.saturating_sub(held),
            ),
        ]
    }

    fn print(&self) -> Result<()> {
        let sections = [
            ("Images space usage:", IMAGES, self.image_rows()),
            ("Containers space usage:", CONTAINERS, self.container_rows()),
            ("Local Volumes space usage:", VOLUMES, self.volume_rows()),
        ];
        for (title, columns, rows) in sections {
            out::line(&format!("{title}\n"));
            Format::Table.print(columns, &rows)?;
            out::line("");
        }
        let cache = units::format_bytes(self.usage.build_cache_bytes);
        out::line(&format!("Build cache usage: {cache}\n"));
        Format::Table.print(CACHE, &self.cache_rows())?;
        let other = units::format_bytes(self.usage.other_bytes);
        out::line(&format!("\nLogs, records and downloads: {other}"));
        Ok(())
    }

    fn json(&self) -> Result<String> {
        let rows = |rows: Vec<Row>| -> Vec<Value> { rows.iter().map(Row::object).collect() };
        let value = json!({
            "Images": rows(self.image_rows()),
            "Containers": rows(self.container_rows()),
            "Volumes": rows(self.volume_rows()),
            "BuildCache": rows(self.cache_rows()),
            "Other": units::format_bytes(self.usage.other_bytes),
        });
        Ok(serde_json::to_string(&value)?)
    }

    fn image_rows(&self) -> Vec<Row> {
        let rows = self.images.iter().flat_map(|image| {
            let space = self.usage.images.iter().find(|one| one.id == image.id);
            let (all, shared) = space.map_or((0, 0), |one| (one.bytes, one.shared_bytes));
            let users = self.users(&image.id);
            let rows = describe::image(image, self.now, false);
            rows.into_iter().map(move |mut row| {
                row.set("Size", units::format_bytes(all));
                row.with("SharedSize", units::format_bytes(shared))
                    .with("UniqueSize", units::format_bytes(all - shared))
                    .with("Containers", users.to_string())
            })
        });
        rows.collect()
    }

    fn container_rows(&self) -> Vec<Row> {
        let rows = self.containers.iter().map(|container| {
            let mut spaces = self.usage.containers.iter();
            let space = spaces.find(|one| one.id == container.id);
            let mut row = describe::container(container, self.now, false);
            row.set(
                "Size",
                units::format_bytes(space.map_or(0, |one| one.bytes)),
            );
            row
        });
        rows.collect()
    }

    fn volume_rows(&self) -> Vec<Row> {
        let links = self.links();
        let rows = self.usage.volumes.iter().map(|volume| {
            let users = links.get(volume.name.as_str()).copied().unwrap_or(0);
            let size = volume.bytes.map_or("N/A".into(), units::format_bytes);
            Row::default()
                .with("Name", volume.name.clone())
                .with("Links", users.to_string())
                .with("Size", size)
        });
        rows.collect()
    }

    fn cache_rows(&self) -> Vec<Row> {
        let rows = self.usage.build_cache.iter().map(|one| {
            Row::default()
                .with("ID", describe::short_id(&one.id))
                .with("CacheType", one.kind.clone())
                .with("Size", units::format_bytes(one.bytes))
                .with("CreatedSince", describe::ago(one.created, self.now))
                .with("LastUsedSince", describe::ago(one.last_used, self.now))
                .with("UsageCount", one.uses.to_string())
                .with("Shared", one.shared.to_string())
                .with("InUse", one.in_use.to_string())
                .with("Description", one.description.clone())
        });
        rows.collect()
    }
}

fn row(kind: &str, counts: (usize, usize), bytes: u64, reclaimable: u64) -> Row {
    let share = match bytes {
        0 => String::new(),
        _ => format!(" ({}%)", reclaimable.saturating_mul(100) / bytes),
    };
    Row::default()
        .with("Type", kind)
        .with("TotalCount", counts.0.to_string())
        .with("Active", counts.1.to_string())
        .with("Size", units::format_bytes_finely(bytes))
        .with(
            "Reclaimable",
            format!("{}{share}", units::format_bytes_finely(reclaimable)),
        )
}

/// Compare what is kept on disk with what it should be
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Mend what can be mended, drop what cannot and nobody uses
    #[arg(long)]
    repair: bool,
    /// Read no contents: only see whether everything is there
    #[arg(long)]
    quick: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Exits with 1 when something is left as it was found.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let options = CheckOptions {
            quick: self.quick,
            repair: self.repair,
        };
        let report = session.host().await?.check_storage(options).await?;
        match self.json {
            true => out::line(&serde_json::to_string(&report).map_err(orc_base::Error::from)?),
            false => print(&report),
        }
        let left = |finding: &CheckFinding| finding.outcome == CheckOutcome::Left;
        match report.findings.iter().any(left) {
            true => Err(Failure::silent(1)),
            false => Ok(OK),
        }
    }
}

fn print(report: &CheckReport) {
    for finding in &report.findings {
        out::line(&escape::line(&told(finding)));
        let outcome = match finding.outcome {
            CheckOutcome::Left => "left",
            CheckOutcome::Mended => "mended",
            CheckOutcome::Dropped => "dropped",
        };
        out::line(&format!("  {outcome}: {}", escape::line(&finding.note)));
    }
    out::line(&format!(
        "Checked {} images ({} blobs, {} layers) and {} containers, {} read: {}",
        report.images,
        report.blobs,
        report.layers,
        report.containers,
        units::format_bytes(report.bytes),
        verdict(report)
    ));
}

fn told(finding: &CheckFinding) -> String {
    let needed = match finding.needed_by.is_empty() {
        true => String::new(),
        false => format!(" (needed by {})", finding.needed_by.join(", ")),
    };
    format!(
        "{} {}: {}{needed}",
        finding.part, finding.name, finding.problem
    )
}

fn verdict(report: &CheckReport) -> String {
    let count = |outcome| {
        let findings = report.findings.iter();
        findings.filter(|one| one.outcome == outcome).count()
    };
    let parts = [
        (count(CheckOutcome::Left), "left"),
        (count(CheckOutcome::Mended), "mended"),
        (count(CheckOutcome::Dropped), "dropped"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match report.findings.len() {
        0 => "all is well".into(),
        1 => format!("1 problem, {}", parts.join(", ")),
        problems => format!("{problems} problems, {}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told() {
        let finding = |outcome| CheckFinding {
            part: "blob".into(),
            name: "sha256:1".into(),
            problem: "missing".into(),
            needed_by: vec!["app:1".into()],
            outcome,
            note: "pull it".into(),
        };
        let mut report = CheckReport::default();
        assert_eq!(verdict(&report), "all is well");
        report.findings.push(finding(CheckOutcome::Left));
        assert_eq!(
            told(&report.findings[0]),
            "blob sha256:1: missing (needed by app:1)"
        );
        assert_eq!(verdict(&report), "1 problem, 1 left");
        report.findings.push(finding(CheckOutcome::Mended));
        assert_eq!(verdict(&report), "2 problems, 1 left, 1 mended");
    }

    #[test]
    fn shares_are_percent() {
        let row = row("Images", (2, 1), 1_000_000, 250_000);
        let text = Format::Table.render(COLUMNS, &[row]).unwrap();
        assert!(
            text.contains("Images") && text.contains("250kB (25%)"),
            "{text}"
        );
    }
}
