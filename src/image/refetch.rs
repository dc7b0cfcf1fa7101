//! Gets the bytes of damaged blobs again, by pulling the images that need them.
//!
//! All bad blobs are put aside first, so that no pull takes them for good ones; those that no registry
//! has come back as they were. What becomes of these is for `check` to say.

use std::collections::BTreeSet;
use std::sync::Arc;

use orc_base::{Error, Result};

use crate::catalog::{Parts, Role};
use crate::content::Aside;
use crate::digest::Digest;
use crate::progress::Silent;
use crate::reference::Reference;
use crate::registry::http::Http;
use crate::store::Store;
use crate::transfer::pull::{self, PullOptions};

/// A blob that is not what it should be.
#[derive(Debug, Clone)]
pub(crate) struct BadBlob {
    pub(crate) digest: Digest,
    pub(crate) part: Role,
    pub(crate) problem: String,
    pub(crate) images: Vec<Parts>,
    /// The manifests of these that need it; all need a config.
    pub(crate) manifests: BTreeSet<Digest>,
    /// What those are called, for people.
    pub(crate) names: BTreeSet<String>,
    /// Why it could not be fetched again; none when it was.
    pub(crate) fetched: Result<(), Error>,
}

impl BadBlob {
    /// Whether it comes with that manifest.
    fn is_of(&self, manifest: &Digest) -> bool {
        self.part == Role::Config || self.manifests.contains(manifest)
    }
}

/// Gets good bytes from registries that had the images. The bad ones stay where there are none.
pub(crate) async fn fetch_again(
    http: &Arc<Http>,
    store: &Store,
    bad: &mut [BadBlob],
) -> Result<()> {
    let content = store.content();
    let set_aside = |blob: &BadBlob| content.set_aside(&blob.digest);
    let asides: Vec<Aside> = bad.iter().map(set_aside).collect::<Result<_>>()?;
    for blob in bad.iter_mut() {
        blob.fetched = fetch(http, store, blob).await;
    }
    for (blob, aside) in bad.iter().zip(asides) {
        match &blob.fetched {
            Ok(()) => aside.discard()?,
            Err(_) => aside.restore()?,
        }
    }
    Ok(())
}

async fn fetch(http: &Arc<Http>, store: &Store, blob: &BadBlob) -> Result<()> {
    let mut failure = Error::not_found("no registry is known to have it");
    for image in &blob.images {
        let others = |name: &&Reference| {
            let digest = name.digest();
            digest.is_none_or(|one| !image.manifests.contains_key(one) || blob.is_of(one))
        };
        for name in image.repo_digests.iter().filter(others) {
            if store.content().contains(&blob.digest) {
                return Ok(());
            }
            let options = PullOptions {
                platform: store.platform(&image.id),
                ..PullOptions::default()
            };
            match pull::pull(http, store, name, &options, &Silent).await {
                Ok(_) => failure = Error::not_found("the registry has another image by now"),
                Err(error) => failure = error,
            }
        }
    }
    match store.content().contains(&blob.digest) {
        true => Ok(()),
        false => Err(failure),
    }
}
