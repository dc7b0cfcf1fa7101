//! What a registry says an image is made of: manifests and indexes, read strictly.
//!
//! One [`Document::parse`] for every way a manifest comes in. A document is exactly one of the two
//! kinds: one that could be read as both, or whose own media type contradicts what the registry or an
//! index says of it, is refused (CVE-2021-41190). Bounded in bytes, entries and, for whoever walks
//! indexes, depth. `urls` of descriptors are never looked at: a layer comes from its registry.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use orc_base::{Error, Result};

use crate::config::MAX_CONFIG_BYTES;
use crate::digest::Digest;
use crate::platform::Platform;

/// The most bytes of a manifest or an index.
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// The most manifests in an index, and layers in a manifest.
pub const MAX_ENTRIES: usize = 1_000;
/// How many documents may lie between a name and its manifest, itself included.
pub const MAX_DEPTH: usize = 3;

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The config of an OCI image.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer, not compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer in gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer in zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The config of a Docker image.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer in gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

const DOCKER_SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
/// Types that say nothing about what is inside.
const VAGUE: [&str; 4] = [
    "application/json",
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
];
const LAYERS: [&str; 10] = [
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    DOCKER_LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
];

/// The types a registry is asked for, in one `Accept` header.
pub fn accepted() -> String {
    [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_INDEX].join(", ")
}

/// Something in the content store, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of bytes.
    #[serde(default)]
    pub media_type: String,
    /// Which bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// For what platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// One image: a config and the layers from the bottom up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    /// [`OCI_MANIFEST`] or [`DOCKER_MANIFEST`].
    pub media_type: String,
    /// The image's config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// A manifest of the OCI kind.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: OCI_MANIFEST.into(),
            config,
            layers,
        }
    }

    /// The bytes to keep and to push; the same manifest gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always are JSON")
    }
}

/// Several images under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// [`OCI_INDEX`] or [`DOCKER_INDEX`].
    pub media_type: String,
    /// Manifests, or more indexes.
    pub manifests: Vec<Descriptor>,
}

/// What a name can lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several to choose from.
    Index(Index),
}

impl Document {
    /// Reads a document. `announced` are the types that others gave it: the `Content-Type` of the
    /// answer, the descriptor that led here.
    pub fn parse(bytes: &[u8], announced: &[&str]) -> Result<Self> {
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(Error::exhausted(format!(
                "the manifest is larger than {MAX_DOCUMENT_BYTES} bytes"
            )));
        }
        for media_type in announced {
            refuse_schema_1(essence(media_type))?;
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| not_json(bytes, &error))?;
        raw.check(announced)
    }

    /// The media type, the one inside or the one its shape implies.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

impl Raw {
    fn check(self, announced: &[&str]) -> Result<Document> {
        let own = self.media_type.as_deref().filter(|text| !text.is_empty());
        if let Some(own) = own {
            refuse_schema_1(own)?;
        }
        if self.fs_layers.is_some() || self.schema_version == Some(1) {
            return Err(schema_1());
        }
        if self.schema_version != Some(2) {
            return Err(Error::invalid("a manifest needs `schemaVersion` 2"));
        }
        let media_type = one_type(own, announced)?;
        match (self.config, self.layers, self.manifests) {
            (Some(config), Some(layers), None) => manifest(media_type, config, layers),
            (None, None, Some(manifests)) => index(media_type, manifests),
            (_, Some(_), Some(_)) | (Some(_), _, Some(_)) => Err(Error::invalid(
                "the document has both `layers` and `manifests`: it could be taken for a manifest and for an index, and is refused",
            )),
            _ => Err(Error::invalid(
                "the document is neither a manifest (`config` and `layers`) nor an index (`manifests`)",
            )),
        }
    }
}

