//! Deeds that need no plan, for their order does not matter: all at once, each with its progress.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use orc_base::Result;
use orc_compose::converge::{Observer, OperationEvent, Phase};
use orc_host::image as host;
use orc_host::stream::Stream;

use crate::ui::progress::{Progress, TICK};

/// One deed.
pub(crate) struct Deed<'a> {
    /// What it is about: `Container demo-web-1`.
    pub(crate) subject: String,
    /// What is said at its beginning and at its end: `Pausing`, `Paused`.
    pub(crate) words: (&'static str, &'static str),
    /// The deed; nothing happens before it is asked.
    pub(crate) work: BoxFuture<'a, Result<()>>,
}

/// Does all, at most `at_once` of them at the same time. The results are in the order of the deeds.
pub(crate) async fn carry_out(
    display: &Progress,
    at_once: usize,
    deeds: Vec<Deed<'_>>,
) -> Vec<Result<()>> {
    let count = deeds.len();
    let mut under_way = stream::iter(deeds.into_iter().enumerate())
        .map(|(id, deed)| one(display, id, deed))
        .buffer_unordered(at_once.max(1));
    let mut results: Vec<Option<Result<()>>> = (0..count).map(|_| None).collect();
    let mut clock = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            done = under_way.next() => match done {
                Some((id, result)) => results[id] = Some(result),
                None => break,
            },
            _ = clock.tick() => display.tick(),
        }
    }
    display.finish();
    results.into_iter().flatten().collect()
}

/// Shows how far a transfer has come, to its end.
pub(crate) async fn follow(
    display: &Progress,
    id: usize,
    subject: &str,
    mut steps: Stream<host::Progress>,
) -> Result<()> {
    while let Some(step) = steps.next().await {
        display.event(OperationEvent {
            id,
            subject: subject.to_owned(),
            text: String::new(),
            phase: Phase::Progress(step?),
        });
    }
    Ok(())
}

async fn one(display: &Progress, id: usize, deed: Deed<'_>) -> (usize, Result<()>) {
    let tell = |text: &str, phase| {
        display.event(OperationEvent {
            id,
            subject: deed.subject.clone(),
            text: text.to_owned(),
            phase,
        });
    };
    tell(deed.words.0, Phase::Started);
    let result = deed.work.await;
    match &result {
        Ok(()) => tell(deed.words.1, Phase::Done),
        Err(error) => tell("Error", Phase::Failed(error.to_string())),
    }
    (id, result)
}
