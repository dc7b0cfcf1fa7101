//! Results of builds on other machines: `--cache-from`, `--cache-to`.
//!
//! They travel as an image that nobody runs: its layers are the layers that steps have made, and a
//! label of its config lists which key made which. So every registry keeps them, and an image can carry
//! those of its own steps (`type=inline`). Reading fetches the config only; a layer comes when a step
//! asks for its key. A cache that cannot be read or holds nonsense costs time and fails no build.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use orc_base::{Context, Error, Result, Time};

use crate::archive::pipe::blocking;
use crate::build::layout::{self, Layout};
use crate::cache::{CacheRecord, CachedBlob};
use crate::config::ConfigFile;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::platform::Platform;
use crate::progress::Silent;
use crate::reference::Reference;
use crate::registry::http::Http;
use crate::registry::session::{Access, Session};
use crate::store::{Ingest, Store};
use crate::transfer::layer::Layer;
use crate::transfer::push::{self, Push};
use crate::transfer::relay::Line;
use crate::transfer::resolve;
use crate::unpacker;

/// The label with the records.
pub(crate) const LABEL: &str = "orc.build.cache";
const VERSION: u32 = 1;
const MAX_RECORDS: usize = 10_000;
/// An image cannot have more, and a cache is one.
pub(crate) const MAX_LAYERS: usize = 500;

/// Where results are kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the image that is built.
    Inline,
    /// Under a name in a registry.
    Registry(Reference),
    /// In a directory.
    Local(PathBuf),
}

/// One `--cache-from` or `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Where.
    pub(crate) place: Place,
    /// Results of all stages, not only those the image is made of: `mode=max`.
    pub(crate) all: bool,
}

/// A record as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Travelling {
    /// The key.
    pub(crate) key: Digest,
    /// The diff id of what was changed; none when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<Digest>,
    /// The step as people see it.
    pub(crate) text: String,
    /// When it was done.
    pub(crate) created: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Records {
    version: u32,
    records: Vec<Travelling>,
}

impl Spec {
    /// Reads `type=registry,ref=…,mode=max`, `type=local,src=…` or a name.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("the cache `{text}` {why}"));
        if !text.contains('=') {
            let place = Place::Registry(Reference::parse(text)?);
            return Ok(Self { place, all: false });
        }
        let mut words = BTreeMap::new();
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                wrong("is not written as type=registry,ref=…, type=local,dest=… or type=inline")
            })?;
            words.insert(name.trim(), value.trim());
        }
        let place = match words.get("type").copied() {
            Some("inline") => Place::Inline,
            Some("registry") => {
                let name = words.get("ref").ok_or_else(|| wrong("needs ref="))?;
                Place::Registry(Reference::parse(name)?)
            }
            Some("local") => {
                let path = words.get("src").or(words.get("dest"));
                let path = Path::new(*path.ok_or_else(|| wrong("needs src= or dest="))?);
                match path.is_absolute() {
                    true => Place::Local(path.to_owned()),
                    false => return Err(wrong("needs an absolute path")),
                }
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "the cache `{text}` is of a type that orc does not know: registry, local and inline are"
                )));
            }
        };
        let all = match words.get("mode").copied() {
            None | Some("min") => false,
            Some("max") => true,
            Some(_) => return Err(wrong("has a mode that is neither min nor max")),
        };
        Ok(Self { place, all })
    }
}

/// A cache that was opened.
pub(crate) struct RemoteCache {
    origin: Origin,
    records: HashMap<Digest, Travelling>,
    blobs: HashMap<Digest, Descriptor>,
}

enum Origin {
    Registry(Arc<Session>),
    Local(Layout),
}

impl RemoteCache {
    /// Opens a cache.
    pub(crate) async fn open(
        http: &Arc<Http>,
        store: &Store,
        spec: &Spec,
        credentials: &BTreeMap<String, Credentials>,
    ) -> Result<Self> {
        match &spec.place {
            Place::Inline => Err(Error::invalid(
                "a cache inside of an image is read by the image's name",
            )),
            Place::Registry(reference) => {
                let credentials = credentials.get(reference.registry()).cloned();
                let session = Session::open(http, reference, Access::Pull, &[], credentials);
                let session = session.await?;
                let content = store.content();
                let found = resolve::resolve(&session, content, reference, None).await?;
                let origin = Origin::Registry(Arc::new(session));
                Self::new(origin, &found.manifest, &found.config)
            }
            Place::Local(path) => {
                let path = path.clone();
                blocking(move || {
                    let layout = Layout::open(&path)?;
                    let (_, manifest) = layout.manifest("", &Platform::host())?;
                    let config = layout.config(&manifest)?;
                    Self::new(Origin::Local(layout), &manifest, &config)
                })
                .await
            }
        }
    }

    fn new(origin: Origin, manifest: &Manifest, config: &ConfigFile) -> Result<Self> {
        let label = config.config.labels.get(LABEL);
        let label = label.ok_or_else(|| Error::not_found("it holds no results of builds"))?;
        let records: Records = serde_json::from_str(label)?;
        if records.version != VERSION || records.records.len() > MAX_RECORDS {
            return Err(Error::unsupported("its records are not for this orc"));
        }
        let layers = config.diff_ids.iter().cloned();
        Ok(Self {
            origin,
            records: records
                .records
                .into_iter()
                .map(|one| (one.key.clone(), one))
                .collect(),
            blobs: layers.zip(manifest.layers.iter().cloned()).collect(),
        })
    }

