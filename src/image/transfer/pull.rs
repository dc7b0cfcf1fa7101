//! A whole image from a registry to this machine.
//!
//! ```text
//! name ─► manifest ─► config ─► for each layer: unpacked here? ─► done
//!                                      no ─► download and unpack in one pass (layer.rs)
//! ```
//!
//! Layers move side by side, a bounded number of them. Manifest and config are kept
//! last, and then the store makes the image visible in one step: whatever fails before leaves at most
//! layers that the next attempt finds, and that the store collects when there is none.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use orc_base::{Context, Result};

use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::image::Image;
use crate::manifest::Descriptor;
use crate::platform::Platform;
use crate::progress::{Phase, Progress, ProgressEvent};
use crate::reference::Reference;
use crate::registry::http::Http;
use crate::registry::session::{Access, Session};
use crate::store::{Commit, Ingest, Store};
use crate::transfer::download;
use crate::transfer::layer::Layer;
use crate::transfer::relay::{self, Line};
use crate::transfer::resolve::{self, Resolved};

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// What the image must be for; this machine's platform when nobody says.
    pub platform: Option<Platform>,
    /// The account; without one it is looked up when the registry asks.
    pub credentials: Option<Credentials>,
}

/// Brings an image here, and makes it visible once all of it is.
pub(crate) async fn pull(
    http: &Arc<Http>,
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    fetch(http, store, reference, options, progress)
        .await
        .context(|| format!("pull {}", reference.familiar()))
}

async fn fetch(
    http: &Arc<Http>,
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    let credentials = options.credentials.clone();
    let session = Session::open(http, reference, Access::Pull, &[], credentials).await?;
    progress.report(ProgressEvent::message(format!(
        "{}: Pulling from {}",
        reference.version(),
        session.repository()
    )));
    // From here on nothing that is found here goes away.
    let ingest = store.begin();
    let platform = options.platform.as_ref();
    let image = resolve::resolve(&session, store.content(), reference, platform).await;
    // So far nothing was written, so there is nothing to remove.
    let image = image.inspect_err(|_| ingest.settle())?;
    if let Some(other) = &image.mismatch {
        progress.report(ProgressEvent::message(format!(
            "WARNING: the image is for {other}, this machine is {}",
            Platform::host()
        )));
    }
    let target = image.target.clone();
    let kept = take(session, &ingest, reference, image, progress).await;
    if let Err(error) = &kept {
        ingest.failed(error);
    }
    ingest.end().await;
    let kept = kept?;
    progress.report(ProgressEvent::message(format!("Digest: {target}")));
    Ok(kept)
}

/// Fetches the layers, and makes the image visible.
async fn take(
    session: Session,
    ingest: &Ingest,
    reference: &Reference,
    image: Resolved,
    progress: &dyn Progress,
) -> Result<Image> {
    fetch_layers(session, ingest, &image, progress).await?;
    let (ingest, reference) = (ingest.clone(), reference.clone());
    download::blocking(move || keep(&ingest, &reference, &image)).await
}

/// Makes the image visible. Waits for the disk.
fn keep(ingest: &Ingest, reference: &Reference, image: &Resolved) -> Result<Image> {
    let manifest = &image.manifest;
    let content = ingest.store().content();
    content.write_whole(&manifest.config.digest, &image.config_bytes)?;
    content.write_whole(&image.digest, &image.bytes)?;
    let commit = Commit {
        reference: Some(reference),
        target: Some(&image.target),
        manifest: &image.digest,
        config: &manifest.config.digest,
        blobs: &digests(&manifest.layers),
    };
    ingest.store().commit(ingest, &commit)
}

fn digests(layers: &[Descriptor]) -> Vec<Digest> {
    layers.iter().map(|layer| layer.digest.clone()).collect()
}

async fn fetch_layers(
    session: Session,
    ingest: &Ingest,
    image: &Resolved,
    progress: &dyn Progress,
) -> Result<()> {
    let (reports, events) = mpsc::unbounded_channel();
    let lanes = Arc::new(Semaphore::new(session.http().limits().parallel.max(1)));
    let session = Arc::new(session);
    let mut tasks = JoinSet::new();
    let mut seen = HashSet::new();
    for (blob, diff_id) in image.manifest.layers.iter().zip(&image.config.diff_ids) {
        if !seen.insert(&blob.digest) {
            continue;
        }
        let line = Arc::new(Line::new(blob.digest.short(), &reports));
        line.phase(Phase::Pulling);
        let layer = Layer {
            session: Arc::clone(&session),
            ingest: ingest.clone(),
            blob: blob.clone(),
            diff_id: diff_id.clone(),
            line,
        };
        let lanes = Arc::clone(&lanes);
        tasks.spawn(async move {
            let blob = layer.blob.digest.clone();
            layer
                .bring(&lanes)
                .await
                .context(|| format!("layer {}", blob.short()))
        });
    }
    drop(reports);
    relay::run(tasks, events, progress).await.map(|_| ())
}
