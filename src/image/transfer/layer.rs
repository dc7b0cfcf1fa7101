//! One layer of an image, from the registry to a directory in one pass.
//!
//! ```text
//! socket ─► write, hash ─► inflate ─► hash ─► (nothing)
//!           (blob)                 └► unpack (layer)
//! ```
//!
//! The blob is kept beside the layer, to save and push it under the digest it came with. Nobody sees
//! the layer before the blob has its digest and size and the stream its diff id. What broke off before
//! is replayed from disk while the rest arrives. Two who want the same layer share one pass: the second
//! waits, and goes on where the first one failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use orc_base::{Error, Kind, Result};

use crate::digest::Digest;
use crate::flight::Flight;
use crate::layers::Staged;
use crate::manifest::Descriptor;
use crate::progress::Phase;
use crate::registry::session::Session;
use crate::store::Ingest;
use crate::transfer::download::{self, Held};
use crate::transfer::relay::Line;
use crate::unpacker::{self, Unpacking, Work};

/// A layer to be brought here.
pub(crate) struct Layer {
    pub(crate) session: Arc<Session>,
    pub(crate) ingest: Ingest,
    pub(crate) blob: Descriptor,
    pub(crate) diff_id: Digest,
    pub(crate) line: Arc<Line>,
}

/// Why one pass failed.
struct Spoilt {
    error: Error,
    /// Whether another one from the very start may go better.
    again: bool,
}

impl From<Error> for Spoilt {
    fn from(error: Error) -> Self {
        Self {
            error,
            again: false,
        }
    }
}

impl Layer {
    /// Brings it here, once `lanes` lets it.
    pub(crate) async fn bring(self, lanes: &Semaphore) -> Result<()> {
        if self.is_here() {
            self.line.phase(Phase::AlreadyExists);
            return Ok(());
        }
        self.line.phase(Phase::Waiting);
        let _lane = lanes.acquire().await;
        let content = self.ingest.store().content();
        let flight = Arc::new(content.lock(&self.blob.digest).await);
        if !content.contains(&self.blob.digest) || !self.unpack_kept().await? {
            self.fetch(&flight).await?;
        }
        self.line.phase(Phase::PullComplete);
        Ok(())
    }

    fn is_here(&self) -> bool {
        let store = self.ingest.store();
        store.layers().contains(&self.diff_id) && store.content().contains(&self.blob.digest)
    }

    /// Unpacks the blob that is here. False when it is damaged, and gone now.
    async fn unpack_kept(&self) -> Result<bool> {
        let content = self.ingest.store().content();
        download::check_size(content, &self.blob)?;
        let progress = self.extracting(Arc::new(AtomicBool::new(true)));
        let blob = &self.blob.digest;
        let unpacked = unpacker::unpack_blob(&self.ingest, blob, &self.diff_id, progress).await;
        let Err(error) = unpacked else {
            return Ok(true);
        };
        if !is_wrong(&error) || download::is_sound(content, blob).await? {
            return Err(error);
        }
        tracing::warn!(%blob, "a blob is damaged on disk: it is fetched again");
        content.remove(blob)?;
        Ok(false)
    }

    /// Fetches it. Bytes that came from several answers, today or before a restart, may not fit
    /// together: then the whole is fetched once more. Wrong bytes of a mirror are asked of the next one.
    async fn fetch(&self, flight: &Arc<Flight>) -> Result<()> {
        let mut anew = false;
        loop {
            let asked = self.session.asked();
            let Err(spoilt) = self.pass(flight).await else {
                return Ok(());
            };
            if spoilt.again && !anew {
                tracing::debug!(blob = %self.blob.digest, error = %spoilt.error, "begun anew");
                anew = true;
                continue;
            }
            self.session.leave_liar(asked, spoilt.error).await?;
        }
    }

    async fn pass(&self, flight: &Arc<Flight>) -> Result<(), Spoilt> {
        let layers = self.ingest.store().layers();
        let unpacks = Arc::new(layers.lock(&self.diff_id).await);
        let mut held = Held::open(&self.ingest, &self.blob, flight).await?;
        if layers.contains(&self.diff_id) {
            let held = self.download(held).await?;
            return self.finish(held).await;
        }
        let follower = held.follow()?;
        let work = Work {
            ingest: self.ingest.clone(),
            blob: self.blob.digest.clone(),
            diff_id: self.diff_id.clone(),
            flight: Arc::clone(&unpacks),
        };
        let arrived = Arc::new(AtomicBool::new(false));
        let progress = self.extracting(Arc::clone(&arrived));
        let mut unpacking = Unpacking::start(work, follower, progress);
        let (held, unpacked) = self.download_beside(held, &mut unpacking).await?;
        self.finish(held).await?;
        arrived.store(true, Ordering::Relaxed);
        let staged = match unpacked {
            Some(unpacked) => unpacked,
            None => unpacking.wait().await,
        }?;
        let layers = layers.clone();
        download::blocking(move || layers.show(staged)).await?;
        Ok(())
    }

    /// Downloads while the layer is unpacked. An archive that cannot be unpacked is not blamed before
    /// all bytes are here: they may be wrong, and then their digest says so. Anything else that goes
    /// wrong ends the download.
    async fn download_beside(
        &self,
        held: Held,
        unpacking: &mut Unpacking,
    ) -> Result<(Held, Option<Result<Staged>>)> {
        let download = self.download(held);
        tokio::pin!(download);
        let mut unpacked = None;
        loop {
            tokio::select! {
                held = &mut download => return Ok((held?, unpacked)),
                result = unpacking.wait(), if unpacked.is_none() => match result {
                    Err(error) if !is_wrong(&error) => return Err(error),
                    result => unpacked = Some(result),
                },
            }
        }
    }

    async fn download(&self, held: Held) -> Result<Held> {
        let total = self.blob.size;
        let arrived = |current| {
            let phase = || Phase::Downloading { current, total };
            self.line.count(phase, current == total);
        };
        let held = download::complete(&self.session, &self.blob, held, &arrived).await;
        held.map_err(|error| match error.kind() {
            Kind::NotFound if is_foreign(&self.blob) => Error::unsupported(format!(
                "its media type {} says that registries must not give it away, and this one does not; orc fetches layers from nowhere else",
                self.blob.media_type
            )),
            _ => error,
        })
    }

    async fn finish(&self, held: Held) -> Result<(), Spoilt> {
        self.line.phase(Phase::Verifying);
        let pieced = held.is_pieced();
        let finished = held.finish(self.blob.size).await;
        finished.map_err(|error| Spoilt {
            again: pieced && error.kind() == Kind::Invalid,
            error,
        })
    }

    /// Reports how far the unpacking is, once `when` says that there is nothing else to report.
    fn extracting(&self, when: Arc<AtomicBool>) -> impl FnMut(u64) + Send + 'static {
        let (line, total) = (Arc::clone(&self.line), self.blob.size);
        move |current| {
            if when.load(Ordering::Relaxed) {
                line.count(|| Phase::Extracting { current, total }, current == total);
            }
        }
    }
}

/// Whether the layer is one that its vendor keeps on a server of its own. Where that is, the manifest
/// says, which anybody may have written: nobody asks there.
fn is_foreign(blob: &Descriptor) -> bool {
    let media_type = &blob.media_type;
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}

/// Whether the bytes are to blame, and not this machine.
fn is_wrong(error: &Error) -> bool {
    matches!(error.kind(), Kind::Invalid | Kind::Unsupported)
}
