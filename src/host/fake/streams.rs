//! What comes out of the fake over time: events, logs, output, and further processes.

use futures_util::StreamExt;
use futures_util::stream;
use orc_base::{Error, Id, Result};

use crate::event::{Event, EventFilter};
use crate::exec::{Exec, ExecSpec};
use crate::fake::FakeHost;
use crate::fake::program;
use crate::fake::program::Ends;
use crate::stream::{Attached, Chunk, LogLine, LogOptions, Output, Stream};

pub(crate) async fn events(host: &FakeHost, filter: EventFilter) -> Result<Stream<Event>> {
    let from = match filter.since {
        Some(_) => 0,
        None => host.lock().events.len(),
    };
    if filter.until.is_some() {
        let past = host
            .lock()
            .events
            .iter()
            .filter(|event| filter.matches(event))
            .cloned()
            .collect();
        return Ok(done(past));
    }
    let state = (host.clone(), filter, from);
    Ok(Box::pin(stream::unfold(
        state,
        |(host, filter, mut from)| async move {
            let event = host
                .until(|world| {
                    let at = world.events[from..]
                        .iter()
                        .position(|event| filter.matches(event))?;
                    from += at + 1;
                    Some(world.events[from - 1].clone())
                })
                .await;
            Some((Ok(event), (host, filter, from)))
        },
    )))
}

pub(crate) fn logs(host: &FakeHost, name: &str, options: &LogOptions) -> Result<Stream<LogLine>> {
    let container = host.container(name)?;
    let options = options.clone();
    let wanted = {
        let options = options.clone();
        move |line: &LogLine| {
            options.only.is_none_or(|only| only == line.output)
                && options.since.is_none_or(|since| line.time >= since)
                && options.until.is_none_or(|until| line.time <= until)
        }
    };
    let mut past = host.lock().entry(&container.id)?.log.clone();
    let from = past.len();
    past.retain(&wanted);
    let skip = past
        .len()
        .saturating_sub(options.tail.unwrap_or(usize::MAX));
    let past = done(past.split_off(skip));
    if !options.follow {
        return Ok(past);
    }
    let rest = host.output(container.id, from).filter(move |line| {
        let wanted = line.as_ref().is_ok_and(&wanted);
        async move { wanted }
    });
    Ok(Box::pin(past.chain(rest)))
}

pub(crate) fn attach(host: &FakeHost, name: &str) -> Result<Attached> {
    let container = host.container(name)?;
    let from = host.lock().entry(&container.id)?.log.len();
    let output = host.output(container.id.clone(), from).map(|line| {
        line.map(|line| Chunk {
            output: line.output,
            bytes: line.bytes,
        })
    });
    let input = container
        .spec
        .open_stdin
        .then(|| host.input(container.id.clone()));
    Ok(Attached {
        input: input.map(|input| Box::pin(input) as _),
        output: Box::pin(output),
        terminal: container.spec.tty,
    })
}

pub(crate) fn prepare(host: &FakeHost, name: &str, spec: &ExecSpec) -> Result<String> {
    let container = host.container(name)?;
    if !container.state.is_running() {
        return Err(Error::conflict(format!(
            "container {} is not running",
            container.name
        )));
    }
    if spec.command.is_empty() {
        return Err(Error::invalid("no command to execute"));
    }
    let id = Id::random().to_string();
    let exec = Exec {
        id: id.clone(),
        container: container.id,
        spec: spec.clone(),
        running: false,
        pid: None,
        exit_code: None,
    };
    host.lock().execs.insert(id.clone(), exec);
    Ok(id)
}

pub(crate) fn execute(host: &FakeHost, exec: &str) -> Result<Attached> {
    let mut world = host.lock();
    let exec = world
        .execs
        .get_mut(exec)
        .ok_or_else(|| Error::not_found(format!("No such exec instance: {exec}")))?;
    let (code, output) = match program::parse(&exec.spec.command) {
        Some(program) => (
            match program.ends {
                Ends::With(code) => code,
                _ => 0,
            },
            program.prints,
        ),
        None => {
            let text = format!(
                "exec `{}`: no such file or directory in the image\n",
                exec.spec.command[0]
            );
            (127, vec![(Output::Stdout, text)])
        }
    };
    exec.exit_code = Some(code);
    let chunks = output
        .into_iter()
        .map(|(output, text)| Chunk {
            output,
            bytes: text.into(),
        })
        .collect();
    Ok(Attached {
        input: exec.spec.stdin.then(|| Box::pin(tokio::io::sink()) as _),
        output: done(chunks),
        terminal: exec.spec.tty,
    })
}

/// A stream of what is known already.
pub(crate) fn done<T: Send + 'static>(items: Vec<T>) -> Stream<T> {
    Box::pin(stream::iter(items.into_iter().map(Ok)))
}