    /// The result of a key, with its layer here; none when there is none, or when it cannot be had.
    pub(crate) async fn fetch(&self, ingest: &Ingest, key: &Digest) -> Option<CacheRecord> {
        let found = self.records.get(key)?;
        match self.bring(ingest, found).await {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(%error, %key, "a result from elsewhere cannot be used");
                None
            }
        }
    }

    async fn bring(&self, ingest: &Ingest, found: &Travelling) -> Result<CacheRecord> {
        let created: Time = found.created.parse()?;
        let mut record = CacheRecord::new(found.key.clone(), found.text.clone(), created);
        let Some(layer) = &found.layer else {
            return Ok(record);
        };
        let blob = self.blobs.get(layer);
        let blob = blob.ok_or_else(|| Error::invalid("its layer is not in the cache"))?;
        self.bring_layer(ingest, layer, blob).await?;
        record.layer = Some(layer.clone());
        record.blob = Some(CachedBlob {
            digest: blob.digest.clone(),
            size: blob.size,
            media_type: blob.media_type.clone(),
        });
        Ok(record)
    }

    async fn bring_layer(
        &self,
        ingest: &Ingest,
        diff_id: &Digest,
        blob: &Descriptor,
    ) -> Result<()> {
        let store = ingest.store();
        match &self.origin {
            Origin::Registry(session) => {
                let (reports, _) = mpsc::unbounded_channel();
                let layer = Layer {
                    session: session.clone(),
                    ingest: ingest.clone(),
                    blob: blob.clone(),
                    diff_id: diff_id.clone(),
                    line: Arc::new(Line::new(blob.digest.short(), &reports)),
                };
                layer.bring(&Semaphore::new(1)).await
            }
            Origin::Local(layout) => {
                layout.take(store.content(), blob)?;
                unpacker::unpack_blob(ingest, &blob.digest, diff_id, |_| ()).await
            }
        }
    }
}

/// The records as the text of the label.
pub(crate) fn label(records: &[Travelling]) -> Result<String> {
    let mut records = records.to_vec();
    records.truncate(MAX_RECORDS);
    Ok(serde_json::to_string(&Records {
        version: VERSION,
        records,
    })?)
}

/// What to export.
pub(crate) struct Export {
    /// The records.
    pub(crate) records: Vec<Travelling>,
    /// Their layers: diff ids and blobs, which are here.
    pub(crate) layers: Vec<(Digest, Descriptor)>,
    /// What they are for.
    pub(crate) platform: Platform,
}

impl Export {
    /// Writes it as an image that nobody runs.
    fn image(&self, store: &Store) -> Result<(Descriptor, Manifest)> {
        let mut config = ConfigFile {
            architecture: self.platform.architecture.clone(),
            os: self.platform.os.clone(),
            variant: self.platform.variant.clone(),
            diff_ids: self.layers.iter().map(|(id, _)| id.clone()).collect(),
            ..ConfigFile::default()
        };
        let label = label(&self.records)?;
        config.config.labels.insert(LABEL.into(), label);
        let bytes = config.render()?;
        let content = store.content();
        let id = Digest::of(&bytes);
        content.write_whole(&id, &bytes)?;
        let config = Descriptor {
            media_type: OCI_CONFIG.into(),
            digest: id,
            size: bytes.len() as u64,
            platform: None,
        };
        let layers = self.layers.iter().map(|(_, blob)| blob.clone()).collect();
        let manifest = Manifest::new(config, layers);
        let bytes = manifest.to_bytes();
        let digest = Digest::of(&bytes);
        content.write_whole(&digest, &bytes)?;
        let image = Descriptor {
            media_type: OCI_MANIFEST.into(),
            digest,
            size: bytes.len() as u64,
            platform: None,
        };
        Ok((image, manifest))
    }

    /// Keeps it where `place` says.
    pub(crate) async fn send(
        self,
        http: &Arc<Http>,
        store: &Store,
        place: &Place,
        credentials: &BTreeMap<String, Credentials>,
    ) -> Result<()> {
        let (work, place) = (store.clone(), place.clone());
        let (image, parts) = {
            let work = work.clone();
            blocking(move || self.image(&work)).await?
        };
        match place {
            Place::Inline => Ok(()),
            Place::Local(path) => {
                let write = move || layout::write(&path, work.content(), &image, &parts, "cache");
                blocking(write).await.context(|| "write the cache")
            }
            Place::Registry(reference) => {
                let push = Push {
                    reference: &reference,
                    manifest: &image.digest,
                    known: &[],
                    credentials: credentials.get(reference.registry()).cloned(),
                };
                let pushed = push::push(http, store.content(), push, &Silent).await;
                pushed.map(drop).context(|| "keep the cache")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_takes() {
        let registry = |name: &str| Place::Registry(Reference::parse(name).unwrap());
        for (text, place, all) in [
            ("type=inline", Place::Inline, false),
            ("r.example/a:b", registry("r.example/a:b"), false),
            (
                "type=registry,ref=r.example/a:b,mode=max",
                registry("r.example/a:b"),
                true,
            ),
            ("type=local,dest=/x", Place::Local("/x".into()), false),
            (
                "type=local,src=/x,mode=min",
                Place::Local("/x".into()),
                false,
            ),
        ] {
            assert_eq!(Spec::parse(text).unwrap(), Spec { place, all }, "{text}");
        }
        for bad in [
            "type=gha",
            "type=registry",
            "type=local,dest=x",
            "type=local,dest=/x,mode=some",
            "ref=x",
            "type=inline,x",
        ] {
            assert!(Spec::parse(bad).is_err(), "{bad}");
        }
    }
}
