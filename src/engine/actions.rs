//! Carries out what [`crate::lifecycle`] decided, and undoes what a run made on the machine.

use std::sync::Arc;
use std::time::Duration;

use orc_base::{Context, Error, Id, Result};

use crate::cell::Cell;
use crate::core::{Core, Wish, blocking};
use crate::lifecycle::Action;

/// Does what a step asks for, in order.
pub(crate) async fn perform(core: &Arc<Core>, cell: &Arc<Cell>, actions: Vec<Action>) {
    for action in actions {
        match action {
            Action::Say(what, attributes) => core.say(cell, what, &attributes),
            Action::TearDown => settle(core, cell).await,
            Action::RetryAfter(wait) => retry_after(core, cell.id(), wait),
            // The receiver lives as long as the engine's loop: when it is gone, so are we.
            Action::Remove => drop(core.wishes.send(Wish::Remove(cell.id().clone()))),
        }
    }
}

/// Asks for the next start when the wait of the restart policy is over.
pub(crate) fn retry_after(core: &Arc<Core>, id: &Id, wait: Duration) {
    let (wishes, id) = (core.wishes.clone(), id.clone());
    core.spawn("restart timer", async move {
        tokio::time::sleep(wait).await;
        let _ = wishes.send(Wish::Retry(id));
    });
}

/// Tears down what the last run left and says so to those who wait.
pub(crate) async fn settle(core: &Arc<Core>, cell: &Arc<Cell>) {
    if let Err(error) = tear_down(core, cell.id(), &core.cgroup_of(cell.id())).await {
        // The next start and the removal try again.
        let name = cell.record().name.clone();
        tracing::warn!("{}", error.within(format!("clean up after {name}")));
    }
    cell.settle();
}

/// Removes what the last run of a container made: network, namespace, cgroup, run directory, and the
/// mounts of volumes that only it used. Does all it can, on whatever is there.
pub(crate) async fn tear_down(core: &Arc<Core>, id: &Id, cgroup: &str) -> Result<()> {
    let network = async {
        let detached = core.net.detach(id).await.context(|| "detach the network");
        let removed = core
            .net
            .remove_namespace(id)
            .await
            .context(|| "remove the network namespace");
        [detached, removed]
    };
    let (directory, cgroup) = (
        core.store.dirs().run_container(id),
        core.runtime.cgroup(cgroup),
    );
    let (inner, user) = (core.clone(), id.clone());
    let rest = blocking(move || {
        inner.volumes.let_go(&user)?;
        cgroup
            .and_then(|cgroup| cgroup.remove())
            .context(|| "remove the cgroup")?;
        // Last: as long as it is there, the next daemon knows that something may be left.
        orc_base::fs::remove_dir_all(&directory)
    });
    let (network, rest) = tokio::join!(network, rest);
    let errors = network
        .into_iter()
        .chain([rest])
        .filter_map(|result| result.err());
    Error::all(errors)
}
