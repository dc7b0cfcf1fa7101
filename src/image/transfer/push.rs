//! A whole image from this machine to a registry.
//!
//! Blobs first, the manifest last: whoever pulls the name meanwhile gets the old image or the new one.
//! A blob travels only when the registry neither has it nor can take it from a repository it is known
//! to be in.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use orc_base::{Context, Error, Kind, Result};

use crate::content::Content;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Document, MAX_DOCUMENT_BYTES, Manifest};
use crate::progress::{Phase, Progress, ProgressEvent};
use crate::reference::Reference;
use crate::registry::http::Http;
use crate::registry::session::{Access, Session};
use crate::registry::upload::Local;
use crate::transfer::relay::{self, Line};

/// How often a count of sent bytes is looked at.
const TICK: Duration = Duration::from_millis(100);

/// What to push, and where.
#[derive(Debug, Clone)]
pub(crate) struct Push<'a> {
    /// The name it gets; its tag counts.
    pub(crate) reference: &'a Reference,
    /// The image's manifest.
    pub(crate) manifest: &'a Digest,
    /// Names under which registries are known to have the image's blobs.
    pub(crate) known: &'a [Reference],
    /// The account; without one it is looked up when the registry asks.
    pub(crate) credentials: Option<Credentials>,
}

/// The manifest as the registry has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its digest.
    pub digest: Digest,
    /// How many bytes it has.
    pub size_bytes: u64,
}

/// Pushes the blobs, then the manifest. What came of it is for the caller to say.
pub(crate) async fn push(
    http: &Arc<Http>,
    content: &Content,
    push: Push<'_>,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let reference = push.reference;
    send(http, content, push, progress)
        .await
        .context(|| format!("push {}", reference.familiar()))
}

async fn send(
    http: &Arc<Http>,
    content: &Content,
    push: Push<'_>,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let tag = match (push.reference.tag(), push.reference.digest()) {
        (Some(tag), None) => tag,
        _ => {
            return Err(Error::invalid(
                "an image is pushed under a tag, not under a digest",
            ));
        }
    };
    let bytes = content.read(push.manifest, MAX_DOCUMENT_BYTES)?;
    let document = Document::parse(&bytes, &[])?;
    let Document::Manifest(manifest) = document else {
        return Err(Error::invalid("an index is not an image"));
    };
    let pushed = Pushed {
        digest: push.manifest.clone(),
        size_bytes: bytes.len() as u64,
    };
    progress.report(ProgressEvent::message(format!(
        "The push refers to repository [{}]",
        push.reference.name()
    )));
    let sisters = sisters(push.reference, push.known);
    let more: Vec<&str> = sisters.iter().map(String::as_str).collect();
    let session =
        Session::open(http, push.reference, Access::Push, &more, push.credentials).await?;
    send_blobs(&Arc::new(session), content, &manifest, sisters, progress)
        .await?
        .put_manifest(tag, &manifest.media_type, bytes.into())
        .await
        .context(|| "the manifest")?;
    Ok(pushed)
}

/// Other repositories of the same registry that have the image's blobs.
fn sisters(reference: &Reference, known: &[Reference]) -> Vec<String> {
    let mut sisters: Vec<String> = known
        .iter()
        .filter(|other| other.registry() == reference.registry())
        .map(|other| other.repository().to_owned())
        .filter(|repository| repository != reference.repository())
        .collect();
    sisters.sort();
    sisters.dedup();
    sisters.truncate(4);
    sisters
}

async fn send_blobs(
    session: &Arc<Session>,
    content: &Content,
    manifest: &Manifest,
    sisters: Vec<String>,
    progress: &dyn Progress,
) -> Result<Arc<Session>> {
    let (reports, events) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(session.http().limits().parallel.max(1)));
    let sisters: Arc<[String]> = sisters.into();
    let mut tasks = JoinSet::new();
    let mut seen = HashSet::new();
    let layers = manifest.layers.iter().map(|layer| (layer, true));
    for (blob, is_layer) in layers.chain([(&manifest.config, false)]) {
        if !seen.insert(blob.digest.clone()) {
            continue;
        }
        let line = is_layer.then(|| Line::new(blob.digest.short(), &reports));
        let job = Job {
            session: Arc::clone(session),
            content: content.clone(),
            blob: blob.clone(),
            sisters: Arc::clone(&sisters),
            line,
        };
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            job.phase(Phase::Preparing);
            let _permit = permits.acquire_owned().await;
            let blob = job.blob.clone();
            job.run()
                .await
                .context(|| format!("layer {}", blob.digest.short()))
        });
    }
    drop(reports);
    relay::run(tasks, events, progress).await?;
    Ok(Arc::clone(session))
}

/// One blob's way.
struct Job {
    session: Arc<Session>,
    content: Content,
    blob: Descriptor,
    sisters: Arc<[String]>,
    /// None for the config, which is not shown.
    line: Option<Line>,
}

impl Job {
    fn phase(&self, phase: Phase) {
        if let Some(line) = &self.line {
            line.phase(phase);
        }
    }

    async fn run(self) -> Result<()> {
        let Descriptor { digest, size, .. } = &self.blob;
        if self.session.has_blob(digest, *size).await? {
            self.phase(Phase::LayerAlreadyExists);
            return Ok(());
        }
        for sister in self.sisters.iter() {
            if self.session.mount_blob(digest, sister).await? {
                self.phase(Phase::Mounted(sister.clone()));
                return Ok(());
            }
        }
        let path = self.local()?;
        self.send(&path).await?;
        self.phase(Phase::Pushed);
        Ok(())
    }

    fn local(&self) -> Result<PathBuf> {
        let Descriptor { digest, size, .. } = &self.blob;
        match self.content.size(digest) {
            Ok(found) if found == *size => Ok(self.content.path(digest)),
            Ok(_) => Err(Error::internal(
                "it is damaged on disk: remove the image and pull it again",
            )),
            Err(error) if error.kind() == Kind::NotFound => Err(Error::not_found(
                "it is not on this machine: pull the image again",
            )),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, path: &std::path::Path) -> Result<()> {
        let Descriptor { digest, size, .. } = &self.blob;
        let sent = Arc::new(AtomicU64::new(0));
        let local = Local {
            digest,
            path,
            size: *size,
        };
        let sending = self.session.send_blob(&local, &sent);
        tokio::pin!(sending);
        loop {
            match tokio::time::timeout(TICK, &mut sending).await {
                Ok(result) => return result,
                Err(_) => self.phase(Phase::Pushing {
                    current: sent.load(Ordering::Relaxed),
                    total: *size,
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_repositories_of_the_same_registry_can_lend() {
        let reference = |text: &str| Reference::parse(text).unwrap();
        let known = [
            "localhost:5000/a:1",
            "localhost:5000/b:1",
            "localhost:5000/b:2",
            "localhost:5001/c:1",
            "busybox",
        ];
        let known: Vec<_> = known.iter().map(|text| reference(text)).collect();
        assert_eq!(sisters(&reference("localhost:5000/a:2"), &known), ["b"]);
        assert_eq!(sisters(&reference("user/x"), &known), ["library/busybox"]);
    }
}
