//! What a daemon does when it starts: finds what runs, ends what has ended, removes what nobody owns.
//!
//! Looks at records and kernel once, in parallel, then acts. Safe to be killed itself: everything here
//! is done again by the next one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Id, Result};
use orc_host::container::Mount;
use orc_runtime::Adopted;
use orc_runtime::spec::Exit;

use crate::actions::{perform, retry_after, tear_down};
use crate::cell::{Cell, Run};
use crate::core::{Core, Wish, blocking};
use crate::create::discard_half;
use crate::lifecycle::{Event, Phase};
use crate::records::{ContainerRecord, StateRecord};
use crate::remove::discard;
use crate::start::{Failure, give_up, write_files};
use crate::supervise::{ended, supervise};

/// What became of a container that was running when the last daemon ended.
enum Found {
    /// It never ran, ended before, or the machine has started anew.
    Nothing,
    Runs(Box<orc_runtime::Monitor>),
    Ended(Exit),
    Lost,
}

/// Brings memory, disk and kernel together.
pub(crate) async fn recover(core: &Arc<Core>) -> Result<()> {
    let loaded = load(core)?;
    let cells = core.containers.all();
    let found = join_all(cells.iter().map(|cell| look(core, cell))).await;
    let sandboxes = cells
        .iter()
        .zip(&found)
        .filter(|(_, found)| matches!(found, Found::Runs(_)))
        .filter_map(|(cell, _)| cell.state().sandbox)
        .collect();
    core.net
        .restore(core.networks.models(), sandboxes)
        .await
        .context(|| "restore the networks")?;
    core.networks.ensure_default(&core.net, core.now()).await?;
    join_all(
        cells
            .iter()
            .zip(found)
            .map(|(cell, found)| settle(core, cell, found)),
    )
    .await;
    sweep(core, loaded).await;
    Ok(())
}

/// Containers that are on disk and not in memory.
struct Unloaded {
    /// Never acknowledged.
    halves: Vec<Id>,
    /// Their record cannot be read: their files and programs are left alone.
    unreadable: Vec<Id>,
}

/// Loads all containers.
fn load(core: &Core) -> Result<Unloaded> {
    let (ids, strangers) = core.store.containers()?;
    for path in strangers {
        remove_stranger(&path);
    }
    let mut unloaded = Unloaded {
        halves: Vec::new(),
        unreadable: Vec::new(),
    };
    for id in ids {
        if !core.store.is_whole(&id) {
            unloaded.halves.push(id);
            continue;
        }
        fs::remove_leftovers(&core.store.dirs().container(&id))?;
        match load_one(core, &id) {
            Ok(cell) => core.containers.insert(Arc::new(cell)),
            Err(error) => {
                tracing::error!("{}", error.within("this container is left alone"));
                unloaded.unreadable.push(id);
            }
        }
    }
    Ok(unloaded)
}

fn load_one(core: &Core, id: &Id) -> Result<Cell> {
    let record = core.store.load_container(id)?;
    let state = match core.store.load_state(id)? {
        Some(state) => state,
        None => unknown_state(core, id),
    };
    Ok(Cell::new(record, state))
}

/// Where a container is whose state is missing or damaged. A program may still run in it, which must
/// be found and not be started a second time: that is what is done with a start that was cut off.
fn unknown_state(core: &Core, id: &Id) -> StateRecord {
    if !core.store.dirs().run_container(id).exists() {
        return StateRecord::new("");
    }
    tracing::error!(
        container = id.short(),
        "its state is damaged: if it runs, it runs on without its networks until it is restarted"
    );
    let mut state = StateRecord::new(&core.boot);
    state.life.phase = Phase::Starting {
        at: core.now(),
        before: None,
        retry: false,
    };
    state
}

fn remove_stranger(path: &Path) {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    if let Err(error) = removed {
        tracing::warn!("{error}");
    }
}

async fn look(core: &Core, cell: &Cell) -> Found {
    let state = cell.state();
    let was_running = matches!(
        state.life.phase,
        Phase::Running { .. } | Phase::Starting { .. }
    );
    if !was_running || state.boot != core.boot {
        return Found::Nothing;
    }
    let directory = core.store.dirs().run_container(cell.id());
    match core.runtime.adopt(&directory).await {
        Ok(Adopted::Running(monitor)) => Found::Runs(Box::new(monitor)),
        Ok(Adopted::Exited(exit)) => Found::Ended(exit),
        Ok(Adopted::Lost) => Found::Lost,
        Err(error) => {
            let name = cell.record().name.clone();
            tracing::error!("{}", error.within(format!("find container {name} again")));
            Found::Lost
        }
    }
}

async fn settle(core: &Arc<Core>, cell: &Arc<Cell>, found: Found) {
    let name = cell.record().name.clone();
    if let Err(error) = bring_up_to_date(core, cell, found).await {
        tracing::error!("{}", error.within(format!("recover container {name}")));
    }
}

async fn bring_up_to_date(core: &Arc<Core>, cell: &Arc<Cell>, found: Found) -> Result<()> {
    match (cell.phase(), found) {
        (Phase::Removing { .. }, _) => discard(core, cell).await,
        (phase, Found::Runs(monitor)) => {
            let run = Arc::new(Run { monitor: *monitor });
            core.volumes.hold(volumes_of(&cell.record()), cell.id());
            cell.set_run(Some(run.clone()));
            if matches!(phase, Phase::Starting { .. }) {
                let pid = run.monitor.pid();
                let actions = cell.step(Event::Started { pid }, core.now())?;
                perform(core, cell, actions).await;
            }
            // Whatever cannot be written on a full disk: somebody must watch it.
            let kept = keep_network(core, cell).await;
            cell.save_or_warn(&core.store, Durability::Process);
            supervise(core, cell, run);
            kept
        }
        (phase, Found::Ended(exit)) => {
            if matches!(phase, Phase::Starting { .. }) {
                cell.step(Event::Started { pid: 0 }, exit.at)?;
            }
            ended(core, cell, exit, None).await;
            Ok(())
        }
        (Phase::Running { .. }, Found::Lost) => {
            let exit = Exit {
                code: 137,
                oom_killed: false,
                at: core.now(),
            };
            let why = "its monitor was lost while no daemon watched: it was killed";
            ended(core, cell, exit, Some(why.into())).await;
            Ok(())
        }
        (Phase::Starting { .. }, Found::Lost) => {
            undo_start(core, cell).await;
            Ok(())
        }
        (phase, Found::Nothing | Found::Lost) => at_rest(core, cell, phase).await,
    }
}

