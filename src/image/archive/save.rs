//! Images become one archive: Docker's format and the OCI layout over the same blobs, as Docker 25 and
//! later write it.
//!
//! The same images give the same bytes: entries are sorted, and times, owners and modes are constants.
//! Every blob is compared with its digest while it is copied, so damage on disk is an error here and
//! not at the one who loads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use tokio::io::AsyncWrite;

use orc_base::{Context, Error, Kind, Result};

use crate::archive::layout::{
    self, DOCKER_MANIFEST, DOCKER_REPOSITORIES, DockerImage, Index, Named, OCI_INDEX, OCI_LAYOUT,
    OCI_LAYOUT_TEXT, Repositories, annotations, blob_path,
};
use crate::archive::pipe;
use crate::content::Content;
use crate::digest::{Digest, Hasher};
use crate::manifest::{self, Descriptor, Document, MAX_DOCUMENT_BYTES, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Ingest, Store};

/// What goes into an archive.
#[derive(Debug, Clone)]
struct Plan {
    blobs: BTreeMap<Digest, u64>,
    images: Vec<Saved>,
}

/// An image of the archive and its names there.
#[derive(Debug, Clone)]
struct Saved {
    manifest: Descriptor,
    parts: Manifest,
    names: BTreeSet<Reference>,
}

/// Images whose blobs are all here, and stay until they are written.
#[derive(Debug)]
pub struct Saving {
    plan: Plan,
    content: Content,
    /// Keeps the blobs.
    ingest: Ingest,
}

impl Saving {
    /// Decides what to write for `names`. `NotFound` when there is no such image or a blob of it is
    /// lost: whoever is to get the archive hears of that before its first byte. Blocks.
    pub(crate) fn prepare(ingest: Ingest, names: &[String]) -> Result<Self> {
        ingest.settle();
        let store = ingest.store();
        let plan = plan(store, names)?;
        let content = store.content().clone();
        Ok(Self {
            plan,
            content,
            ingest,
        })
    }

    /// Writes the archive.
    pub async fn write(self, out: impl AsyncWrite + Send + Unpin) -> Result<()> {
        pipe::drain(out, move |out| self.write_to(out)).await
    }

    /// [`Saving::write`] on a thread where blocking is fine.
    pub(crate) fn write_to(self, out: impl Write) -> Result<()> {
        let _until_written = self.ingest;
        write(&self.content, &self.plan, out)
    }
}

/// Decides what to write for `names`; an image that several of them name is written once.
fn plan(store: &Store, names: &[String]) -> Result<Plan> {
    if names.is_empty() {
        return Err(Error::invalid("name at least one image to save"));
    }
    let mut plan = Plan {
        blobs: BTreeMap::new(),
        images: Vec::new(),
    };
    for name in names {
        let (image, digest) = store.find_manifest(name)?;
        let tag = Reference::parse(name)
            .ok()
            .filter(|reference| image.references.contains(reference));
        let same = |saved: &&mut Saved| saved.manifest.digest == digest;
        if let Some(saved) = plan.images.iter_mut().find(same) {
            saved.names.extend(tag);
            continue;
        }
        let saved = describe(store, &digest, &image, tag)
            .and_then(|saved| saved.check(store.content()).map(|()| saved))
            .context(|| format!("save {name}"))?;
        plan.blobs.extend(saved.blobs());
        plan.images.push(saved);
    }
    plan.images
        .sort_by(|a, b| a.manifest.digest.cmp(&b.manifest.digest));
    Ok(plan)
}

fn describe(
    store: &Store,
    digest: &Digest,
    image: &crate::image::Image,
    tag: Option<Reference>,
) -> Result<Saved> {
    let bytes = store.content().read(digest, MAX_DOCUMENT_BYTES);
    let bytes = bytes.map_err(|error| lost(error, digest))?;
    let document = Document::parse(&bytes, &[])?;
    let media_type = document.media_type().to_owned();
    let Document::Manifest(parts) = document else {
        return Err(Error::internal("its manifest is an index"));
    };
    Ok(Saved {
        manifest: Descriptor {
            media_type,
            digest: digest.clone(),
            size: bytes.len() as u64,
            platform: Some(Platform::new(
                &image.os,
                &image.architecture,
                &image.variant,
            )),
        },
        parts,
        names: tag.into_iter().collect(),
    })
}

