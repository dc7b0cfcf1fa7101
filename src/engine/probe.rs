//! Runs the probes of a container's health check, one at a time, and does nothing between them.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use orc_base::Result;
use orc_base::fs::Durability;
use orc_host::container::Probe;
use orc_host::exec::ExecSpec;
use tokio::io::AsyncReadExt;

use crate::cell::{Cell, Run};
use crate::core::Core;
use crate::health::{self, MAX_OUTPUT, Schedule};
use crate::lifecycle::Phase;
use crate::pipes::Reader;
use crate::system::hostname;
use crate::translate;

/// How long the kernel may take to end a probe that was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Probes a running container for ever; without a health check, waits for ever. A container that was
/// adopted goes on with the health it had.
pub(crate) async fn probe(core: &Arc<Core>, cell: &Arc<Cell>, run: &Arc<Run>) -> Infallible {
    let check = cell.record().effective.healthcheck.clone();
    let (Some(schedule), Phase::Running { started_at, .. }) =
        (check.as_ref().and_then(health::schedule), cell.phase())
    else {
        return std::future::pending().await;
    };
    let mut health = cell.state().health.unwrap_or_else(health::starting);
    cell.set_health(Some(health.clone()));
    loop {
        let pause = health::pause(&health, started_at, core.now(), &schedule);
        tokio::time::sleep(pause).await;
        if !matches!(cell.phase(), Phase::Running { paused: false, .. }) {
            continue;
        }
        let probe = run_once(core, cell, run, &schedule).await;
        let next = health::judge(&health, probe, started_at, &schedule);
        let changed = next.status != health.status;
        health = next;
        cell.set_health(Some(health.clone()));
        if changed {
            core.say(
                cell,
                format!("health_status: {}", health.status.as_str()),
                &[],
            );
        }
        cell.save_or_warn(&core.store, Durability::Process);
    }
}

async fn run_once(core: &Arc<Core>, cell: &Cell, run: &Run, schedule: &Schedule) -> Probe {
    let start = core.now();
    let (exit_code, output) = match execute(core, cell, run, schedule).await {
        Ok((Some(code), output)) => (code, health::output(&output)),
        Ok((None, output)) => {
            let limit = orc_base::units::format_duration(schedule.timeout);
            let output = health::output(&output);
            let text = format!("Health check exceeded timeout ({limit}): {output}");
            (-1, text)
        }
        Err(error) => (-1, error.to_string()),
    };
    Probe {
        start,
        end: core.now(),
        exit_code,
        output,
    }
}

/// The exit code, none when it took too long and was killed, and the beginning of the output.
async fn execute(
    core: &Core,
    cell: &Cell,
    run: &Run,
    schedule: &Schedule,
) -> Result<(Option<i32>, Vec<u8>)> {
    let wanted = ExecSpec {
        command: schedule.command.clone(),
        stdout: true,
        stderr: true,
        ..ExecSpec::default()
    };
    let record = cell.record();
    let spec = translate::exec(
        &record,
        &wanted,
        &hostname(&record),
        &core.cgroup_of(cell.id()),
        &core.machine,
    )?;
    let deadline = tokio::time::Instant::now() + schedule.timeout;
    let started = tokio::time::timeout_at(deadline, core.runtime.exec(&run.monitor, &spec)).await;
    let Ok(exec) = started else {
        return Ok((None, Vec::new()));
    };
    let mut exec = exec?;
    let (stdout, stderr) = (exec.stdout.take(), exec.stderr.take());
    let mut output = Vec::new();
    let collect = collect(stdout, stderr, &mut output);
    let ended = tokio::time::timeout_at(deadline, async {
        tokio::pin!(collect);
        tokio::select! {
            code = exec.wait() => {
                // What it wrote before it ended is in the pipes already; what a grandchild may write
                // later is not waited for.
                let _ = tokio::time::timeout(Duration::from_millis(5), collect).await;
                code
            }
            _ = &mut collect => exec.wait().await,
        }
    })
    .await;
    match ended {
        Ok(code) => Ok((Some(code), output)),
        Err(_) => {
            let _ = exec.signal(orc_runtime::signal::KILL);
            // What waits for a disk is left to the kernel.
            let _ = tokio::time::timeout(KILL_TIMEOUT, exec.wait()).await;
            Ok((None, output))
        }
    }
}

/// Reads both outputs to their end; the beginning is kept.
async fn collect(
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    kept: &mut Vec<u8>,
) -> Result<()> {
    let mut stdout = stdout.map(Reader::new).transpose()?;
    let mut stderr = stderr.map(Reader::new).transpose()?;
    let (mut one, mut two) = ([0; 4096], [0; 4096]);
    while stdout.is_some() || stderr.is_some() {
        let (count, bytes, source) = tokio::select! {
            count = read(&mut stdout, &mut one) => (count, &one, 1),
            count = read(&mut stderr, &mut two) => (count, &two, 2),
        };
        if count == 0 && source == 1 {
            stdout = None;
        } else if count == 0 {
            stderr = None;
        }
        let room = (MAX_OUTPUT + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..count.min(room)]);
    }
    Ok(())
}

async fn read(source: &mut Option<Reader>, buffer: &mut [u8]) -> usize {
    match source {
        Some(source) => source.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}
