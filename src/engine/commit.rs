//! A container becomes an image, and is compared with its own.

use std::sync::Arc;

use orc_base::{Context, Result};
use orc_host::archive::{ChangeKind, CommitSpec, PathChange};
use orc_host::container::Mount;
use orc_host::image::Healthcheck;
use orc_image::archive::commit::CommitOptions;
use orc_image::config::{self, ImageConfig};
use orc_image::digest::Digest;
use orc_image::dockerfile::apply::apply_changes;
use orc_image::pack::changes::{self, Change};
use orc_image::pack::leftovers::Leftovers;
use orc_image::reference::Reference;
use orc_image::snapshot::Snapshot;

use crate::cell::Cell;
use crate::core::{Core, blocking};
use crate::files::FILES;
use crate::lifecycle::Phase;
use crate::records::ContainerRecord;
use crate::stop;

/// Where the kernel's file systems are mounted in every container.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// How a container differs from its image.
pub(crate) async fn changes(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<Vec<PathChange>> {
    let (core, record) = (core.clone(), cell.record());
    blocking(move || {
        let snapshot = snapshot(&core, &record)?;
        let found = changes::changes(&snapshot.upper, &leftovers(&snapshot)?)
            .context(|| format!("compare container {} with its image", record.name))?;
        Ok(found.iter().map(told).collect())
    })
    .await
}

fn told(change: &Change) -> PathChange {
    PathChange {
        kind: match change.kind {
            changes::ChangeKind::Modified => ChangeKind::Modified,
            changes::ChangeKind::Added => ChangeKind::Added,
            changes::ChangeKind::Deleted => ChangeKind::Deleted,
        },
        path: format!("/{}", change.path.to_string_lossy()),
    }
}

/// Makes an image of a container; its id. A running container is frozen meanwhile, if that is wanted;
/// one that does not run is not started meanwhile.
pub(crate) async fn commit(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    spec: &CommitSpec,
) -> Result<String> {
    let record = cell.record();
    let image = core.images.find(&record.image_id)?;
    let reference = spec.reference.as_deref().filter(|name| !name.is_empty());
    let reference = reference.map(Reference::parse).transpose()?;
    let mut config = config_of(&record, &image.config);
    apply_changes(&mut config, &spec.changes)?;
    let options = CommitOptions {
        reference,
        author: spec.author.clone(),
        message: spec.message.clone(),
        created_by: record.effective.args.join(" "),
        config,
    };
    let freeze = spec.pause && matches!(cell.phase(), Phase::Running { paused: false, .. });
    if freeze {
        stop::pause(core, cell).await?;
    }
    let made = take(core, cell, &record, options).await;
    if freeze {
        stop::unpause(core, cell).await?;
    }
    let (id, name) = made?;
    let more = [
        ("comment", spec.message.clone()),
        ("imageID", id.clone()),
        ("imageRef", name),
    ];
    core.say(cell, "commit", &more);
    Ok(id)
}

async fn take(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    record: &Arc<ContainerRecord>,
    options: CommitOptions,
) -> Result<(String, String)> {
    let turn = cell.turn.lock().await;
    // One that runs goes on with its life: whoever does not freeze it gets what is there.
    let _turn = match cell.phase().is_running() {
        true => None,
        false => {
            cell.until_settled().await;
            Some(turn)
        }
    };
    let (inner, known) = (core.clone(), record.clone());
    let leftovers = blocking(move || leftovers(&snapshot(&inner, &known)?)).await?;
    let parent = Digest::parse(&record.image_id)?;
    let made = core
        .images
        .commit(&record.id, &parent, leftovers, options)
        .await
        .context(|| format!("commit container {}", record.name))?;
    let name = made.references.first().map(Reference::familiar);
    Ok((made.id.to_string(), name.unwrap_or_default()))
}

fn snapshot(core: &Core, record: &ContainerRecord) -> Result<Snapshot> {
    let image = Digest::parse(&record.image_id)?;
    core.images.snapshot(&record.id, &image)
}

/// What every start leaves in a container whose image has no place for it.
fn leftovers(snapshot: &Snapshot) -> Result<Leftovers> {
    let below = crate::layers::open(&snapshot.lowers)?;
    let files = FILES.iter().map(|(_, target)| *target);
    Ok(Leftovers::new(below, KERNEL.into_iter().chain(files)))
}

/// How a container was started, as the defaults of an image.
fn config_of(record: &ContainerRecord, image: &ImageConfig) -> ImageConfig {
    let (spec, effective) = (&record.spec, &record.effective);
    let entrypoint = match &spec.entrypoint {
        // `--entrypoint ""` clears the image's.
        Some(given) if given.iter().all(String::is_empty) => None,
        Some(given) => Some(given.clone()),
        None => image.entrypoint.clone(),
    };
    let cmd = match (&spec.command, &spec.entrypoint) {
        (Some(command), _) => Some(command.clone()),
        (None, Some(_)) => None,
        (None, None) => image.cmd.clone(),
    };
    let stated = |dir: &String| !(dir == "/" && image.working_dir.is_empty());
    let mut volumes: Vec<String> = effective.volumes.iter().cloned().collect();
    volumes.extend(spec.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume { name, target, .. } if name.is_empty() => Some(target.clone()),
        _ => None,
    }));
    volumes.sort();
    volumes.dedup();
    ImageConfig {
        env: effective.env.clone(),
        entrypoint,
        cmd: cmd.filter(|words| !words.is_empty()),
        user: effective.user.clone(),
        working_dir: Some(effective.working_dir.clone())
            .filter(stated)
            .unwrap_or_default(),
        exposed_ports: effective
            .exposed_ports
            .iter()
            .map(ToString::to_string)
            .collect(),
        volumes,
        labels: effective.labels.clone(),
        stop_signal: spec.stop_signal.clone().or(image.stop_signal.clone()),
        healthcheck: match (&effective.healthcheck, &spec.healthcheck) {
            (Some(check), _) | (None, Some(check)) => Some(healthcheck(check)),
            (None, None) => image.healthcheck.clone(),
        },
        shell: image.shell.clone(),
        // Triggers are for the build that follows this image, which has been.
        on_build: Vec::new(),
    }
}

fn healthcheck(check: &Healthcheck) -> config::Healthcheck {
    config::Healthcheck {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}
