//! Makes a container: its name, its directories, its volumes, its record. Starts nothing.
//!
//! The record is written last and synced. What a crash leaves before that is found without a record
//! and removed; the anonymous volumes it made are named in an intent beside it.

use std::sync::Arc;

use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Id, Name, Result};
use orc_host::container::{ContainerSpec, Created, GivenFile, Mount, NamespaceMode, NetworkMode};
use orc_host::event::Subject;
use orc_host::volume::VolumeSpec;
use orc_image::image::Image;

use crate::cell::Cell;
use crate::core::{Core, blocking};
use crate::effective::effective;
use crate::records::{ContainerRecord, FORMAT, StateRecord};
use crate::start::fill_volumes;
use crate::translate::machine_warnings;
use crate::validate::validate;
use crate::{given, images, limits, mounts, wiring};

/// Makes a container.
pub(crate) async fn create(
    core: &Arc<Core>,
    name: Option<&str>,
    mut spec: ContainerSpec,
) -> Result<Created> {
    let name: Option<Name> = name
        .map(|name| name.trim_start_matches('/').parse())
        .transpose()?;
    let mut warnings = validate(&spec)?;
    warnings.extend(machine_warnings(&spec, &core.machine));
    warnings.extend(limits::warnings(core, &spec)?);
    let image = core.images.find(&spec.image)?;
    check_platform(&spec, &image)?;
    check_others(core, &spec)?;
    let id = Id::random();
    let reservation = core.containers.reserve(name, &id)?;
    let effective = effective(&id, &spec, &images::config(&image.config))?;
    let (given_records, given_files) = given::take(&mut spec)?;
    let inherited = mounts::inherited(core, &spec)?;
    let image_id = |name: &str| Ok(core.images.find(name)?.id.to_string());
    let plan = mounts::plan(&spec, &effective, inherited, &image_id)?;
    mounts::check_sources(&plan.mounts)?;
    let record = ContainerRecord {
        format: FORMAT,
        name: reservation.name().clone(),
        created: core.now(),
        image_id: image.id.to_string(),
        places: wiring::places(&spec, |network| core.networks.find(network))?,
        mounts: plan.mounts,
        anonymous: plan.anonymous,
        files: given_records,
        effective,
        spec,
        id: id.clone(),
    };
    if let Err(error) = make(core, &record, &image, &given_files).await {
        undo(core, &record).await;
        return Err(error.within(format!("create container {}", record.name)));
    }
    let cell = Arc::new(Cell::new(record, StateRecord::new(&core.boot)));
    core.containers.insert(cell.clone());
    reservation.keep();
    core.say(&cell, "create", &[]);
    Ok(Created {
        id: id.to_string(),
        warnings,
    })
}

fn check_platform(spec: &ContainerSpec, image: &Image) -> Result<()> {
    let Some(wanted) = spec.platform.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let wanted: orc_image::platform::Platform = wanted.parse()?;
    let found = orc_image::platform::Platform::new(&image.os, &image.architecture, &image.variant);
    match wanted.accepts(&found) {
        true => Ok(()),
        false => Err(Error::not_found(format!(
            "image {} was found but its platform ({found}) does not match the specified platform ({wanted})",
            spec.image
        ))),
    }
}

/// Other containers that are named must exist now; they must run when this one starts.
fn check_others(core: &Core, spec: &ContainerSpec) -> Result<()> {
    if let NetworkMode::Container(other) = &spec.network_mode {
        core.find(other)?;
    }
    for mode in [&spec.ipc, &spec.pid, &spec.uts] {
        if let NamespaceMode::Container(other) = mode {
            core.find(other)?;
        }
    }
    Ok(())
}

async fn make(
    core: &Arc<Core>,
    record: &ContainerRecord,
    image: &Image,
    files: &[GivenFile],
) -> Result<()> {
    // With the directory of the log, so that whoever attaches first can watch it.
    fs::create_dir_all(&core.store.log_dir(&record.id), 0o700)?;
    if !record.anonymous.is_empty() {
        core.store.save_intent(&record.id, &record.anonymous)?;
    }
    given::keep(&core.store, &record.id, files)?;
    core.images.create_snapshot(&record.id, &image.id)?;
    create_volumes(core, record).await?;
    fill_volumes(core, record).await?;
    core.store.save_state(
        &record.id,
        &StateRecord::new(&core.boot),
        Durability::Process,
    )?;
    let (core, record) = (core.clone(), record.clone());
    blocking(move || core.store.save_container(&record)).await
}

async fn create_volumes(core: &Arc<Core>, record: &ContainerRecord) -> Result<()> {
    let wanted: Vec<(VolumeSpec, bool)> = record
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            Mount::Volume {
                name,
                labels,
                options,
                ..
            } => {
                let spec = VolumeSpec {
                    name: name.clone(),
                    labels: labels.clone(),
                    options: options.clone(),
                    ..VolumeSpec::default()
                };
                Some((spec, record.anonymous.contains(name)))
            }
            _ => None,
        })
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let core = core.clone();
    blocking(move || {
        for (spec, anonymous) in wanted {
            let (volume, new) = core.volumes.provide(&spec, anonymous, core.now())?;
            if new {
                core.say_of(
                    Subject::Volume,
                    "create",
                    &volume.name,
                    &[("driver", "local")],
                );
            }
        }
        Ok(())
    })
    .await
}

async fn undo(core: &Arc<Core>, record: &ContainerRecord) {
    let (core, id, volumes) = (core.clone(), record.id.clone(), record.anonymous.clone());
    let undone = blocking(move || discard_half(&core, &id, &volumes));
    if let Err(error) = undone.await {
        tracing::warn!("{}", error.within("clean up after a failed creation"));
    }
}

/// Removes what a creation made before it was acknowledged.
pub(crate) fn discard_half(core: &Core, id: &Id, volumes: &[String]) -> Result<()> {
    let removed = volumes.iter().map(|name| {
        core.volumes
            .remove(name, |_| None)
            .or_else(|error| match error.kind() {
                orc_base::Kind::NotFound => Ok(()),
                _ => Err(error),
            })
    });
    let mut errors: Vec<Error> = removed.filter_map(Result::err).collect();
    errors.extend(core.images.remove_snapshot(id).err());
    // Last: it holds the names of the volumes.
    if errors.is_empty() {
        errors.extend(fs::remove_dir_all(&core.store.dirs().container(id)).err());
    }
    Error::all(errors).context(|| format!("remove half of container {}", id.short()))
}