fn manifest(
    media_type: Option<&str>,
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Document> {
    let media_type = media_type.unwrap_or(OCI_MANIFEST);
    if !is_manifest(media_type) {
        return Err(contradiction(media_type, "is a manifest"));
    }
    limit_entries(layers.len(), "layers")?;
    if config.size > MAX_CONFIG_BYTES {
        return Err(Error::exhausted(format!(
            "the image's config is {} bytes, more than {MAX_CONFIG_BYTES}",
            config.size
        )));
    }
    Ok(Document::Manifest(Manifest {
        schema_version: 2,
        media_type: media_type.into(),
        config,
        layers,
    }))
}

fn index(media_type: Option<&str>, manifests: Vec<Descriptor>) -> Result<Document> {
    let media_type = media_type.unwrap_or(OCI_INDEX);
    if !is_index(media_type) {
        return Err(contradiction(media_type, "is an index"));
    }
    limit_entries(manifests.len(), "manifests")?;
    Ok(Document::Index(Index {
        media_type: media_type.into(),
        manifests,
    }))
}

/// The one type that the document and all who speak of it agree on; none when nobody says.
fn one_type<'a>(own: Option<&'a str>, announced: &[&'a str]) -> Result<Option<&'a str>> {
    let said = announced
        .iter()
        .map(|media_type| essence(media_type))
        .chain(own)
        .filter(|media_type| !media_type.is_empty() && !VAGUE.contains(media_type));
    let mut agreed: Option<&str> = None;
    for media_type in said {
        if !is_manifest(media_type) && !is_index(media_type) {
            return Err(Error::invalid(format!(
                "the registry answers with `{}`, which is not an image manifest",
                shown(media_type)
            )));
        }
        match agreed {
            Some(other) if other != media_type => {
                return Err(Error::invalid(format!(
                    "the manifest is announced as `{other}`, but says it is `{media_type}`"
                )));
            }
            _ => agreed = Some(media_type),
        }
    }
    Ok(agreed)
}

/// Refuses what is not a container image: charts, signatures and other artifacts have manifests too.
pub fn require_image(manifest: &Manifest) -> Result<()> {
    let config = essence(&manifest.config.media_type);
    // Some builders of the first hour wrote `application/json` or the bare Docker type.
    if ![OCI_CONFIG, DOCKER_CONFIG, "application/json", ""].contains(&config) {
        return Err(Error::unsupported(format!(
            "it is not a container image but `{}`",
            shown(config)
        )));
    }
    let strange = manifest.layers.iter().find(|layer| {
        let media_type = essence(&layer.media_type);
        !media_type.is_empty() && !LAYERS.contains(&media_type)
    });
    match strange {
        None => Ok(()),
        Some(layer) => Err(Error::unsupported(format!(
            "layer {} is `{}`, which orc cannot unpack",
            layer.digest.short(),
            shown(&layer.media_type)
        ))),
    }
}

fn is_manifest(media_type: &str) -> bool {
    [OCI_MANIFEST, DOCKER_MANIFEST].contains(&media_type)
}

fn is_index(media_type: &str) -> bool {
    [OCI_INDEX, DOCKER_INDEX].contains(&media_type)
}

/// A media type without parameters such as `; charset=utf-8`.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn refuse_schema_1(media_type: &str) -> Result<()> {
    match DOCKER_SCHEMA_1.contains(&media_type) {
        true => Err(schema_1()),
        false => Ok(()),
    }
}

fn schema_1() -> Error {
    Error::unsupported(
        "the image has a manifest of Docker's schema 1, which was given up in 2017; push it again with a newer Docker",
    )
}

fn contradiction(media_type: &str, shape: &str) -> Error {
    Error::invalid(format!(
        "the document says it is `{media_type}`, but its shape {shape}"
    ))
}

fn limit_entries(count: usize, what: &str) -> Result<()> {
    match count > MAX_ENTRIES {
        true => Err(Error::exhausted(format!(
            "{count} {what} are more than the {MAX_ENTRIES} that orc reads"
        ))),
        false => Ok(()),
    }
}

fn not_json(bytes: &[u8], error: &serde_json::Error) -> Error {
    match bytes.trim_ascii_start().first() {
        Some(b'<') => Error::invalid(
            "the registry answers with a web page instead of a manifest: is it a registry, and is there a proxy or a login page in between?",
        ),
        _ => Error::invalid(format!(
            "the manifest cannot be read: {}",
            shown(&error.to_string())
        )),
    }
}

fn shown(text: &str) -> String {
    text.chars()
        .take(200)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;
    use serde_json::{Value, json};

    use super::*;

    fn digest() -> String {
        Digest::of(b"x").to_string()
    }

    fn layer() -> Value {
        json!({"mediaType": OCI_LAYER_GZIP, "digest": digest(), "size": 1})
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": digest(), "size": 2},
            "layers": [layer()],
        })
    }

    fn index_of(count: usize) -> Value {
        let entry = json!({
            "mediaType": OCI_MANIFEST, "digest": digest(), "size": 3,
            "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
        });
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": vec![entry; count]})
    }

    fn with(mut value: Value, key: &str, new: Value) -> Value {
        value[key] = new;
        value
    }

    fn parse(value: &Value, announced: &[&str]) -> Result<Document> {
        Document::parse(value.to_string().as_bytes(), announced)
    }

    #[test]
    fn reads_both_kinds() {
        let Document::Manifest(manifest) = parse(&image(), &[OCI_MANIFEST]).unwrap() else {
            panic!("not a manifest");
        };
        assert_eq!(manifest.layers[0].size, 1);
        require_image(&manifest).unwrap();
        let again = Document::parse(&manifest.to_bytes(), &[]).unwrap();
        assert_eq!(again, Document::Manifest(manifest));
        let Document::Index(index) = parse(&index_of(2), &[OCI_INDEX]).unwrap() else {
            panic!("not an index");
        };
        let platform = index.manifests[1].platform.clone().unwrap();
        assert_eq!(platform.to_string(), "linux/arm/v7");
    }

    #[test]
    fn takes_the_type_from_whoever_says_it() {
        let silent = with(image(), "mediaType", json!(null));
        for (announced, media_type) in [
            (&[][..], OCI_MANIFEST),
            (&[DOCKER_MANIFEST], DOCKER_MANIFEST),
            (&["application/json; charset=utf-8"], OCI_MANIFEST),
            (&[OCI_MANIFEST, OCI_MANIFEST], OCI_MANIFEST),
            (
                &["application/vnd.oci.image.manifest.v1+json;charset=utf-8"],
                OCI_MANIFEST,
            ),
        ] {
            assert_eq!(parse(&silent, announced).unwrap().media_type(), media_type);
        }
    }

    #[test]
    fn refuses_contradictions() {
        let both = with(image(), "manifests", index_of(1)["manifests"].clone());
        let only_config = with(index_of(1), "config", image()["config"].clone());
        let disguised = with(image(), "mediaType", json!(OCI_INDEX));
        let mut twice = image().to_string();
        twice.insert_str(1, "\"layers\": [],");
        for (bytes, announced) in [
            (both.to_string(), &[][..]),
            (only_config.to_string(), &[]),
            (disguised.to_string(), &[]),
            (image().to_string(), &[OCI_INDEX]),
            (image().to_string(), &[DOCKER_MANIFEST]),
            (image().to_string(), &[OCI_MANIFEST, OCI_INDEX]),
            (
                with(image(), "mediaType", json!(null)).to_string(),
                &[OCI_INDEX],
            ),
            (image().to_string(), &["text/html"]),
            (twice, &[]),
            (with(image(), "schemaVersion", json!(3)).to_string(), &[]),
            (with(image(), "schemaVersion", json!(null)).to_string(), &[]),
            (with(image(), "layers", json!(null)).to_string(), &[]),
            (with(image(), "config", json!(null)).to_string(), &[]),
            (with(image(), "mediaType", json!("x/y")).to_string(), &[]),
            ("{}".into(), &[]),
            ("[]".into(), &[]),
            ("".into(), &[]),
            ("<!doctype html>".into(), &[]),
            ("[".repeat(100_000), &[]),
        ] {
            let error = Document::parse(bytes.as_bytes(), announced).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
            assert!(error.to_string().len() < 500);
        }
    }

    #[test]
    fn refuses_bad_descriptors() {
        for (key, bad) in [
            ("digest", json!("sha256:../../x")),
            ("digest", json!("sha256:AB")),
            ("digest", json!(1)),
            ("size", json!(-1)),
            ("size", json!(1.5)),
            ("size", json!(1e300)),
            ("size", json!(null)),
        ] {
            let bad = with(image(), "layers", json!([with(layer(), key, bad)]));
            assert_eq!(parse(&bad, &[]).unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }

    #[test]
    fn refuses_schema_1_with_words() {
        let old = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": []});
        for (value, announced) in [
            (old, &[][..]),
            (
                image(),
                &["application/vnd.docker.distribution.manifest.v1+prettyjws"],
            ),
        ] {
            let error = parse(&value, announced).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains("schema 1"), "{error}");
        }
    }

    #[test]
    fn is_bounded() {
        assert!(parse(&index_of(1_000), &[]).is_ok());
        let many = with(image(), "layers", Value::Array(vec![layer(); 10_000]));
        for value in [index_of(10_000), many] {
            assert_eq!(parse(&value, &[]).unwrap_err().kind(), Kind::Exhausted);
        }
        let large = Document::parse(&vec![b' '; 5 << 20], &[]).unwrap_err();
        assert_eq!(large.kind(), Kind::Exhausted);
        let config = with(image()["config"].clone(), "size", json!(9 << 20));
        let error = parse(&with(image(), "config", config), &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
    }

    #[test]
    fn tells_images_from_other_artifacts() {
        let check = |value: &Value| match parse(value, &[]).unwrap() {
            Document::Manifest(manifest) => require_image(&manifest),
            Document::Index(_) => panic!("not a manifest"),
        };
        let chart = json!("application/vnd.cncf.helm.config.v1+json");
        let chart = with(
            image(),
            "config",
            with(image()["config"].clone(), "mediaType", chart),
        );
        let encrypted = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        let encrypted = with(
            image(),
            "layers",
            json!([with(layer(), "mediaType", encrypted)]),
        );
        for bad in [chart, encrypted] {
            assert_eq!(check(&bad).unwrap_err().kind(), Kind::Unsupported);
        }
    }
}
