//! The builds under way: unlike containers, they end with the daemon.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the daemon waits for what builds leave to be cleaned up; the next one does the rest.
const END_WITHIN: Duration = Duration::from_secs(10);

/// All builds of an engine.
#[derive(Debug, Default)]
pub(crate) struct RunningBuilds {
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl RunningBuilds {
    /// Carries a build on until it ends by itself or sees [`RunningBuilds::ending`].
    pub(crate) fn spawn(&self, build: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(build);
    }

    /// Comes when builds are to end.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Ends them all, and waits until nothing is left of them, but not for ever.
    pub(crate) async fn end(&self) {
        self.ending.cancel();
        self.tasks.close();
        if tokio::time::timeout(END_WITHIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("a build is not at its end yet: the next daemon removes what it leaves");
        }
    }
}
