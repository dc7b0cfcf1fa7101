//! Images in a directory: the OCI image layout (image-spec `image-layout.md`).
//!
//! The directory belongs to someone: names are looked up inside of it, and every blob is compared with
//! its digest while it is copied.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use orc_base::root::Root;
use orc_base::{Context, Error, Result, fs};

use crate::archive::layout::{
    Annotated, Index, Named, OCI_INDEX, OCI_LAYOUT, OCI_LAYOUT_TEXT, REF_NAME, blob_path,
};
use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::content::Content;
use crate::digest::Digest;
use crate::manifest::{
    Descriptor, Document, MAX_DEPTH, MAX_DOCUMENT_BYTES, Manifest, OCI_INDEX as INDEX_TYPE,
};
use crate::platform::{self, Platform};

/// A directory with images in it.
#[derive(Debug)]
pub(crate) struct Layout {
    root: Root,
}

impl Layout {
    /// Opens it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let root = Root::open(path).context(|| "open the image layout")?;
        Ok(Self { root })
    }

    /// The manifest that `version` (`:tag`, `@digest`, or nothing when there is only one) names.
    pub(crate) fn manifest(
        &self,
        version: &str,
        platform: &Platform,
    ) -> Result<(Descriptor, Manifest)> {
        let bytes = self.read(OCI_INDEX, MAX_DOCUMENT_BYTES)?;
        let Document::Index(index) = Document::parse(&bytes, &[])? else {
            return Err(Error::invalid(format!("{OCI_INDEX} is not an index")));
        };
        let names: Annotated = serde_json::from_slice(&bytes)?;
        let tag = version.strip_prefix(':');
        let digest = version.strip_prefix('@');
        let mut entries = index.manifests.iter().enumerate();
        let entry = entries.find(|(position, entry)| match (tag, digest) {
            (Some(tag), _) => names.manifests.get(*position).is_some_and(|one| {
                let annotations = one.annotations.as_ref();
                annotations
                    .and_then(|all| all.get(REF_NAME))
                    .map(String::as_str)
                    == Some(tag)
            }),
            (_, Some(digest)) => entry.digest.as_str() == digest,
            _ => true,
        });
        let (_, entry) = entry
            .ok_or_else(|| Error::not_found(format!("the layout has no image `{version}`")))?;
        self.descend(entry.clone(), platform)
    }

    fn descend(
        &self,
        mut descriptor: Descriptor,
        platform: &Platform,
    ) -> Result<(Descriptor, Manifest)> {
        for _ in 0..MAX_DEPTH {
            let bytes = self.checked(&descriptor.digest, MAX_DOCUMENT_BYTES)?;
            match Document::parse(&bytes, &[&descriptor.media_type])? {
                Document::Manifest(manifest) => return Ok((descriptor, manifest)),
                Document::Index(index) => {
                    let offered = index.manifests.iter().map(|entry| entry.platform.clone());
                    let chosen = platform::choose(platform, &offered.collect::<Vec<_>>())?;
                    descriptor = index.manifests[chosen].clone();
                }
            }
        }
        Err(Error::invalid(format!(
            "its indexes are nested deeper than {MAX_DEPTH}"
        )))
    }

    /// The config of an image.
    pub(crate) fn config(&self, manifest: &Manifest) -> Result<ConfigFile> {
        let bytes = self.checked(&manifest.config.digest, MAX_CONFIG_BYTES)?;
        ConfigFile::parse(&bytes)
    }

    /// Copies a blob into the content store. Blocks.
    pub(crate) fn take(&self, content: &Content, blob: &Descriptor) -> Result<()> {
        if content.contains(&blob.digest) {
            return Ok(());
        }
        let copy = || -> Result<()> {
            let mut file = self.file(&blob_path(&blob.digest))?;
            let mut incoming = content.incoming()?;
            std::io::copy(&mut file, &mut incoming)?;
            if incoming.digest() != blob.digest {
                return Err(Error::invalid("its bytes have another digest"));
            }
            content.keep(incoming).map(drop)
        };
        copy().context(|| format!("take blob {}", blob.digest.short()))
    }

    fn checked(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let bytes = self.read(&blob_path(digest), limit)?;
        match digest.matches(&bytes) {
            true => Ok(bytes),
            false => Err(Error::invalid(format!(
                "blob {} of the layout has other bytes than it says",
                digest.short()
            ))),
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(Error::exhausted(format!(
                "{path} is larger than {limit} bytes"
            ))),
            false => Ok(bytes),
        }
    }

    fn file(&self, path: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = self.root.open_at(path, flags, Mode::empty())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(Error::invalid(format!("{path} is not a file"))),
        }
    }
}

/// Writes a layout with one image, whose blobs are in the content store, to `directory`. Blocks.
pub(crate) fn write(
    directory: &Path,
    content: &Content,
    image: &Descriptor,
    parts: &Manifest,
    tag: &str,
) -> Result<()> {
    fs::create_dir_all(&directory.join("blobs/sha256"), 0o755)?;
    let all = parts.layers.iter().chain([&parts.config, image]);
    for blob in all {
        let path = directory.join(blob_path(&blob.digest));
        if path.is_file() {
            continue;
        }
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        std::io::copy(&mut content.open_blob(&blob.digest)?, &mut file)?;
        file.flush()?;
        std::fs::rename(&beside, &path)?;
    }
    let entry = Named {
        descriptor: image.clone(),
        annotations: [(REF_NAME, tag.to_owned())].into(),
    };
    let index = Index {
        schema_version: 2,
        media_type: INDEX_TYPE,
        manifests: vec![entry],
    };
    let process = fs::Durability::Process;
    fs::write_atomic(&directory.join(OCI_LAYOUT), OCI_LAYOUT_TEXT, process)?;
    let index = serde_json::to_vec(&index)?;
    fs::write_atomic(&directory.join(OCI_INDEX), &index, process)
}
