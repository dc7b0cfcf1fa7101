//! Compares what is on disk with what it should be: images, records and what containers wrote.
//!
//! The image layer checks and mends its own; here are the records of containers, networks and
//! volumes, and whether each container has its image and its root file system. A record that is
//! damaged while the daemon has it in memory is written anew; nothing that a person or a container
//! wrote is touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use orc_base::fs::Durability;
use orc_base::{Kind, Result};
use orc_host::storage::{CheckFinding, CheckOptions, CheckOutcome, CheckReport};
use orc_image::check::{self as image, Outcome, User};

use crate::core::{Core, blocking};

/// Looks at everything.
pub(crate) async fn check(core: &Arc<Core>, options: CheckOptions) -> Result<CheckReport> {
    let users = users(core);
    let report = core
        .images
        .check(image::CheckOptions {
            quick: options.quick,
            repair: options.repair,
            users,
        })
        .await?;
    let core = core.clone();
    blocking(move || {
        let mut findings: Vec<_> = report.findings.into_iter().map(finding).collect();
        findings.extend(containers(&core, options)?);
        findings.extend(strays(&core, options)?);
        findings.extend(records(&core, options)?);
        Ok(CheckReport {
            images: report.images,
            blobs: report.blobs,
            layers: report.layers,
            containers: core.containers.all().len() as u64,
            bytes: report.bytes,
            findings,
        })
    })
    .await
}

/// The containers and their images.
fn users(core: &Core) -> Vec<User> {
    let cells = core.containers.all();
    let user = |cell: &Arc<crate::cell::Cell>| {
        let record = cell.record();
        User {
            name: record.name.to_string(),
            image: record.image_id.clone(),
            runs: !cell.phase().is_at_rest(),
        }
    };
    cells.iter().map(user).collect()
}

fn finding(found: image::Finding) -> CheckFinding {
    let (outcome, note) = match found.outcome {
        Outcome::Left(note) => (CheckOutcome::Left, note),
        Outcome::Mended(note) => (CheckOutcome::Mended, note),
        Outcome::Dropped(note) => (CheckOutcome::Dropped, note),
    };
    CheckFinding {
        part: found.part.name().into(),
        name: found.name,
        problem: found.problem,
        needed_by: found.images,
        outcome,
        note,
    }
}

/// Something that nobody mends but people.
fn left(
    part: &str,
    name: impl Into<String>,
    problem: impl Into<String>,
    note: &str,
) -> CheckFinding {
    CheckFinding {
        part: part.into(),
        name: name.into(),
        problem: problem.into(),
        needed_by: Vec::new(),
        outcome: CheckOutcome::Left,
        note: note.into(),
    }
}

/// Whether each container has its records, its image and its root file system.
fn containers(core: &Core, options: CheckOptions) -> Result<Vec<CheckFinding>> {
    let snapshots: BTreeSet<_> = core.images.snapshots()?.into_iter().collect();
    let mut findings = Vec::new();
    for cell in core.containers.all() {
        let (record, gone) = (cell.record(), cell.pulse().removed);
        if gone {
            continue;
        }
        let name = record.name.to_string();
        let mut add = |mut finding: CheckFinding| {
            finding.needed_by = vec![name.clone()];
            findings.push(finding);
        };
        if let Some((path, error)) = core.store.container_problem(cell.id()) {
            let hint = "`orc system check --repair` writes it anew: the daemon has it in memory";
            let mut finding = left(
                "record",
                path.display().to_string(),
                error.to_string(),
                hint,
            );
            if options.repair {
                core.store.save_container(&record)?;
                cell.save(&core.store, Durability::Synced)?;
                finding.outcome = CheckOutcome::Mended;
                finding.note = "written anew".into();
            }
            add(finding);
        }
        if !snapshots.contains(cell.id()) {
            add(left(
                "container",
                cell.id().as_str(),
                "it has no root file system",
                "remove it and create it again",
            ));
        }
        if let Err(error) = core.images.find(&record.image_id)
            && error.kind() == Kind::NotFound
        {
            add(left(
                "container",
                cell.id().as_str(),
                format!("its image is gone: {error}"),
                "pull or build the image again, or remove the container",
            ));
        }
    }
    Ok(findings)
}

/// Directories of containers that the daemon does not have.
fn strays(core: &Core, options: CheckOptions) -> Result<Vec<CheckFinding>> {
    let (ids, _) = core.store.containers()?;
    let mut findings = Vec::new();
    let mut unreadable = BTreeSet::new();
    for id in ids {
        if core.containers.get(&id).is_some() || !core.store.is_whole(&id) {
            continue;
        }
        let Some((path, error)) = core.store.container_problem(&id) else {
            continue;
        };
        findings.push(left(
            "record",
            path.display().to_string(),
            error.to_string(),
            "the container cannot be used: what it wrote is kept beside it; restore the file, or remove its directory and restart the daemon",
        ));
        unreadable.insert(id);
    }
    for id in core.images.snapshots()? {
        let (dirs, known) = (core.store.dirs(), core.containers.get(&id).is_some());
        // One that is being created has a directory already.
        if known || unreadable.contains(&id) || dirs.container(&id).exists() {
            continue;
        }
        let mut finding = left(
            "snapshot",
            id.as_str(),
            "no container has it",
            "`orc system check --repair` removes it",
        );
        if options.repair {
            core.images.remove_snapshot(&id)?;
            finding.outcome = CheckOutcome::Dropped;
            finding.note = "removed".into();
        }
        findings.push(finding);
    }
    Ok(findings)
}

/// The records of networks and volumes.
fn records(core: &Core, options: CheckOptions) -> Result<Vec<CheckFinding>> {
    let mut findings = Vec::new();
    for (path, error) in core.store.other_problems()? {
        let hint = "it cannot be used after the next start of the daemon: `orc system check --repair` writes it anew if the daemon has it in memory";
        let mut finding = left(
            "record",
            path.display().to_string(),
            error.to_string(),
            hint,
        );
        if options.repair && (core.networks.rewrite(&path)? || core.volumes.rewrite(&path)?) {
            finding.outcome = CheckOutcome::Mended;
            finding.note = "written anew".into();
        }
        findings.push(finding);
    }
    Ok(findings)
}
