//! Blobs on their way in: named by random ids, written and hashed off the async threads, and forgotten
//! when nobody goes on with them.
//!
//! What arrived before a connection broke stays, so that the client can go on there. A blob becomes
//! visible only when its digest is the one that the last request names.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming as Received;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard, mpsc};
use tokio::time::{Instant, timeout};

use orc_base::{Error, id};

use crate::content::Content;
use crate::digest::Digest;
use crate::partial::Incoming;
use crate::serve::refusal::Refusal;

/// How many uploads may be open at once.
const MAX_UPLOADS: usize = 64;
/// The most bytes of one blob.
const MAX_BLOB_BYTES: u64 = 64 << 30;
/// How long an upload is kept after its last request.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How long a client may send nothing in the middle of a body.
const STALL: Duration = Duration::from_secs(60);
/// How many pieces may wait for the disk.
const QUEUE: usize = 16;

/// All uploads.
pub(super) struct Uploads {
    content: Content,
    open: Mutex<HashMap<String, Arc<Upload>>>,
}

/// One upload.
pub(super) struct Upload {
    repository: String,
    touched: Mutex<Instant>,
    /// None once it has ended.
    file: AsyncMutex<Option<Incoming>>,
}

impl Uploads {
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            open: Mutex::default(),
        }
    }

    /// Begins one, and gives its id.
    pub(super) fn begin(&self, repository: &str, now: Instant) -> Result<String, Refusal> {
        let mut open = lock(&self.open);
        if open.len() >= MAX_UPLOADS {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TOOMANYREQUESTS",
                format!("{MAX_UPLOADS} uploads are open already: try again later"),
            )
            .with("retry-after", "5"));
        }
        let id = id::hex(&id::random_bytes::<16>());
        let upload = Upload {
            repository: repository.to_owned(),
            touched: Mutex::new(now),
            file: AsyncMutex::new(Some(self.content.incoming()?)),
        };
        open.insert(id.clone(), Arc::new(upload));
        Ok(id)
    }

    /// The upload of an id, in its repository.
    pub(super) fn find(
        &self,
        repository: &str,
        id: &str,
        now: Instant,
    ) -> Result<Arc<Upload>, Refusal> {
        let found = lock(&self.open).get(id).cloned();
        let upload = found
            .filter(|upload| upload.repository == repository)
            .ok_or_else(Refusal::upload_unknown)?;
        *lock(&upload.touched) = now;
        Ok(upload)
    }

    /// Forgets an upload and what arrived of it.
    pub(super) fn cancel(&self, id: &str) {
        lock(&self.open).remove(id);
    }

    /// Keeps what arrived as the blob `digest`, which it must be.
    pub(super) async fn finish(
        &self,
        id: &str,
        upload: &Upload,
        digest: &Digest,
    ) -> Result<(), Refusal> {
        let incoming = upload.take()?.0;
        self.cancel(id);
        let found = incoming.digest();
        if found != *digest {
            return Err(Refusal::digest(format!(
                "what arrived has the digest {found}, not {digest}"
            )));
        }
        self.content.keep(incoming)?;
        Ok(())
    }

    /// Forgets those that nobody went on with.
    pub(super) fn expire(&self, now: Instant) {
        lock(&self.open).retain(|_, upload| {
            let busy = upload.file.try_lock().is_err();
            busy || now.duration_since(*lock(&upload.touched)) < PATIENCE
        });
    }
}

impl Upload {
    /// How many bytes arrived so far.
    pub(super) async fn size(&self) -> Result<u64, Refusal> {
        let file = self.file.lock().await;
        let incoming = file.as_ref().ok_or_else(Refusal::upload_unknown)?;
        Ok(incoming.size())
    }

    /// Takes in a body. `start` is where the client believes it goes on. Returns how many bytes there
    /// are now.
    pub(super) async fn append(&self, body: Received, start: Option<u64>) -> Result<u64, Refusal> {
        let (incoming, mut file) = self.take()?;
        let size = incoming.size();
        if start.is_some_and(|start| start != size) {
            *file = Some(incoming);
            return Err(Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                format!("the chunk does not begin at byte {size}, where the upload is"),
            )
            .with("range", progress(size)));
        }
        let (pieces, queue) = mpsc::channel(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write(incoming, queue));
        let received = receive(body, size, pieces).await;
        let (incoming, written) = writer.await.map_err(|error| {
            Error::internal(format!("the writer of an upload is lost: {error}"))
        })?;
        let size = incoming.size();
        // Half a piece may have been written, so there is nothing to go on with.
        written.map_err(|error| Error::from(error).within("keep the upload"))?;
        *file = Some(incoming);
        *lock(&self.touched) = Instant::now();
        received.map(|()| size)
    }

    /// The file, for the only one who may have it.
    fn take(&self) -> Result<(Incoming, AsyncGuard<'_, Option<Incoming>>), Refusal> {
        let mut file = self
            .file
            .try_lock()
            .map_err(|_| Refusal::upload_invalid("another request is writing this upload"))?;
        let incoming = file.take().ok_or_else(Refusal::upload_unknown)?;
        Ok((incoming, file))
    }
}

/// The header `Range` of an upload with so many bytes.
pub(super) fn progress(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

async fn receive(
    mut body: Received,
    mut size: u64,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), Refusal> {
    loop {
        let frame = match timeout(STALL, body.frame()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Refusal::upload_invalid("the body broke off")),
            Err(_) => {
                return Err(Refusal::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "BLOB_UPLOAD_INVALID",
                    format!("nothing arrived for {} s", STALL.as_secs()),
                ));
            }
        };
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        size += piece.len() as u64;
        if size > MAX_BLOB_BYTES {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "SIZE_INVALID",
                format!("a blob has at most {MAX_BLOB_BYTES} bytes here"),
            ));
        }
        if pieces.send(piece).await.is_err() {
            // The writer failed and says why.
            return Ok(());
        }
    }
}

fn write(
    mut incoming: Incoming,
    mut queue: mpsc::Receiver<Bytes>,
) -> (Incoming, std::io::Result<()>) {
    while let Some(piece) = queue.blocking_recv() {
        if let Err(error) = incoming.write_all(&piece) {
            return (incoming, Err(error));
        }
    }
    (incoming, Ok(()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
