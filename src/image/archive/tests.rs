//! Archives through the face of the crate: in, out and back in elsewhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use orc_base::fs::Durability;
use orc_base::{Kind, Result};

use crate::archive::import::ImportOptions;
use crate::archive::load::Loaded;
use crate::digest::Digest;
use crate::image::Image;
use crate::images::Images;
use crate::progress::{Phase, Progress, ProgressEvent, Silent};
use crate::reference::Reference;
use crate::registry::config::RegistryConfig;
use crate::testing::{Tape, bzip2, gzip, tape, xz};
use crate::unpack::entry::EntryKind;
use crate::unpack::tar::Reader;

struct Bench {
    dir: tempfile::TempDir,
    images: Images,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path());
    Bench { dir, images }
}

fn open(directory: &Path) -> Images {
    Images::open_with(directory, RegistryConfig::default(), Durability::Process).unwrap()
}

fn named(name: &str, changes: &[&str]) -> ImportOptions {
    ImportOptions {
        reference: Some(Reference::parse(name).unwrap()),
        changes: changes.iter().map(|change| (*change).into()).collect(),
        message: None,
    }
}

fn rootfs() -> Vec<u8> {
    tape()
        .directory("./")
        .directory("bin/")
        .file("bin/sh", b"#!")
        .link(b'2', "sh", "/bin/sh")
        .end()
}

impl Bench {
    async fn import(&self, name: &str, tar: &[u8]) -> Result<Image> {
        self.images.import(tar, named(name, &[])).await
    }

    async fn save(&self, names: &[&str]) -> Result<Vec<u8>> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        self.images.save(&names, &mut out).await?;
        Ok(out)
    }

    async fn load(&self, tar: &[u8]) -> Result<Vec<Loaded>> {
        self.images.load(tar, &Silent).await
    }

    /// All files below the store but the catalog, which says nothing when it names nothing, and the
    /// reserve.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut left = vec![self.dir.path().to_owned()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.symlink_metadata().unwrap().is_dir() {
                    true => left.push(path),
                    false
                        if ["images.json", "images.copy.json", "reserve"]
                            .iter()
                            .any(|name| path.ends_with(name)) => {}
                    false => files.push(path),
                }
            }
        }
        files
    }
}

/// The files of an archive.
fn contents(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut reader = Reader::new(tar);
    let mut files = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut bytes = Vec::new();
        let is_file = matches!(entry.kind, EntryKind::File(_));
        reader
            .data(&mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        if is_file {
            files.insert(String::from_utf8(entry.name).unwrap(), bytes);
        }
    }
    files
}

fn pack(files: &[(String, Vec<u8>)]) -> Tape {
    files
        .iter()
        .fold(tape(), |tape, (name, bytes)| tape.file(name, bytes))
}

/// A config of layers with these diff ids.
fn config(diff_ids: &[Digest]) -> Vec<u8> {
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    json!({"architecture": "amd64", "os": "linux", "config": {"User": "7"}, "rootfs": rootfs})
        .to_string()
        .into_bytes()
}

/// What Docker before 25 saved: a directory for each layer, shared layers as links.
fn old_docker(names: &[&str]) -> Tape {
    let layer = tape().file("f", b"layer").end();
    let diff_id = Digest::of(&layer);
    let manifest = json!([{
        "Config": "abc.json",
        "RepoTags": names,
        "Layers": ["one/layer.tar", "two/layer.tar"]
    }]);
    tape()
        .file("abc.json", &config(&[diff_id.clone(), diff_id]))
        .directory("one/")
        .file("one/VERSION", b"1.0")
        .file("one/layer.tar", &layer)
        .directory("two/")
        .link(b'2', "two/layer.tar", "../one/layer.tar")
        .file("manifest.json", manifest.to_string().as_bytes())
        .file("repositories", b"{}")
}

#[tokio::test]
async fn a_root_file_system_becomes_an_image() {
    let bench = bench();
    let options = named("app:1", &["CMD [\"sh\"]", "ENV A=b"]);
    let image = bench.images.import(&rootfs()[..], options).await.unwrap();
    assert_eq!(image.config.cmd.as_deref().unwrap(), ["sh"]);
    assert_eq!(image.config.env, ["A=b"]);
    assert_eq!(image.history[0].comment, "Imported from -");
    assert_eq!((image.os.as_str(), image.size_bytes), ("linux", 2));
    assert!(image.created.is_some());
    assert_eq!(bench.images.find("app:1").unwrap(), image);
    let container = orc_base::Id::random();
    let snapshot = bench.images.create_snapshot(&container, &image.id).unwrap();
    let shell = snapshot.lowers[0].join("bin/sh");
    assert_eq!(std::fs::read(shell).unwrap(), b"#!");
    assert_eq!(
        bench.images.snapshot(&container, &image.id).unwrap(),
        snapshot
    );
    bench.images.remove_snapshot(&container).unwrap();
    assert!(bench.images.snapshot(&container, &image.id).is_err());
}

