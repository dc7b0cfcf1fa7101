//! Hostile archives through the daemon: every way in that a client has.
//!
//! Each reader gets its share of the corpus (`tests/hostile`), and all of it with `CORPUS=all`. Whatever
//! the archive wants: nothing outside the data root changes, the answer comes in time and in one line,
//! and afterwards the daemon answers, has not grown, and takes in what is right. What exactly lands is
//! looked at closer in the tests of the image crate.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use orc_hostile::cases::{self, Case, Expect};
use orc_hostile::model::Style;
use orc_hostile::registry::Registry;
use orc_hostile::tape::{gzip, tape, zstd};
use orc_hostile::trap::Trap;
use orc_image::digest::Digest;

use crate::support::lab::Lab;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much the daemon may grow.
const GROWTH_KIB: u64 = 64 << 10;

/// A way in.
struct Reader {
    name: &'static str,
    /// How it takes whiteouts; none when only what is outside can be judged: the case goes where cases
    /// before it went, or is no archive to this reader.
    style: Option<Style>,
    takes_layers: bool,
    feed: fn(&Host, &[Vec<u8>]) -> Answer,
}

const READERS: [Reader; 7] = [
    Reader {
        name: "import",
        style: Some(Style::Layer),
        takes_layers: false,
        feed: import,
    },
    Reader {
        name: "load",
        style: Some(Style::Layer),
        takes_layers: true,
        feed: load,
    },
    Reader {
        name: "pull",
        style: Some(Style::Layer),
        takes_layers: true,
        feed: pull,
    },
    Reader {
        name: "copy into a running container",
        style: None,
        takes_layers: true,
        feed: |host, streams| copy(host, "running", streams),
    },
    Reader {
        name: "copy into a created container",
        style: None,
        takes_layers: true,
        feed: |host, streams| copy(host, "created", streams),
    },
    Reader {
        name: "context of a build",
        style: Some(Style::Build),
        takes_layers: false,
        feed: context,
    },
    Reader {
        name: "ADD",
        style: None,
        takes_layers: true,
        feed: add,
    },
];

/// A daemon, a tree beside its data that nothing may touch, and a registry.
struct Host {
    lab: Lab,
    trap: Trap,
    registry: Registry,
}

/// What the daemon said.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    /// Why not; none when it went well.
    fn error(&self) -> Option<String> {
        if self.status >= 400 {
            return Some(word(&self.body, "message").unwrap_or(self.body.clone()));
        }
        word(&self.body, "error")
    }
}

/// The text of a JSON field that is one, somewhere in a stream of answers.
fn word(json: &str, field: &str) -> Option<String> {
    let start = json.find(&format!("\"{field}\":\""))? + field.len() + 4;
    let mut end = start;
    let bytes = json.as_bytes();
    while *bytes.get(end)? != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    serde_json::from_str(&json[start - 1..=end]).ok()
}

impl Host {
    fn on(lab: Lab) -> Self {
        let trap = Trap::below(lab.path());
        let namespace = std::fs::File::open(format!("/run/netns/{}", lab.namespace()));
        let namespace = namespace.expect("a namespace");
        let listener = std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), None).expect("enter it");
            TcpListener::bind("127.0.0.1:0").expect("a free port")
        });
        let listener = listener.join().expect("a listener");
        Self {
            lab,
            trap,
            registry: Registry::on(listener).expect("a registry"),
        }
    }

    fn start_containers(&self) {
        for line in ["run -d --name running", "create --name created"] {
            let line = format!("{line} example/busybox:1 sleep 100000");
            self.lab.orc_line(&line).ok();
        }
    }

    /// One request on a connection of its own. An early answer is as good as a late one.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let socket = self.lab.run_root().join("orc.sock");
        let mut stream = UnixStream::connect(socket).expect("a daemon");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: orc\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("a head");
        // A daemon that has heard enough may stop to listen.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{method} {path}: no answer: {text}"));
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
        Answer {
            status,
            body: body.unwrap_or_default().to_owned(),
        }
    }

    fn daemon_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.lab.daemon_pid());
        let status = std::fs::read_to_string(status).expect("a daemon");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse().ok())
            .expect("a size")
    }

    fn forget_images(&self) {
        let pulled = format!("{}/hostile/image:latest", self.registry.host());
        let script = format!(
            "for image in hostile/image:latest {pulled} $(orc images -q --no-trunc --filter dangling=true)
            do orc rmi -f $image 2>&1 || true; done"
        );
        self.lab.sh(self.lab.path(), &script).ok();
    }
}

