//! An archive of images comes in: what Docker, Podman, skopeo or orc saved, plain or compressed.
//!
//! Everything in it is foreign. First all its files become blobs under digests of their own bytes, so
//! nothing in the archive is ever a path on this machine; then the images it describes are looked up
//! among them, unpacked, and only when all are whole do they become visible. A name that another image
//! has moves over, and that is said.

use std::collections::HashMap;
use std::io::{Read, Write};

use orc_base::{Context, Error, Result};

use crate::archive::layout::{
    Annotated, DOCKER_MANIFEST, DOCKER_REPOSITORIES, DockerImage, OCI_INDEX, OCI_LAYOUT,
};
use crate::archive::pipe::Reports;
use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::content::Content;
use crate::digest::Digest;
use crate::image::Image;
use crate::manifest::{
    self, Descriptor, Document, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_ENTRIES, Manifest, OCI_CONFIG,
    OCI_LAYER,
};
use crate::platform::{self, Platform};
use crate::progress::{Phase, ProgressEvent};
use crate::reference::Reference;
use crate::store::{Commit, Ingest};
use crate::unpack::compression::{Compression, MAGIC_BYTES};
use crate::unpack::entry::EntryKind;
use crate::unpack::limits::Limits;
use crate::unpack::path::{self, Place};
use crate::unpack::stream::{self, Watch, read_full};
use crate::unpack::tar::Reader;

/// The most files an archive of images may have.
const MAX_FILES: usize = 20_000;
/// How often a link in an archive may lead to another link.
const MAX_LINKS: usize = 8;

/// An image that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name it got, if the archive has one for it.
    pub reference: Option<Reference>,
    /// The image.
    pub image: Image,
    /// The image that had the name before, and has lost it.
    pub renamed: Option<Digest>,
}

/// Takes in all images of `tar`. Blocks.
pub(crate) fn load(
    ingest: &Ingest,
    tar: impl Read + Send,
    reports: &Reports,
) -> Result<Vec<Loaded>> {
    let files = read(ingest.store().content(), tar).context(|| "load the archive")?;
    let images = describe(ingest.store().content(), &files).context(|| "load the archive")?;
    for image in &images {
        unpack(ingest, image, reports).context(|| format!("load {}", image.shown()))?;
    }
    let mut loaded = Vec::new();
    for image in &images {
        loaded.extend(commit(ingest, image, reports)?);
    }
    Ok(loaded)
}

/// What an archive holds.
#[derive(Debug, Default)]
struct Files {
    /// The documents that describe the rest, by name.
    documents: HashMap<String, Vec<u8>>,
    /// All other files: the digests and sizes of their bytes, by path.
    blobs: HashMap<Vec<u8>, (Digest, u64)>,
    /// Links between files, by path.
    links: HashMap<Vec<u8>, Vec<u8>>,
}

/// Keeps every file of the archive.
fn read(content: &Content, tar: impl Read + Send) -> Result<Files> {
    let watch = Watch::default();
    let limits = Limits::default();
    let (files, _) = stream::with_uncompressed(tar, &limits, &watch, |stream| {
        let mut reader = Reader::new(stream);
        let mut files = Files::default();
        let mut count = 0;
        while let Some(entry) = reader.next_entry()? {
            count += 1;
            if count > MAX_FILES {
                return Err(Error::exhausted(format!(
                    "the archive has more than {MAX_FILES} files"
                )));
            }
            let kept = keep(content, &mut files, &entry.name, &entry.kind, &mut reader);
            kept.context(|| format!("the entry {}", path::shown(&entry.name)))?;
        }
        match reader.has_end_marker() {
            true => Ok(files),
            false => Err(Error::invalid("the archive has no end: it is truncated")),
        }
    })?;
    Ok(files)
}

fn keep(
    content: &Content,
    files: &mut Files,
    name: &[u8],
    kind: &EntryKind,
    reader: &mut Reader<impl std::io::BufRead>,
) -> Result<()> {
    let path = match path::place(name)? {
        Place::File(path) => path.into_os_string().into_encoded_bytes(),
        Place::Root if *kind == EntryKind::Directory => return Ok(()),
        _ => return Err(Error::invalid("is no file of an image archive")),
    };
    match kind {
        EntryKind::Directory => Ok(()),
        EntryKind::File(size) => {
            let document = document_name(&path);
            match document {
                Some(name) => {
                    let bytes = read_document(*size, reader)?;
                    files.documents.insert(name.into(), bytes);
                }
                None => {
                    let blob = read_blob(content, reader)?;
                    files.blobs.insert(path, blob);
                }
            }
            Ok(())
        }
        EntryKind::Symlink(target) => {
            let target = beside(&path, target)?;
            files.links.insert(path, target);
            Ok(())
        }
        EntryKind::HardLink(target) => {
            let target = path::link_target(target)?;
            let target = target.into_os_string().into_encoded_bytes();
            files.links.insert(path, target);
            Ok(())
        }
        _ => Err(Error::invalid("is no file of an image archive")),
    }
}

