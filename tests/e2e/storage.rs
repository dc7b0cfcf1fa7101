//! What is kept on disk: counted, pruned, checked, mended, and kept together when the disk is full.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::lab::{Lab, run, until};
use crate::support::registry::Registry;

/// Asks the daemon over its socket: the body of the answer.
fn ask(lab: &Lab, method: &str, path: &str) -> Value {
    let mut socket = UnixStream::connect(lab.run_root().join("orc.sock")).expect("a daemon");
    let request = format!("{method} {path} HTTP/1.0\r\nHost: orc\r\nContent-Length: 0\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn du(path: &Path) -> u64 {
    let output = run(Command::new("du").args(["-s", "-B1"]).arg(path)).ok();
    let bytes = output.split_whitespace().next().expect("a number");
    bytes.parse().expect("a number")
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn df_agrees_with_du() {
    let lab = Lab::with_busybox("df");
    lab.orc_line("tag example/busybox:1 example/same:1").ok();
    lab.orc(["volume", "create", "--label", "keep=yes", "data"])
        .ok();
    for (name, megabytes) in [("small", "1"), ("large", "5")] {
        let script = format!(
            "dd if=/dev/zero of=/f bs=1M count={megabytes}; dd if=/dev/zero of=/data/{name} bs=1M count=2"
        );
        lab.orc([
            "run",
            "--name",
            name,
            "-v",
            "data:/data",
            "example/busybox:1",
            "sh",
            "-c",
            &script,
        ])
        .ok();
    }
    // Blocks are given to files when these are written to the disk.
    run(&mut Command::new("sync")).ok();
    let usage = &ask(&lab, "GET", "/system/df?orc=1")["OrcUsage"];
    let sum = |list: &str| {
        let rows = usage[list].as_array().expect("a list");
        rows.iter().map(|row| number(&row["bytes"])).sum::<u64>()
    };
    let total = number(&usage["images_bytes"])
        + sum("containers")
        + sum("volumes")
        + number(&usage["build_cache_bytes"])
        + number(&usage["other_bytes"]);
    let real = du(&lab.data_root());
    // The daemon writes its log between the two: nothing else may differ.
    assert!(total.abs_diff(real) <= 64 << 10, "df {total}, du {real}");
    assert!(sum("volumes") >= 4 << 20 && sum("containers") >= 6 << 20);

    let table = lab.orc_line("system df").ok();
    for word in [
        "TYPE",
        "RECLAIMABLE",
        "Images",
        "Containers",
        "Local Volumes",
        "Build Cache",
    ] {
        assert!(table.contains(word), "{table}");
    }
    let rows = lab
        .docker("system df --format {{.Type}}|{{.TotalCount}}|{{.Active}}")
        .ok();
    assert_eq!(
        rows,
        "Images|1|1\nContainers|2|0\nLocal Volumes|1|1\nBuild Cache|0|0\n"
    );
    let theirs = lab
        .docker("system df --format {{.Size}}|{{.Reclaimable}}")
        .ok();
    let ours = lab
        .orc_line("system df --format {{.Size}}|{{.Reclaimable}}")
        .ok();
    let sizes = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| line.split('|').next().unwrap_or_default());
        lines.map(str::to_owned).collect()
    };
    assert_eq!(sizes(&ours), sizes(&theirs), "{ours}{theirs}");
    assert!(lab.orc_line("system df -v").ok().contains("UNIQUE SIZE"));
    assert!(
        lab.docker("system df -v")
            .ok()
            .contains("Local Volumes space usage")
    );

    let sizes = lab.orc_line("ps -as --format {{.Names}}:{{.Size}}").ok();
    assert!(
        sizes.contains("large:5.") && sizes.contains("(virtual "),
        "{sizes}"
    );
    let theirs = lab.docker("ps -as --format {{.Names}}:{{.Size}}").ok();
    assert_eq!(sizes, theirs);
    let size: u64 = lab
        .orc_line("inspect -s -f {{.SizeRw}} large")
        .ok()
        .trim()
        .parse()
        .expect("a number");
    assert!((5 << 20..6 << 20).contains(&size), "{size}");
}