impl Saved {
    fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        let parts = self.parts.layers.iter();
        let all = parts.chain([&self.parts.config, &self.manifest]);
        all.map(|one| (one.digest.clone(), one.size))
    }

    /// Whether all blobs are here, as far as their sizes say.
    fn check(&self, content: &Content) -> Result<()> {
        for (digest, size) in self.blobs() {
            let found = content
                .size(&digest)
                .map_err(|error| lost(error, &digest))?;
            if found != size {
                return Err(damaged().within(format!("blob {digest}")));
            }
        }
        Ok(())
    }

    fn docker(&self) -> DockerImage {
        let names = self.names.iter().map(Reference::familiar);
        let layers = self.parts.layers.iter();
        DockerImage {
            config: blob_path(&self.parts.config.digest),
            repo_tags: (!self.names.is_empty()).then(|| names.collect()),
            layers: Some(layers.map(|layer| blob_path(&layer.digest)).collect()),
        }
    }

    fn named(&self) -> Vec<Named> {
        let entry = |annotations| Named {
            descriptor: self.manifest.clone(),
            annotations,
        };
        match self.names.is_empty() {
            true => vec![entry(BTreeMap::new())],
            false => self
                .names
                .iter()
                .map(|name| entry(annotations(name)))
                .collect(),
        }
    }
}

/// Writes the archive. Blocks.
fn write(content: &Content, plan: &Plan, out: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(out);
    let directories: BTreeSet<_> = plan
        .blobs
        .keys()
        .map(|one| one.algorithm().name())
        .collect();
    directory(&mut tar, "blobs/")?;
    for algorithm in directories {
        directory(&mut tar, &format!("blobs/{algorithm}/"))?;
    }
    for (digest, size) in &plan.blobs {
        blob(&mut tar, content, digest, *size).context(|| format!("save blob {digest}"))?;
    }
    file(&mut tar, OCI_INDEX, &index(plan)?)?;
    file(&mut tar, DOCKER_MANIFEST, &docker_manifest(plan)?)?;
    file(&mut tar, OCI_LAYOUT, OCI_LAYOUT_TEXT)?;
    let repositories = repositories(plan);
    if !repositories.is_empty() {
        file(
            &mut tar,
            DOCKER_REPOSITORIES,
            &serde_json::to_vec(&repositories)?,
        )?;
    }
    let mut out = tar.into_inner().map_err(written)?;
    out.flush().map_err(written)
}

fn index(plan: &Plan) -> Result<Vec<u8>> {
    let index = Index {
        schema_version: 2,
        media_type: manifest::OCI_INDEX,
        manifests: plan.images.iter().flat_map(Saved::named).collect(),
    };
    Ok(serde_json::to_vec(&index)?)
}

fn docker_manifest(plan: &Plan) -> Result<Vec<u8>> {
    let images: Vec<_> = plan.images.iter().map(Saved::docker).collect();
    Ok(serde_json::to_vec(&images)?)
}

fn repositories(plan: &Plan) -> Repositories {
    let mut repositories = layout::Repositories::new();
    for image in &plan.images {
        let Some(top) = image.parts.layers.last() else {
            continue;
        };
        for name in &image.names {
            let tags = repositories.entry(name.familiar_name()).or_default();
            tags.insert(
                name.tag().unwrap_or_default().into(),
                top.digest.hex().into(),
            );
        }
    }
    repositories
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn directory(tar: &mut tar::Builder<impl Write>, path: &str) -> Result<()> {
    let mut header = header(tar::EntryType::Directory, 0o755, 0);
    tar.append_data(&mut header, path, io::empty())
        .map_err(written)
}

fn file(tar: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).map_err(written)
}

fn blob(
    tar: &mut tar::Builder<impl Write>,
    content: &Content,
    digest: &Digest,
    size: u64,
) -> Result<()> {
    let file = content.open_blob(digest)?;
    if file.metadata()?.len() != size {
        return Err(damaged());
    }
    let mut hashed = Hashed {
        source: file,
        hasher: digest.hasher(),
    };
    let mut header = header(tar::EntryType::Regular, 0o644, size);
    tar.append_data(&mut header, blob_path(digest), &mut hashed)
        .map_err(written)?;
    match hashed.hasher.finish() == *digest {
        true => Ok(()),
        false => Err(damaged()),
    }
}

fn lost(error: Error, digest: &Digest) -> Error {
    match error.kind() {
        Kind::NotFound => Error::not_found(format!(
            "blob {digest} is not on this machine any more: pull the image again"
        )),
        _ => error,
    }
}

fn damaged() -> Error {
    Error::internal("it is damaged on disk: remove the image and pull it again")
}

fn written(error: io::Error) -> Error {
    Error::from(error).within("write the archive")
}

struct Hashed<R> {
    source: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
