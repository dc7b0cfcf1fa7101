//! A container as people see it, and the containers that a filter wants.

use std::cmp::Reverse;
use std::sync::Arc;

use orc_host::container::{Container, ContainerFilter};

use crate::cell::Cell;
use crate::core::Core;
use crate::{mounts, system, wiring};

/// All that is known of one container.
pub(crate) fn container(core: &Core, cell: &Cell) -> Container {
    let (record, state) = (cell.record(), cell.state());
    let runs = state.life.phase.is_running();
    let sandbox = state.sandbox.as_ref().filter(|_| runs);
    Container {
        id: record.id.to_string(),
        name: record.name.to_string(),
        spec: record.spec.clone(),
        created: record.created,
        image_id: record.image_id.clone(),
        args: record.effective.args.clone(),
        env: record.effective.env.clone(),
        working_dir: record.effective.working_dir.clone(),
        labels: record.effective.labels.clone(),
        healthcheck: record.effective.healthcheck.clone(),
        stop_signal: record.effective.stop_signal.clone(),
        hostname: system::hostname(&record),
        state: state.life.phase.state(),
        health: state.health.filter(|_| runs),
        restart_count: state.life.restarts,
        mounts: record
            .mounts
            .iter()
            .map(|mount| mounts::present(mount, &core.volumes))
            .collect(),
        endpoints: wiring::endpoints(&record, sandbox),
        published: wiring::published(sandbox),
        log_path: core.store.log(&record.id).display().to_string(),
        cgroup: core.cgroup_of(&record.id),
    }
}

/// The containers that a filter wants, newest first.
pub(crate) fn list(core: &Core, filter: &ContainerFilter) -> Vec<Container> {
    let mut cells: Vec<Arc<Cell>> = core.containers.all();
    cells.sort_by_key(|cell| Reverse(cell.record().created));
    cells
        .iter()
        .map(|cell| container(core, cell))
        .filter(|container| filter.matches(container))
        .take(filter.limit.unwrap_or(usize::MAX))
        .collect()
}