#[tokio::test]
async fn any_compression_gives_the_same_layer() {
    let tar = rootfs();
    let zstd = zstd::stream::encode_all(&tar[..], 1).unwrap();
    for bytes in [tar.clone(), gzip(&tar), zstd] {
        let bench = bench();
        let image = bench.import("app", &bytes).await.unwrap();
        assert_eq!(image.layers, [Digest::of(&tar)]);
        bench.images.remove("app", false, &|_| None).unwrap();
        assert!(bench.files().is_empty(), "{:?}", bench.files());
    }
}

#[tokio::test]
async fn a_bad_import_leaves_nothing() {
    let tar = rootfs();
    let packed = gzip(&tar);
    let escape = tape().file("a", b"x").file("../b", b"x").end();
    for (bytes, kind, text) in [
        (&tar[..tar.len() - 1024], Kind::Invalid, "truncated"),
        (&tar[..700], Kind::Invalid, "truncated"),
        (&packed[..packed.len() - 9], Kind::Invalid, "truncated"),
        (b"", Kind::Invalid, "no end"),
        (b"<html>", Kind::Invalid, "truncated"),
        (b"LZIP\x01\0\0\0\0\0", Kind::Unsupported, "lzip"),
        (b"\xfd7zXZ\0\0\0\0\0", Kind::Invalid, "xz"),
        (b"BZh91AY&SY", Kind::Invalid, "bzip2"),
        (&escape, Kind::Invalid, "`../b`"),
    ] {
        let bench = bench();
        let error = bench.import("app", bytes).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(bench.files().is_empty(), "{:?}", bench.files());
        assert!(bench.images.list().unwrap().is_empty());
        bench.import("app", &tar).await.unwrap();
    }
    let bench = bench();
    // Refused before a byte is read: reading this source would never end.
    let endless = tokio::io::repeat(0);
    let import = bench.images.import(endless, named("app", &["RUN x"]));
    let error = import.await.unwrap_err().to_string();
    assert!(error.contains("`RUN x`"), "{error}");
}

#[tokio::test]
async fn saved_images_are_the_same_bytes_and_the_same_images_elsewhere() {
    let bench = bench();
    let app = bench.import("app:1", &rootfs()).await.unwrap();
    let other = bench.import("other", &gzip(&rootfs())).await.unwrap();
    let target = Reference::parse("localhost:5000/app:2").unwrap();
    bench.images.tag("app:1", &target).unwrap();
    let names = ["app:1", "localhost:5000/app:2", "other"];
    let saved = bench.save(&names).await.unwrap();
    assert!(saved == bench.save(&["other", names[1], names[0]]).await.unwrap());
    let elsewhere = self::bench();
    let loaded = elsewhere.load(&saved).await.unwrap();
    assert_eq!(loaded.len(), 3);
    for name in names {
        let here = bench.images.find(name).unwrap();
        let there = elsewhere.images.find(name).unwrap();
        assert_eq!((&there.id, &there.manifest), (&here.id, &here.manifest));
        assert_eq!(there.references, here.references);
    }
    assert!(saved == elsewhere.save(&names).await.unwrap());
    for image in [app, other] {
        elsewhere
            .images
            .remove(image.id.as_str(), true, &|_| None)
            .unwrap();
    }
    assert!(elsewhere.files().is_empty(), "{:?}", elsewhere.files());
}

#[tokio::test]
async fn a_saved_archive_is_both_formats() {
    let bench = bench();
    let image = bench.import("app:1", &rootfs()).await.unwrap();
    let files = contents(&bench.save(&["app:1"]).await.unwrap());
    let parse = |name: &str| -> serde_json::Value { serde_json::from_slice(&files[name]).unwrap() };
    let docker = parse("manifest.json");
    assert_eq!(docker[0]["RepoTags"], json!(["app:1"]));
    let config = docker[0]["Config"].as_str().unwrap();
    assert_eq!(config, format!("blobs/sha256/{}", image.id.hex()));
    assert!(files.contains_key(docker[0]["Layers"][0].as_str().unwrap()));
    let index = parse("index.json");
    assert_eq!(index["manifests"][0]["digest"], image.manifest.as_str());
    let annotations = &index["manifests"][0]["annotations"];
    assert_eq!(
        annotations["io.containerd.image.name"],
        "docker.io/library/app:1"
    );
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "1");
    assert_eq!(parse("oci-layout")["imageLayoutVersion"], "1.0.0");
    assert!(parse("repositories")["app"]["1"].is_string());
    let nameless = contents(&bench.save(&[image.id.short()]).await.unwrap());
    let docker: serde_json::Value = serde_json::from_slice(&nameless["manifest.json"]).unwrap();
    assert!(docker[0]["RepoTags"].is_null());
    assert!(!nameless.contains_key("repositories"));
}

