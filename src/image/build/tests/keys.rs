//! What makes a step be done again, and what does not.

use super::support::{Bed, bed};
use crate::build::request::BuildOptions;
use crate::testing::tape;

const DOCKERFILE: &str = "FROM base
ARG V=1
ENV E=e
WORKDIR /w
COPY dir /d
RUN --mount=type=bind,source=m,target=/m say hello
";

async fn prepare() -> Bed {
    let bed = bed();
    bed.put("dir/f", "f").put("dir/g", "g").put("m", "m");
    bed.put("unused", "x").chmod("dir/f", 0o644);
    bed.base().await;
    bed.build(DOCKERFILE).await.unwrap();
    bed
}

/// The steps that are done again after a change.
async fn redone(bed: &Bed, options: BuildOptions) -> Vec<String> {
    bed.run(options).await.unwrap();
    let cached = bed.cached();
    let steps = bed.states().into_iter().map(|(text, _)| text);
    let verb = |text: &String| text.split(' ').next().unwrap_or_default().to_owned();
    steps
        .filter(|text| !cached.contains(text) && text.starts_with(char::is_uppercase))
        .map(|text| verb(&text))
        .filter(|verb| ["WORKDIR", "COPY", "RUN", "ADD"].contains(&verb.as_str()))
        .collect()
}