#[test]
fn prune_removes_what_its_filters_say() {
    let lab = Lab::with_busybox("prune");
    let create = |name: &str, label: &str| {
        lab.orc([
            "create",
            "--name",
            name,
            "--label",
            label,
            "example/busybox:1",
            "true",
        ])
        .ok()
    };
    create("kept", "keep=yes");
    create("gone", "keep=no");
    lab.orc_line("run -d --name runs example/busybox:1 sleep 100000")
        .ok();
    let text = lab
        .docker("container prune -f --filter label!=keep=yes")
        .ok();
    assert!(text.starts_with("Deleted Containers:\n"), "{text}");
    assert!(text.contains("Total reclaimed space: "), "{text}");
    let names = || lab.orc_line("ps -a --format {{.Names}}").ok();
    assert_eq!(names(), "runs\nkept\n");
    // It was made a moment ago.
    lab.orc_line("container prune -f --filter until=1h").ok();
    assert_eq!(names(), "runs\nkept\n");
    let text = lab.orc_line("container prune -f --filter label=keep").ok();
    assert!(text.starts_with("Deleted Containers:\n"), "{text}");
    assert_eq!(names(), "runs\n");

    for (name, label) in [("one", "a=1"), ("two", "a=2")] {
        lab.orc(["network", "create", "--label", label, name]).ok();
        lab.orc(["volume", "create", "--label", label, name]).ok();
    }
    let text = lab.docker("network prune -f --filter label=a=1").ok();
    assert_eq!(text.trim(), "Deleted Networks:\none");
    let text = lab.orc_line("network prune -f").ok();
    assert_eq!(text, "Deleted Networks:\ntwo\n\n");
    assert_eq!(
        lab.orc_line("volume prune -f").ok(),
        "Total reclaimed space: 0B\n"
    );
    let text = lab.docker("volume prune -af --filter label!=a=2").ok();
    assert!(text.starts_with("Deleted Volumes:\none\n"), "{text}");
    let text = lab.orc_line("volume prune -af").ok();
    assert!(text.starts_with("Deleted Volumes:\ntwo\n"), "{text}");

    lab.import("busybox", "example/other:1");
    let before = du(&lab.data_root());
    let text = lab.docker("image prune -f").ok();
    assert_eq!(text, "Total reclaimed space: 0B\n");
    let text = lab.docker("image prune -af --filter until=1h").ok();
    assert!(!text.contains("untagged"), "{text}");
    lab.orc_line("rm -f runs").ok();
    let text = lab.orc_line("image prune -af").ok();
    assert!(text.contains("untagged: example/other:1\n"), "{text}");
    assert!(text.contains("\ndeleted: sha256:"), "{text}");
    assert!(!text.contains("Total reclaimed space: 0B"), "{text}");
    assert!(du(&lab.data_root()) < before);
    assert_eq!(lab.orc_line("images -q").ok(), "");

    lab.import("busybox", "example/busybox:1");
    create("again", "a=b");
    let text = lab.docker("system prune -f -a --volumes").ok();
    for part in [
        "Deleted Containers:",
        "Deleted Images:",
        "untagged: example/busybox:1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = lab.orc_line("system prune -f").ok();
    assert_eq!(text, "Total reclaimed space: 0B\n");
    let text = lab
        .orc_line("system prune -f --volumes --filter until=1h")
        .refused();
    assert!(text.contains("not supported"), "{text}");
    let text = lab.orc_line("builder prune -af --keep-storage 1g").ok();
    assert_eq!(text, "Total reclaimed space: 0B\n");
    assert!(lab.docker("builder prune -af").ok().contains("0B"));
}

/// Flips a bit in the middle of a file and leaves its times as they were.
fn flip(path: &Path) {
    let before = std::fs::metadata(path).expect("a file");
    let middle = before.len() / 2;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("a byte");
    file.write_all_at(&[byte[0] ^ 4], middle).expect("a byte");
    file.set_modified(before.modified().expect("a time"))
        .expect("a time");
}

/// The largest file below a directory.
fn largest(directory: &Path) -> PathBuf {
    let script = "find . -type f -printf '%s %p\\n' | sort -n | tail -1 | cut -d' ' -f2-";
    let output = run(Command::new("sh")
        .args(["-c", script])
        .current_dir(directory))
    .ok();
    directory.join(output.trim())
}

#[test]
fn a_flipped_bit_is_found_named_and_mended() {
    let lab = Lab::with_busybox("flip");
    let registry = Registry::start(&lab);
    let image = registry.name("example/busybox:1");
    lab.orc(["tag", "example/busybox:1", &image]).ok();
    lab.orc(["push", &image]).ok();
    lab.orc(["run", "-d", "--name", "other", &image, "sleep", "100000"])
        .ok();
    let id = lab.orc(["inspect", "-f", "{{.Id}}", &image]).ok();
    let id = id.trim().trim_start_matches("sha256:").to_owned();
    assert!(lab.orc_line("system check").ok().contains("all is well"));

    let images = lab.data_root().join("images");
    let container = lab.orc_line("inspect -f {{.Id}} other").ok();
    let container = lab.data_root().join("containers").join(container.trim());
    let blob = largest(&images.join("blobs/sha256"));
    for (part, path) in [
        ("blob", blob),
        ("config", images.join("blobs/sha256").join(&id)),
        ("catalog", images.join("images.json")),
        ("record", container.join("state.json")),
        ("record", container.join("container.json")),
    ] {
        flip(&path);
        let found = lab.orc_line("system check");
        assert_eq!(found.code, 1, "{part}: {found}");
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert!(found.stdout.starts_with(&format!("{part} ")), "{found}");
        assert!(found.stdout.contains(&name), "{name}: {found}");
        lab.orc_line("exec other true").ok();
        let mended = lab.orc_line("system check --repair").ok();
        assert!(
            mended.contains("mended: ") && mended.contains("1 mended"),
            "{mended}"
        );
        assert!(lab.orc_line("system check").ok().contains("all is well"));
    }

    // A file of a layer: not under a container that runs on it.
    let file = largest(&images.join("layers"));
    flip(&file);
    let found = lab.orc_line("system check --json");
    let report: Value = serde_json::from_str(&found.stdout).expect("JSON");
    assert_eq!(report["findings"][0]["part"], "layer", "{found}");
    let busy = lab.orc_line("system check --repair");
    assert!(
        busy.code == 1 && busy.stdout.contains("container other"),
        "{busy}"
    );
    lab.orc_line("rm -f other").ok();
    let mended = lab.orc_line("system check --repair").ok();
    assert!(mended.contains("unpacked again"), "{mended}");
    lab.orc(["run", "--rm", &image, "true"]).ok();

    // The list of images, while no daemon runs.
    lab.orc_line("daemon stop").ok();
    flip(&images.join("images.json"));
    assert!(lab.orc_line("images").ok().contains("example/busybox"));
    let found = lab.orc_line("system check");
    assert!(found.stdout.contains("images.json.damaged"), "{found}");
    lab.orc_line("system check --repair").ok();
    assert!(lab.orc_line("system check").ok().contains("all is well"));
}

#[test]
fn a_program_is_found_again_whose_state_is_damaged() {
    let lab = Lab::with_busybox("state");
    lab.orc_line("run -d --name c --restart always example/busybox:1 sleep 100000")
        .ok();
    let pid = lab.orc_line("inspect -f {{.State.Pid}} c").ok();
    let id = lab.orc_line("inspect -f {{.Id}} c").ok();
    lab.orc_line("daemon stop").ok();
    let state = lab
        .data_root()
        .join("containers")
        .join(id.trim())
        .join("state.json");
    flip(&state);
    assert_eq!(lab.orc_line("inspect -f {{.State.Pid}} c").ok(), pid);
    assert_eq!(lab.orc_line("ps -q").ok().lines().count(), 1);
    lab.orc_line("restart -t 0 c").ok();
    lab.orc_line("exec c true").ok();
    assert!(lab.orc_line("system check").ok().contains("all is well"));
}

/// A file system of its own for the data of a lab, which has not been used yet.
struct Disk {
    root: PathBuf,
    image: PathBuf,
}

impl Disk {
    fn new(lab: &Lab, mebibytes: u64, options: &[&str]) -> Self {
        let (root, image) = (lab.data_root(), lab.path().join("disk.img"));
        std::fs::create_dir_all(&root).expect("a directory");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(mebibytes << 20).expect("a size");
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0"])
            .args(options)
            .arg(&image))
        .ok();
        let disk = Self { root, image };
        disk.mount();
        disk
    }

    fn mount(&self) {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.root))
        .ok();
    }

    fn unmount(&self) {
        // The daemon's process ends a moment after it has given up its lock.
        until("nobody uses the disk", || {
            let ran = run(Command::new("umount").arg(&self.root));
            (ran.code == 0).then_some(())
        });
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        for size in [1 << 20, 1 << 12, 1] {
            let bytes = vec![b'x'; size];
            while file.write_all(&bytes).is_ok() {}
        }
        // On the disk, and not only in memory.
        let _ = file.sync_all();
    }

    /// Takes all files that are left.
    fn fill_inodes(&self) {
        std::fs::create_dir_all(self.filler()).expect("a directory");
        for number in 0..1_000_000 {
            if std::fs::File::create(self.filler().join(number.to_string())).is_err() {
                return;
            }
        }
        panic!("there are more than a million files");
    }

    fn free(&self) {
        let _ = std::fs::remove_file(self.filler());
        let _ = std::fs::remove_dir_all(self.filler());
    }
}

