//! Finds the daemon, and starts it when none answers.
//!
//! The daemon is this same binary with the same roots, in a session of its own, its log in a file of
//! the data root. Of two that are started at once the one that gets the lock stays (`daemon.rs`);
//! both command lines then talk to it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orc_base::{Context, Error, Kind, Result};
use orc_docker::Client;
use tokio::time::Instant;

use crate::cli::place::Place;
use crate::daemon;

/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to reach it.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
/// How much of the end of a log is looked at for its last line.
const LOG_TAIL_BYTES: u64 = 8 << 10;

/// The daemon of `place`, started when none answers.
pub(crate) async fn connect(place: &Place) -> Result<Client> {
    let socket = place.socket()?;
    // Told also when the daemon runs already, and it does not matter: it is a mistake.
    place.log_level()?;
    match Client::connect(&socket).await {
        Ok(client) => Ok(client),
        Err(error) if error.kind() == Kind::Denied => Err(Error::denied(format!(
            "{} may not be used by this user: run orc as root, or add the user to the group `orc`",
            socket.display()
        ))),
        Err(error) if absent(&error) => start(place, &socket).await,
        Err(error) => Err(error.within(format!("ask the daemon at {}", socket.display()))),
    }
}

/// The daemon of `place` if one answers.
pub(crate) async fn running(place: &Place) -> Result<Option<Client>> {
    match Client::connect(&place.socket()?).await {
        Ok(client) => Ok(Some(client)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether nobody listens, rather than somebody who refuses.
fn absent(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::NotFound | Kind::Unavailable | Kind::Timeout
    )
}

async fn start(place: &Place, socket: &Path) -> Result<Client> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::denied(
            "no orc daemon runs here, and only root can start one: use sudo",
        ));
    }
    let dirs = place.dirs()?;
    if socket != dirs.socket() && Client::connect(&dirs.socket()).await.is_ok() {
        return Err(Error::unavailable(format!(
            "nobody listens at {}, and the daemon of {} listens at {}: leave out `--host`, or give it other roots",
            socket.display(),
            dirs.data().display(),
            dirs.socket().display()
        )));
    }
    dirs.create()?;
    let path = dirs.daemon_log();
    let log = open_log(&path).context(|| format!("open the daemon's log {}", path.display()))?;
    let begin = log.metadata().map(|meta| meta.len()).unwrap_or(0);
    let mut child = spawn(place, &log)?;
    match wait_for(&mut child, socket).await {
        Ok(client) => Ok(client),
        Err(why) => Err(Error::unavailable(match last_line(&path, begin) {
            Some(line) => format!(
                "{why}; the last line of its log {} is: {line}",
                path.display()
            ),
            None => format!("{why}; its log is {}", path.display()),
        })),
    }
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

fn spawn(place: &Place, log: &File) -> Result<Child> {
    let program = std::env::current_exe().context(|| "find the program of the daemon")?;
    let copy = || log.try_clone().context(|| "hand the log to the daemon");
    Command::new(&program)
        .args(place.arguments()?)
        .args(["daemon", "run", "--detached"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(copy()?)
        .stderr(copy()?)
        .spawn()
        .context(|| format!("start the daemon {}", program.display()))
}

/// Waits until the daemon answers. A child that found the lock taken is no failure: another one
/// was faster, and it is that one we wait for.
async fn wait_for(child: &mut Child, socket: &Path) -> std::result::Result<Client, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ended = child.try_wait().ok().flatten();
        match Client::connect(socket).await {
            Ok(client) => return Ok(client),
            Err(error) if !absent(&error) => {
                return Err(format!("the daemon does not answer: {error}"));
            }
            Err(_) => {}
        }
        match ended.map(|status| status.code()) {
            Some(Some(code)) if code == i32::from(daemon::LOCKED) => {}
            Some(_) => return Err("the daemon did not start".into()),
            None => {}
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "the daemon does not answer within {} s",
                PATIENCE.as_secs()
            ));
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

/// The last line that was written after `begin`.
fn last_line(path: &Path, begin: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let end = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(
        begin.max(end.saturating_sub(LOG_TAIL_BYTES)),
    ))
    .ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_this_daemon_said_last() {
        let path = std::env::temp_dir().join(format!("orc-last-line-{}", std::process::id()));
        std::fs::write(&path, "old\nnew\n\n").unwrap();
        assert_eq!(last_line(&path, 0).as_deref(), Some("new"));
        assert_eq!(last_line(&path, 4).as_deref(), Some("new"));
        assert_eq!(last_line(&path, 9), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(last_line(&path, 0), None);
    }
}