fn import(host: &Host, streams: &[Vec<u8>]) -> Answer {
    host.ask(
        "POST",
        "/images/create?fromSrc=-&repo=hostile/image&tag=latest",
        &streams[0],
    )
}

fn config(streams: &[Vec<u8>]) -> String {
    let diff_ids: Vec<_> = streams
        .iter()
        .map(|stream| format!("\"{}\"", Digest::of(&plain(stream))))
        .collect();
    format!(
        r#"{{"os":"linux","architecture":"{}","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        orc_image::platform::Platform::host().architecture,
        diff_ids.join(",")
    )
}

/// The bytes that a stream unpacks to. One that is broken claims to be what nobody has: a layer that is
/// there already is not read again.
fn plain(stream: &[u8]) -> Vec<u8> {
    use orc_image::unpack::compression::Compression;
    let mut bytes = Vec::new();
    let whole = Compression::detect(stream)
        .and_then(|compression| compression.decoder(stream))
        .is_ok_and(|decoder| decoder.take(64 << 20).read_to_end(&mut bytes).is_ok());
    if !whole {
        bytes.extend_from_slice(stream);
    }
    bytes
}

fn load(host: &Host, streams: &[Vec<u8>]) -> Answer {
    let names: Vec<_> = (0..streams.len()).map(|n| format!("{n}.tar")).collect();
    let manifest = format!(
        r#"[{{"Config":"config.json","RepoTags":["hostile/image:latest"],"Layers":["{}"]}}]"#,
        names.join("\",\"")
    );
    let start = tape()
        .file("manifest.json", manifest.as_bytes())
        .file("config.json", config(streams).as_bytes());
    let files = names.iter().zip(streams);
    let archive = files.fold(start, |tape, (name, stream)| tape.file(name, stream));
    host.ask("POST", "/images/load", &archive.end())
}

fn pull(host: &Host, streams: &[Vec<u8>]) -> Answer {
    let config = config(streams);
    let describe = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        host.registry.blob("hostile/image", digest.as_str(), bytes);
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{media_type}","digest":"{digest}","size":{}}}"#,
            bytes.len()
        )
    };
    let layers: Vec<_> = streams
        .iter()
        .map(|stream| match stream[..] {
            [0x1f, 0x8b, ..] => describe("layer.v1.tar+gzip", stream),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => describe("layer.v1.tar+zstd", stream),
            _ => describe("layer.v1.tar", stream),
        })
        .collect();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{},"layers":[{}]}}"#,
        describe("config.v1+json", config.as_bytes()),
        layers.join(",")
    );
    let manifest = manifest.as_bytes();
    let registry = &host.registry;
    for name in ["latest", Digest::of(manifest).as_str()] {
        registry.manifest("hostile/image", name, media_type, manifest);
    }
    let path = format!(
        "/images/create?fromImage={}/hostile/image&tag=latest",
        registry.host()
    );
    host.ask("POST", &path, b"")
}

fn copy(host: &Host, container: &str, streams: &[Vec<u8>]) -> Answer {
    let path = format!("/containers/{container}/archive?path=/tmp");
    let answers: Vec<Answer> = streams
        .iter()
        .map(|stream| host.ask("PUT", &path, stream))
        .collect();
    answers.into_iter().next_back().expect("a stream")
}

/// The archive itself is the context, behind a Dockerfile that takes all of it.
fn context(host: &Host, streams: &[Vec<u8>]) -> Answer {
    let start = tape()
        .file("Dockerfile", b"FROM scratch\nCOPY . /\n")
        .done();
    let start = match streams[0][..] {
        [0x1f, 0x8b, ..] => gzip(&start),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd(&start),
        _ => start,
    };
    let body = [&start[..], &streams[0]].concat();
    host.ask("POST", "/build?t=hostile/image:latest", &body)
}

