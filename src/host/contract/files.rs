//! What is promised about the files of containers.

use futures_util::{StreamExt, TryStreamExt, stream};
use orc_base::{Error, Kind};

use crate::archive::{ChangeKind, CommitSpec, WriteOptions};
use crate::contract::bench::{Bench, refused};
use crate::stream::{Bytes, Stream};

const BLOCK: usize = 512;

/// An archive of files and, where there are no bytes, directories.
fn archive(entries: &[(&str, Option<&str>)]) -> Stream<Bytes> {
    let mut tar = Vec::new();
    for (name, data) in entries {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000755");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        let size = data.map_or(0, str::len);
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[136..147].copy_from_slice(b"14000000000");
        header[148..156].fill(b' ');
        header[156] = if data.is_some() { b'0' } else { b'5' };
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(data.unwrap_or_default().as_bytes());
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    Box::pin(stream::iter([Ok(tar.into())]))
}

/// The names in an archive, and the bytes of the files.
async fn entries(tar: Stream<Bytes>) -> Vec<(String, String)> {
    let pieces: Vec<Bytes> = tar.try_collect().await.expect("a whole archive");
    let bytes = pieces.concat();
    let mut rest = &bytes[..];
    let mut found = Vec::new();
    while rest.first().is_some_and(|byte| *byte != 0) {
        let (header, after) = rest.split_at(BLOCK);
        let name = header[..100].split(|byte| *byte == 0).next();
        let size = std::str::from_utf8(&header[124..135]).expect("a size");
        let size = usize::from_str_radix(size, 8).expect("a size");
        let data = String::from_utf8_lossy(&after[..size]).into_owned();
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        found.push((name, data));
        rest = &after[size.next_multiple_of(BLOCK)..];
    }
    found
}

async fn with_files(bench: &Bench, what: &str) -> String {
    let name = bench.create(what, &bench.spec(&["true"])).await;
    let tar = archive(&[("new/", None), ("new/inner/hello", Some("hello"))]);
    let options = WriteOptions::default();
    let written = bench.host.write_path(&name, "/", tar, options).await;
    written.expect("write");
    name
}

pub(crate) async fn files_go_in_and_come_out(bench: Bench) {
    let name = with_files(&bench, "cp").await;
    let stat = bench.host.stat_path(&name, "/new/inner/hello").await;
    let stat = stat.expect("stat");
    assert_eq!((stat.name.as_str(), stat.size_bytes), ("hello", 5));
    assert_eq!(stat.mode & 0o170_000, 0o100_000);
    let stat = bench.host.stat_path(&name, "/new/").await.expect("stat");
    assert_eq!(
        (stat.name.as_str(), stat.mode & 0o170_000),
        ("new", 0o040_000)
    );
    let found = bench.host.read_path(&name, "/new/inner/hello").await;
    let found = found.expect("read");
    assert_eq!(found.stat.name, "hello");
    let file = ("hello".to_owned(), "hello".to_owned());
    assert_eq!(entries(found.tar).await, [file]);
    let found = bench.host.read_path(&name, "/new").await.expect("read");
    let names: Vec<_> = entries(found.tar)
        .await
        .into_iter()
        .map(|one| one.0)
        .collect();
    assert_eq!(names.len(), 3);
    assert!(names[0].starts_with("new") && names[2] == "new/inner/hello");
}

pub(crate) async fn files_that_are_not_there_are_refused(bench: Bench) {
    let name = with_files(&bench, "cp").await;
    for path in ["/nope", "/nope/nope"] {
        refused(bench.host.stat_path(&name, path).await, Kind::NotFound);
        refused(
            bench.host.read_path(&name, path).await.map(drop),
            Kind::NotFound,
        );
        let (tar, options) = (archive(&[]), WriteOptions::default());
        let written = bench.host.write_path(&name, path, tar, options).await;
        refused(written, Kind::NotFound);
    }
    let missing = bench.name("missing");
    refused(bench.host.stat_path(&missing, "/").await, Kind::NotFound);
    let (tar, options) = (archive(&[]), WriteOptions::default());
    let file = "/new/inner/hello";
    let written = bench.host.write_path(&name, file, tar, options).await;
    refused(written, Kind::Invalid);
}

pub(crate) async fn archives_may_keep_directories_directories(bench: Bench) {
    let name = with_files(&bench, "cp").await;
    let options = WriteOptions {
        keeps_kinds: true,
        as_user: false,
    };
    for bad in [("new", Some("file")), ("new/inner/hello/", None)] {
        let written = bench.host.write_path(&name, "/", archive(&[bad]), options);
        refused(written.await, Kind::Invalid);
    }
    let good = archive(&[("new/", None), ("new/inner/hello", Some("again"))]);
    let written = bench.host.write_path(&name, "/", good, options).await;
    written.expect("write");
    let broken = stream::iter([Ok(vec![1; 100].into()), Err(Error::unavailable("gone"))]);
    let written = bench.host.write_path(&name, "/", Box::pin(broken), options);
    assert!(written.await.is_err());
}

pub(crate) async fn files_are_removed(bench: Bench) {
    let name = with_files(&bench, "rm").await;
    let tar = archive(&[("new/other", Some("other"))]);
    let options = WriteOptions::default();
    let written = bench.host.write_path(&name, "/", tar, options).await;
    written.expect("write");
    let paths = ["/new/inner", "/new/never/there"].map(String::from);
    let removed = bench.host.remove_paths(&name, &paths).await;
    removed.expect("remove");
    for gone in ["/new/inner", "/new/inner/hello"] {
        refused(bench.host.stat_path(&name, gone).await, Kind::NotFound);
    }
    let left = bench.host.stat_path(&name, "/new/other").await;
    assert_eq!(left.expect("stat").size_bytes, 5);
    let root = ["/./".to_owned()];
    let removed = bench.host.remove_paths(&name, &root).await;
    refused(removed, Kind::Invalid);
    let missing = bench.name("missing");
    let removed = bench.host.remove_paths(&missing, &paths).await;
    refused(removed, Kind::NotFound);
}

pub(crate) async fn a_container_tells_what_it_changed(bench: Bench) {
    let name = with_files(&bench, "diff").await;
    let changes = bench.host.container_changes(&name).await.expect("changes");
    let told: Vec<_> = changes
        .iter()
        .map(|one| (one.kind, one.path.as_str()))
        .collect();
    let added = |path| (ChangeKind::Added, path);
    let expected = ["/new", "/new/inner", "/new/inner/hello"].map(added);
    assert_eq!(told, expected);
    let missing = bench.name("missing");
    refused(bench.host.container_changes(&missing).await, Kind::NotFound);
}

pub(crate) async fn a_container_is_exported(bench: Bench) {
    let name = with_files(&bench, "export").await;
    let tar = bench.host.export_container(&name).await.expect("export");
    // An image of the world may have names that this reader does not know.
    let bytes: Vec<Bytes> = tar.map(|item| item.expect("bytes")).collect().await;
    let bytes = bytes.concat();
    let wanted = b"new/inner/hello";
    assert!(bytes.windows(wanted.len()).any(|window| window == wanted));
    let missing = bench.name("missing");
    refused(
        bench.host.export_container(&missing).await.map(drop),
        Kind::NotFound,
    );
}

pub(crate) async fn a_container_becomes_an_image(bench: Bench) {
    let name = with_files(&bench, "commit").await;
    let parent = bench.host.inspect_image(&bench.image).await.expect("image");
    let reference = format!("{}:latest", bench.name("image"));
    let spec = CommitSpec {
        reference: Some(reference.clone()),
        author: "me".into(),
        message: "why".into(),
        changes: vec!["ENV A=b".into(), "CMD [\"echo\", \"changed\"]".into()],
        pause: true,
    };
    let id = bench.host.commit_container(&name, &spec).await;
    let id = id.expect("commit");
    let image = bench.host.inspect_image(&reference).await.expect("image");
    assert_eq!((&image.id, image.author.as_str()), (&id, "me"));
    assert_eq!(image.layers.len(), parent.layers.len() + 1);
    assert!(image.config.env.contains(&"A=b".to_owned()));
    let command = image.config.command.expect("a command");
    assert_eq!(command, ["echo", "changed"]);
    assert_eq!(image.history.last().expect("history").comment, "why");
    let removed = bench.host.remove_image(&reference, false).await;
    removed.expect("remove");
    let bad = CommitSpec {
        changes: vec!["RUN x".into()],
        ..spec
    };
    refused(
        bench.host.commit_container(&name, &bad).await,
        Kind::Invalid,
    );
    refused(bench.host.inspect_image(&reference).await, Kind::NotFound);
}
