//! An image for tests, and a registry that serves it honestly, from which tests take what they spoil.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::digest::Digest;
use crate::manifest::{DOCKER_LAYER_GZIP, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::testing::{gzip, tape};
use crate::transfer::tests::scripted::{Reply, Request};

/// The repository every test asks for.
pub(super) const REPOSITORY: &str = "test/app";

/// Everything a registry has.
#[derive(Debug, Clone)]
pub(super) struct Fixture {
    /// By digest.
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    /// By tag and by digest: media type and bytes.
    pub(super) manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub(super) layers: Vec<Digest>,
    pub(super) diff_ids: Vec<Digest>,
    pub(super) config: Digest,
    pub(super) manifest: Digest,
}

impl Fixture {
    /// An image with as many layers, each with a file of random bytes, under the tag `latest`.
    pub(super) fn new(layers: usize) -> Self {
        Self::of(layers, |_| {})
    }

    /// The same with a manifest that a test has changed.
    pub(super) fn of(layers: usize, change: impl Fn(&mut Value)) -> Self {
        let archives: Vec<_> = (0..layers)
            .map(|index| {
                let bytes: Vec<u8> = (0..256)
                    .flat_map(|_| orc_base::id::random_bytes::<1024>())
                    .collect();
                tape().file(&format!("file-{index}"), &bytes).end()
            })
            .collect();
        Self::from_archives(&archives, change)
    }

    pub(super) fn from_archives(archives: &[Vec<u8>], change: impl Fn(&mut Value)) -> Self {
        let mut blobs = BTreeMap::new();
        let mut keep = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let size = bytes.len();
            blobs.insert(digest.clone(), bytes);
            (digest, size)
        };
        let diff_ids: Vec<Digest> = archives.iter().map(|tar| Digest::of(tar)).collect();
        let layers: Vec<(Digest, usize)> = archives.iter().map(|tar| keep(gzip(tar))).collect();
        let config = json!({
            "os": "linux",
            "architecture": crate::platform::Platform::host().architecture,
            "config": {"Cmd": ["/file-0"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let (config, config_size) = keep(config.to_string().into_bytes());
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config, "size": config_size},
            "layers": layers
                .iter()
                .map(|(digest, size)| json!({
                    "mediaType": OCI_LAYER_GZIP, "digest": digest, "size": size,
                }))
                .collect::<Vec<_>>(),
        });
        change(&mut manifest);
        let bytes = manifest.to_string().into_bytes();
        let mut fixture = Self {
            blobs,
            manifests: BTreeMap::new(),
            layers: layers.into_iter().map(|(digest, _)| digest).collect(),
            diff_ids,
            config,
            manifest: Digest::of(&bytes),
        };
        fixture.put(OCI_MANIFEST, &bytes, Some("latest"));
        fixture
    }

    /// Keeps a manifest under its digest, and under a tag.
    pub(super) fn put(&mut self, media_type: &str, bytes: &[u8], tag: Option<&str>) -> Digest {
        let digest = Digest::of(bytes);
        let entry = (media_type.to_owned(), bytes.to_owned());
        self.manifests.insert(digest.to_string(), entry.clone());
        if let Some(tag) = tag {
            self.manifests.insert(tag.to_owned(), entry);
        }
        digest
    }

    /// Puts an index with these entries under `latest`.
    pub(super) fn index(&mut self, entries: &[Value]) -> Digest {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        self.put(OCI_INDEX, index.to_string().as_bytes(), Some("latest"))
    }

    /// An index's entry for a manifest that is here.
    pub(super) fn entry(&self, digest: &Digest, platform: &str) -> Value {
        let (media_type, bytes) = &self.manifests[digest.as_str()];
        let (os, architecture) = platform.split_once('/').unwrap();
        json!({
            "mediaType": media_type, "digest": digest, "size": bytes.len(),
            "platform": {"os": os, "architecture": architecture},
        })
    }

    /// The path of a blob.
    pub(super) fn blob(digest: &Digest) -> String {
        format!("/v2/{REPOSITORY}/blobs/{digest}")
    }

    /// The path of a manifest.
    pub(super) fn document(version: &str) -> String {
        format!("/v2/{REPOSITORY}/manifests/{version}")
    }

    /// What an honest registry answers to whoever only reads.
    pub(super) fn honest(&self, request: &Request) -> Reply {
        if request.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        let path = request.path.strip_prefix(&format!("/v2/{REPOSITORY}/"));
        if let Some(version) = path.and_then(|path| path.strip_prefix("manifests/")) {
            return match self.manifests.get(version) {
                Some((media_type, bytes)) => Reply::new(200, bytes.clone())
                    .header("Content-Type", media_type)
                    .header("Docker-Content-Digest", Digest::of(bytes).as_str()),
                None => unknown("MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        let digest = path
            .and_then(|path| path.strip_prefix("blobs/"))
            .and_then(|digest| Digest::parse(digest).ok());
        match digest.and_then(|digest| self.blobs.get(&digest)) {
            Some(bytes) => ranged(request, bytes),
            None => unknown("BLOB_UNKNOWN", "blob unknown to registry"),
        }
    }
}

/// A blob, or the rest of it that was asked for.
pub(super) fn ranged(request: &Request, bytes: &[u8]) -> Reply {
    let total = bytes.len();
    match request.range_start() {
        Some(start) if start < total => {
            let range = format!("bytes {start}-{}/{total}", total - 1);
            Reply::new(206, &bytes[start..]).header("Content-Range", range)
        }
        Some(_) => Reply::new(416, ""),
        None => Reply::new(200, bytes),
    }
}

/// The specification's way to say no.
pub(super) fn unknown(code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message, "detail": {}}]});
    Reply::new(404, body.to_string()).header("Content-Type", "application/json")
}

/// The Docker spelling of a manifest.
pub(super) fn docker_style(manifest: &mut Value) {
    manifest["mediaType"] = json!(crate::manifest::DOCKER_MANIFEST);
    manifest["config"]["mediaType"] = json!(crate::manifest::DOCKER_CONFIG);
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer["mediaType"] = json!(DOCKER_LAYER_GZIP);
    }
}