#[tokio::test]
async fn only_whole_images_are_saved() {
    let bench = bench();
    assert!(bench.save(&[]).await.is_err());
    assert_eq!(
        bench.save(&["nope"]).await.unwrap_err().kind(),
        Kind::NotFound
    );
    bench.import("app", &rootfs()).await.unwrap();
    let largest = bench
        .files()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("blobs"));
    let largest = largest.max_by_key(|path| path.metadata().unwrap().size());
    let path = largest.unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = bench.save(&["app"]).await.unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    // What a look at the sizes shows is said before the first byte.
    let names = ["app".to_owned()];
    std::fs::write(&path, &whole[1..]).unwrap();
    let error = bench.images.prepare_save(&names).await.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = bench.images.prepare_save(&names).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let text = error.to_string();
    assert!(text.starts_with("save app: blob sha256:"), "{text}");
    assert!(text.contains("pull the image again"), "{text}");
}

#[tokio::test]
async fn old_archives_of_docker_load() {
    for wrap in [Vec::clone, |bytes: &Vec<u8>| gzip(bytes)] {
        let bench = bench();
        let bytes = old_docker(&["old:1", "old:2"]).end();
        let loaded = bench.load(&wrap(&bytes)).await.unwrap();
        let names: Vec<_> = loaded
            .iter()
            .map(|one| one.reference.as_ref().unwrap().familiar())
            .collect();
        assert_eq!(names, ["old:1", "old:2"]);
        let image = bench.images.find("old:2").unwrap();
        assert_eq!((image.config.user.as_str(), image.layers.len()), ("7", 2));
        // What only described the images is not kept.
        assert_eq!(bench.files().len(), 3 + 2, "{:?}", bench.files());
        let again = bench.save(&["old:1"]).await.unwrap();
        let elsewhere = self::bench();
        let loaded = elsewhere.load(&again).await.unwrap();
        assert_eq!(loaded[0].image.id, image.id);
    }
}

#[tokio::test]
async fn an_archive_without_names_loads_by_id() {
    let bench = bench();
    let loaded = bench.load(&old_docker(&[]).end()).await.unwrap();
    assert_eq!(loaded[0].reference, None);
    let id = loaded[0].image.id.clone();
    assert_eq!(bench.images.find(id.short()).unwrap().id, id);
}

#[tokio::test]
async fn a_name_that_moves_is_said() {
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<String>>);
    impl Progress for Heard {
        fn report(&self, event: ProgressEvent) {
            if let Phase::Message(text) = event.phase {
                self.0.lock().unwrap().push(text);
            }
        }
    }
    let bench = bench();
    let old = bench.import("app:1", &rootfs()).await.unwrap();
    let heard = Heard::default();
    let archive = old_docker(&["app:1"]).end();
    let loaded = bench.images.load(&archive[..], &heard).await.unwrap();
    assert_eq!(loaded[0].renamed.as_ref(), Some(&old.id));
    assert_eq!(
        *heard.0.lock().unwrap(),
        [
            format!(
                "The image app:1 already exists, renaming the old one with ID {} to empty string",
                old.id
            ),
            "Loaded image: app:1".into(),
        ]
    );
    assert!(
        bench
            .images
            .find(old.id.as_str())
            .unwrap()
            .references
            .is_empty()
    );
    let again = bench.load(&archive).await.unwrap();
    assert_eq!(again[0].renamed, None);
}