/// The names of the volumes that a container mounts.
fn volumes_of(record: &ContainerRecord) -> impl Iterator<Item = &str> {
    record.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume { name, .. } => Some(name.as_str()),
        _ => None,
    })
}

/// The sandbox as the network layer restored it.
async fn keep_network(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    let Some(sandbox) = core.net.sandbox(cell.id()) else {
        return Ok(());
    };
    if cell.state().sandbox.as_ref() != Some(&sandbox) {
        let record = cell.record();
        write_files(core, &record, Some(&sandbox), &record.effective.hostname)?;
        cell.set_sandbox(Some(sandbox));
    }
    Ok(())
}

/// The daemon was killed in the middle of a start, before the program ran.
async fn undo_start(core: &Arc<Core>, cell: &Arc<Cell>) {
    let failure = Failure {
        code: 125,
        error: Error::unavailable("the daemon ended while it was started"),
    };
    give_up(core, cell, failure).await;
}

/// A container that does not run: after a boot the policy is asked, otherwise its timer goes on.
async fn at_rest(core: &Arc<Core>, cell: &Arc<Cell>, phase: Phase) -> Result<()> {
    if cell.state().boot != core.boot {
        let actions = cell.step(Event::Boot, core.now())?;
        cell.forget_run();
        cell.set_boot(&core.boot);
        cell.save_or_warn(&core.store, Durability::Process);
        perform(core, cell, actions).await;
        return Ok(());
    }
    match phase {
        Phase::Restarting { .. } => {
            retry_after(core, cell.id(), cell.state().life.waited);
        }
        Phase::Exited { .. } if cell.record().spec.auto_remove => {
            // The receiver is the engine's own loop.
            let _ = core.wishes.send(Wish::Remove(cell.id().clone()));
        }
        _ => {}
    }
    // The end was recorded and perhaps not all was torn down.
    if core.store.dirs().run_container(cell.id()).exists() {
        tear_down(core, cell.id(), &core.cgroup_of(cell.id())).await?;
    }
    Ok(())
}

/// Removes what belongs to no container. What cannot be removed is said and left for the next time.
async fn sweep(core: &Arc<Core>, unloaded: Unloaded) {
    let loaded = core.containers.all();
    let owned: BTreeSet<Id> = loaded
        .iter()
        .map(|cell| cell.id().clone())
        .chain(unloaded.unreadable)
        .collect();
    let mut errors = Vec::new();
    for id in &unloaded.halves {
        errors.extend(sweep_half(core, id).await.err());
    }
    errors.extend(sweep_runs(core, &owned).await.err());
    errors.extend(sweep_namespaces(core, &owned).await.err());
    let inner = core.clone();
    let volumes = blocking(move || inner.volumes.put_away_unused());
    errors.extend(volumes.await.err());
    let inner = core.clone();
    let snapshots = blocking(move || {
        let strays = inner.images.snapshots()?;
        Error::all(
            strays
                .iter()
                .filter(|id| !owned.contains(id))
                .filter_map(|id| inner.images.remove_snapshot(id).err()),
        )
    });
    errors.extend(snapshots.await.err());
    if let Err(error) = Error::all(errors) {
        tracing::warn!("{}", error.within("remove what an earlier daemon left"));
    }
}

async fn sweep_half(core: &Arc<Core>, id: &Id) -> Result<()> {
    let (core, id) = (core.clone(), id.clone());
    blocking(move || {
        let volumes = core.store.load_intent(&id)?;
        discard_half(&core, &id, &volumes)
    })
    .await
}

/// Run directories without a container: a program may still run in one.
async fn sweep_runs(core: &Arc<Core>, owned: &BTreeSet<Id>) -> Result<()> {
    let (ids, strangers) = core.store.run_containers()?;
    for path in strangers {
        remove_stranger(&path);
    }
    let mut errors = Vec::new();
    for id in ids.iter().filter(|id| !owned.contains(id)) {
        let directory = core.store.dirs().run_container(id);
        if let Ok(Adopted::Running(monitor)) = core.runtime.adopt(&directory).await {
            let _ = monitor.signal(orc_runtime::signal::KILL);
            monitor.wait().await;
        }
        errors.extend(tear_down(core, id, &core.cgroup_of(id)).await.err());
    }
    Error::all(errors)
}

/// Pinned namespaces of containers that do not run.
async fn sweep_namespaces(core: &Arc<Core>, owned: &BTreeSet<Id>) -> Result<()> {
    let mut errors = Vec::new();
    for path in fs::list(&core.store.dirs().namespaces())? {
        let id = path
            .file_name()
            .and_then(|name| name.to_str()?.parse::<Id>().ok());
        let Some(id) = id else { continue };
        let used = match core.containers.get(&id) {
            Some(cell) => !cell.phase().is_at_rest(),
            None => owned.contains(&id),
        };
        if !used {
            errors.extend(core.net.remove_namespace(&id).await.err());
        }
    }
    Error::all(errors)
}
