//! Runs further processes in containers and connects people to them.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream;
use orc_base::{Error, Kind, Result};
use orc_host::exec::ExecSpec;
use orc_host::stream::{Attached, Bytes, Chunk, Output, Stream};
use orc_runtime::Exec;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;

use crate::cell::Cell;
use crate::core::Core;
use crate::lifecycle::Phase;
use crate::pipes::{Reader, Writer};
use crate::system::hostname;
use crate::translate;

/// How many pieces of output wait for whoever reads them.
const PIECES: usize = 32;
/// The most bytes of a piece.
const PIECE_BYTES: usize = 32 << 10;

/// Prepares a process in a running container.
pub(crate) fn create(core: &Core, cell: &Cell, spec: &ExecSpec) -> Result<String> {
    may_exec(cell)?;
    if spec.command.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("No exec command specified"));
    }
    let id = core.execs.create(cell.id(), spec)?;
    say(core, cell, "exec_create", spec, &id, None);
    Ok(id)
}

fn may_exec(cell: &Cell) -> Result<()> {
    let name = &cell.record().name;
    match cell.phase() {
        Phase::Running { paused: false, .. } => Ok(()),
        Phase::Running { .. } => Err(Error::conflict(format!(
            "Container {name} is paused, unpause the container before exec"
        ))),
        _ => Err(Error::conflict(format!("container {name} is not running"))),
    }
}

/// Runs a prepared process. That there is no such program is told in its output, as Docker does,
/// unless nobody looks at that.
pub(crate) async fn start(core: &Arc<Core>, id: &str, detach: bool) -> Result<Attached> {
    let (container, spec) = core.execs.begin(id)?;
    let cell = core
        .containers
        .get(&container)
        .ok_or_else(|| Error::not_found(format!("No such container: {}", container.short())))?;
    let exec = match run(core, &cell, &spec).await {
        Ok(exec) => exec,
        Err(error) => {
            let code = match error.kind() {
                Kind::NotFound => 127,
                Kind::Denied => 126,
                _ => 128,
            };
            core.execs.ended(id, code);
            return match code < 128 && !detach {
                true => Ok(told(&spec, &error)),
                false => Err(error),
            };
        }
    };
    say(core, &cell, "exec_start", &spec, id, None);
    attach(core, &cell, id, &spec, exec, detach)
}

async fn run(core: &Arc<Core>, cell: &Cell, spec: &ExecSpec) -> Result<Exec> {
    may_exec(cell)?;
    let run = cell.running()?;
    let record = cell.record();
    let cgroup = core.cgroup_of(cell.id());
    let order = translate::exec(&record, spec, &hostname(&record), &cgroup, &core.machine)?;
    core.runtime.exec(&run.monitor, &order).await
}

/// An exec whose only output is why it did not run.
fn told(spec: &ExecSpec, error: &Error) -> Attached {
    let end = if spec.tty { "\r\n" } else { "\n" };
    let chunk = Chunk {
        output: if spec.tty {
            Output::Stdout
        } else {
            Output::Stderr
        },
        bytes: format!("OCI runtime exec failed: exec failed: {error}{end}").into(),
    };
    Attached {
        input: spec
            .stdin
            .then(|| Box::pin(tokio::io::sink()) as Pin<Box<dyn AsyncWrite + Send>>),
        output: Box::pin(stream::iter([Ok(chunk)])),
        terminal: spec.tty,
    }
}

fn attach(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    id: &str,
    spec: &ExecSpec,
    mut exec: Exec,
    detach: bool,
) -> Result<Attached> {
    let input = exec.stdin.take();
    let outputs = match &exec.terminal {
        Some(terminal) => vec![(Output::Stdout, terminal.try_clone()?)],
        None => [
            (Output::Stdout, exec.stdout.take()),
            (Output::Stderr, exec.stderr.take()),
        ]
        .into_iter()
        .filter_map(|(output, fd)| Some((output, fd?)))
        .collect(),
    };
    let input = match (&exec.terminal, input) {
        (Some(terminal), _) => Some(terminal.try_clone()?),
        (None, input) => input,
    };
    let exec = Arc::new(exec);
    core.execs.started(id, exec.clone());
    let (pieces, output) = mpsc::channel(PIECES);
    let follow = follow(
        core.clone(),
        cell.clone(),
        id.to_owned(),
        spec.clone(),
        exec,
        outputs,
        pieces,
    );
    core.spawn("exec", follow);
    let input = match input.filter(|_| spec.stdin && !detach) {
        Some(fd) => Some(Box::pin(Writer::new(fd)?) as Pin<Box<dyn AsyncWrite + Send>>),
        None => None,
    };
    Ok(Attached {
        input,
        output: match detach {
            true => Box::pin(stream::empty()),
            false => received(output),
        },
        terminal: spec.tty,
    })
}

fn received(output: mpsc::Receiver<Chunk>) -> Stream<Chunk> {
    Box::pin(stream::unfold(output, |mut output| async move {
        output.recv().await.map(|chunk| (Ok(chunk), output))
    }))
}

/// Reads what a process writes until it ends, also when nobody listens any more, and remembers how
/// it ended before its output does.
async fn follow(
    core: Arc<Core>,
    cell: Arc<Cell>,
    id: String,
    spec: ExecSpec,
    exec: Arc<Exec>,
    outputs: Vec<(Output, OwnedFd)>,
    pieces: mpsc::Sender<Chunk>,
) {
    let (ended, end) = tokio::sync::watch::channel(false);
    let readers = outputs.into_iter().map(|(output, fd)| {
        let wanted = match output {
            _ if spec.tty => true,
            Output::Stdout => spec.stdout,
            Output::Stderr => spec.stderr,
        };
        read(output, fd, wanted.then(|| pieces.clone()), end.clone())
    });
    let readers = futures_util::future::join_all(readers);
    let wait = async {
        let code = exec.wait().await;
        core.execs.ended(&id, code);
        say(&core, &cell, "exec_die", &spec, &id, Some(code));
        ended.send_replace(true);
    };
    tokio::join!(readers, wait);
}

/// Passes on one output until its end, or until the process has ended and nothing is left: someone
/// that it left behind may hold the other side open.
async fn read(
    output: Output,
    fd: OwnedFd,
    mut pieces: Option<mpsc::Sender<Chunk>>,
    mut end: tokio::sync::watch::Receiver<bool>,
) {
    let Ok(mut reader) = Reader::new(fd) else {
        return;
    };
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = tokio::select! {
            biased;
            count = reader.read(&mut buffer) => count.unwrap_or(0),
            _ = end.wait_for(|ended| *ended) => reader.try_read(&mut buffer).unwrap_or(0),
        };
        if count == 0 {
            return;
        }
        if let Some(listener) = &pieces {
            let chunk = Chunk {
                output,
                bytes: Bytes::copy_from_slice(&buffer[..count]),
            };
            if listener.send(chunk).await.is_err() {
                pieces = None;
            }
        }
    }
}

fn say(core: &Core, cell: &Cell, what: &str, spec: &ExecSpec, id: &str, code: Option<i32>) {
    let mut more = vec![("execID", id.to_owned())];
    let action = match code {
        Some(code) => {
            more.push(("exitCode", code.to_string()));
            what.to_owned()
        }
        None => format!("{what}: {}", spec.command.join(" ")),
    };
    core.say(cell, action, &more);
}
