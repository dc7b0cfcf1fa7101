//! Sockets behind which an ssh-agent(1) of the machine answers.
//!
//! The agent's own socket belongs to its user and may not be opened by others; a build step gets one
//! of its own, with the owner and mode that its Dockerfile asks for. Bytes are passed on and not
//! looked at.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orc_base::{Context, Result};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many connections there are at most at one time.
const MAX_CONNECTIONS: usize = 16;
/// The wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// A socket that ends with this.
pub(crate) struct AgentSocket(tokio::task::AbortHandle);

impl AgentSocket {
    /// Listens at `at`, which only we can reach until it is mounted, for `agent`.
    pub(crate) fn open(at: &Path, agent: PathBuf, mode: u32, owner: (u32, u32)) -> Result<Self> {
        let listen = || -> Result<UnixListener> {
            let listener = UnixListener::bind(at)?;
            std::os::unix::fs::chown(at, Some(owner.0), Some(owner.1))?;
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode & 0o777))?;
            Ok(listener)
        };
        let listener = listen().context(|| "make a socket for the ssh agent")?;
        let task = tokio::spawn(serve(listener, agent));
        Ok(Self(task.abort_handle()))
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: UnixListener, agent: PathBuf) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Ends its connections when it is dropped with this future.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let Ok((theirs, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let agent = agent.clone();
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = relay(theirs, &agent).await {
                tracing::debug!("{error}");
            }
        });
    }
}

async fn relay(mut theirs: UnixStream, agent: &Path) -> Result<()> {
    let context = || format!("pass on to the ssh agent at {}", agent.display());
    let mut ours = UnixStream::connect(agent).await.context(context)?;
    let copied = tokio::io::copy_bidirectional(&mut theirs, &mut ours).await;
    copied.map(drop).context(context)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn passes_on_what_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let agent = dir.path().join("agent");
        let listener = UnixListener::bind(&agent).unwrap();
        tokio::spawn(async move {
            let (mut asked, _) = listener.accept().await.unwrap();
            let mut question = [0; 4];
            asked.read_exact(&mut question).await.unwrap();
            asked.write_all(b"keys").await.unwrap();
        });
        let at = dir.path().join("socket");
        let socket = AgentSocket::open(&at, agent, 0o660, (7, 8)).unwrap();
        let seen = at.metadata().unwrap();
        assert_eq!((seen.uid(), seen.gid(), seen.mode() & 0o777), (7, 8, 0o660));
        let mut asking = UnixStream::connect(&at).await.unwrap();
        asking.write_all(b"list").await.unwrap();
        let mut answer = [0; 4];
        asking.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"keys");
        drop(socket);
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(30), asking.read_to_end(&mut rest));
        // Closed or reset: there is nobody any more.
        let _ = end.await.expect("the connection ends with the socket");
    }
}
