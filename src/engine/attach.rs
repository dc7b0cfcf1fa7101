//! Connects people to a container's stdio: its output is the log from now on, its input goes to the
//! monitor.
//!
//! A container that does not run may be attached to: what is typed waits for it, and the output ends
//! with its next run.

use std::pin::Pin;
use std::sync::Arc;

use orc_base::Result;
use orc_host::stream::Attached;
use tokio::io::{AsyncWrite, AsyncWriteExt, DuplexStream};

use crate::cell::{Cell, Run};
use crate::core::Core;
use crate::logs;
use crate::pipes::Writer;

/// How much input waits for a container that does not read.
const INPUT_BYTES: usize = 64 << 10;

/// Attaches to a container.
pub(crate) fn attach(core: &Arc<Core>, cell: &Arc<Cell>) -> Result<Attached> {
    let record = cell.record();
    let output = logs::chunks(core, cell)?;
    let input = record.spec.open_stdin.then(|| {
        let (theirs, ours) = tokio::io::duplex(INPUT_BYTES);
        let (cell, ends) = (cell.clone(), cell.pulse().ends);
        core.spawn("container input", async move {
            // A container that ends does not read on: that is no error of anyone.
            let _ = pump(ours, &cell, ends).await;
        });
        Box::pin(theirs) as Pin<Box<dyn AsyncWrite + Send>>
    });
    core.say(cell, "attach", &[]);
    Ok(Attached {
        input,
        output,
        terminal: record.spec.tty,
    })
}

/// Carries input to the run after the `ends`th, until either side ends.
async fn pump(mut input: DuplexStream, cell: &Cell, ends: u64) -> Result<()> {
    let over = |pulse: &crate::cell::Pulse| pulse.removed || pulse.ends > ends;
    cell.until(|pulse| pulse.running || over(pulse)).await;
    let Some(run) = cell.run() else { return Ok(()) };
    let Some(fd) = run.monitor.stdin().await? else {
        return Ok(());
    };
    let mut stdin = Writer::new(fd)?;
    let copied = tokio::select! {
        copied = tokio::io::copy(&mut input, &mut stdin) => copied,
        _ = cell.until(over) => return Ok(()),
    };
    stdin.shutdown().await?;
    drop(stdin);
    close(cell, &run).await?;
    copied?;
    Ok(())
}

/// The first one attached has left: with `stdin_once` the input ends. A terminal has no end.
async fn close(cell: &Cell, run: &Run) -> Result<()> {
    let spec = &cell.record().spec;
    match spec.stdin_once && !spec.tty {
        true => run.monitor.close_stdin().await,
        false => Ok(()),
    }
}