/// The archives lie in the context, for `ADD` to unpack over each other.
fn add(host: &Host, streams: &[Vec<u8>]) -> Answer {
    let names: Vec<_> = (0..streams.len()).map(|n| format!("{n}.tar")).collect();
    let lines: Vec<_> = names.iter().map(|name| format!("ADD {name} /\n")).collect();
    let dockerfile = format!("FROM scratch\n{}", lines.concat());
    let start = tape().file("Dockerfile", dockerfile.as_bytes());
    let files = names.iter().zip(streams);
    let archive = files.fold(start, |tape, (name, stream)| tape.file(name, stream));
    host.ask("POST", "/build?t=hostile/image:latest", &archive.end())
}

fn judge(host: &Host, reader: &Reader, case: &Case) -> Option<String> {
    let start = Instant::now();
    let answer = (reader.feed)(host, &case.layers);
    let took = start.elapsed();
    host.trap.check(&format!("{}: {}", reader.name, case.name));
    let error = answer.error();
    if took > PATIENCE {
        return Some(format!("took {took:?}"));
    }
    if let Some(error) = &error
        && (error.is_empty() || error.len() > 2_000 || error.contains('\n'))
    {
        return Some(format!("is refused in no short line: {error}"));
    }
    match (reader.style.map(|style| case.expect(style)), &error) {
        (Some(Expect::Refused(_)), None) => Some(format!("is not refused: {}", answer.body)),
        (Some(Expect::Lands(_)), Some(error)) if !case.unfinished => {
            Some(format!("is refused: {error}"))
        }
        _ => None,
    }
}

#[test]
fn nothing_gets_out_of_any_reader() {
    let host = Host::on(Lab::with_busybox("hostile"));
    let before = host.lab.snapshot();
    host.start_containers();
    let all = std::env::var_os("CORPUS").is_some_and(|value| value == "all");
    let step = if all { 3 } else { 61 };
    let cases = cases::corpus(&host.trap.outside());
    host.forget_images();
    let small = host.daemon_kib();
    for (index, reader) in READERS.iter().enumerate() {
        let mut complaints = Vec::new();
        // Attributes that only the file system of memory takes are no matter here.
        let fits = |case: &&Case| {
            let small = case.layers.iter().all(|stream| stream.len() < 1 << 20);
            small && !case.name.contains("`user.long`")
        };
        for case in cases.iter().skip(index * 7).step_by(step).filter(fits) {
            if reader.takes_layers || case.layers.len() == 1 {
                let complaint = judge(&host, reader, case);
                complaints.extend(complaint.map(|text| format!("{} {text}", case.name)));
            }
        }
        assert!(
            complaints.is_empty(),
            "{}: {} went wrong:\n{}",
            reader.name,
            complaints.len(),
            complaints[..complaints.len().min(10)].join("\n")
        );
        let good = tape().directory("fine").file("fine/file", b"good").end();
        let answer = (reader.feed)(&host, &[good]);
        assert_eq!(answer.error(), None, "{}", reader.name);
        host.forget_images();
    }
    let grown = host.daemon_kib().saturating_sub(small);
    assert!(grown < GROWTH_KIB, "the daemon has grown by {grown} KiB");
    let inside = host.lab.orc_line("exec running cat /tmp/fine/file").ok();
    assert_eq!(inside, "good");
    host.lab.orc_line("rm -f running created").ok();
    host.lab.orc_line("builder prune -af").ok();
    before.is_back(&host.lab);
}

