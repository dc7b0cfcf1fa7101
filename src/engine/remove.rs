//! Removes containers, and renames them.

use std::sync::Arc;

use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Kind, Name, Result};
use orc_host::container::RemoveOptions;
use orc_host::event::Subject;

use crate::actions::tear_down;
use crate::cell::Cell;
use crate::core::{Core, blocking};
use crate::lifecycle::{Event, Phase};
use crate::stop::kill_now;

/// Removes a container for someone.
pub(crate) async fn remove(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    options: RemoveOptions,
) -> Result<()> {
    let name = cell.record().name.clone();
    if options.force {
        // Before the turn: someone may be waiting for it to stop.
        kill_now(core, cell).await?;
    }
    let _turn = cell.turn.lock().await;
    if cell.pulse().removed {
        return Err(Error::not_found(format!("No such container: {name}")));
    }
    if options.force {
        kill_now(core, cell).await?;
    }
    let wanted = Event::Remove {
        volumes: options.volumes,
    };
    cell.step(wanted, core.now())
        .context(|| format!("cannot remove container {name}"))?;
    cell.until_settled().await;
    discard(core, cell)
        .await
        .context(|| format!("remove container {name}"))
}

/// Removes everything that belongs to a container whose removal has begun. Safe to run again on what
/// is half gone.
pub(crate) async fn discard(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    let record = cell.record();
    let volumes = matches!(cell.phase(), Phase::Removing { volumes: true });
    if core.store.dirs().run_container(&record.id).exists() {
        tear_down(core, &record.id, &core.cgroup_of(&record.id)).await?;
    }
    if volumes && !record.anonymous.is_empty() {
        // So that a crash does not keep them. On a full disk it may: things must go to make room.
        cell.save_or_warn(&core.store, Durability::Process);
        let (inner, mine) = (core.clone(), record.clone());
        blocking(move || remove_volumes(&inner, &mine)).await?;
    }
    // One rename and the container is no more. Files that are left are removed in the background, or
    // by the next daemon, which finds them without a container.
    let gone = core.store.hide_container(&record.id)?;
    core.say(cell, "destroy", &[]);
    core.execs.forget(&record.id);
    core.containers.remove(&record.id);
    cell.remove();
    let inner = core.clone();
    core.spawn("remove files", async move {
        let work = blocking(move || {
            let removed = gone.map_or(Ok(()), |path| fs::remove_dir_all(&path));
            Error::all(
                [removed, inner.images.remove_snapshot(&record.id)]
                    .into_iter()
                    .filter_map(Result::err),
            )
        });
        if let Err(error) = work.await {
            tracing::warn!("{}", error.within("remove the files of a container"));
        }
    });
    Ok(())
}

/// Removes the container's anonymous volumes that nobody else mounts.
fn remove_volumes(core: &Core, record: &crate::records::ContainerRecord) -> Result<()> {
    for name in &record.anonymous {
        let user = |name: &str| core.volume_user_but(name, Some(&record.id));
        match core.volumes.remove(name, user) {
            Ok(()) => core.say_of(Subject::Volume, "destroy", name, &[("driver", "local")]),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives a container another name.
pub(crate) async fn rename(core: &Arc<Core>, cell: &Arc<Cell>, new: &str) -> Result<()> {
    let new: Name = new.trim_start_matches('/').parse()?;
    let _turn = cell.turn.lock().await;
    let mut record = (*cell.record()).clone();
    let old = std::mem::replace(&mut record.name, new.clone());
    if old == new {
        return Err(Error::invalid(
            "Renaming a container with the same name as its current name",
        ));
    }
    core.containers.reserve_new(&new, cell.id())?;
    if let Err(error) = core.store.save_container(&record) {
        core.containers.release(&new);
        return Err(error.within(format!("rename container {old}")));
    }
    cell.set_record(record);
    core.containers.release(&old);
    // What it is called on its networks changes at once; until the next start at the latest.
    if let Err(error) = renamed_on_networks(core, cell, new).await {
        tracing::warn!(%error, container = %old, "its peers know a container by its old name");
    }
    core.say(cell, "rename", &[("oldName", format!("/{old}"))]);
    Ok(())
}

async fn renamed_on_networks(core: &Arc<Core>, cell: &Arc<Cell>, new: Name) -> Result<()> {
    if core.net.sandbox(cell.id()).is_none() {
        return Ok(());
    }
    core.net.rename(cell.id(), new).await?;
    cell.set_sandbox(core.net.sandbox(cell.id()));
    cell.save(&core.store, Durability::Process)
}
