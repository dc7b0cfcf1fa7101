//! What containers write: their logs, and attached.

use bytes::Bytes;
use futures_util::{StreamExt, stream as streams};
use orc_base::{Error, Result};
use orc_host::container::Container;
use orc_host::stream::{Attached, Chunk, LogLine, LogOptions, Output, Stream};

use crate::convert::time;
use crate::server::call::Call;
use crate::server::hijack::{self, InputEnds, Stdio};
use crate::server::reply::{self, Reply};
use crate::stream::{self, FRAMES, RAW};

/// `GET /containers/{}/logs`
pub(crate) async fn logs(call: Call) -> Result<Reply> {
    let container = call.host.inspect_container(&call.name).await?;
    let wanted = Wanted::of(&call)?;
    let options = LogOptions {
        follow: call.query.flag("follow"),
        tail: tail(call.query.get("tail"))?,
        since: moment(&call, "since")?,
        until: moment(&call, "until")?,
        only: wanted.only(),
    };
    let lines = call.host.logs(&container.id, &options).await?;
    // orc's own client tells lines apart by their frames, also those of a terminal.
    let framed = call.extended() || !container.spec.tty;
    let stamped = call.query.flag("timestamps");
    let media_type = if framed { FRAMES } else { RAW };
    Ok(reply::stream(media_type, encoded(lines, framed, stamped)))
}

fn encoded(lines: Stream<LogLine>, framed: bool, stamped: bool) -> Stream<Bytes> {
    Box::pin(lines.map(move |line| match (line, framed) {
        (Ok(line), true) => Ok(stream::line(&line, stamped)),
        (Ok(line), false) => Ok(stream::raw_line(&line, stamped)),
        (Err(error), true) => Ok(stream::failure(&error)),
        (Err(error), false) => Err(error),
    }))
}

/// `all`, a negative number, or how many lines.
fn tail(text: Option<&str>) -> Result<Option<usize>> {
    let Some(text) = text.filter(|text| *text != "all") else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Ok(count) => Ok(usize::try_from(count).ok()),
        Err(_) => Err(Error::invalid(format!(
            "`tail`: `{text}` is not a number of lines or all"
        ))),
    }
}

fn moment(call: &Call, name: &str) -> Result<Option<orc_base::Time>> {
    time::moment(name, call.query.get(name).unwrap_or_default(), call.now())
}

/// Which outputs a client wants.
#[derive(Clone, Copy)]
struct Wanted {
    stdout: bool,
    stderr: bool,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self> {
        let wanted = Self {
            stdout: call.query.flag("stdout"),
            stderr: call.query.flag("stderr"),
        };
        match wanted.stdout || wanted.stderr {
            true => Ok(wanted),
            false => Err(Error::invalid(
                "Bad parameters: you must choose at least one stream",
            )),
        }
    }

    fn only(self) -> Option<Output> {
        match (self.stdout, self.stderr) {
            (true, false) => Some(Output::Stdout),
            (false, true) => Some(Output::Stderr),
            _ => None,
        }
    }

    fn has(self, output: Output) -> bool {
        match output {
            Output::Stdout => self.stdout,
            Output::Stderr => self.stderr,
        }
    }
}

/// `POST /containers/{}/attach`
pub(crate) async fn attach(call: Call) -> Result<Reply> {
    let container = call.host.inspect_container(&call.name).await?;
    let wanted = Wanted {
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
    };
    // Attached first and replayed then: rather a line twice than one missed.
    let attached = match call.query.flag("stream") {
        true => call.host.attach_container(&container.id).await?,
        false => nothing(&container),
    };
    let past = match call.query.flag("logs") {
        true => replay(&call, &container, wanted).await?,
        false => Box::pin(streams::empty()),
    };
    let with_input = call.query.flag("stdin");
    let stdio = Stdio {
        input_ends: input_ends(&container, call.extended()),
        has_input: attached.input.is_some(),
        ..stdio(attached, wanted, with_input)
    };
    let stdio = Stdio {
        output: Box::pin(past.chain(stdio.output)),
        ..stdio
    };
    Ok(hijack::reply(call.upgrade, call.body, stdio))
}

fn nothing(container: &Container) -> Attached {
    Attached {
        input: None,
        output: Box::pin(streams::empty()),
        terminal: container.spec.tty,
    }
}

async fn replay(call: &Call, container: &Container, wanted: Wanted) -> Result<Stream<Bytes>> {
    let options = LogOptions {
        only: wanted.only(),
        ..LogOptions::default()
    };
    let lines = call.host.logs(&container.id, &options).await?;
    Ok(encoded(lines, !container.spec.tty, false))
}

/// Docker closes a container's input only when the container was made so; orc's client says what
/// it means by its end of file.
fn input_ends(container: &Container, extended: bool) -> InputEnds {
    match (container.spec.stdin_once && !container.spec.tty, extended) {
        (true, _) => InputEnds::WithClient,
        (false, true) => InputEnds::WithEndOfFile,
        (false, false) => InputEnds::Never,
    }
}

fn stdio(attached: Attached, wanted: Wanted, with_input: bool) -> Stdio {
    let framed = !attached.terminal;
    Stdio {
        media_type: if framed { FRAMES } else { RAW },
        has_input: attached.input.is_some(),
        input: attached.input.filter(|_| with_input),
        input_ends: InputEnds::Never,
        output: chunks(attached.output, wanted, framed),
    }
}

fn chunks(output: Stream<Chunk>, wanted: Wanted, framed: bool) -> Stream<Bytes> {
    Box::pin(output.filter_map(move |chunk| async move {
        match chunk {
            Ok(chunk) if !wanted.has(chunk.output) => None,
            Ok(chunk) if framed => Some(Ok(stream::frames(chunk.output, &chunk.bytes))),
            Ok(chunk) => Some(Ok(chunk.bytes)),
            Err(error) if framed => Some(Ok(stream::failure(&error))),
            Err(error) => Some(Err(error)),
        }
    }))
}

/// The stdio of an exec: all that it was given, and its input ends with the client.
pub(crate) fn of_exec(attached: Attached, terminal_input_ends: bool) -> Stdio {
    let all = Wanted {
        stdout: true,
        stderr: true,
    };
    let input_ends = match (attached.terminal, terminal_input_ends) {
        (false, _) => InputEnds::WithClient,
        (true, true) => InputEnds::WithEndOfFile,
        (true, false) => InputEnds::Never,
    };
    Stdio {
        input_ends,
        ..stdio(attached, all, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        assert_eq!(tail(None).unwrap(), None);
        assert_eq!(tail(Some("all")).unwrap(), None);
        assert_eq!(tail(Some("-1")).unwrap(), None);
        assert_eq!(tail(Some("0")).unwrap(), Some(0));
        assert!(tail(Some("few")).is_err());
    }
}