/// What must hold on a disk that is full, of bytes or of files.
fn full(lab: &Lab, disk: &Disk, fill: impl Fn(&Disk)) {
    let registry = Registry::start(lab);
    let image = registry.name("example/busybox:1");
    lab.import("busybox", "example/busybox:1");
    lab.orc(["tag", "example/busybox:1", &image]).ok();
    lab.orc(["push", &image]).ok();
    lab.orc(["rmi", &image]).ok();
    let archive = lab.path().join("saved.tar").display().to_string();
    lab.orc(["save", "-o", &archive, "example/busybox:1"]).ok();
    lab.orc_line("volume create data").ok();
    lab.orc_line("create --name old example/busybox:1 true")
        .ok();
    lab.orc_line("run -d --name runs example/busybox:1 sleep 100000")
        .ok();
    lab.import("busybox", "example/hello:1");

    fill(disk);
    let no_space = |text: &str| text.to_ascii_lowercase().contains("no space");
    for attempt in 0..3 {
        // Some small things may still fit into what was set aside, once.
        let ran = lab.orc_line("create example/busybox:1 true");
        if ran.code != 0 {
            assert!(no_space(&ran.stderr), "{ran}");
            break;
        }
        assert!(attempt < 2, "a full disk takes everything: {ran}");
        fill(disk);
    }
    lab.orc_line("exec runs true").ok();
    // Removing works, and the daemon starts again.
    lab.orc_line("rm old").ok();
    lab.orc_line("volume rm data").ok();
    lab.orc_line("rmi example/hello:1").ok();
    fill(disk);
    lab.orc_line("daemon stop").ok();
    assert!(lab.orc_line("images").ok().contains("example/busybox"));
    assert!(lab.orc_line("ps").ok().contains("runs"));
    lab.orc_line("exec runs true").ok();
    lab.orc_line("rm -f runs").ok();
    lab.orc_line("system prune -af").ok();
    assert_eq!(lab.orc_line("images -q").ok(), "");

    fill(disk);
    for command in [
        vec!["pull", image.as_str()],
        vec!["load", "-i", archive.as_str()],
    ] {
        let text = lab.orc(command).refused();
        assert!(no_space(&text), "{text}");
        assert_eq!(lab.orc_line("images -q").ok(), "");
        fill(disk);
    }
    disk.free();
    assert!(lab.orc_line("system check").ok().contains("all is well"));
    lab.orc(["pull", &image]).ok();
    lab.orc(["load", "-i", &archive]).ok();
    lab.orc(["run", "--rm", &image, "true"]).ok();
    assert!(lab.orc_line("system check").ok().contains("all is well"));
    lab.orc_line("daemon stop").ok();
}

