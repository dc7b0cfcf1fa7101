//! One blob from a registry into the content store.
//!
//! The bytes are written and hashed on a thread of their own while the next ones arrive, and handed on
//! to whoever follows (`tail`), who sees one stream however often the connection breaks. What was
//! written survives a broken connection and a restart, and the download goes on there; a blob whose
//! digest or size is wrong leaves nothing.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use orc_base::{Error, Kind, Result};

use crate::content::Content;
use crate::digest::Digest;
use crate::flight::Flight;
use crate::manifest::Descriptor;
use crate::partial::Partial;
use crate::registry::retry::{Failure, Tries};
use crate::registry::session::Session;
use crate::store::Ingest;
use crate::tail::Tail;

/// How many chunks may wait for the disk; the HTTP library makes them up to 400 KiB large.
const QUEUE: usize = 4;

/// The half-made blob and all that goes with it: dropped together, so that nobody who waits for the
/// right to write it finds it still open.
pub(crate) struct Held {
    partial: Partial,
    /// Who reads what is written, if somebody does.
    tail: Option<Tail>,
    /// Whether the bytes come from more than one answer. When such a blob is wrong, the answers may
    /// not have fitted together.
    pieced: bool,
    _ingest: Ingest,
    _flight: Arc<Flight>,
}

impl Held {
    /// Goes on with what is here of `blob`, or begins. `flight` is the right to do so.
    pub(crate) async fn open(
        ingest: &Ingest,
        blob: &Descriptor,
        flight: &Arc<Flight>,
    ) -> Result<Self> {
        let (ingest, flight, blob) = (ingest.clone(), Arc::clone(flight), blob.clone());
        blocking(move || {
            let mut partial = ingest.store().content().partial(&blob.digest)?;
            if partial.offset() > blob.size {
                partial.restart()?;
            }
            Ok(Self {
                pieced: partial.offset() > 0,
                partial,
                tail: None,
                _ingest: ingest,
                _flight: flight,
            })
        })
        .await
    }

    /// Lets somebody read the blob from its start while it arrives.
    pub(crate) fn follow(&mut self) -> Result<crate::tail::Follower> {
        let (tail, follower) = crate::tail::follow(self.partial.reader()?, self.partial.offset());
        self.tail = Some(tail);
        Ok(follower)
    }

    /// Whether the bytes come from more than one answer.
    pub(crate) fn is_pieced(&self) -> bool {
        self.pieced
    }

    /// Compares digest and size and keeps the blob. Whoever follows is told the end only when they
    /// are right.
    pub(crate) async fn finish(self, size: u64) -> Result<()> {
        blocking(move || {
            let Self {
                partial,
                tail,
                _ingest,
                _flight,
                ..
            } = self;
            partial.finish(size)?;
            if let Some(tail) = tail {
                tail.finish();
            }
            Ok(())
        })
        .await
    }

    fn append(&mut self, bytes: Bytes) -> Result<()> {
        self.partial.append(&bytes)?;
        if let Some(tail) = &self.tail {
            tail.appended(bytes);
        }
        Ok(())
    }
}

/// Where a download is to begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Where the bytes that are here end.
    Here,
    /// At the start, because the registry does not go on elsewhere: what is here is passed over.
    Start,
}

/// Fetches what is missing of `blob`, over as many connections as it takes and [`Limits`] allow.
/// `arrived` is told how many of its bytes are here.
///
/// [`Limits`]: crate::registry::config::Limits
pub(crate) async fn complete(
    session: &Session,
    blob: &Descriptor,
    mut held: Held,
    arrived: &(dyn Fn(u64) + Send + Sync),
) -> Result<Held> {
    let limits = session.http().limits();
    let (mut tries, mut resumes, mut from) = (Tries::default(), 0, From::Here);
    loop {
        let before = held.partial.offset();
        if before == blob.size {
            return Ok(held);
        }
        let (back, streamed) = stream(session, blob, held, from, arrived).await?;
        held = back;
        let Err(failure) = streamed else {
            return Ok(held);
        };
        let gained = held.partial.offset().saturating_sub(before);
        held.pieced |= held.partial.offset() > 0;
        if gained >= limits.slow_bytes && resumes < limits.resumes {
            resumes += 1;
            tries.reset();
        }
        if failure.error.kind() == Kind::Conflict {
            from = From::Start;
        }
        if let Err(error) = session.pause(&mut tries, failure).await {
            give_up(held, &error)?;
            return Err(error);
        }
    }
}

/// Keeps what a later attempt can go on with: not wrong bytes, and nothing on a full disk.
fn give_up(held: Held, error: &Error) -> Result<()> {
    match error.kind() {
        Kind::Invalid | Kind::Exhausted => held.partial.discard(),
        _ => Ok(()),
    }
}

/// One connection: from where it begins to the end of the blob, or to what went wrong.
async fn stream(
    session: &Session,
    blob: &Descriptor,
    held: Held,
    from: From,
    arrived: &(dyn Fn(u64) + Send + Sync),
) -> Result<(Held, Result<(), Failure>)> {
    let offset = held.partial.offset();
    let begin = match from {
        From::Here => offset,
        From::Start => 0,
    };
    let mut source = match session.open_blob(blob, begin).await {
        Ok(source) => source,
        Err(failure) => return Ok((held, Err(failure))),
    };
    let (chunks, queue) = mpsc::channel(QUEUE);
    let writer = tokio::task::spawn_blocking(move || write(held, queue));
    let read = async {
        let mut position = source.start;
        while let Some(chunk) = source.next().await? {
            // A registry that does not resume sends what is here already, too.
            let known = offset.saturating_sub(position).min(chunk.len() as u64);
            position += chunk.len() as u64;
            if position > blob.size {
                return Err(Failure::last(Error::invalid(format!(
                    "blob {} comes with more than the {} bytes that were announced",
                    blob.digest, blob.size
                ))));
            }
            arrived(position.max(offset));
            if chunks.send(chunk.slice(known as usize..)).await.is_err() {
                // The writer has failed and says why.
                return Ok(());
            }
        }
        match position == blob.size {
            true => Ok(()),
            false => Err(Failure::passing(Error::unavailable(format!(
                "{} ended blob {} after {position} of {} bytes",
                session.who(),
                blob.digest,
                blob.size
            )))),
        }
    }
    .await;
    drop(chunks);
    let (held, written) = writer.await.map_err(|error| lost(&error))?;
    Ok((held, written.map_err(Failure::last).and(read)))
}

fn write(mut held: Held, mut queue: mpsc::Receiver<Bytes>) -> (Held, Result<()>) {
    while let Some(chunk) = queue.blocking_recv() {
        if let Err(error) = held.append(chunk) {
            return (held, Err(error));
        }
    }
    (held, Ok(()))
}

/// Whether a blob that is here has the size that was announced.
pub(crate) fn check_size(content: &Content, blob: &Descriptor) -> Result<()> {
    let size = content.size(&blob.digest)?;
    if size == blob.size {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "blob {} has {size} bytes, but {} were announced",
        blob.digest, blob.size
    )))
}

/// Whether a blob that is here still has its digest: bits flip on disks.
pub(crate) async fn is_sound(content: &Content, digest: &Digest) -> Result<bool> {
    let (content, digest) = (content.clone(), digest.clone());
    blocking(move || content.is_sound(&digest)).await
}

/// Runs work that waits for the disk on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| lost(&error))?
}

fn lost(error: &tokio::task::JoinError) -> Error {
    Error::internal(format!("a thread of a transfer is lost: {error}"))
}
