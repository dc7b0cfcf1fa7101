//! The store through its face: what is visible, what is kept and what is collected.

use super::*;
use crate::config::ImageConfig;
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER_GZIP};
use crate::testing::{gzip, tape};
use crate::unpack::stream::Watch;

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
}

/// An image whose parts are in the store.
pub(super) struct Parts {
    pub(super) manifest: Digest,
    pub(super) config: Digest,
    pub(super) blobs: Vec<Digest>,
    pub(super) diff_ids: Vec<Digest>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        Self { dir, store }
    }

    /// Closes the store, as a crash would, and opens it again.
    pub(super) fn restart(self) -> Self {
        drop(self.store);
        let store = Store::open(self.dir.path(), Durability::Process).unwrap();
        Self {
            dir: self.dir,
            store,
        }
    }

    /// Puts an image of these layers together, up to the last step.
    pub(super) fn put(&self, user: &str, layers: &[&str]) -> Parts {
        let content = self.store.content();
        let keep = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            content.write_whole(&digest, bytes).unwrap();
            digest
        };
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for layer in layers {
            let tar = tape().file("f", layer.as_bytes()).end();
            let packed = gzip(&tar);
            let (blob, diff_id) = (keep(&packed), Digest::of(&tar));
            self.store
                .layers()
                .unpack(&diff_id, &packed[..], &Watch::default(), &mut |_| ())
                .unwrap();
            descriptors.push(Descriptor {
                media_type: OCI_LAYER_GZIP.into(),
                digest: blob,
                size: packed.len() as u64,
                platform: None,
            });
            diff_ids.push(diff_id);
        }
        let file = ConfigFile {
            config: ImageConfig {
                user: user.into(),
                ..ImageConfig::default()
            },
            diff_ids: diff_ids.clone(),
            ..ConfigFile::default()
        };
        let bytes = file.render().unwrap();
        let config = keep(&bytes);
        let blobs = descriptors.iter().map(|one| one.digest.clone()).collect();
        let descriptor = Descriptor {
            media_type: OCI_CONFIG.into(),
            digest: config.clone(),
            size: bytes.len() as u64,
            platform: None,
        };
        let manifest = keep(&Manifest::new(descriptor, descriptors).to_bytes());
        Parts {
            manifest,
            config,
            blobs,
            diff_ids,
        }
    }

    pub(super) fn commit(&self, name: &str, parts: &Parts) -> Result<Image> {
        let reference = Reference::parse(name).unwrap();
        let ingest = self.store.begin();
        self.store.commit(
            &ingest,
            &Commit {
                reference: Some(&reference),
                target: Some(&parts.manifest),
                manifest: &parts.manifest,
                config: &parts.config,
                blobs: &parts.blobs,
            },
        )
    }

    pub(super) fn make(&self, name: &str, layers: &[&str]) -> Image {
        self.commit(name, &self.put(name, layers)).unwrap()
    }

    /// Blobs, layers and downloads on disk.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let partial = fs::list(&self.dir.path().join("blobs/partial")).unwrap();
        (
            self.store.content().list().unwrap().len(),
            self.store.layers().list().unwrap().len(),
            partial.len(),
        )
    }
}

pub(super) fn nobody(_: &Digest) -> Option<String> {
    None
}

#[test]
fn an_image_is_there_or_it_is_not() {
    let bench = Bench::new();
    let parts = bench.put("app", &["one", "two"]);
    assert!(bench.store.find("app").is_err());
    let image = bench.commit("app:1", &parts).unwrap();
    assert_eq!(image.layers, parts.diff_ids);
    assert_eq!((image.size_bytes, image.config.user.as_str()), (6, "app"));
    assert_eq!(image.repo_digests, [format!("app@{}", parts.manifest)]);
    let bench = bench.restart();
    assert_eq!(bench.store.find("app:1").unwrap(), image);
    assert_eq!(bench.store.list().unwrap(), [image]);
}

