//! Limits of a container on this machine: what of them is not kept, and changes while it runs.
//!
//! A change is on disk after the kernel has taken it and before anyone is told; a limit that the
//! kernel refuses puts the old ones back.

use std::sync::Arc;

use orc_base::{Context, Result};
use orc_host::container::{ContainerSpec, Resources};
use orc_host::update::ContainerUpdate;

use crate::cell::Cell;
use crate::core::{Core, below_parent, blocking};
use crate::devices;
use crate::translate;
use crate::validate::validate;

/// What this machine does not keep of what is asked for, one sentence each.
pub(crate) fn warnings(core: &Core, spec: &ContainerSpec) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if let Some(parent) = spec
        .cgroup_parent
        .as_deref()
        .filter(|path| is_elsewhere(core, path))
    {
        warnings.push(format!(
            "cgroup parent {parent} is not the machine's: the container is below orc's own group, in {}/{}",
            core.cgroup_parent,
            below_parent(&core.cgroup_parent, parent)
        ));
    }
    if !asks_for_rare_limits(&spec.resources) {
        return Ok(warnings);
    }
    let wanted = translate::resources(
        &spec.resources,
        devices::block_io(&spec.resources.block_io)?,
    );
    let group = core
        .runtime
        .cgroup(&format!("{}/limits", core.cgroup_parent))?;
    warnings.extend(group.unkept(&wanted)?);
    Ok(warnings)
}

fn is_elsewhere(core: &Core, path: &str) -> bool {
    path.starts_with('/') && !path.starts_with(&core.cgroup_parent)
}

/// Limits that not every kernel has.
fn asks_for_rare_limits(resources: &Resources) -> bool {
    resources.memory_swappiness.is_some()
        || resources.oom_kill_disable == Some(true)
        || resources.cpu_realtime_period_us.is_some()
        || resources.cpu_realtime_runtime_us.is_some()
        || resources.block_io != Default::default()
}

/// Changes limits and the restart policy. The answer is what is not done, one sentence each.
pub(crate) async fn update(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    update: &ContainerUpdate,
) -> Result<Vec<String>> {
    let _turn = cell.turn.lock().await;
    let mut record = (*cell.record()).clone();
    let within = || format!("update container {}", cell.record().name);
    let spec = update.over(&record.spec);
    validate(&spec).context(within)?;
    let mut warnings = warnings(core, &spec).context(within)?;
    let old = std::mem::replace(&mut record.spec, spec);
    if cell.run().is_some() && record.spec.resources != old.resources {
        warnings.extend(
            change(core, cell, &old.resources, &record.spec.resources)
                .await
                .context(within)?,
        );
    }
    warnings.dedup();
    let (inner, saved) = (core.clone(), record.clone());
    blocking(move || inner.store.save_container(&saved))
        .await
        .context(within)?;
    cell.set_record(record);
    core.say(cell, "update", &[]);
    Ok(warnings)
}

/// Writes limits into the group of a running container: all, or the old ones again.
async fn change(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    old: &Resources,
    new: &Resources,
) -> Result<Vec<String>> {
    let group = core.runtime.cgroup(&core.cgroup_of(cell.id()))?;
    let in_kernel = |resources: &Resources| -> Result<_> {
        let block_io = devices::block_io(&resources.block_io)?;
        Ok(translate::resources(resources, block_io))
    };
    let (old, new) = (in_kernel(old)?, in_kernel(new)?);
    blocking(move || {
        group.update(&new).inspect_err(|_| {
            // The refusal is what matters.
            let _ = group.update(&old);
        })
    })
    .await
}
