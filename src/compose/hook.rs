//! Runs a hook: one more process in a container, whose output is told line by line.

use futures_util::StreamExt;
use orc_base::{Error, Kind, Result};
use orc_host::Host;
use orc_host::exec::ExecSpec;

use crate::plan::When;

/// The longest line that is told; what is longer is cut into several.
const MAX_LINE: usize = 16 << 10;

/// Runs the hook to its end. `tell` is given each line. An exit code other than 0 is an error, with
/// the last line. A container that is stopped or gone already needs no hook before its stop.
pub(crate) async fn run(
    host: &dyn Host,
    container: &str,
    when: When,
    process: &ExecSpec,
    tell: &(dyn Fn(String) + Sync),
) -> Result<()> {
    match attempt(host, container, process, tell).await {
        Ok((0, _)) => Ok(()),
        Ok((code, last)) => Err(Error::conflict(match last.is_empty() {
            true => format!("it exited with code {code}"),
            false => format!("it exited with code {code}: {last}"),
        })),
        Err(error)
            if when == When::PreStop && matches!(error.kind(), Kind::NotFound | Kind::Conflict) =>
        {
            tracing::debug!(%error, container, "no hook before the stop");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The exit code and the last line.
async fn attempt(
    host: &dyn Host,
    container: &str,
    process: &ExecSpec,
    tell: &(dyn Fn(String) + Sync),
) -> Result<(i32, String)> {
    let id = host.create_exec(container, process).await?;
    let mut attached = host.start_exec(&id, false).await?;
    let mut lines = Lines::default();
    while let Some(chunk) = attached.output.next().await {
        for line in lines.take(&chunk?.bytes) {
            tell(line);
        }
    }
    if let Some(line) = lines.rest() {
        tell(line);
    }
    let exec = host.inspect_exec(&id).await?;
    let code = exec
        .exit_code
        .ok_or_else(|| Error::unavailable("nobody knows how it ended"))?;
    Ok((code, lines.last))
}

/// Bytes as they come, cut into lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
    last: String,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.begun.push(*byte);
            }
            if *byte == b'\n' || self.begun.len() == MAX_LINE {
                lines.push(self.end());
            }
        }
        lines
    }

    fn rest(&mut self) -> Option<String> {
        (!self.begun.is_empty()).then(|| self.end())
    }

    fn end(&mut self) -> String {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned();
        if !line.trim().is_empty() {
            self.last = line.trim().to_owned();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\n\n"), ["two", ""]);
        assert_eq!(lines.take(&vec![b'x'; MAX_LINE + 1]).len(), 1);
        assert_eq!(lines.rest().as_deref(), Some("x"));
        assert_eq!(lines.rest(), None);
        assert_eq!(lines.last, "x");
    }
}
