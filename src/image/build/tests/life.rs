//! Results, names, times, crashes.

use std::path::Path;

use super::support::{bed, open};
use crate::build::request::ContextSource;
use crate::config::ConfigFile;
use crate::reference::Reference;
use crate::testing::tape;

#[tokio::test(flavor = "multi_thread")]
async fn images_have_their_names_config_and_history() {
    let bed = bed();
    bed.put("f", "f");
    let base = bed.base().await;
    let mut options = bed.options(
        "FROM base\nLABEL a=b\nCOPY f /f\nENTRYPOINT [\"/f\"]\nEXPOSE 80\nENV X=y\nUSER app",
    );
    let name = |text: &str| Reference::parse(text).unwrap();
    options.tags = vec![name("app:1"), name("app:2")];
    options.labels.insert("given".into(), "label".into());
    let image = bed.run(options.clone()).await.unwrap();
    assert_eq!(image.references, [name("app:1"), name("app:2")]);
    assert_eq!(image.config.entrypoint.as_deref().unwrap(), ["/f"]);
    assert_eq!(image.config.exposed_ports, ["80/tcp"]);
    assert_eq!(image.config.labels["given"], "label");
    assert_eq!(image.layers[..base.layers.len()], base.layers);
    let made = image.history.iter().filter(|line| !line.empty_layer);
    assert_eq!(made.count(), image.layers.len());
    assert!(image.history.iter().all(|line| line.created.is_some()));
    assert!(image.created >= base.created);
    // Moved by the next build.
    options.tags = vec![name("app:1")];
    options.dockerfile = bed.options("FROM base\nRUN write /g g").dockerfile;
    let other = bed.run(options).await.unwrap();
    assert_eq!(other.references, [name("app:1")]);
    assert_eq!(bed.images.find("app:2").unwrap().id, image.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_without_a_base_and_without_layers() {
    let bed = bed();
    bed.put("f", "f");
    let image = bed.build("FROM scratch\nCMD [\"x\"]").await.unwrap();
    assert!(image.layers.is_empty());
    let again = bed
        .build("FROM scratch\nCOPY f /\nRUN write /g g")
        .await
        .unwrap();
    assert_eq!(again.layers.len(), 2);
    assert_eq!(bed.line(&again, "g"), "644 0:0 = g");
    let same = bed.build("FROM scratch\nCOPY f /\nCOPY f /").await.unwrap();
    assert_eq!(bed.line(&same, "f"), "644 0:0 = f");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_is_what_its_blobs_say() {
    let bed = bed();
    bed.put("d/f", "f").link("d/l", "f");
    bed.base().await;
    let image = bed
        .build("FROM base\nCOPY --chown=app d /d\nRUN remove /usr/lib; make /usr/lib; write /usr/lib/n n; remove /file")
        .await
        .unwrap();
    let mut archive = Vec::new();
    bed.images
        .save(&[image.id.to_string()], &mut archive)
        .await
        .unwrap();
    let elsewhere = bed.dir.path().join("elsewhere");
    let images = open(&elsewhere);
    let loaded = images
        .load(&archive[..], &crate::progress::Silent)
        .await
        .unwrap();
    assert_eq!(loaded[0].image.id, image.id);
    let there = super::support::tree_of(&elsewhere, &loaded[0].image);
    assert_eq!(there, bed.tree(&image));
    assert!(!there.contains("usr/lib/old"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_sources_give_the_same_digests_in_different_places() {
    let mut digests = Vec::new();
    for round in 0..2 {
        let bed = bed();
        bed.put("d/f", "f").put("d/sub/g", "g").put("h", "h");
        if round == 1 {
            let time = orc_base::Time::from_secs(2_000_000_000);
            for path in ["d/f", "d/sub/g", "h", "d"] {
                crate::build::times::set_time(&bed.at(path), time).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(1_100));
        }
        let base = tape()
            .directory("etc")
            .file("etc/passwd", b"root:x:0:0::/:\n")
            .end();
        let mut archive = Vec::new();
        base_archive(&mut archive, &base);
        bed.images
            .load(&archive[..], &crate::progress::Silent)
            .await
            .unwrap();
        let mut options = bed.options(
            "FROM base:1\nWORKDIR /made\nCOPY d /d\nCOPY h new/h\nRUN write /r r; make /dir\nCOPY <<EOF /e\nhi\nEOF\nLABEL a=b",
        );
        let epoch = "1700000000".to_owned();
        options.args.insert("SOURCE_DATE_EPOCH".into(), epoch);
        let image = bed.run(options).await.unwrap();
        assert_eq!(image.created.unwrap().secs(), 1_700_000_000);
        digests.push((image.id, image.manifest, image.layers));
    }
    assert_eq!(digests[0], digests[1]);
}

/// An archive as `save` writes it, always the same.
fn base_archive(out: &mut Vec<u8>, layer: &[u8]) {
    let config = ConfigFile {
        architecture: crate::platform::Platform::host().architecture,
        os: "linux".into(),
        diff_ids: vec![crate::digest::Digest::of(layer)],
        ..ConfigFile::default()
    };
    let manifest = r#"[{"Config":"config.json","RepoTags":["base:1"],"Layers":["layer.tar"]}]"#;
    *out = tape()
        .file("config.json", &config.render().unwrap())
        .file("layer.tar", layer)
        .file("manifest.json", manifest.as_bytes())
        .end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_nothing() {
    let bed = bed();
    bed.base().await;
    let left = bed
        .dir
        .path()
        .join("store/builds/0123456789abcdef/1-step/upper/x");
    std::fs::create_dir_all(&left).unwrap();
    let store = bed.dir.path().join("store");
    let layers = || std::fs::read_dir(store.join("layers")).unwrap().count();
    let before = layers();
    // A failed build leaves the layers of the steps that went well, for the next one.
    let failed = bed.build("FROM base\nRUN write /a a\nRUN exit 1").await;
    assert!(failed.is_err());
    assert_eq!(layers(), before + 1);
    bed.build("FROM base\nRUN write /a a").await.unwrap();
    assert_eq!(bed.ran(), 0);
    drop(bed.images.clone());
    let path = bed.dir.path().join("store");
    let dir = bed.dir;
    drop(bed.images);
    open(&path);
    assert_eq!(std::fs::read_dir(path.join("builds")).unwrap().count(), 0);
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_makes_nothing() {
    let bed = bed();
    bed.base().await;
    let mut options = bed.options("FROM base\nRUN write /a a\nMAINTAINER me");
    options.check = true;
    let (runner, events) = (bed.runner.clone(), bed.events.clone());
    let built = bed
        .images
        .build(options, None, runner, events)
        .await
        .unwrap();
    assert!(built.is_none());
    assert_eq!((bed.ran(), bed.images.list().unwrap().len()), (0, 1));
    let warned = bed
        .events()
        .iter()
        .any(|event| format!("{event:?}").contains("MAINTAINER"));
    assert!(warned);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processors_need_an_emulator() {
    let bed = bed();
    let mut options = bed.options("FROM scratch\nRUN say x");
    options.platform = Some("linux/s390x".parse().unwrap());
    if Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        return;
    }
    let error = bed.run(options.clone()).await.unwrap_err().to_string();
    assert!(error.contains("emulator"), "{error}");
    options.context = ContextSource::Empty;
    options.dockerfile = bed
        .options("FROM scratch\nCOPY <<EOF /x\nhi\nEOF")
        .dockerfile;
    let image = bed.run(options).await.unwrap();
    assert_eq!(image.architecture, "s390x");
}
