//! The files of one running container: its monitor's socket, what is needed to clean up after a
//! lost monitor, and the exit status.
//!
//! All are below the run root, so none needs to survive the machine.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use orc_base::fs::Durability;
use orc_base::{Context, Kind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, Layout};
use crate::spec::Exit;

const EXIT: &str = "exit.json";
const RUN: &str = "run.json";
const SOCKET: &str = "shim.sock";
/// The most bytes of one of these files.
const MAX_FILE: u64 = 64 << 10;
/// How many daemons may wait to be accepted.
const BACKLOG: i32 = 8;

/// The state directory of one container.
#[derive(Debug, Clone)]
pub(crate) struct StateDir(PathBuf);

/// What a start leaves for whoever must clean up after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) cgroup: String,
}

impl StateDir {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// How the container ended, when that is known.
    pub(crate) fn exit(&self) -> Result<Option<Exit>> {
        self.read(EXIT)
    }

    pub(crate) fn save_exit(&self, exit: &Exit) -> Result<()> {
        orc_base::fs::write_json(&self.0.join(EXIT), exit, Durability::Process)
    }

    pub(crate) fn run(&self) -> Result<Option<Run>> {
        self.read(RUN)
    }

    pub(crate) fn save_run(&self, run: &Run) -> Result<()> {
        orc_base::fs::write_json(&self.0.join(RUN), run, Durability::Process)
    }

    /// Removes what an earlier run of the container has left here.
    pub(crate) fn clear(&self) -> Result<()> {
        for name in [EXIT, RUN, SOCKET] {
            orc_base::fs::remove_file(&self.0.join(name))?;
        }
        orc_base::fs::remove_leftovers(&self.0)
    }

    /// Kills and removes what a lost monitor has left. Waits for the processes to die.
    pub(crate) fn clean_up(&self, layout: &Layout) -> Result<()> {
        if let Some(run) = self.run()? {
            Cgroup::new(layout, &run.cgroup)?.remove()?;
        }
        self.close()
    }

    /// Removes what is of no use after the end.
    pub(crate) fn close(&self) -> Result<()> {
        for name in [RUN, SOCKET] {
            orc_base::fs::remove_file(&self.0.join(name))?;
        }
        Ok(())
    }

    /// The monitor's listening socket. Only its owner can connect: mode 0600, from its first moment.
    pub(crate) fn listen(&self) -> Result<OwnedFd> {
        let socket = socket()?;
        // bind(2) makes the file with the mode that the socket has by then.
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::fchmod(&socket, mode).context(|| "close a socket to others")?;
        self.at_address(|address| rustix::net::bind(&socket, address))
            .and_then(|()| Ok(rustix::net::listen(&socket, BACKLOG)?))
            .context(|| format!("listen on {}", self.0.join(SOCKET).display()))?;
        Ok(socket)
    }

    /// Connects to the monitor; none when there is none.
    pub(crate) fn connect(&self) -> Result<Option<OwnedFd>> {
        let socket = socket()?;
        match self.at_address(|address| rustix::net::connect(&socket, address)) {
            Ok(()) => Ok(Some(socket)),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unavailable) => Ok(None),
            Err(error) => {
                Err(error.within(format!("connect to {}", self.0.join(SOCKET).display())))
            }
        }
    }

    /// Calls with an address that fits into 108 bytes however long the directory's path is.
    fn at_address(&self, call: impl FnOnce(&SocketAddrUnix) -> Result<(), Errno>) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.0, flags, Mode::empty())?;
        let number = directory.as_fd().as_raw_fd();
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{number}/{SOCKET}"))?;
        Ok(call(&address)?)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        match orc_base::fs::read_json(&self.0.join(name), MAX_FILE) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

fn socket() -> Result<OwnedFd> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .context(|| "make a socket")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use orc_base::Time;

    use super::*;

    #[test]
    fn the_socket_is_its_owners_and_any_path_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let state = StateDir::new(&deep);
        assert!(state.connect().unwrap().is_none(), "no socket");
        let listener = state.listen().unwrap();
        let mode = deep.join(SOCKET).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(state.connect().unwrap().is_some());
        drop(listener);
        assert!(state.connect().unwrap().is_none(), "nobody listens");
        state.clear().unwrap();
        assert!(orc_base::fs::list(&deep).unwrap().is_empty());
    }

    #[test]
    fn the_exit_is_kept_until_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        assert!(state.exit().unwrap().is_none());
        let exit = Exit {
            code: 137,
            oom_killed: true,
            at: Time::from_secs(5),
        };
        state.save_exit(&exit).unwrap();
        state.close().unwrap();
        assert_eq!(state.exit().unwrap(), Some(exit));
        state.clear().unwrap();
        assert!(state.exit().unwrap().is_none());
    }
}
