//! One blob from a registry into the content store.
//!
//! The bytes are hashed and written on a thread of their own while the next ones arrive. What was
//! written survives a broken connection and a restart, and the download goes on there; a blob whose
//! digest or size is wrong leaves nothing. Two who want the same blob share one download.

use bytes::Bytes;
use tokio::sync::mpsc;

use orc_base::{Error, Kind, Result};

use crate::content::Content;
use crate::flight::Flight;
use crate::manifest::Descriptor;
use crate::partial::Partial;
use crate::registry::retry::{Failure, Tries};
use crate::registry::session::Session;

/// How many chunks may wait for the disk.
const QUEUE: usize = 16;

/// The half-made blob and the right to write it: dropped together, so that nobody who waits for the
/// second finds the first still open.
struct Held {
    partial: Partial,
    flight: Flight,
}

/// Fetches `blob` unless it is here. `arrived` is told how many of its bytes are.
pub(crate) async fn download(
    session: &Session,
    content: &Content,
    blob: &Descriptor,
    arrived: &(dyn Fn(u64) + Send + Sync),
) -> Result<()> {
    let flight = content.lock(&blob.digest).await;
    if content.contains(&blob.digest) {
        return check_size(content, blob);
    }
    let mut held = open(content, blob, flight).await?;
    // What an earlier run left may be damaged: then a wrong digest is not the registry's fault.
    let mut inherited = held.partial.offset() > 0;
    loop {
        held = complete(session, blob, held, arrived).await?;
        let Held { partial, flight } = held;
        match partial.finish(blob.size) {
            Err(error) if inherited && error.kind() == Kind::Invalid => {
                tracing::debug!(blob = %blob.digest, "what was left of a download is damaged");
                inherited = false;
                held = open(content, blob, flight).await?;
            }
            finished => return finished,
        }
    }
}

fn check_size(content: &Content, blob: &Descriptor) -> Result<()> {
    let size = content.size(&blob.digest)?;
    if size == blob.size {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "blob {} has {size} bytes, but {} were announced",
        blob.digest, blob.size
    )))
}

async fn open(content: &Content, blob: &Descriptor, flight: Flight) -> Result<Held> {
    let (content, digest) = (content.clone(), blob.digest.clone());
    // Reads what is there to rebuild the hash, which may be much.
    blocking(move || {
        Ok(Held {
            partial: content.partial(&digest)?,
            flight,
        })
    })
    .await
}

/// Fetches what is missing, over as many connections as it takes and [`Limits`] allow.
///
/// [`Limits`]: crate::registry::config::Limits
async fn complete(
    session: &Session,
    blob: &Descriptor,
    mut held: Held,
    arrived: &(dyn Fn(u64) + Send + Sync),
) -> Result<Held> {
    let limits = session.http().limits();
    let (mut tries, mut resumes) = (Tries::default(), 0);
    loop {
        if held.partial.offset() > blob.size {
            held.partial.restart()?;
        }
        let before = held.partial.offset();
        if before == blob.size {
            return Ok(held);
        }
        let (back, streamed) = stream(session, blob, held, arrived).await?;
        held = back;
        let Err(failure) = streamed else {
            return Ok(held);
        };
        let gained = held.partial.offset().saturating_sub(before);
        if gained >= limits.slow_bytes && resumes < limits.resumes {
            resumes += 1;
            tries.reset();
        }
        if failure.error.kind() == Kind::Conflict {
            held.partial.restart()?;
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

/// One connection: from where the partial ends to the end of the blob, or to what went wrong.
async fn stream(
    session: &Session,
    blob: &Descriptor,
    held: Held,
    arrived: &(dyn Fn(u64) + Send + Sync),
) -> Result<(Held, Result<(), Failure>)> {
    let offset = held.partial.offset();
    let mut source = match session.open_blob(blob, offset).await {
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
        if let Err(error) = held.partial.append(&chunk) {
            return (held, Err(error));
        }
    }
    (held, Ok(()))
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