#[tokio::test]
async fn hostile_archives_leave_nothing() {
    let layer = tape().file("f", b"layer").end();
    let escape = tape().file("../f", b"layer").end();
    let of = |bytes: &[u8]| Digest::of(bytes);
    let docker = |manifest: serde_json::Value, config: Vec<u8>, layer: &[u8]| {
        let files = [
            ("c.json".into(), config),
            ("l.tar".into(), layer.to_vec()),
            ("manifest.json".into(), manifest.to_string().into_bytes()),
        ];
        pack(&files).end()
    };
    let good = || json!([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"]}]);
    let with = |key: &str, value: serde_json::Value| {
        let mut manifest = good();
        manifest[0][key] = value;
        manifest
    };
    let plain = config(&[of(&layer)]);
    let index = |digest: &Digest| {
        let entry = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest, "size": 1,
        });
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        tape()
            .file("index.json", index.to_string().as_bytes())
            .end()
    };
    for (bytes, text) in [
        (b"".to_vec(), "no end"),
        (tape().file("hello", b"x").end(), "`import`"),
        (old_docker(&["x"]).done(), "no end"),
        (tape().file("../manifest.json", b"[]").end(), "`..`"),
        (tape().link(b'6', "fifo", "").end(), "no file of an image"),
        (tape().file(".wh.x", b"").end(), "no file of an image"),
        (
            tape().link(b'2', "l", "../../etc/passwd").end(),
            "out of the archive",
        ),
        (
            tape().file("manifest.json", &vec![b' '; 5 << 20]).end(),
            "larger than",
        ),
        (tape().file("manifest.json", b"{}").end(), "manifest.json"),
        (tape().file("index.json", b"[]").end(), "index.json"),
        (
            docker(with("Config", json!("../c.json")), plain.clone(), &layer),
            "`..`",
        ),
        (
            docker(with("Config", json!("/etc/passwd")), plain.clone(), &layer),
            "not in the archive",
        ),
        (
            docker(with("Layers", json!(["no.tar"])), plain.clone(), &layer),
            "`no.tar` is not in",
        ),
        (
            docker(with("Layers", json!([])), plain.clone(), &layer),
            "0 layers",
        ),
        (
            docker(with("RepoTags", json!(["../x:1"])), plain.clone(), &layer),
            "../x",
        ),
        (
            docker(with("RepoTags", json!(["UPPER"])), plain.clone(), &layer),
            "UPPER",
        ),
        (docker(good(), b"{}".to_vec(), &layer), "config"),
        (
            docker(good(), config(&[of(b"other")]), &layer),
            "its config says",
        ),
        (docker(good(), config(&[of(&escape)]), &escape), "`../f`"),
        (docker(good(), plain.clone(), b"no tar"), "layer"),
        (index(&of(b"missing")), "is not here"),
        (
            pack(&[
                ("c.json".into(), plain.clone()),
                ("manifest.json".into(), good().to_string().into()),
            ])
            .link(b'2', "l.tar", "l.tar")
            .end(),
            "`l.tar` is not in",
        ),
    ] {
        let bench = bench();
        let error = bench.load(&bytes).await.unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(bench.files().is_empty(), "{text}: {:?}", bench.files());
        assert!(bench.images.list().unwrap().is_empty());
    }
    let bench = bench();
    let many = (0..30_000).fold(tape(), |tape, n| tape.directory(&n.to_string()));
    let error = bench.load(&many.end()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing() {
    let bench = bench();
    let (mut ours, theirs) = tokio::io::duplex(64 << 10);
    let bytes = rootfs();
    {
        let import = bench.images.import(theirs, named("app", &[]));
        tokio::pin!(import);
        tokio::io::AsyncWriteExt::write_all(&mut ours, &bytes[..1500])
            .await
            .unwrap();
        // The working thread has to be there before the caller goes away.
        for _ in 0..6000 {
            assert!(futures_util::poll!(&mut import).is_pending());
            if !bench.files().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    // The thread notices by itself; the next ingest that ends waits for nobody.
    for _ in 0..600 {
        if bench.files().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(bench.files().is_empty(), "{:?}", bench.files());
    bench.import("app", &bytes).await.unwrap();
}

/// A file system of a megabyte, gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Self {
        use rustix::mount::{MountFlags, mount};
        let options = c"size=1m,mode=700";
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Small::mount(dir.path());
    let images = open(dir.path());
    let noise: Vec<u8> = (0_u32..800_000)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let bench = Bench { dir, images };
    let large = tape().file("a", &noise).file("b", &noise).end();
    let zstd = zstd::stream::encode_all(&large[..], 1).unwrap();
    for bytes in [&large, &zstd] {
        let error = bench.import("large", bytes).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
        assert!(
            error.to_string().contains("no space left on device"),
            "{error}"
        );
        assert!(bench.files().is_empty(), "{:?}", bench.files());
    }
    let image = bench.import("small", &rootfs()).await.unwrap();
    let saved = bench.save(&["small"]).await.unwrap();
    bench.images.remove("small", false, &|_| None).unwrap();
    let archive = pack(&[("junk".into(), noise.repeat(2))]).end();
    let error = bench.load(&archive).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    assert_eq!(bench.load(&saved).await.unwrap()[0].image.id, image.id);
    // Not a byte left, and still it can be removed.
    let filler = bench.dir.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    bench.images.remove("small", false, &|_| None).unwrap();
    std::fs::remove_file(filler).unwrap();
    assert!(bench.files().is_empty(), "{:?}", bench.files());
    drop(disk);
}

/// A web server that gives one answer to all.
async fn web(head: &'static str, body: Vec<u8>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = client.read(&mut request).await;
            let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n");
            let _ = client.write_all(head.as_bytes()).await;
            let _ = client.write_all(&body).await;
        }
    });
    format!("http://me:secret@{address}/rootfs.tar.gz")
}

/// Remembers what was reported.
#[derive(Default)]
struct Recorder(std::sync::Mutex<Vec<ProgressEvent>>);

impl Progress for Recorder {
    fn report(&self, event: ProgressEvent) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test]
async fn an_address_is_imported() {
    let bench = bench();
    let noise = (0..3 << 10).flat_map(|_| orc_base::id::random_bytes::<1024>());
    let noise: Vec<u8> = noise.collect();
    let packed = gzip(&tape().file("noise", &noise).end());
    let url = web("200 OK", packed.clone()).await;
    let recorder = Recorder::default();
    let imported = bench
        .images
        .import_url(&url, named("web:1", &["CMD [\"x\"]"]), &recorder);
    let image = imported.await.unwrap();
    assert_eq!(image.config.cmd.as_deref(), Some(&["x".to_owned()][..]));
    let comment = &image.history[0].comment;
    assert!(comment.starts_with("Imported from http://"), "{comment}");
    assert!(!comment.contains("secret"), "{comment}");
    let events = recorder.0.into_inner().unwrap();
    let told = |event: &ProgressEvent| matches!(event.phase, Phase::Downloading { current, .. } if current > 1 << 20);
    assert!(events.iter().any(told), "{events:?}");

    let files = bench.files();
    let cut = format!("200 OK\r\ncontent-length: {}", packed.len() + 1);
    for (head, body, says) in [
        ("404 Not Found", Vec::new(), "404"),
        ("200 OK", b"<html>".repeat(200), "no tar archive"),
        (&*cut.leak(), packed, "read the archive"),
    ] {
        let url = web(head, body).await;
        let options = ImportOptions::default();
        let error = bench.images.import_url(&url, options, &Silent).await;
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains(says) && text.contains("/rootfs.tar.gz"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
    let options = ImportOptions::default();
    let error = bench
        .images
        .import_url("file:///etc/passwd", options, &Silent);
    assert_eq!(error.await.unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(bench.files(), files);
}

#[tokio::test]
async fn what_no_registry_takes_is_compressed_anew() {
    let first = bench();
    let plain = first.import("app", &rootfs()).await.unwrap();
    for packed in [xz(&rootfs()), bzip2(&rootfs())] {
        let bench = bench();
        let image = bench.import("app", &packed).await.unwrap();
        assert_eq!(image.layers, plain.layers);
        let saved = contents(&bench.save(&["app"]).await.unwrap());
        let blobs: Vec<_> = saved
            .values()
            .filter(|bytes| bytes.starts_with(b"\x1f\x8b"))
            .collect();
        assert_eq!(blobs.len(), 1, "the layer, as gzip");
        assert_eq!(
            bench
                .load(&bench.save(&["app"]).await.unwrap())
                .await
                .unwrap()
                .len(),
            1
        );
        // An archive of images may come in it, a layer in one may not.
        let archive = bench.save(&["app"]).await.unwrap();
        assert_eq!(bench.load(&xz(&archive)).await.unwrap().len(), 1);
        let manifest = json!([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"]}]);
        let archive = tape()
            .file("c.json", &config(&[plain.layers[0].clone()]))
            .file("l.tar", &packed)
            .file("manifest.json", manifest.to_string().as_bytes());
        let error = bench.load(&archive.end()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("no registry takes"), "{error}");
    }
}

#[test]
fn bombs_of_xz_and_bzip2_are_stopped() {
    use crate::unpack::limits::Limits;
    use crate::unpack::stream::{self, Watch};

    let limits = Limits {
        ratio_after_bytes: 1 << 20,
        ..Limits::default()
    };
    for packed in [xz(&vec![0; 8 << 20]), bzip2(&vec![0; 8 << 20])] {
        let read = stream::with_uncompressed(&packed[..], &limits, &Watch::default(), |stream| {
            std::io::copy(stream, &mut std::io::sink()).map_err(stream::error)
        });
        let error = read.unwrap_err();
        assert!(error.to_string().contains("200 to 1"), "{error}");
    }
}