fn touch(bed: &Bed, path: &str, seconds: i64) {
    let time = orc_base::Time::from_secs(seconds);
    crate::build::times::set_time(&bed.at(path), time).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_does_nothing_and_gives_the_same_image() {
    let bed = prepare().await;
    let first = bed.build(DOCKERFILE).await.unwrap();
    let began = std::time::Instant::now();
    let again = bed.build(DOCKERFILE).await.unwrap();
    eprintln!("a cached build took {:?}", began.elapsed());
    assert_eq!((first.id, bed.ran()), (again.id, 0));
    assert!(redone(&bed, bed.options(DOCKERFILE)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_changes_nothing() {
    let bed = prepare().await;
    touch(&bed, "dir/f", 77);
    touch(&bed, "dir", 78);
    std::os::unix::fs::chown(bed.at("dir/f"), Some(5), Some(6)).unwrap();
    bed.put("unused", "changed").put("new", "file");
    bed.put("dir/g", "g");
    bed.chmod("dir", 0o700);
    assert!(redone(&bed, bed.options(DOCKERFILE)).await.is_empty());
    let mut options = bed.options(DOCKERFILE);
    options.labels.insert("a".into(), "b".into());
    options.tags = vec![crate::reference::Reference::parse("x:1").unwrap()];
    assert!(redone(&bed, options).await.is_empty());
    let mut options = bed.options(DOCKERFILE);
    options.args.insert("HTTP_PROXY".into(), "http://p".into());
    assert!(redone(&bed, options).await.is_empty(), "a proxy");
    let comment = DOCKERFILE.replace("ENV", "# a comment\nENV");
    assert!(redone(&bed, bed.options(&comment)).await.is_empty());
    let after = format!("{DOCKERFILE}LABEL x=y\nCMD [\"z\"]\n");
    assert!(redone(&bed, bed.options(&after)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ingredient_of_a_copy_counts() {
    type Change = fn(&Bed);
    let changes: &[(&str, Change)] = &[
        ("contents", |bed| {
            bed.put("dir/f", "F");
        }),
        ("mode", |bed| {
            bed.chmod("dir/f", 0o600);
        }),
        ("one more", |bed| {
            bed.put("dir/h", "h");
        }),
        ("an empty directory", |bed| {
            bed.put("dir/e/", "");
        }),
        ("one less", |bed| {
            std::fs::remove_file(bed.at("dir/g")).unwrap();
        }),
        ("another name", |bed| {
            std::fs::rename(bed.at("dir/g"), bed.at("dir/h")).unwrap();
        }),
        ("a link", |bed| {
            std::fs::remove_file(bed.at("dir/g")).unwrap();
            bed.link("dir/g", "f");
        }),
        ("swapped", |bed| {
            bed.put("dir/f", "g").put("dir/g", "f");
        }),
        ("an attribute", |bed| {
            let file = std::fs::File::open(bed.at("dir/f")).unwrap();
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::fsetxattr(&file, "user.x", b"y", flags).unwrap();
        }),
    ];
    for (what, change) in changes {
        let bed = prepare().await;
        change(&bed);
        let again = redone(&bed, bed.options(DOCKERFILE)).await;
        assert_eq!(again, ["COPY", "RUN"], "{what}");
        assert!(
            redone(&bed, bed.options(DOCKERFILE)).await.is_empty(),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_word_of_an_instruction_counts() {
    for (from, to, again) in [
        ("COPY dir /d", "COPY dir /e", &["COPY", "RUN"][..]),
        ("COPY dir", "COPY --chown=1 dir", &["COPY", "RUN"]),
        ("COPY dir", "COPY --chmod=755 dir", &["COPY", "RUN"]),
        ("COPY dir", "COPY --link dir", &["COPY"]),
        ("COPY dir", "COPY --exclude=g dir", &["COPY", "RUN"]),
        ("COPY dir /d", "COPY dir/f /d/", &["COPY", "RUN"]),
        ("say hello", "say other", &["RUN"]),
        ("target=/m", "target=/n", &["RUN"]),
        ("target=/m", "target=/m,rw", &["RUN"]),
        ("source=m", "source=unused", &["RUN"]),
        ("type=bind,source=m", "type=cache", &["RUN"]),
        ("ENV E=e", "ENV E=f", &["RUN"]),
        ("ENV E=e", "ENV E=e F=f", &["RUN"]),
        ("ARG V=1", "ARG V=2", &["RUN"]),
        ("WORKDIR /w\n", "WORKDIR /v\n", &["WORKDIR", "COPY", "RUN"]),
        ("ENV E=e", "ENV E=e\nUSER app", &["WORKDIR", "COPY", "RUN"]),
        ("RUN --mount", "RUN --network=none --mount", &["RUN"]),
        (
            "RUN --mount=type=bind,source=m,target=/m say",
            "SHELL [\"/bin/other\"]\nRUN say",
            &["RUN"],
        ),
    ] {
        let bed = prepare().await;
        let changed = DOCKERFILE.replace(from, to);
        assert_ne!(changed, DOCKERFILE);
        let done = redone(&bed, bed.options(&changed)).await;
        // `--link` gives the same layer when nothing of it depends on what is below: RUN may be kept.
        assert_eq!(done, again, "{to}");
        assert!(
            redone(&bed, bed.options(DOCKERFILE)).await.is_empty(),
            "{to}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_bases_settings_and_times_count() {
    let bed = prepare().await;
    let mut options = bed.options(DOCKERFILE);
    options.args.insert("V".into(), "9".into());
    assert_eq!(redone(&bed, options).await, ["RUN"]);
    bed.put("m", "other");
    assert_eq!(redone(&bed, bed.options(DOCKERFILE)).await, ["RUN"]);
    *crate::build::shared::lock(&bed.runner.settings) = "more memory".into();
    assert_eq!(redone(&bed, bed.options(DOCKERFILE)).await, ["RUN"]);
    let mut options = bed.options(DOCKERFILE);
    options.args.insert("SOURCE_DATE_EPOCH".into(), "5".into());
    assert_eq!(redone(&bed, options).await, ["WORKDIR", "COPY", "RUN"]);
    bed.image("base", tape().directory("etc").file("other", b"base"))
        .await;
    let all = ["WORKDIR", "COPY", "RUN"];
    assert_eq!(redone(&bed, bed.options(DOCKERFILE)).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_use_the_cache() {
    let bed = prepare().await;
    let mut options = bed.options(DOCKERFILE);
    options.no_cache = true;
    assert_eq!(redone(&bed, options).await, ["WORKDIR", "COPY", "RUN"]);
    let two =
        "FROM base AS one\nRUN write /a a\nFROM base AS two\nRUN write /b b\nCOPY --from=one /a /c";
    bed.build(two).await.unwrap();
    let mut options = bed.options(two);
    options.no_cache_filter = vec!["two".into()];
    let done = redone(&bed, options).await;
    assert_eq!(
        done.iter().filter(|verb| *verb == "RUN").count(),
        1,
        "{done:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_back_is_read_again() {
    let bed = prepare().await;
    let meta = std::fs::metadata(bed.at("dir/f")).unwrap();
    bed.put("dir/f", "F");
    // The same size and the same time: only the time of the change itself tells.
    let file = std::fs::File::open(bed.at("dir/f")).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
    assert_eq!(redone(&bed, bed.options(DOCKERFILE)).await, ["COPY", "RUN"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_stand_alone() {
    let bed = prepare().await;
    let linked = "FROM base\nCOPY --link --chown=app dir /d";
    bed.build(linked).await.unwrap();
    let passwd = b"app:x:1001:1002::/:\n";
    let other = tape().directory("etc").file("etc/passwd", passwd);
    bed.image("base", other).await;
    assert!(redone(&bed, bed.options(linked)).await.is_empty());
    let moved = tape()
        .directory("etc")
        .file("etc/passwd", b"app:x:5:5::/:\n");
    bed.image("base", moved).await;
    assert_eq!(redone(&bed, bed.options(linked)).await, ["COPY"]);
}
