//! Pipes between a program and who watches it.

use std::os::fd::{AsFd, OwnedFd};

use orc_base::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::thread::Uid;

use crate::wire::Handed;

/// The program's side.
#[derive(Debug)]
pub(crate) enum ProgramSide {
    /// Standard input, output and error.
    Pipes([OwnedFd; 3]),
    /// It makes a terminal itself, in its own devpts.
    Terminal,
}

/// The other side.
#[derive(Debug, Default)]
pub(crate) struct WatcherSide {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) terminal: Option<OwnedFd>,
}

/// Both sides; what is not wanted is `/dev/null`.
pub(crate) fn open(
    terminal: bool,
    stdin: bool,
    output: bool,
) -> Result<(ProgramSide, WatcherSide)> {
    if terminal {
        return Ok((ProgramSide::Terminal, WatcherSide::default()));
    }
    let mut watcher = WatcherSide::default();
    let input = match stdin {
        true => {
            let (read, write) = pipe()?;
            watcher.stdin = Some(write);
            read
        }
        false => null(OFlags::RDONLY)?,
    };
    let out = |place: &mut Option<OwnedFd>| match output {
        true => {
            let (read, write) = pipe()?;
            *place = Some(read);
            Ok(write)
        }
        false => null(OFlags::WRONLY),
    };
    let stdout = out(&mut watcher.stdout)?;
    let stderr = out(&mut watcher.stderr)?;
    Ok((ProgramSide::Pipes([input, stdout, stderr]), watcher))
}

impl WatcherSide {
    /// What is read from.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.terminal, &self.stdout, &self.stderr]
            .into_iter()
            .flatten()
    }

    /// The descriptors to hand over, and what they are.
    pub(crate) fn handed(&self) -> (Handed, Vec<&OwnedFd>) {
        let fds = [&self.terminal, &self.stdin, &self.stdout, &self.stderr];
        let fds: Vec<&OwnedFd> = fds.into_iter().flatten().collect();
        let handed = match (&self.terminal, &self.stdin, &self.stdout) {
            (Some(_), _, _) => Handed::Terminal,
            (None, Some(_), None) => Handed::Input,
            (None, None, Some(_)) => Handed::Output,
            (None, Some(_), Some(_)) => Handed::InputOutput,
            (None, None, None) => Handed::Nothing,
        };
        (handed, fds)
    }
}

/// In the program's process: puts its side at 0, 1 and 2 and makes it the user's, who may open it
/// again by `/dev/stdout`.
pub(crate) fn connect(side: &ProgramSide, terminal: Option<&OwnedFd>, uid: u32) -> Result<()> {
    let [input, output, error] = match (side, terminal) {
        (ProgramSide::Pipes([input, output, error]), _) => [input, output, error],
        (ProgramSide::Terminal, Some(user)) => {
            crate::terminal::control(user)?;
            [user, user, user]
        }
        (ProgramSide::Terminal, None) => {
            return Err(orc_base::Error::internal("a terminal that was not made"));
        }
    };
    let connect = || {
        rustix::stdio::dup2_stdin(input)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(error)
    };
    connect().context(|| "connect standard input and output")?;
    if uid == 0 {
        return Ok(());
    }
    for fd in [input, output, error] {
        // The null device is everybody's already.
        if !is_device(fd)? || terminal.is_some() {
            rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None)
                .context(|| "give standard input and output to the user")?;
        }
    }
    Ok(())
}

fn is_device(fd: &OwnedFd) -> Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice)
}

/// Makes reads from it return at once.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let set = || {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)
    };
    set().context(|| "set a pipe to non-blocking")
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "make a pipe")
}

fn null(access: OFlags) -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", access | OFlags::CLOEXEC, Mode::empty())
        .context(|| "open /dev/null")
}
