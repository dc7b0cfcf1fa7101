//! Where files come from.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::bed;
use crate::build::request::{ContextSource, DockerfileSource};
use crate::testing::{gzip, tape};

#[tokio::test(flavor = "multi_thread")]
async fn ignore_files_hide() {
    let bed = bed();
    bed.put("keep", "k")
        .put("a/drop.log", "l")
        .put("a/keep.txt", "t");
    bed.put("node/x", "x").put("node/keep/y", "y");
    bed.put(
        ".dockerignore",
        "**/*.log\nnode\n!node/keep\nDockerfile\n.dockerignore\n",
    );
    bed.link("way", "node/x");
    bed.base().await;
    let image = bed.build("FROM base\nCOPY . /x").await.unwrap();
    let tree = bed.tree(&image);
    for (path, there) in [
        ("x/keep ", true),
        ("x/a/keep.txt ", true),
        ("x/a/drop.log ", false),
        ("x/node/x ", false),
        ("x/node/keep/y ", true),
        ("x/.dockerignore ", false),
    ] {
        let found = tree.lines().any(|line| line.starts_with(path));
        assert_eq!(found, there, "{path}: {tree}");
    }
    for line in ["COPY a/drop.log /y", "COPY way /y", "COPY node/x /y"] {
        let error = bed.build(&format!("FROM base\n{line}")).await.unwrap_err();
        assert!(error.to_string().contains("not found"), "{line}: {error}");
    }
    let error = bed.build("FROM base\nCOPY *.log a/*.log /y/").await;
    assert!(!bed.tree(&error.unwrap()).contains("drop.log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dockerfile_is_read_from_the_context() {
    let bed = bed();
    bed.put("Dockerfile", "FROM base\nCOPY f /x").put("f", "f");
    bed.put("sub/Other.Dockerfile", "FROM base\nCOPY . /x");
    bed.put("sub/Other.Dockerfile.dockerignore", "f\n");
    bed.put(".dockerignore", "sub\n");
    bed.base().await;
    let mut options = bed.options("");
    options.dockerfile = DockerfileSource::default();
    let image = bed.run(options.clone()).await.unwrap();
    assert_eq!(bed.line(&image, "x"), "644 0:0 = f");
    options.dockerfile = DockerfileSource::Path("sub/Other.Dockerfile".into());
    let image = bed.run(options.clone()).await.unwrap();
    assert!(bed.line(&image, "x/sub").starts_with("755"));
    assert!(!bed.tree(&image).contains("x/f "));
    options.dockerfile = DockerfileSource::Path("sub/dockerfile".into());
    let error = bed.run(options).await.unwrap_err().to_string();
    assert!(error.contains("there is Other.Dockerfile"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_with_and_without_compression() {
    let bed = bed();
    bed.base().await;
    let tar = tape()
        .file("Dockerfile", b"FROM base\nCOPY d /x\n")
        .file("d/f", b"f")
        .end();
    let zst = zstd::stream::encode_all(&tar[..], 1).unwrap();
    for bytes in [tar.clone(), gzip(&tar), zst] {
        let mut options = bed.options("");
        options.dockerfile = DockerfileSource::default();
        options.context = ContextSource::Archive;
        let archive: Box<std::io::Cursor<Vec<u8>>> = Box::new(std::io::Cursor::new(bytes));
        let (runner, events) = (bed.runner.clone(), bed.events.clone());
        let image = bed.images.build(options, Some(archive), runner, events);
        let image = image.await.unwrap().unwrap();
        assert_eq!(bed.line(&image, "x/f"), "644 0:0 = f");
    }
    for (bytes, words) in [
        (tar[..700].to_vec(), "truncated"),
        (Vec::new(), "empty"),
        (b"no archive at all".to_vec(), ""),
    ] {
        let mut options = bed.options("");
        options.context = ContextSource::Archive;
        let archive: Box<std::io::Cursor<Vec<u8>>> = Box::new(std::io::Cursor::new(bytes));
        let (runner, events) = (bed.runner.clone(), bed.events.clone());
        let built = bed
            .images
            .build(options, Some(archive), runner, events)
            .await;
        let error = built.unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(bed.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn further_contexts_and_stages_by_name() {
    let bed = bed();
    bed.base().await;
    bed.image("other", tape().file("o", b"o")).await;
    let more = bed.dir.path().join("more");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("m"), "m").unwrap();
    std::fs::write(more.join("n"), "n").unwrap();
    std::fs::write(more.join(".dockerignore"), "n").unwrap();
    let mut options = bed.options(
        "FROM renamed\nCOPY --from=more . /m\nRUN --mount=type=bind,from=more,target=/c list /c",
    );
    options
        .contexts
        .insert("renamed".into(), ContextSource::Image("other".into()));
    let directory = ContextSource::Directory {
        path: more.clone(),
        identity: None,
    };
    options.contexts.insert("more".into(), directory);
    let image = bed.run(options).await.unwrap();
    assert_eq!(bed.line(&image, "o"), "644 0:0 = o");
    assert_eq!(bed.line(&image, "m/m"), "644 0:0 = m");
    assert!(!bed.tree(&image).contains("m/n "));
    assert_eq!(bed.output().trim(), ".dockerignore m");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_can_be_a_base() {
    let bed = bed();
    let root = bed.dir.path().join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::write(root.join("bin/tool"), "tool").unwrap();
    let mut options = bed.options("FROM root\nRUN write /made made");
    let directory = ContextSource::Directory {
        path: root,
        identity: None,
    };
    options.contexts.insert("root".into(), directory);
    let image = bed.run(options.clone()).await.unwrap();
    assert_eq!(bed.line(&image, "bin/tool"), "644 0:0 = tool");
    assert_eq!(bed.line(&image, "made"), "644 0:0 = made");
    let again = bed.run(options).await.unwrap();
    assert_eq!((again.id, bed.ran()), (image.id, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_another_one_is_noticed() {
    let bed = bed();
    bed.base().await;
    let mut options = bed.options("FROM base");
    options.context = ContextSource::Directory {
        path: bed.at(""),
        identity: Some((1, 2)),
    };
    let error = bed.run(options.clone()).await.unwrap_err().to_string();
    assert!(error.contains("tar c . | orc build -"), "{error}");
    options.context = ContextSource::Directory {
        path: bed.at("missing"),
        identity: None,
    };
    assert!(bed.run(options).await.is_err());
}

/// A web server that gives one answer to all.
async fn server(body: Vec<u8>, head: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = client.read(&mut request).await;
            let length = body.len();
            let head =
                format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = client.write_all(head.as_bytes()).await;
            let _ = client.write_all(&body).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_are_private_checked_and_as_old_as_the_server_says() {
    use std::os::unix::fs::MetadataExt;
    let bed = bed();
    bed.base().await;
    let dated = "200 OK\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let url = server(b"download".to_vec(), dated).await;
    let image = bed
        .build(&format!(
            "FROM base\nADD {url}/dir/name.txt?x=y /x/\nADD --chmod=644 {url}/n /y"
        ))
        .await
        .unwrap();
    assert_eq!(bed.line(&image, "x/name.txt"), "600 0:0 = download");
    assert_eq!(bed.line(&image, "y"), "644 0:0 = download");
    let layer = image.layers.last().unwrap().hex().to_owned();
    let file = bed.dir.path().join("store/layers").join(layer).join("fs/y");
    assert_eq!(std::fs::metadata(file).unwrap().mtime(), 784_111_777);
    let sum = crate::digest::Digest::of(b"download");
    let right = format!("FROM base\nADD --checksum={sum} {url}/n /y");
    bed.build(&right).await.unwrap();
    let other = crate::digest::Digest::of(b"other");
    let wrong = format!("FROM base\nADD --checksum={other} {url}/n /y");
    let error = bed.build(&wrong).await.unwrap_err().to_string();
    assert!(error.contains("digest mismatch"), "{error}");
    let missing = server(Vec::new(), "404 Not Found").await;
    let error = bed.build(&format!("FROM base\nADD {missing}/n /y")).await;
    assert!(error.unwrap_err().to_string().contains("404"));
    let tar = server(gzip(&tape().file("f", b"f").end()), "200 OK").await;
    let image = bed
        .build(&format!(
            "FROM base\nADD {tar}/a.tgz /x/\nADD --unpack {tar}/a.tgz /u/"
        ))
        .await
        .unwrap();
    assert!(bed.line(&image, "x/a.tgz").starts_with("600"));
    assert_eq!(bed.line(&image, "u/f"), "644 0:0 = f");
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_on_the_web() {
    let bed = bed();
    bed.base().await;
    let tar = tape()
        .file("Dockerfile", b"FROM base\nCOPY f /x\n")
        .file("f", b"f")
        .end();
    for (body, wanted) in [
        (gzip(&tar), "644 0:0 = f"),
        (b"FROM base\nRUN write /x f\n".to_vec(), "644 0:0 = f"),
    ] {
        let url = server(body, "200 OK").await;
        let mut options = bed.options("");
        options.dockerfile = DockerfileSource::default();
        options.context = ContextSource::Remote(format!("{url}/context"));
        let image = bed.run(options).await.unwrap();
        assert_eq!(bed.line(&image, "x"), wanted);
    }
}

/// Ends with the test.
/// `git` and the program that it starts to serve, in a process group of their own.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

fn git(directory: &std::path::Path, words: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=b",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(words)
        .current_dir(directory)
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_are_sources_and_contexts() {
    let bed = bed();
    bed.base().await;
    let work = bed.dir.path().join("repositories/x.git");
    std::fs::create_dir_all(work.join("sub")).unwrap();
    std::fs::write(work.join("f"), "first").unwrap();
    std::fs::write(work.join("sub/Dockerfile"), "FROM base\nCOPY g /x\n").unwrap();
    std::fs::write(work.join("sub/g"), "g").unwrap();
    std::os::unix::fs::symlink("/etc", work.join("away")).unwrap();
    git(&work, &["init", "--quiet"]);
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "one"]);
    let first = git(&work, &["rev-parse", "HEAD"]);
    std::fs::write(work.join("f"), "second").unwrap();
    git(&work, &["commit", "--quiet", "-am", "two"]);
    git(&work, &["tag", "v2"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _daemon = Daemon(
        Command::new("git")
            .args([
                "daemon",
                "--export-all",
                "--reuseaddr",
                "--listen=127.0.0.1",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", work.parent().unwrap().display()))
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("git daemon"),
    );
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let url = format!("git://127.0.0.1:{port}/x.git");
    for (line, path, wanted) in [
        (format!("ADD {url} /r"), "r/f", "644 0:0 = second"),
        (format!("ADD {url}#v2 /r/"), "r/sub/g", "644 0:0 = g"),
        (format!("ADD {url}#{first} /r"), "r/f", "644 0:0 = first"),
        (format!("ADD {url}#main:sub /r"), "r/g", "644 0:0 = g"),
        (
            format!("ADD --checksum={first} {url}#{first} /r"),
            "r/f",
            "644 0:0 = first",
        ),
        (
            format!("ADD --keep-git-dir=true {url} /r"),
            "r/.git/HEAD",
            "",
        ),
    ] {
        let image = bed.build(&format!("FROM base\n{line}")).await;
        let image = image.unwrap_or_else(|error| panic!("{line}: {error}"));
        let found = bed.line(&image, path);
        assert!(found.starts_with("644"), "{line}: {found}");
        assert!(wanted.is_empty() || found == wanted, "{line}: {found}");
        let keeps = line.contains("keep-git-dir");
        assert_eq!(bed.tree(&image).contains("r/.git "), keeps, "{line}");
    }
    for line in [
        format!("ADD {url}#missing /r"),
        format!("ADD {url}#main:missing /r"),
        format!("ADD {url}#main:away /r"),
        format!("ADD --checksum={} {url} /r", "0".repeat(40)),
    ] {
        assert!(
            bed.build(&format!("FROM base\n{line}")).await.is_err(),
            "{line}"
        );
    }
    let mut options = bed.options("");
    options.dockerfile = DockerfileSource::default();
    options.context = ContextSource::Remote(format!("{url}#main:sub"));
    let image = bed.run(options).await.unwrap();
    assert_eq!(bed.line(&image, "x"), "644 0:0 = g");
    assert!(bed.is_clean());
}
