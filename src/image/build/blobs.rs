//! The blobs of layers: known from where they came from, or being packed while the build goes on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;

use orc_base::{Context, Error, Result, Time};

use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::pack::blob;
use crate::pack::layer::{PackOptions, RootLook};
use crate::store::Ingest;
use crate::unpack::compression::Compression;

/// The blobs of one build's layers, by diff id.
#[derive(Debug, Default)]
pub(crate) struct Blobs(Mutex<HashMap<Digest, State>>);

#[derive(Debug)]
enum State {
    Known(Descriptor),
    Packing(JoinHandle<Result<Descriptor>>),
}

/// How layers are packed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packing {
    /// How blobs are compressed.
    pub(crate) compression: Compression,
    /// No time in them is later.
    pub(crate) clamp: Option<Time>,
}

impl Blobs {
    /// Remembers the blob of a layer.
    pub(crate) fn know(&self, diff_id: &Digest, blob: Descriptor) {
        self.states().insert(diff_id.clone(), State::Known(blob));
    }

    /// Whether the blob is here or on its way.
    pub(crate) fn has(&self, diff_id: &Digest) -> bool {
        self.states().contains_key(diff_id)
    }

    /// Begins to pack a layer, unless it is known. `root` is what the root directory was below it.
    pub(crate) fn begin(
        &self,
        ingest: &Ingest,
        diff_id: &Digest,
        packing: Packing,
        root: Option<RootLook>,
    ) {
        let mut states = self.states();
        if states.contains_key(diff_id) {
            return;
        }
        let (ingest, id) = (ingest.clone(), diff_id.clone());
        let work = tokio::task::spawn_blocking(move || pack(&ingest, &id, packing, root));
        states.insert(diff_id.clone(), State::Packing(work));
    }

    /// The blob of a layer, waiting for it if need be; none when nobody has begun to pack it.
    pub(crate) async fn take(&self, diff_id: &Digest) -> Result<Option<Descriptor>> {
        let state = self.states().remove(diff_id);
        let blob = match state {
            None => return Ok(None),
            Some(State::Known(blob)) => blob,
            Some(State::Packing(work)) => work.await.map_err(|error| {
                Error::internal(format!("a packing thread was lost: {error}"))
            })??,
        };
        self.know(diff_id, blob.clone());
        Ok(Some(blob))
    }

    fn states(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pack(
    ingest: &Ingest,
    diff_id: &Digest,
    packing: Packing,
    root: Option<RootLook>,
) -> Result<Descriptor> {
    let store = ingest.store();
    let options = PackOptions {
        clamp: packing.clamp,
        root,
    };
    let directory = store.layers().path(diff_id);
    let packed = blob::blob(store.content(), &directory, packing.compression, &options)
        .context(|| format!("pack layer {}", diff_id.short()))?;
    match packed.diff_id == *diff_id {
        true => Ok(packed.blob),
        false => Err(Error::internal(format!(
            "layer {} is not what it was when it was made: `orc system check` says more",
            diff_id.short()
        ))),
    }
}
