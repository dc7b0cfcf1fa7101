//! Further processes in containers: Docker's JSON of them, and back.

use orc_base::{Error, Result};
use orc_host::exec::{Exec, ExecSpec};
use orc_host::stream::TerminalSize;

use crate::convert::resources;
use crate::convert::unsupported::{self, Place};
use crate::wire::exec as wire;
use crate::wire::json::Words;

/// The body that asks for a process.
pub(crate) fn body(spec: &ExecSpec) -> wire::CreateBody {
    wire::CreateBody {
        user: spec.user.clone().unwrap_or_default(),
        privileged: spec.privileged,
        tty: spec.tty,
        console_size: spec.size.map(|size| [size.rows, size.columns]),
        attach_stdin: spec.stdin,
        attach_stderr: spec.stderr,
        attach_stdout: spec.stdout,
        env: spec.env.clone(),
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        cmd: Words(Some(spec.command.clone())),
        ..Default::default()
    }
}

/// The inverse of [`body`].
pub(crate) fn spec(body: &wire::CreateBody) -> Result<ExecSpec> {
    unsupported::refuse_all(Place::Exec, &body.other)?;
    Ok(ExecSpec {
        command: body.cmd.0.clone().unwrap_or_default(),
        env: body.env.clone(),
        working_dir: resources::text(&body.working_dir),
        user: resources::text(&body.user),
        tty: body.tty,
        stdin: body.attach_stdin,
        stdout: body.attach_stdout,
        stderr: body.attach_stderr,
        privileged: body.privileged,
        size: body.console_size.and_then(size),
    })
}

/// Lines and columns; 0 is unknown.
pub(crate) fn size([rows, columns]: [u16; 2]) -> Option<TerminalSize> {
    (rows > 0 && columns > 0).then_some(TerminalSize { rows, columns })
}

/// What an inspect answers.
pub(crate) fn to_wire(exec: &Exec, extended: bool) -> wire::Inspect {
    let spec = &exec.spec;
    wire::Inspect {
        id: exec.id.clone(),
        running: exec.running,
        exit_code: exec.exit_code,
        process_config: wire::ProcessConfig {
            tty: spec.tty,
            entrypoint: spec.command.first().cloned().unwrap_or_default(),
            arguments: spec.command.iter().skip(1).cloned().collect(),
            privileged: spec.privileged,
            user: spec.user.clone().unwrap_or_default(),
        },
        open_stdin: spec.stdin,
        open_stderr: spec.stderr,
        open_stdout: spec.stdout,
        container_id: exec.container.clone(),
        pid: exec.pid.unwrap_or(0),
        orc_spec: extended.then(|| spec.clone()),
        ..Default::default()
    }
}

/// The inverse of [`to_wire`] with `extended`.
pub(crate) fn from_wire(inspect: wire::Inspect) -> Result<Exec> {
    Ok(Exec {
        spec: inspect
            .orc_spec
            .ok_or_else(|| Error::internal("the daemon did not say what was asked for"))?,
        id: inspect.id,
        container: inspect.container_id,
        running: inspect.running,
        pid: (inspect.pid != 0).then_some(inspect.pid),
        exit_code: inspect.exit_code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_comes_back() {
        let wish = ExecSpec {
            command: vec!["sh".into(), "-c".into(), "true".into()],
            env: vec!["A=b".into()],
            working_dir: Some("/".into()),
            user: Some("nobody".into()),
            tty: true,
            stdin: true,
            stdout: true,
            stderr: false,
            privileged: true,
            size: Some(TerminalSize {
                rows: 24,
                columns: 80,
            }),
        };
        assert_eq!(spec(&body(&wish)).unwrap(), wish);
        let exec = Exec {
            id: "e".into(),
            container: "c".into(),
            spec: wish,
            running: false,
            pid: None,
            exit_code: Some(3),
        };
        assert_eq!(from_wire(to_wire(&exec, true)).unwrap(), exec);
        assert!(from_wire(to_wire(&exec, false)).is_err());
    }
}