/// HAZARDS U8: what layers hold (set-id programs of strangers) is nothing for users of this machine.
#[test]
fn users_of_the_machine_see_nothing_below_the_roots() {
    let lab = Lab::with_busybox("nobody");
    let set_id = orc_hostile::entry::Entry::file("su", "#!/bin/sh\n").mode(0o4755);
    let layer = lab.path().join("layer.tar");
    std::fs::write(&layer, orc_hostile::entry::archive(&[set_id])).expect("a file");
    lab.orc(["import", &layer.display().to_string(), "example/su:1"])
        .ok();
    lab.orc_line(
        "run -d --name c -v kept:/data example/busybox:1 sh -c 'echo x >/data/x; sleep 100000'",
    )
    .ok();
    // The directory of the test itself would keep everybody out.
    lab.sh(lab.path(), "chmod 755 . && chmod -x layer.tar").ok();
    let nobody = |script: &str| {
        let wrapped = format!(
            "setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '{script}' 2>&1 || true"
        );
        lab.sh(lab.path(), &wrapped).ok()
    };
    assert_eq!(nobody("id -u").trim(), "65534");
    for root in [lab.data_root(), lab.run_root()] {
        let found = nobody(&format!(
            "find {} -mindepth 1 -print 2>/dev/null",
            root.display()
        ));
        assert_eq!(found, "", "below {}", root.display());
    }
    let socket = lab.run_root().join("orc.sock").display().to_string();
    let answer = nobody(&format!("curl -sS --unix-socket {socket} http://orc/_ping"));
    assert!(!answer.contains("OK"), "{answer}");
    // Names that somebody knows help no more than names that nobody can list.
    let known = lab.sh(&lab.data_root(), "find . -name su -perm -4000").ok();
    let known: Vec<&str> = known.lines().collect();
    assert!(!known.is_empty(), "the program is in no layer");
    for path in known {
        let path = lab.data_root().join(path);
        assert!(
            !nobody(&format!("{} ; echo $?", path.display()))
                .trim()
                .ends_with("\n0")
        );
        assert!(nobody(&format!("cat {}", path.display())).contains("ermission denied"));
    }
    // What is on its way is for nobody else either.
    let wide = "find data/images -type f -perm /077 -not -path '*/fs/*' -not -path '*/upper/*'";
    assert_eq!(lab.sh(lab.path(), wide).ok(), "", "files for everybody");
    lab.orc_line("rm -f c").ok();
}

/// HAZARDS U10: a volume starts with what the image has at its path, and with nothing of this machine.
#[test]
fn volumes_copy_nothing_from_outside() {
    use orc_hostile::entry::{Entry, archive};
    let lab = Lab::with_busybox("volumes");
    let trap = Trap::below(lab.path());
    let outside = trap.outside().display().to_string();
    let up = format!("{}{}", "../".repeat(30), &outside[1..]);
    let busybox = std::fs::read("/bin/busybox").expect("a static busybox");
    let entries = [
        Entry::file("bin/busybox", busybox).mode(0o755),
        Entry::symlink("absolute", outside.clone()),
        Entry::symlink("relative", up),
        Entry::symlink("magic", format!("/proc/self/root{outside}")),
        Entry::file("inside/file", "inside"),
        Entry::symlink("link", "/inside"),
    ];
    let layer = lab.path().join("layer.tar");
    std::fs::write(&layer, archive(&entries)).expect("a file");
    for (volume, wanted) in [
        ("/absolute", ""),
        ("/relative", ""),
        ("/magic", ""),
        ("/relative/d", ""),
        ("/../../../../../../../../etc", ""),
        ("/link", "file\n"),
        ("/inside/../inside", "file\n"),
    ] {
        let change = format!("VOLUME [\"{volume}\"]");
        let layer = layer.display().to_string();
        let imported = lab.orc(["import", "--change", &change, &layer, "example/volume:1"]);
        if imported.code != 0 {
            continue;
        }
        let ran = lab.orc([
            "run",
            "--rm",
            "example/volume:1",
            "/bin/busybox",
            "ls",
            volume,
        ]);
        // To refuse is as good as an empty volume.
        assert!(ran.code != 0 || ran.stdout == wanted, "{volume}: {ran}");
        assert!(!ran.stdout.contains("set-id"), "{volume}: {ran}");
        trap.check(volume);
        let leaked = "grep -rl untouched data || true";
        assert_eq!(lab.sh(lab.path(), leaked).ok(), "", "{volume}");
    }
}
