//! Links and names that lead elsewhere lead nowhere (HAZARDS B1, B4).

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::{Bed, bed};
use crate::testing::tape;

/// A tree beside the context that nobody may read or change.
fn sentinel(bed: &Bed) {
    let outside = bed.dir.path().join("outside");
    std::fs::create_dir_all(outside.join("d")).unwrap();
    std::fs::write(outside.join("secret"), "SECRET").unwrap();
    std::fs::write(outside.join("d/secret"), "SECRET").unwrap();
}

fn look(path: &Path) -> BTreeMap<String, (u32, u32, i64, String)> {
    let mut all = BTreeMap::new();
    let mut left = vec![path.to_owned()];
    while let Some(at) = left.pop() {
        let meta = std::fs::symlink_metadata(&at).unwrap();
        let text = std::fs::read_to_string(&at).unwrap_or_default();
        let entry = (meta.mode(), meta.uid(), meta.mtime_nsec(), text);
        all.insert(at.display().to_string(), entry);
        if meta.is_dir() {
            left.extend(
                std::fs::read_dir(&at)
                    .unwrap()
                    .map(|one| one.unwrap().path()),
            );
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_is_read_or_written() {
    let bed = bed();
    sentinel(&bed);
    let outside = bed.dir.path().join("outside");
    let absolute = outside.display().to_string();
    bed.link("relative", "../outside")
        .link("absolute", &absolute)
        .link("chain", "relative")
        .link("deep/up", "../../outside")
        .link("file", "../outside/secret")
        .link("magic", "/proc/self/root")
        .link("fd", "/proc/self/fd")
        .put("plain", "plain");
    let image = tape()
        .directory("d")
        .link(b'2', "relative", "../../../../../../outside")
        .link(b'2', "absolute", &absolute)
        .link(b'2', "proc", "/proc/self/root")
        .file("f", b"f");
    bed.image("base", image).await;
    let before = look(&outside);
    for line in [
        "COPY relative/secret /x",
        "COPY relative /x",
        "COPY absolute/secret /x",
        "COPY absolute /x",
        "COPY chain/d /x",
        "COPY deep/up/secret /x",
        "COPY file /x",
        "COPY magic/etc/hostname /x",
        "COPY magic /x",
        "COPY fd /x",
        "COPY ../outside/secret /x",
        "COPY ../../../../../../etc/passwd /x",
        "COPY rel*/secret /x",
        "COPY --parents relative/secret /x/",
        "COPY --parents ../outside/./secret /x/",
        "ADD relative/secret /x",
        "RUN --mount=type=bind,source=relative,target=/m list /m",
        "RUN --mount=type=bind,source=absolute/secret,target=/m show /m",
        "RUN --mount=type=bind,source=../outside,target=/m list /m",
        "RUN --mount=type=bind,source=magic,target=/m list /m",
        "RUN --mount=type=bind,from=base,source=relative,target=/m list /m",
        "RUN --mount=type=bind,from=base,source=proc/etc,target=/m list /m",
        "RUN --mount=type=cache,target=/m,from=base,source=absolute list /m",
        "COPY --from=base /relative/secret /x",
        "COPY --from=base /absolute/d /x",
        "COPY --from=base /proc/etc/hostname /x",
        "COPY --from=base ../../../../../../etc/hostname /x",
        "COPY plain /relative/new",
        "COPY plain /absolute/secret",
        "COPY plain /absolute/",
        "COPY plain /proc/new",
        "COPY --chmod=777 --chown=9:9 plain /relative",
        "COPY plain ../../../../../../outside/new",
        "WORKDIR /absolute/w",
        "WORKDIR ../../../../../../outside/w",
        "ADD a.tar /absolute",
    ] {
        if line.starts_with("ADD a.tar") {
            let tar = tape().file("secret", b"changed").end();
            std::fs::write(bed.at("a.tar"), tar).unwrap();
        }
        let built = bed.build(&format!("FROM base\n{line}")).await;
        if let Ok(image) = &built {
            assert!(!bed.tree(image).contains("SECRET"), "{line}");
        }
        assert!(!bed.output().contains("SECRET"), "{line}");
        assert!(!bed.output().contains("secret"), "{line}: {}", bed.output());
        assert_eq!(look(&outside), before, "{line}");
    }
    assert!(bed.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_stay_in_their_directory() {
    let bed = bed();
    sentinel(&bed);
    let outside = bed.dir.path().join("outside");
    let absolute = outside.display().to_string();
    bed.base().await;
    let before = look(&outside);
    for tar in [
        tape().file("../secret", b"x"),
        tape().link(b'2', "l", &absolute).file("l/secret", b"x"),
        tape()
            .link(b'2', "l", "../../outside")
            .file("l/secret", b"x"),
        tape().link(b'1', "l", "../outside/secret").file("l", b"x"),
        tape().file("/../../outside/secret", b"x"),
        tape().file("a/.wh.b", b""),
        tape().file(".wh..wh..opq", b""),
    ] {
        std::fs::write(bed.at("a.tar"), tar.clone().end()).unwrap();
        let _ = bed.build("FROM base\nADD a.tar /x").await;
        assert_eq!(look(&outside), before);
        let mut options = bed.options("FROM base\nCOPY . /x");
        options.context = crate::build::request::ContextSource::Archive;
        let bytes = std::io::Cursor::new(tar.end());
        let (runner, events) = (bed.runner.clone(), bed.events.clone());
        let built = bed
            .images
            .build(options, Some(Box::new(bytes)), runner, events);
        if let Ok(Some(image)) = built.await {
            assert!(!bed.tree(&image).contains("SECRET"));
        }
        assert_eq!(look(&outside), before);
    }
    assert!(bed.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn ignore_files_and_dockerfiles_are_of_the_context() {
    let bed = bed();
    sentinel(&bed);
    std::fs::write(bed.dir.path().join("outside/Dockerfile"), "FROM outside").unwrap();
    std::fs::write(bed.dir.path().join("outside/ignore"), "plain").unwrap();
    bed.put("plain", "p")
        .link(".dockerignore", "../outside/ignore");
    bed.base().await;
    let image = bed.build("FROM base\nCOPY plain /x").await.unwrap();
    assert_eq!(bed.line(&image, "x"), "644 0:0 = p");
    bed.link("Dockerfile", "../outside/Dockerfile");
    let mut options = bed.options("");
    options.dockerfile = crate::build::request::DockerfileSource::default();
    let error = bed.run(options).await.unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
    let mut options = bed.options("");
    let path = "../outside/Dockerfile".into();
    options.dockerfile = crate::build::request::DockerfileSource::Path(path);
    assert!(bed.run(options).await.is_err());
}

/// While it is copied a directory of the context is swapped for a link to the outside and back.
#[tokio::test(flavor = "multi_thread")]
async fn swapping_while_copying_reads_nothing_outside() {
    let bed = bed();
    sentinel(&bed);
    bed.put("d/secret", "inside").put("d/d/secret", "inside");
    bed.base().await;
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let (real, other) = (bed.at("d"), bed.at("swap"));
    symlink(bed.dir.path().join("outside"), &other).unwrap();
    let flag = stop.clone();
    let flipper = std::thread::spawn(move || {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        while !flag.load(Ordering::Relaxed) {
            renameat_with(CWD, &real, CWD, &other, RenameFlags::EXCHANGE).unwrap();
        }
    });
    for round in 0..60 {
        let mut options = bed.options(&format!(
            "FROM base\nCOPY d /x{round}\nCOPY d/d/secret /y\nRUN --mount=type=bind,source=d,target=/m say {round}"
        ));
        options.no_cache = round % 2 == 0;
        if let Ok(image) = bed.run(options).await {
            assert!(!bed.tree(&image).contains("SECRET"));
        }
    }
    stop.store(true, Ordering::Relaxed);
    flipper.join().unwrap();
}