fn document_name(path: &[u8]) -> Option<&'static str> {
    [DOCKER_MANIFEST, OCI_INDEX, OCI_LAYOUT, DOCKER_REPOSITORIES]
        .into_iter()
        .find(|name| name.as_bytes() == path)
}

fn read_document(size: u64, reader: &mut Reader<impl std::io::BufRead>) -> Result<Vec<u8>> {
    if size > MAX_DOCUMENT_BYTES {
        return Err(Error::exhausted(format!(
            "is larger than {MAX_DOCUMENT_BYTES} bytes"
        )));
    }
    let mut bytes = Vec::new();
    reader.data(&mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

fn read_blob(
    content: &Content,
    reader: &mut Reader<impl std::io::BufRead>,
) -> Result<(Digest, u64)> {
    let mut incoming = content.incoming()?;
    reader.data(&mut |piece| Ok(incoming.write_all(piece)?))?;
    content.keep(incoming)
}

/// The path that a symbolic link at `path` means: old archives share layers like this.
fn beside(path: &[u8], target: &[u8]) -> Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    parts.pop();
    if target.starts_with(b"/") {
        parts.clear();
    }
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let left = parts.pop();
                left.ok_or_else(|| Error::invalid("is a link out of the archive"))?;
            }
            _ => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

impl Files {
    /// The bytes of a path that a document names.
    fn blob(&self, path: &str) -> Result<&(Digest, u64)> {
        let missing = || {
            Error::invalid(format!(
                "{} is not in the archive",
                path::shown(path.as_bytes())
            ))
        };
        let Place::File(clean) = path::place(path.as_bytes())? else {
            return Err(missing());
        };
        let mut path = clean.into_os_string().into_encoded_bytes();
        for _ in 0..MAX_LINKS {
            match self.links.get(&path) {
                Some(target) => path = target.clone(),
                None => break,
            }
        }
        self.blobs.get(&path).ok_or_else(missing)
    }
}

/// An image that the archive describes.
#[derive(Debug)]
struct Described {
    names: Vec<Reference>,
    manifest: Digest,
    config: Digest,
    layers: Vec<Descriptor>,
    diff_ids: Vec<Digest>,
}

impl Described {
    fn shown(&self) -> String {
        let name = self.names.first().map(Reference::familiar);
        name.unwrap_or_else(|| self.config.short().into())
    }
}

fn describe(content: &Content, files: &Files) -> Result<Vec<Described>> {
    if let Some(index) = files.documents.get(OCI_INDEX) {
        return from_index(content, index);
    }
    if let Some(manifest) = files.documents.get(DOCKER_MANIFEST) {
        return from_docker(content, files, manifest);
    }
    Err(Error::invalid(
        "it has neither a manifest.json nor an index.json, so it holds no images; `import` makes one of a root file system",
    ))
}

/// The images of an OCI layout. Entries with the same digest are one image with several names.
fn from_index(content: &Content, bytes: &[u8]) -> Result<Vec<Described>> {
    let document = Document::parse(bytes, &[]).context(|| OCI_INDEX)?;
    let Document::Index(index) = document else {
        return Err(Error::invalid(format!("{OCI_INDEX} is not an index")));
    };
    let names: Annotated = serde_json::from_slice(bytes).context(|| OCI_INDEX)?;
    let mut images: Vec<Described> = Vec::new();
    for (position, descriptor) in index.manifests.iter().enumerate() {
        let name = names.manifests.get(position).and_then(|one| one.name());
        let name = name.map(tag).transpose()?;
        let (digest, manifest) = descend(content, descriptor)?;
        if let Some(image) = images.iter_mut().find(|image| image.manifest == digest) {
            image.names.extend(name);
            continue;
        }
        manifest::require_image(&manifest)?;
        images.push(described(content, digest, manifest, name)?);
    }
    Ok(images)
}

/// Goes through indexes to the manifest for this machine.
fn descend(content: &Content, descriptor: &Descriptor) -> Result<(Digest, Manifest)> {
    let mut descriptor = descriptor.clone();
    for _ in 0..MAX_DEPTH {
        let bytes = content
            .read(&descriptor.digest, MAX_DOCUMENT_BYTES)
            .context(|| format!("manifest {}", descriptor.digest.short()))?;
        match Document::parse(&bytes, &[&descriptor.media_type])? {
            Document::Manifest(manifest) => return Ok((descriptor.digest, manifest)),
            Document::Index(index) => {
                let offered: Vec<_> = index
                    .manifests
                    .iter()
                    .map(|entry| entry.platform.clone())
                    .collect();
                let chosen = platform::choose(&Platform::host(), &offered)?;
                descriptor = index.manifests[chosen].clone();
            }
        }
    }
    Err(Error::invalid(format!(
        "its indexes are nested deeper than {MAX_DEPTH}"
    )))
}

/// The images of Docker's own format, which has no manifests: they get new ones.
fn from_docker(content: &Content, files: &Files, bytes: &[u8]) -> Result<Vec<Described>> {
    let images: Vec<DockerImage> = serde_json::from_slice(bytes).context(|| DOCKER_MANIFEST)?;
    if images.len() > MAX_ENTRIES {
        return Err(Error::exhausted(format!(
            "{DOCKER_MANIFEST} has more than {MAX_ENTRIES} images"
        )));
    }
    images
        .iter()
        .map(|image| one_of_docker(content, files, image))
        .collect()
}

fn one_of_docker(content: &Content, files: &Files, image: &DockerImage) -> Result<Described> {
    let (config, size) = files.blob(&image.config)?.clone();
    let mut layers = Vec::new();
    for path in image.layers.iter().flatten() {
        let (digest, size) = files.blob(path)?.clone();
        let media_type = media_type(content, &digest)?.into();
        layers.push(Descriptor {
            media_type,
            digest,
            size,
            platform: None,
        });
    }
    let config = Descriptor {
        media_type: OCI_CONFIG.into(),
        digest: config,
        size,
        platform: None,
    };
    let manifest = Manifest::new(config, layers);
    let bytes = manifest.to_bytes();
    let digest = Digest::of(&bytes);
    let mut described = described(content, digest.clone(), manifest, None)?;
    content.write_whole(&digest, &bytes)?;
    for name in image.repo_tags.iter().flatten() {
        described.names.push(tag(name)?);
    }
    Ok(described)
}

fn media_type(content: &Content, layer: &Digest) -> Result<&'static str> {
    let mut start = [0; MAGIC_BYTES];
    let count = read_full(&mut content.open_blob(layer)?, &mut start)?;
    Ok(match Compression::detect(&start[..count])? {
        Compression::None => OCI_LAYER,
        other if other.is_of_layers() => other.media_type(),
        other => {
            return Err(Error::unsupported(format!(
                "layer {} is compressed with {}, which no registry takes: gzip, zstd and plain tar are supported",
                layer.short(),
                other.name()
            )));
        }
    })
}

