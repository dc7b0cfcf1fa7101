//! What the files of an image archive are called and say: Docker's `manifest.json` and `repositories`,
//! and the `index.json` and `oci-layout` of the OCI image layout.
//!
//! Pure; one description serves writing and reading.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::reference::Reference;

pub(crate) const DOCKER_MANIFEST: &str = "manifest.json";
pub(crate) const DOCKER_REPOSITORIES: &str = "repositories";
pub(crate) const OCI_INDEX: &str = "index.json";
pub(crate) const OCI_LAYOUT: &str = "oci-layout";
pub(crate) const OCI_LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The full name of an image, as containerd and Docker annotate it.
pub(crate) const FULL_NAME: &str = "io.containerd.image.name";
/// By the specification a tag; some tools write a full name.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image in Docker's `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

/// `repositories`: the topmost layer of each name and tag, for Docker before 1.10.
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// `index.json` as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    pub(crate) media_type: &'static str,
    pub(crate) manifests: Vec<Named>,
}

/// An entry of `index.json` with its names.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Named {
    #[serde(flatten)]
    pub(crate) descriptor: Descriptor,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<&'static str, String>,
}

/// The annotations of `index.json`, which say what the images are called.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Annotated {
    #[serde(default)]
    pub(crate) manifests: Vec<Annotations>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Annotations {
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

impl Annotations {
    /// The full name, when there is one: a bare tag names nothing.
    pub(crate) fn name(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        let full = annotations.get(FULL_NAME);
        let other = annotations
            .get(REF_NAME)
            .filter(|name| name.contains(['/', ':']));
        full.or(other).map(String::as_str)
    }
}

/// Where a blob is in an archive.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// What to annotate an image of this name with.
pub(crate) fn annotations(reference: &Reference) -> BTreeMap<&'static str, String> {
    let tag = reference.tag().unwrap_or_default();
    BTreeMap::from([(FULL_NAME, reference.to_string()), (REF_NAME, tag.into())])
}