#[test]
fn a_disk_without_space() {
    let lab = Lab::new("nospace");
    let disk = Disk::new(&lab, 48, &[]);
    full(&lab, &disk, Disk::fill);
    disk.unmount();
}

#[test]
fn a_disk_without_inodes() {
    let lab = Lab::new("noinodes");
    let disk = Disk::new(&lab, 64, &["-N", "3000"]);
    full(&lab, &disk, Disk::fill_inodes);
    disk.unmount();
}

#[test]
fn a_disk_that_fails_and_can_only_be_read() {
    let lab = Lab::new("readonly");
    let disk = Disk::new(&lab, 64, &["-e", "remount-ro"]);
    lab.import("busybox", "example/busybox:1");
    lab.orc_line("run -d --name runs example/busybox:1 sleep 100000")
        .ok();
    // What a disk that fails leads to: the journal is given up and all writes are refused.
    run(Command::new("mount")
        .args(["-o", "remount,abort"])
        .arg(&disk.root));
    let text = lab.orc_line("create example/busybox:1 true").refused();
    assert!(text.contains("ead-only file system"), "{text}");
    assert!(
        text.contains("container") || text.contains("make"),
        "{text}"
    );
    lab.orc_line("exec runs true").ok();
    assert!(lab.orc_line("ps").ok().contains("runs"));
    assert!(lab.orc_line("images").ok().contains("example/busybox"));
    let text = lab.orc_line("rmi -f example/busybox:1").refused();
    assert!(text.contains("ead-only file system"), "{text}");
    lab.orc_line("kill runs").ok();
    lab.orc_line("daemon stop").ok();
    disk.unmount();
    run(Command::new("e2fsck").args(["-f", "-y"]).arg(&disk.image));
    disk.mount();
    assert!(lab.orc_line("images").ok().contains("example/busybox"));
    assert!(lab.orc_line("system check").ok().contains("all is well"));
    lab.orc_line("rm -f runs").ok();
    lab.orc_line("daemon stop").ok();
    disk.unmount();
}