fn described(
    content: &Content,
    digest: Digest,
    manifest: Manifest,
    name: Option<Reference>,
) -> Result<Described> {
    let id = manifest.config.digest;
    let bytes = content.read(&id, MAX_CONFIG_BYTES)?;
    let config = ConfigFile::parse(&bytes)?;
    if config.diff_ids.len() != manifest.layers.len() {
        return Err(Error::invalid(format!(
            "image {} has {} layers, its config says {}",
            id.short(),
            manifest.layers.len(),
            config.diff_ids.len()
        )));
    }
    Ok(Described {
        names: name.into_iter().collect(),
        manifest: digest,
        config: id,
        layers: manifest.layers,
        diff_ids: config.diff_ids,
    })
}

fn tag(name: &str) -> Result<Reference> {
    let reference = Reference::parse(name)?;
    match (reference.tag(), reference.digest()) {
        (Some(_), None) => Ok(reference),
        _ => Err(Error::invalid(format!(
            "`{}` is not a name with a tag",
            reference.familiar()
        ))),
    }
}

fn unpack(ingest: &Ingest, image: &Described, reports: &Reports) -> Result<()> {
    let content = ingest.store().content();
    let layers = ingest.store().layers();
    for (blob, diff_id) in image.layers.iter().zip(&image.diff_ids) {
        let short = diff_id.short();
        let report = |phase| {
            // Nobody may be listening any more; the work itself notices that.
            let _ = reports.send(ProgressEvent::layer(short, phase));
        };
        if layers.contains(diff_id) {
            report(Phase::AlreadyExists);
            continue;
        }
        let total = content.size(&blob.digest)?;
        let mut last = 0;
        let mut progress = |current: u64| {
            if current == total || current - last >= total / 50 {
                last = current;
                report(Phase::Extracting { current, total });
            }
        };
        let source = content.open_blob(&blob.digest)?;
        layers
            .unpack(diff_id, source, &Watch::default(), &mut progress)
            .context(|| format!("layer {}", blob.digest.short()))?;
        report(Phase::PullComplete);
    }
    Ok(())
}

fn commit(ingest: &Ingest, image: &Described, reports: &Reports) -> Result<Vec<Loaded>> {
    let store = ingest.store();
    let say = |text: String| {
        // As above.
        let _ = reports.send(ProgressEvent::message(text));
    };
    let blobs: Vec<_> = image
        .layers
        .iter()
        .map(|layer| layer.digest.clone())
        .collect();
    let names: Vec<_> = match image.names.is_empty() {
        true => vec![None],
        false => image.names.iter().map(Some).collect(),
    };
    let mut loaded = Vec::new();
    for reference in names {
        let before = reference.and_then(|name| store.tagged(name));
        let renamed = before.filter(|id| *id != image.config);
        let made = store.commit(
            ingest,
            &Commit {
                reference,
                target: None,
                manifest: &image.manifest,
                config: &image.config,
                blobs: &blobs,
            },
        )?;
        if let (Some(name), Some(old)) = (reference, &renamed) {
            say(format!(
                "The image {} already exists, renaming the old one with ID {old} to empty string",
                name.familiar()
            ));
        }
        say(match reference {
            Some(name) => format!("Loaded image: {}", name.familiar()),
            None => format!("Loaded image ID: {}", made.id),
        });
        loaded.push(Loaded {
            reference: reference.cloned(),
            image: made,
            renamed,
        });
    }
    Ok(loaded)
}
