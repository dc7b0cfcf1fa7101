//! `GET /containers/{}/stats`: what a container uses, once or every second.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use orc_base::{Kind, Result};
use orc_host::Host;
use orc_host::container::Container;
use orc_host::stats::Stats;

use crate::convert::stats;
use crate::server::call::Call;
use crate::server::reply::{self, Reply};

/// Between two looks, as Docker has it.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a container uses: `stream=false` is one answer with an earlier look in it, and with
/// `one-shot=true` without. Of a container that does not run Docker's clients get zeros, and orc's own
/// an error.
pub(crate) async fn stats(call: Call) -> Result<Reply> {
    if call.extended() {
        let (container, now) = futures_util::try_join!(
            call.host.inspect_container(&call.name),
            call.host.stats(&call.name)
        )?;
        return reply::ok(&stats::to_wire(&container, Some(&now), None));
    }
    let container = call.host.inspect_container(&call.name).await?;
    let streams = call.query.get("stream").is_none() || call.query.flag("stream");
    let watch = Watch {
        host: call.host,
        container,
        before: None,
    };
    match (streams, call.query.flag("one-shot")) {
        (true, _) => Ok(reply::stream("application/json", lines(watch))),
        (false, one_shot) => reply::ok(&watch.once(one_shot).await?),
    }
}

/// Looks again and again at one container.
struct Watch {
    host: Arc<dyn Host>,
    container: Container,
    before: Option<Stats>,
}

impl Watch {
    async fn look(&self) -> Result<Option<Stats>> {
        match self.host.stats(&self.container.id).await {
            Err(error) if error.kind() == Kind::Conflict => Ok(None),
            other => other.map(Some),
        }
    }

    async fn once(mut self, one_shot: bool) -> Result<crate::wire::stats::Stats> {
        let mut now = self.look().await?;
        if !one_shot && now.is_some() {
            tokio::time::sleep(INTERVAL).await;
            self.before = now;
            now = self.look().await?;
        }
        Ok(stats::to_wire(
            &self.container,
            now.as_ref(),
            self.before.as_ref(),
        ))
    }
}

/// A line a second until the container is removed or nobody listens.
fn lines(watch: Watch) -> orc_host::stream::Stream<Bytes> {
    Box::pin(stream::unfold(
        (watch, false),
        |(mut watch, later)| async move {
            if later {
                tokio::time::sleep(INTERVAL).await;
            }
            let line = match watch.look().await {
                Err(error) if error.kind() == Kind::NotFound => return None,
                Err(error) => Err(error),
                Ok(now) => {
                    let told =
                        stats::to_wire(&watch.container, now.as_ref(), watch.before.as_ref());
                    watch.before = now;
                    line(&told)
                }
            };
            Some((line, (watch, true)))
        },
    ))
}

fn line(stats: &crate::wire::stats::Stats) -> Result<Bytes> {
    let mut line = serde_json::to_vec(stats)?;
    line.push(b'\n');
    Ok(line.into())
}
