//! What `COPY` and `ADD` put where.

use super::support::{Bed, bed};
use crate::testing::{bzip2, gzip, tape, xz};

/// A context with something of everything.
fn context(bed: &Bed) {
    bed.put("a.txt", "a")
        .put("b.txt", "b")
        .put("c.md", "c")
        .put("dir/one", "1")
        .put("dir/sub/two", "2")
        .put("dir/sub/three.md", "3")
        .put("dir/empty/", "")
        .put("with space", "s")
        .put("run.sh", "#!")
        .put("old", "new")
        .put("a[1].txt", "bracket")
        .link("link", "a.txt")
        .link("dirlink", "dir")
        .link("dir/inner", "one")
        .link("nowhere", "missing")
        .chmod("run.sh", 0o755)
        .chmod("dir", 0o750)
        .chmod("dir/sub", 0o711)
        .chmod("a.txt", 0o644);
}

/// The Dockerfile's lines after `FROM`, and lines of the tree that must be; `!path` must not be there.
type Case = (&'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    // A file.
    ("COPY a.txt /x", &["x 644 0:0 = a"]),
    ("COPY a.txt /x/", &["x 755 0:0 /", "x/a.txt 644 0:0 = a"]),
    ("COPY a.txt /usr/lib", &["usr/lib/a.txt 644 0:0 = a"]),
    ("COPY a.txt /usr/lib/", &["usr/lib/a.txt 644 0:0 = a"]),
    ("COPY a.txt /usr/lib/.", &["usr/lib/a.txt 644 0:0 = a"]),
    ("COPY a.txt /", &["a.txt 644 0:0 = a"]),
    ("COPY a.txt .", &["a.txt 644 0:0 = a"]),
    (
        "COPY a.txt new/deep/x",
        &["new 755 0:0 /", "new/deep/x 644 0:0 = a"],
    ),
    ("COPY a.txt /file", &["file 644 0:0 = a"]),
    ("COPY ./a.txt /x", &["x 644 0:0 = a"]),
    ("COPY /a.txt /x", &["x 644 0:0 = a"]),
    ("COPY ../../a.txt /x", &["x 644 0:0 = a"]),
    ("COPY run.sh /x", &["x 755 0:0 = #!"]),
    (
        "COPY [\"with space\", \"/to here/\"]",
        &["to here/with space 644 0:0 = s"],
    ),
    (
        "COPY a.txt b.txt /x/",
        &["x/a.txt 644 0:0 = a", "x/b.txt 644 0:0 = b"],
    ),
    // WORKDIR counts.
    ("WORKDIR /w\nCOPY a.txt x", &["w/x 644 0:0 = a"]),
    ("WORKDIR /w\nCOPY a.txt ./", &["w/a.txt 644 0:0 = a"]),
    ("WORKDIR /w/v\nCOPY a.txt ../x", &["w/x 644 0:0 = a"]),
    // A directory: its contents.
    (
        "COPY dir /x",
        &[
            "x 755 0:0 /",
            "x/one 644 0:0 = 1",
            "x/sub 711 0:0 /",
            "x/sub/two 644 0:0 = 2",
        ],
    ),
    ("COPY dir /x/", &["x/one 644 0:0 = 1", "x/empty 755 0:0 /"]),
    ("COPY dir/ /x", &["x/one 644 0:0 = 1"]),
    ("COPY dir/. /x", &["x/one 644 0:0 = 1"]),
    (
        "COPY dir /usr/lib",
        &[
            "usr/lib/one 644 0:0 = 1",
            "usr/lib/old 644 0:0 = old",
            "!usr/lib/dir",
        ],
    ),
    (
        "COPY . /x",
        &[
            "x/a.txt 644 0:0 = a",
            "x/dir 750 0:0 /",
            "x/dir/one 644 0:0 = 1",
        ],
    ),
    (
        "COPY dir dir/sub /x/",
        &[
            "x/one 644 0:0 = 1",
            "x/two 644 0:0 = 2",
            "x/sub/two 644 0:0 = 2",
        ],
    ),
    ("COPY dir /", &["one 644 0:0 = 1", "sub/two 644 0:0 = 2"]),
    // Links.
    ("COPY link /x", &["x 644 0:0 = a"]),
    ("COPY link /x/", &["x/link 644 0:0 = a"]),
    ("COPY dirlink /x", &["x/one 644 0:0 = 1"]),
    ("COPY dirlink/one /x", &["x 644 0:0 = 1"]),
    ("COPY dir /x", &["x/inner 777 0:0 -> one"]),
    (
        "COPY . /x",
        &["x/nowhere 777 0:0 -> missing", "x/link 777 0:0 -> a.txt"],
    ),
    // Links in the image.
    (
        "COPY a.txt /lib/x",
        &["usr/lib/x 644 0:0 = a", "lib 777 0:0 -> usr/lib"],
    ),
    ("COPY a.txt /lib", &["usr/lib/a.txt 644 0:0 = a"]),
    ("COPY dir /lib/", &["usr/lib/one 644 0:0 = 1"]),
    (
        "COPY a.txt /dangling",
        &["usr/new 644 0:0 = a", "dangling 777 0:0 -> usr/new"],
    ),
    ("COPY a.txt /dangling/x", &["usr/new/x 644 0:0 = a"]),
    ("COPY a.txt /up/x", &["outside/x 644 0:0 = a"]),
    ("COPY old /usr/lib/", &["usr/lib/old 644 0:0 = new"]),
    (
        "COPY dir /etc",
        &[
            "etc/passwd 644 0:0 = root:x:0:0::/root:/bin/sh",
            "etc/one 644 0:0 = 1",
        ],
    ),
    // Patterns.
    (
        "COPY *.txt /x/",
        &["x/a.txt 644 0:0 = a", "x/b.txt 644 0:0 = b", "!x/c.md"],
    ),
    (
        "COPY ?.txt /x/",
        &["x/a.txt 644 0:0 = a", "x/b.txt 644 0:0 = b"],
    ),
    (
        "COPY [ac].* /x/",
        &["x/a.txt 644 0:0 = a", "x/c.md 644 0:0 = c", "!x/b.txt"],
    ),
    ("COPY [^a].txt /x/", &["x/b.txt 644 0:0 = b", "!x/a.txt"]),
    (
        "COPY d* /x/",
        &["x/one 644 0:0 = 1", "x/sub/two 644 0:0 = 2"],
    ),
    ("COPY dir/*/two /x/", &["x/two 644 0:0 = 2"]),
    (
        "COPY dir/* /x/",
        &["x/one 644 0:0 = 1", "x/two 644 0:0 = 2", "!x/sub"],
    ),
    ("COPY lin* /x/", &["x/link 644 0:0 = a"]),
    ("COPY *.nothing /x/", &["!x/a.txt"]),
    ("COPY a[[]1].txt /x", &["x 644 0:0 = bracket"]),
    // Owners and modes.
    ("COPY --chown=5 a.txt /x", &["x 644 5:5 = a"]),
    ("COPY --chown=5:6 a.txt /x", &["x 644 5:6 = a"]),
    ("COPY --chown=app a.txt /x", &["x 644 1001:1002 = a"]),
    ("COPY --chown=app:www a.txt /x", &["x 644 1001:33 = a"]),
    ("COPY --chown=:www a.txt /x", &["x 644 0:33 = a"]),
    (
        "COPY --chown=app dir /new/x",
        &[
            "new 755 1001:1002 /",
            "new/x/one 644 1001:1002 = 1",
            "new/x/inner 777 1001:1002 -> one",
        ],
    ),
    (
        "COPY --chown=7:8 a.txt /usr/lib/",
        &["usr/lib 755 0:0 /", "usr/lib/a.txt 644 7:8 = a"],
    ),
    ("COPY --chmod=600 a.txt /x", &["x 600 0:0 = a"]),
    ("COPY --chmod=4755 a.txt /x", &["x 4755 0:0 = a"]),
    ("COPY --chmod=u+x,g-r a.txt /x", &["x 704 0:0 = a"]),
    (
        "COPY --chmod=go-rwX dir /x",
        &["x 755 0:0 /", "x/one 600 0:0 = 1", "x/sub 700 0:0 /"],
    ),
    (
        "COPY --chmod=700 --chown=1:2 dir /x",
        &["x/sub 700 1:2 /", "x/sub/two 700 1:2 = 2"],
    ),
    ("ARG M=711\nCOPY --chmod=$M a.txt /x", &["x 711 0:0 = a"]),
    // --link, --parents, --exclude.
    (
        "COPY --link a.txt /usr/lib/",
        &["usr/lib/a.txt 644 0:0 = a", "usr/lib/old 644 0:0 = old"],
    ),
    (
        "COPY --link --chown=app a.txt /n/",
        &["n 755 1001:1002 /", "n/a.txt 644 1001:1002 = a"],
    ),
    ("COPY --link dir /x", &["x/one 644 0:0 = 1"]),
    (
        "COPY --parents dir/sub/two /x/",
        &["x/dir/sub/two 644 0:0 = 2", "x/dir 750 0:0 /", "!x/dir/one"],
    ),
    (
        "COPY --parents dir/./sub/two /x/",
        &["x/sub/two 644 0:0 = 2", "!x/dir"],
    ),
    (
        "COPY --parents **/*.md /x/",
        &[
            "x/c.md 644 0:0 = c",
            "x/dir/sub/three.md 644 0:0 = 3",
            "!x/a.txt",
        ],
    ),
    ("COPY --parents dir /x/", &["x/dir/one 644 0:0 = 1"]),
    (
        "COPY --exclude=*.md dir/sub /x",
        &["x/two 644 0:0 = 2", "!x/three.md"],
    ),
    (
        "COPY --exclude=sub dir /x",
        &["x/one 644 0:0 = 1", "!x/sub"],
    ),
    (
        "COPY --exclude=**/*.md . /x",
        &["x/a.txt 644 0:0 = a", "!x/c.md", "!x/dir/sub/three.md"],
    ),
    (
        "COPY --exclude=b.txt *.txt /x/",
        &["x/a.txt 644 0:0 = a", "!x/b.txt"],
    ),
    // Here-documents.
    ("COPY <<EOF /x\nhello\nEOF", &["x 644 0:0 = hello"]),
    (
        "COPY <<one <<two /x/\n1\none\n2\ntwo",
        &["x/one 644 0:0 = 1", "x/two 644 0:0 = 2"],
    ),
    (
        "COPY --chmod=755 --chown=app <<run.sh /x/\n#!/bin/sh\nrun.sh",
        &["x/run.sh 755 1001:1002 = #!/bin/sh"],
    ),
    (
        "ARG who=you\nCOPY <<EOF /x\nhi $who\nEOF",
        &["x 644 0:0 = hi you"],
    ),
    (
        "COPY a.txt <<EOF /x/\nh\nEOF",
        &["x/a.txt 644 0:0 = a", "x/EOF 644 0:0 = h"],
    ),
    // ADD of plain things.
    ("ADD a.txt /x", &["x 644 0:0 = a"]),
    ("ADD dir /x", &["x/one 644 0:0 = 1"]),
    ("ADD --chown=app *.txt /x/", &["x/a.txt 644 1001:1002 = a"]),
    // One after the other.
    ("COPY a.txt /x\nCOPY b.txt /x", &["x 644 0:0 = b"]),
    (
        "COPY dir /x\nCOPY a.txt /x/one",
        &["x/one 644 0:0 = a", "x/sub/two 644 0:0 = 2"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn files_land_where_buildkit_puts_them() {
    let bed = bed();
    context(&bed);
    bed.base().await;
    let mut wrong = Vec::new();
    for (lines, expected) in CASES {
        let built = bed.build(&format!("FROM base\n{lines}\n")).await;
        let image = match built {
            Ok(image) => image,
            Err(error) => {
                wrong.push(format!("{lines}: {error}"));
                continue;
            }
        };
        let tree = bed.tree(&image);
        for line in *expected {
            let fits = match line.strip_prefix('!') {
                Some(path) => !tree.lines().any(|one| one.starts_with(&format!("{path} "))),
                None => tree.lines().any(|one| one == *line),
            };
            if !fits {
                wrong.push(format!("{lines}: wanted {line}\n{tree}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(bed.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_copied_is_said() {
    let bed = bed();
    context(&bed);
    bed.base().await;
    for (lines, words) in [
        ("COPY missing /x", "/missing: not found"),
        ("COPY a.txt missing /x/", "/missing: not found"),
        ("COPY nowhere /x", "not found"),
        ("COPY dir /file", "cannot copy to non-directory: /file"),
        ("COPY a.txt /file/x", "/file is not a directory"),
        ("COPY a.txt /file/", "/file is not a directory"),
        ("COPY dir /x\nCOPY a.txt /x/", ""),
        (
            "COPY dir /y\nCOPY a.txt /y/sub/two/x",
            "/y/sub/two is not a directory",
        ),
        (
            "COPY dir /x\nCOPY <<sub /x/\nh\nsub",
            "cannot replace the directory /x/sub with a file",
        ),
        ("COPY --chown=nobody a.txt /x", "has no `nobody`"),
        ("COPY --chown=app:nogroup a.txt /x", "has no `nogroup`"),
        ("COPY --chmod=999 a.txt /x", "999"),
        ("COPY --parents missing/x /x/", "not found"),
    ] {
        let built = bed.build(&format!("FROM base\n{lines}\n")).await;
        match (built, words) {
            (Ok(_), "") => {}
            (Ok(image), _) => panic!("{lines} was built:\n{}", bed.tree(&image)),
            (Err(error), _) => {
                let text = error.to_string();
                assert!(!words.is_empty() && text.contains(words), "{lines}: {text}");
                assert!(text.contains("Dockerfile:"), "{text}");
            }
        }
    }
    assert!(bed.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_stages_and_images_keep_their_owners() {
    let bed = bed();
    bed.put("f", "f");
    bed.base().await;
    let other = tape()
        .file("data/x", b"from an image")
        .link(b'2', "data/l", "x");
    bed.image("other", other).await;
    let image = bed
        .build(
            "FROM base AS one\nCOPY --chown=7:8 --chmod=640 f /made/f\nRUN write /made/g text\n\
             FROM scratch\nCOPY --from=one /made /m\nCOPY --from=one --chown=1:1 /made/f /n\n\
             COPY --from=other /data/l /l\nCOPY --from=other /data /d\nCOPY --from=0 /file /file",
        )
        .await
        .unwrap();
    for (path, line) in [
        ("m/f", "640 7:8 = f"),
        ("m/g", "644 0:0 = text"),
        ("n", "640 1:1 = f"),
        ("l", "644 0:0 = from an image"),
        ("d/l", "777 0:0 -> x"),
        ("file", "644 0:0 = file"),
    ] {
        assert_eq!(bed.line(&image, path), line, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_unpacked_by_add_only() {
    let bed = bed();
    bed.base().await;
    let tar = tape()
        .directory("d")
        .file("d/f", b"inside")
        .link(b'2', "d/l", "f")
        .end();
    let zst = zstd::stream::encode_all(&tar[..], 1).unwrap();
    std::fs::write(bed.at("a.tar"), &tar).unwrap();
    std::fs::write(bed.at("a.tgz"), gzip(&tar)).unwrap();
    std::fs::write(bed.at("a.zst"), zst).unwrap();
    std::fs::write(bed.at("a.tar.xz"), xz(&tar)).unwrap();
    std::fs::write(bed.at("a.tbz"), bzip2(&tar)).unwrap();
    std::fs::write(bed.at("plain.gz"), gzip(b"no archive")).unwrap();
    std::fs::write(bed.at("empty"), b"").unwrap();
    std::fs::write(bed.at("zeros"), vec![0; 4096]).unwrap();
    for (line, path, wanted) in [
        ("ADD a.tar /x", "x/d/f", "644 0:0 = inside"),
        ("ADD a.tgz /x/", "x/d/f", "644 0:0 = inside"),
        ("ADD a.zst /x", "x/d/l", "777 0:0 -> f"),
        ("ADD a.tar.xz /x", "x/d/f", "644 0:0 = inside"),
        ("ADD a.tbz /x", "x/d/l", "777 0:0 -> f"),
        ("ADD a.tar /usr/lib", "usr/lib/d/f", "644 0:0 = inside"),
        (
            "ADD --chown=app a.tar /x",
            "x/d/f",
            "644 1001:1002 = inside",
        ),
        (
            "ADD --unpack=false a.tgz /x/",
            "x/a.tgz",
            "644 0:0 = (binary)",
        ),
        ("COPY a.tgz /x/", "x/a.tgz", "644 0:0 = (binary)"),
        ("ADD plain.gz /x/", "x/plain.gz", "644 0:0 = (binary)"),
        ("ADD empty /x/", "x/empty", "644 0:0 = "),
        ("ADD *.t* /x/", "x/d/f", "644 0:0 = inside"),
    ] {
        let image = bed.build(&format!("FROM base\n{line}")).await.unwrap();
        assert_eq!(bed.line(&image, path), wanted, "{line}");
    }
    let image = bed.build("FROM base\nADD zeros /x/").await.unwrap();
    assert!(bed.line(&image, "x/zeros").starts_with("644"), "no archive");
    std::fs::write(bed.at("a.xz"), b"\xfd7zXZ\0rest").unwrap();
    let image = bed.build("FROM base\nADD a.xz /x/").await.unwrap();
    assert!(bed.line(&image, "x/a.xz").starts_with("644"), "no archive");
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_links_attributes_and_times_are_kept() {
    use std::os::unix::fs::MetadataExt;
    let bed = bed();
    bed.put("d/one", "same")
        .put("tool", "x")
        .chmod("tool", 0o755);
    std::fs::hard_link(bed.at("d/one"), bed.at("d/two")).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tool = std::fs::File::open(bed.at("tool")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::fsetxattr(&tool, "security.capability", &capability, flags).unwrap();
    crate::build::times::set_time(&bed.at("tool"), orc_base::Time::from_secs(1_000)).unwrap();
    bed.base().await;
    let image = bed
        .build("FROM base\nCOPY d /d\nCOPY --chown=3:4 tool /tool")
        .await
        .unwrap();
    let layer = |at: usize| {
        let id = image.layers[image.layers.len() - 1 - at].hex().to_owned();
        bed.dir.path().join("store/layers").join(id).join("fs")
    };
    let inode = |name: &str| std::fs::metadata(layer(1).join(name)).unwrap().ino();
    assert_eq!(inode("d/one"), inode("d/two"));
    let tool = std::fs::File::open(layer(0).join("tool")).unwrap();
    let attributes = crate::pack::look::xattrs(std::os::fd::AsFd::as_fd(&tool)).unwrap();
    assert_eq!(attributes[0].0, b"security.capability");
    let meta = tool.metadata().unwrap();
    assert_eq!((meta.mtime(), meta.uid()), (1_000, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_stay_holes() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let bed = bed();
    bed.base().await;
    let file = std::fs::File::create(bed.at("disk.img")).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(b"middle", 32 << 20).unwrap();
    let image = bed.build("FROM base\nCOPY disk.img /").await.unwrap();
    let layer = image.layers.last().unwrap().hex().to_owned();
    let layer = bed.dir.path().join("store/layers").join(layer);
    let copied = std::fs::File::open(layer.join("fs/disk.img")).unwrap();
    let meta = copied.metadata().unwrap();
    assert_eq!(meta.len(), 64 << 20);
    assert!(meta.blocks() * 512 < 2 << 20, "{} blocks", meta.blocks());
    let mut bytes = [0; 8];
    copied.read_exact_at(&mut bytes, (32 << 20) - 1).unwrap();
    assert_eq!(&bytes, b"\0middle\0");
}
