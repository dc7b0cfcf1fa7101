//! Ends containers, freezes them, and sends them signals.

use std::sync::Arc;
use std::time::Duration;

use orc_base::fs::Durability;
use orc_base::{Context, Error, Kind, Result};
use orc_host::container::RestartPolicy;
use orc_host::stop::StopOptions;
use orc_host::stream::STOP_TIMEOUT;
use orc_runtime::signal;

use crate::cell::{Cell, Run};
use crate::core::{Core, blocking};
use crate::lifecycle::{Event, Phase};
use crate::start::launch;

/// How long the kernel may take to end what was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks a container to end, and kills it when it does not in time.
pub(crate) async fn stop(core: &Arc<Core>, cell: &Arc<Cell>, how: &StopOptions) -> Result<()> {
    let _turn = cell.turn.lock().await;
    end(core, cell, how).await?;
    core.say(cell, "stop", &[]);
    Ok(())
}

/// Stops a container when it runs, and starts it.
pub(crate) async fn restart(core: &Arc<Core>, cell: &Arc<Cell>, how: &StopOptions) -> Result<()> {
    let _turn = cell.turn.lock().await;
    match end(core, cell, how).await {
        Ok(()) => core.say(cell, "stop", &[]),
        Err(error) if error.kind() == Kind::Unchanged => {}
        Err(error) => return Err(error),
    }
    launch(core, cell, Event::Start).await?;
    core.say(cell, "restart", &[]);
    Ok(())
}

/// Ends a container in the caller's turn. `Unchanged` when it does not run.
async fn end(core: &Arc<Core>, cell: &Arc<Cell>, how: &StopOptions) -> Result<()> {
    let record = cell.record();
    // Read before anything is remembered: what is no signal changes nothing.
    let asked = how.signal.as_deref().filter(|text| !text.is_empty());
    let number = signal::parse(asked.unwrap_or(&record.effective.stop_signal))?;
    by_hand(core, cell).context(|| format!("container {}", record.name))?;
    let Some(run) = cell.run() else {
        // It waited for its restart.
        return Ok(());
    };
    let patience = how
        .timeout
        .or(record.spec.stop_timeout)
        .unwrap_or(STOP_TIMEOUT);
    send(core, cell, &run, number).await?;
    let ended = cell.until(|pulse| !pulse.running);
    if tokio::time::timeout(patience, ended).await.is_err() {
        kill(core, cell, &run).await?;
    }
    cell.until_settled().await;
    Ok(())
}

/// Remembers that someone wants it to end.
fn by_hand(core: &Core, cell: &Cell) -> Result<()> {
    cell.step(Event::Stop, core.now())?;
    // What the policy must not forget over a power loss.
    let durability = match cell.record().spec.restart {
        RestartPolicy::No => Durability::Process,
        _ => Durability::Synced,
    };
    cell.save_or_warn(&core.store, durability);
    Ok(())
}

/// Kills a container and waits until it is gone.
async fn kill(core: &Arc<Core>, cell: &Arc<Cell>, run: &Run) -> Result<()> {
    send(core, cell, run, signal::KILL).await?;
    let ended = cell.until(|pulse| !pulse.running);
    match tokio::time::timeout(KILL_TIMEOUT, ended).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::timeout(format!(
            "container {} was killed and has not ended after {} s: it may wait for a disk",
            cell.record().name,
            KILL_TIMEOUT.as_secs()
        ))),
    }
}

/// Sends a signal to the first process; one that has ended meanwhile is fine. A frozen container is
/// thawed by what is to end it: signals do not reach frozen processes.
async fn send(core: &Arc<Core>, cell: &Arc<Cell>, run: &Run, number: i32) -> Result<()> {
    let name = signal::name(number).unwrap_or_else(|| number.to_string());
    match run.monitor.signal(number) {
        Err(error) if error.kind() == Kind::NotFound => {}
        other => other.context(|| format!("send {name} to container {}", cell.record().name))?,
    }
    core.say(cell, "kill", &[("signal", number.to_string())]);
    if matches!(cell.phase(), Phase::Running { paused: true, .. }) {
        thaw(core, cell).await?;
    }
    Ok(())
}

/// Sends a signal for someone. It does not wait for its turn: a container that does not stop must be
/// killable.
pub(crate) async fn signal(core: &Arc<Core>, cell: &Arc<Cell>, text: Option<&str>) -> Result<()> {
    let number = signal::parse(text.filter(|text| !text.is_empty()).unwrap_or("KILL"))?;
    let run = cell.running()?;
    let stop = signal::parse(&cell.record().effective.stop_signal)?;
    if number == signal::KILL || number == stop {
        match by_hand(core, cell) {
            Err(error) if error.kind() == Kind::Unchanged => {}
            other => other?,
        }
    }
    match number {
        signal::KILL => kill(core, cell, &run).await,
        _ => send_plain(core, cell, &run, number),
    }
}

fn send_plain(core: &Core, cell: &Cell, run: &Run, number: i32) -> Result<()> {
    run.monitor
        .signal(number)
        .map_err(|error| match error.kind() {
            Kind::NotFound => {
                Error::conflict(format!("container {} is not running", cell.record().name))
            }
            _ => error,
        })?;
    core.say(cell, "kill", &[("signal", number.to_string())]);
    Ok(())
}

/// Kills a container for its removal, whoever's turn it is.
pub(crate) async fn kill_now(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    match by_hand(core, cell) {
        Err(error) if error.kind() == Kind::Unchanged => return Ok(()),
        other => other?,
    }
    match cell.run() {
        Some(run) => kill(core, cell, &run).await,
        None => Ok(()),
    }
}

/// Freezes all processes of a container.
pub(crate) async fn pause(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    let _turn = cell.turn.lock().await;
    let name = cell.record().name.clone();
    let within = || format!("container {name}");
    // Decided first, so that a container that is paused is not touched.
    let actions = cell.step(Event::Pause, core.now()).context(within)?;
    let group = core.runtime.cgroup(&core.cgroup_of(cell.id()))?;
    if let Err(error) = blocking(move || group.freeze()).await {
        let _ = cell.step(Event::Unpause, core.now());
        return Err(error.within(within()));
    }
    cell.save_or_warn(&core.store, Durability::Process);
    crate::actions::perform(core, cell, actions).await;
    Ok(())
}

/// Thaws what [`pause`] froze.
pub(crate) async fn unpause(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    let _turn = cell.turn.lock().await;
    thaw(core, cell).await
}

async fn thaw(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<()> {
    let name = cell.record().name.clone();
    let actions = cell
        .step(Event::Unpause, core.now())
        .context(|| format!("container {name}"))?;
    let group = core.runtime.cgroup(&core.cgroup_of(cell.id()))?;
    blocking(move || group.thaw())
        .await
        .context(|| format!("container {name}"))?;
    cell.save_or_warn(&core.store, Durability::Process);
    crate::actions::perform(core, cell, actions).await;
    Ok(())
}
