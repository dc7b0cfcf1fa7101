//! What follows when a container's program runs: its health is probed, and its end is dealt with.

use std::sync::Arc;

use orc_base::fs::Durability;
use orc_runtime::spec::Exit;

use crate::actions::perform;
use crate::cell::{Cell, Run};
use crate::core::Core;
use crate::lifecycle::{Event, Phase};
use crate::probe;

/// Follows a run to its end, in the background.
pub(crate) fn supervise(core: &Arc<Core>, cell: &Arc<Cell>, run: Arc<Run>) {
    let (core_, cell_) = (core.clone(), cell.clone());
    core.spawn("container", async move {
        let probes = probe::probe(&core_, &cell_, &run);
        let exit = tokio::select! {
            exit = run.monitor.wait() => exit,
            never = probes => match never {},
        };
        drop(run);
        ended(&core_, &cell_, exit, None).await;
    });
}

/// Deals with the end of a program. `error` says what is odd about it.
pub(crate) async fn ended(core: &Arc<Core>, cell: &Arc<Cell>, exit: Exit, error: Option<String>) {
    let event = Event::Ended {
        code: exit.code,
        oom_killed: exit.oom_killed,
        error,
        at: exit.at,
    };
    debug_assert!(matches!(cell.phase(), Phase::Running { .. }));
    let actions = match cell.step(event, core.now()) {
        Ok(actions) => actions,
        Err(error) => {
            tracing::error!(
                "{}",
                error.within(format!("container {}", cell.id().short()))
            );
            return;
        }
    };
    cell.forget_run();
    core.execs.forget_unstarted(cell.id());
    // The runtime keeps the exit status until the run directory is removed, which is done after
    // this; a state that could not be written is found again from it.
    cell.save_or_warn(&core.store, Durability::Process);
    perform(core, cell, actions).await;
}
