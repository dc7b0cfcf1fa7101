//! Whom the loader asks for files that are elsewhere.
//!
//! Loading is not asynchronous, and the way to a registry or repository is: it is gone by a thread of
//! its own, and whoever loads waits. Nothing else is under way then, so an interruption ends the process.

use orc_base::{Context, Error, Result};
use orc_compose::remote::{Address, Fetched, Remotes};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::compose::remote::cache::Cache;
use crate::cli::compose::remote::{artifact, git};
use crate::cli::compose::settings::Settings;
use crate::cli::connect;
use crate::cli::failure::INTERRUPTED;
use crate::cli::place::Place;
use crate::ui::out;

/// Docker compose's switches; both are on.
const OCI_SWITCH: &str = "COMPOSE_EXPERIMENTAL_OCI_REMOTE";
const GIT_SWITCH: &str = "COMPOSE_EXPERIMENTAL_GIT_REMOTE";

/// Fetches through the daemon of a place, and by this machine's git.
#[derive(Debug)]
pub(crate) struct Fetcher {
    place: Place,
    settings: Settings,
}

impl Fetcher {
    /// Nothing is connected yet.
    pub(crate) fn new(place: Place, settings: Settings) -> Self {
        Self { place, settings }
    }

    async fn find(&self, address: &Address) -> Result<Fetched> {
        let cache = Cache::of(&self.place)?;
        match address {
            Address::Artifact(name) => {
                let host = connect::connect(&self.place).await?;
                artifact::fetch(&host, &cache, name).await
            }
            Address::Repository(repository) => git::fetch(&cache, repository).await,
        }
    }
}

impl Remotes for Fetcher {
    fn fetch(&self, address: &Address) -> Result<Fetched> {
        let switch = match address {
            Address::Artifact(_) => OCI_SWITCH,
            Address::Repository(_) => GIT_SWITCH,
        };
        let here = std::env::var(switch).ok();
        let value = here.or_else(|| self.settings.get(switch).map(str::to_owned));
        let value = value.unwrap_or_default();
        if !is_on(switch, &value)? {
            return Err(Error::denied(format!(
                "{} is not fetched: {switch} is {value}",
                address.shown()
            )));
        }
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| apart(self.find(address)));
            thread
                .join()
                .map_err(|_| Error::internal("the thread that fetches files ended early"))?
        })
    }
}

fn is_on(switch: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "" | "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(Error::invalid(format!(
            "{switch} is `{value}`: use true or false"
        ))),
    }
}

/// Runs `work` to its end on a runtime of its own.
fn apart<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "start a runtime")?;
    let done = runtime.block_on(async {
        let listen = |kind| signal(kind).context(|| "listen for signals");
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        tokio::select! {
            done = work => done.map(Some),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    });
    match done? {
        Some(done) => Ok(done),
        // What was under way is dropped: programs are killed, drafts removed.
        None => out::exit(i32::from(INTERRUPTED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        for on in ["", "1", "True"] {
            assert!(is_on("X", on).unwrap());
        }
        assert!(!is_on("X", "0").unwrap());
        assert!(is_on("X", "maybe").is_err());
    }
}