#[test]
fn an_image_is_on_the_disk_before_it_is_visible() {
    let lab = Lab::with_busybox("order");
    let registry = Registry::start(&lab);
    let image = registry.name("example/busybox:1");
    lab.orc(["tag", "example/busybox:1", &image]).ok();
    lab.orc(["push", &image]).ok();
    lab.orc(["rmi", &image, "example/busybox:1"]).ok();
    let trace = lab.path().join("trace");
    let calls = "trace=syncfs,fsync,fdatasync,rename,renameat,renameat2,openat";
    let pid = lab.daemon_pid().to_string();
    let mut strace = lab
        .command(["strace", "-f", "-y", "-qq", "-e", calls, "-p", &pid, "-o"])
        .arg(&trace)
        .spawn()
        .expect("strace starts");
    until("strace is attached", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        (!status.contains("TracerPid:\t0")).then_some(())
    });
    lab.orc(["pull", &image]).ok();
    run(Command::new("kill").arg(strace.id().to_string())).ok();
    let _ = strace.wait();
    let text = std::fs::read_to_string(&trace).expect("a trace");
    let at = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        let found = text.lines().position(wanted);
        found.unwrap_or_else(|| panic!("no {what} in\n{text}"))
    };
    let last = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        let found = text
            .lines()
            .collect::<Vec<_>>()
            .iter()
            .rposition(|line| wanted(line));
        found.unwrap_or_else(|| panic!("no {what} in\n{text}"))
    };
    let renamed = |line: &str, part: &str| line.contains("rename") && line.contains(part);
    let layer = last("layer", &|line| renamed(line, "/layers/.new-"));
    let blob = last("blob", &|line| renamed(line, "/blobs/sha256/"));
    let sync = at("syncfs", &|line| line.contains("syncfs("));
    let list = at("list", &|line| renamed(line, "/images/images.json"));
    let file = at("sync of the list", &|line| {
        line.contains("sync(") && line.contains(".images.json.")
    });
    let directory = last("sync of its directory", &|line| {
        line.contains("fsync(") && line.contains("data/images>")
    });
    assert!(
        layer < sync && blob < sync,
        "layer {layer}, blob {blob}, syncfs {sync}\n{text}"
    );
    assert!(
        sync < list && file < list && list < directory,
        "{sync} {file} {list} {directory}\n{text}"
    );
}