#[test]
fn an_image_that_lacks_a_part_is_refused() {
    let bench = Bench::new();
    let parts = bench.put("app", &["one", "two"]);
    bench.store.content().remove(&parts.blobs[1]).unwrap();
    assert_eq!(
        bench.commit("app", &parts).unwrap_err().kind(),
        Kind::NotFound
    );
    let parts = bench.put("app", &["one", "two"]);
    bench.store.layers().hide(parts.diff_ids[0].hex()).unwrap();
    let error = bench.commit("app", &parts).unwrap_err();
    assert!(error.to_string().contains("not unpacked"), "{error}");
    let mut parts = bench.put("app", &["one"]);
    parts.blobs.clear();
    assert!(bench.commit("app", &parts).is_err());
    assert!(bench.store.list().unwrap().is_empty());
}

#[test]
fn the_last_image_takes_all_with_it() {
    let bench = Bench::new();
    let first = bench.make("first", &["base", "first"]);
    let second = bench.make("second", &["base", "second"]);
    assert_eq!(bench.counts(), (7, 3, 0));
    let removed = bench.store.remove("first", false, &nobody).unwrap();
    assert_eq!(
        removed,
        [
            Removal::Untagged("first:latest".into()),
            Removal::Untagged(first.repo_digests[0].clone()),
            Removal::Deleted(first.id),
            Removal::Deleted(first.layers[1].clone()),
        ]
    );
    assert_eq!(bench.counts(), (4, 2, 0));
    bench
        .store
        .remove(second.id.short(), true, &nobody)
        .unwrap();
    assert_eq!(bench.counts(), (0, 0, 0));
    let left = fs::list(&bench.dir.path().join("layers")).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_name_that_moves_leaves_the_old_image_to_be_removed_by_id() {
    let bench = Bench::new();
    let old = bench.make("app", &["old"]);
    let new = bench.make("app", &["new"]);
    assert_eq!(bench.store.find("app").unwrap().id, new.id);
    let old = bench.store.find(old.id.as_str()).unwrap();
    assert!(old.references.is_empty());
    bench.store.remove(old.id.as_str(), false, &nobody).unwrap();
    assert_eq!(bench.counts(), (3, 1, 0));
}

#[test]
fn whoever_is_asked_may_look_at_images() {
    let bench = Bench::new();
    bench.make("app", &["x"]);
    let asks = |id: &Digest| {
        let image = bench.store.find(id.as_str()).unwrap();
        Some(image.id.short().to_owned())
    };
    let error = bench.store.remove("app", false, &asks).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(bench.store.list().unwrap().len(), 1);
}

#[test]
fn nothing_goes_while_an_image_is_put_together() {
    let bench = Bench::new();
    bench.make("old", &["shared"]);
    let ingest = bench.store.begin();
    let parts = bench.put("new", &["shared", "own"]);
    bench.store.remove("old", false, &nobody).unwrap();
    let reference = Reference::parse("new").unwrap();
    let commit = Commit {
        reference: Some(&reference),
        target: None,
        manifest: &parts.manifest,
        config: &parts.config,
        blobs: &parts.blobs,
    };
    bench.store.commit(&ingest, &commit).unwrap();
    drop(ingest);
    // Now what only the removed image needed is gone: its config and its manifest.
    assert_eq!(bench.counts(), (4, 2, 0));
}

#[test]
fn what_fails_for_good_leaves_nothing_and_what_may_succeed_its_downloads() {
    for (error, left) in [
        (Error::invalid("wrong digest"), (0, 0, 0)),
        (Error::exhausted("no space left on device"), (0, 0, 0)),
        (Error::unavailable("connection reset"), (0, 0, 4)),
        (Error::timeout("stalled"), (0, 0, 4)),
    ] {
        let bench = Bench::new();
        let ingest = bench.store.begin();
        bench.put("app", &["x"]);
        let digest = Digest::of(b"half");
        let content = bench.store.content();
        content.partial(&digest).unwrap().append(b"ha").unwrap();
        ingest.failed(&error);
        let clone = ingest.clone();
        drop(ingest);
        assert_eq!(bench.counts(), (3, 1, 1), "work goes on");
        drop(clone);
        assert_eq!(bench.counts(), left, "{error}");
    }
}

#[test]
fn a_cancelled_image_may_be_gone_on_with() {
    let bench = Bench::new();
    let ingest = bench.store.begin();
    let parts = bench.put("app", &["x"]);
    drop(ingest);
    assert_eq!(bench.counts(), (0, 0, 3));
    let partial = bench.store.content().partial(&parts.blobs[0]).unwrap();
    let size = partial.offset();
    partial.finish(size).unwrap();
    assert!(bench.store.content().contains(&parts.blobs[0]));
}

#[test]
fn a_crash_leaves_no_layers_and_doubted_blobs() {
    let bench = Bench::new();
    let image = bench.make("kept", &["kept"]);
    bench.put("lost", &["lost"]);
    let layers = bench.dir.path().join("layers");
    std::fs::create_dir_all(layers.join(".new-1/fs/d")).unwrap();
    std::fs::write(bench.dir.path().join(".images.json.00.tmp"), b"torn").unwrap();
    let bench = bench.restart();
    assert_eq!(bench.counts(), (3, 1, 3));
    assert_eq!(bench.store.find("kept").unwrap(), image);
    assert!(!layers.join(".new-1").exists());
    assert!(!bench.dir.path().join(".images.json.00.tmp").exists());
}

#[test]
fn a_damaged_config_hides_one_image_which_can_still_be_removed() {
    let bench = Bench::new();
    let bad = bench.make("bad", &["x"]);
    let good = bench.make("good", &["y"]);
    std::fs::write(bench.store.content().path(&bad.id), b"{}").unwrap();
    assert_eq!(bench.store.list().unwrap(), [good]);
    let error = bench.store.find("bad").unwrap_err().to_string();
    assert!(
        error.contains(bad.id.short()) && error.contains("damaged"),
        "{error}"
    );
    bench.store.remove("bad", false, &nobody).unwrap();
    assert_eq!(bench.counts(), (3, 1, 0));
}

#[test]
fn a_damaged_catalog_is_made_anew_from_its_copy_or_the_blobs() {
    let bench = Bench::new();
    let image = bench.make("app", &["x"]);
    let path = bench.dir.path().join("images.json");
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[40] ^= 4;
    for bad in [&b""[..], b"{", b"[]", &flipped] {
        std::fs::write(&path, bad).unwrap();
        let store = Store::open(bench.dir.path(), Durability::Process).unwrap();
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&image));
        assert_eq!(std::fs::read(&path).unwrap(), good);
        let aside = bench.dir.path().join("images.json.damaged");
        assert_eq!(std::fs::read(aside).unwrap(), bad);
    }
    std::fs::write(&path, &flipped).unwrap();
    std::fs::write(bench.dir.path().join("images.copy.json"), b"").unwrap();
    let bench = bench.restart();
    let rebuilt = bench.store.find(image.id.as_str()).unwrap();
    assert!(rebuilt.references.is_empty() && rebuilt.layers == image.layers);
    assert_eq!(bench.counts(), (3, 1, 0));
}

#[test]
fn a_catalog_of_the_future_is_not_overwritten() {
    let bench = Bench::new();
    bench.make("app", &["x"]);
    let path = bench.dir.path().join("images.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let json = text.lines().next().unwrap();
    let newer = json.replacen("\"version\":1", "\"version\":9", 1);
    std::fs::write(&path, &newer).unwrap();
    let error = Store::open(bench.dir.path(), Durability::Process).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    assert_eq!(bench.counts(), (3, 1, 0));
}

#[test]
fn only_root_can_look_inside() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.make("app", &["x"]);
    for name in ["layers", "blobs", "blobs/sha256"] {
        let path = bench.dir.path().join(name);
        let mode = path.metadata().unwrap().permissions().mode();
        assert!(mode & 0o077 == 0, "{name}: {mode:o}");
    }
}

#[tokio::test]
async fn an_end_is_waited_for() {
    let bench = Bench::new();
    let ingest = bench.store.begin();
    bench.put("app", &["x"]);
    ingest.failed(&Error::invalid("wrong"));
    let straggler = ingest.clone();
    let work = tokio::task::spawn_blocking(move || drop(straggler));
    ingest.end().await;
    assert_eq!(bench.counts(), (0, 0, 0));
    work.await.unwrap();
}
