//! Roots that try to lead out, and what is mounted into them (HAZARDS R3 to R8, R20, R22).

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use orc_base::Kind;
use orc_runtime::log::Stream;
use orc_runtime::signal;
use orc_runtime::spec::{Mount, Namespace, Propagation, Submounts};

use crate::bed::Bed;

crate::tests! {
    binds_files_and_directories
    tmpfs_has_its_options
    a_read_only_root_is_read_only
    links_in_the_image_lead_nowhere
    kernel_directories_must_be_directories
    nothing_is_mounted_inside_proc
    a_race_for_the_mount_target_is_lost
    shared_memory_has_its_size
    huge_account_files_are_refused
    namespaces_can_be_joined
    a_directory_of_another_container_can_be_joined
    host_namespaces_can_be_used
    binds_propagate_as_asked
    mounts_below_a_source_are_as_asked
    a_part_of_a_directory_stays_inside_it
    images_are_mounted_beside_the_root
    copies_are_in_memory
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount::Bind {
        source: source.into(),
        target: target.into(),
        readonly: false,
        submounts: Submounts::Follow,
        propagation: Propagation::Private,
    }
}

fn readonly(mount: Mount) -> Mount {
    match mount {
        Mount::Bind {
            source,
            target,
            submounts,
            propagation,
            ..
        } => Mount::Bind {
            source,
            target,
            readonly: true,
            submounts,
            propagation,
        },
        other => other,
    }
}

async fn binds_files_and_directories(bed: Bed) {
    let data = bed.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "from the host\n").unwrap();
    std::fs::write(bed.path("hosts"), "127.0.0.1 localhost\n").unwrap();
    let mut spec = bed.script(
        "cat /srv/deep/er/file /etc/hosts; echo back > /srv/deep/er/new; (echo x > /ro/new) 2>/dev/null || echo read-only; cat /outer/inner/file",
    );
    spec.mounts = vec![
        bind(&data, "/outer/inner"),
        bind(&data, "/srv/deep/er"),
        readonly(bind(&data, "/ro")),
        bind(&bed.path("hosts"), "/etc/hosts"),
        Mount::Tmpfs {
            target: "/outer".into(),
            size_bytes: None,
            mode: None,
            uid: None,
            gid: None,
            readonly: false,
            exec: false,
        },
    ];
    let outcome = bed.run(&spec).await;
    assert_eq!(
        outcome.stdout, "from the host\n127.0.0.1 localhost\nread-only\nfrom the host\n",
        "{outcome:?}"
    );
    assert_eq!(std::fs::read_to_string(data.join("new")).unwrap(), "back\n");
}

async fn tmpfs_has_its_options(bed: Bed) {
    let mut spec = bed.script("stat -c '%a %u %g' /scratch; dd if=/dev/zero of=/scratch/x bs=1k count=100 2>/dev/null || echo full; cat /proc/self/mountinfo | grep ' /scratch '");
    spec.mounts = vec![Mount::Tmpfs {
        target: "/scratch".into(),
        size_bytes: Some(64 << 10),
        mode: Some(0o750),
        uid: Some(33),
        gid: Some(5),
        readonly: false,
        exec: false,
    }];
    let text = bed.run(&spec).await.stdout;
    assert!(text.starts_with("750 33 5\nfull\n"), "{text}");
    assert!(text.contains("rw,nosuid,nodev,noexec"), "{text}");
}

async fn a_read_only_root_is_read_only(bed: Bed) {
    let mut spec = bed.script(
        "(echo x > /x) 2>/dev/null || echo refused; echo y > /dev/shm/y && cat /dev/shm/y; pwd",
    );
    spec.rootfs.readonly = true;
    spec.process.cwd = "/new/place".into();
    assert_eq!(bed.run(&spec).await.stdout, "refused\ny\n/new/place\n");
}

/// A tree beside the image that nothing may reach.
fn sentinel(bed: &Bed) -> PathBuf {
    let outside = bed.path("outside");
    std::fs::create_dir_all(outside.join("dir")).unwrap();
    std::fs::write(outside.join("file"), "untouched").unwrap();
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o700)).unwrap();
    outside
}

fn untouched(outside: &Path) -> bool {
    let entries: Vec<_> = orc_base::fs::list(outside).unwrap();
    entries == [outside.join("dir"), outside.join("file")]
        && orc_base::fs::list(&outside.join("dir")).unwrap().is_empty()
        && std::fs::read(outside.join("file")).unwrap() == b"untouched"
        && outside.metadata().unwrap().mode() & 0o777 == 0o700
}

/// R20: everything that is made in a root is made inside it, whatever links the image ships.
async fn links_in_the_image_lead_nowhere(bed: Bed) {
    let outside = sentinel(&bed);
    let image = bed.image();
    symlink(&outside, image.join("absolute")).unwrap();
    symlink("../outside", image.join("relative")).unwrap();
    symlink(outside.join("file"), image.join("etc/hosts")).unwrap();
    symlink(outside.join("new"), image.join("etc/resolv.conf")).unwrap();
    symlink("/proc/1/root", image.join("magic")).unwrap();
    std::fs::write(bed.path("source"), "mine").unwrap();
    std::fs::create_dir(bed.path("dir")).unwrap();
    let mut spec =
        bed.script("pwd; cat /etc/hosts /etc/resolv.conf; readlink /etc/hosts > /dev/null");
    spec.mounts = vec![
        bind(&bed.path("source"), "/etc/hosts"),
        bind(&bed.path("source"), "/etc/resolv.conf"),
        bind(&bed.path("dir"), "/absolute/dir"),
        bind(&bed.path("dir"), "/relative/made"),
        bind(&bed.path("source"), "/relative/file"),
    ];
    spec.process.cwd = "/absolute/deeper".into();
    let outcome = bed.run(&spec).await;
    assert!(outcome.stdout.ends_with("minemine"), "{outcome:?}");
    assert!(untouched(&outside));

    let mut spec = bed.spec(["/bin/true"]);
    spec.mounts = vec![bind(&bed.path("dir"), "/magic/etc")];
    bed.refusal(&spec).await;
    assert!(untouched(&outside));
}

/// R3, R4: `/proc`, `/sys` and `/dev` of the image as links, files and traps.
async fn kernel_directories_must_be_directories(bed: Bed) {
    let outside = sentinel(&bed);
    for name in ["proc", "sys", "dev"] {
        let place = bed.image().join(name);
        for target in [
            outside.clone(),
            "../outside".into(),
            "/tmp".into(),
            "/proc/self/fd/3".into(),
        ] {
            let _ = std::fs::remove_dir(&place);
            symlink(&target, &place).unwrap();
            let error = bed.refusal(&bed.spec(["/bin/true"])).await;
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
            assert!(
                error
                    .to_string()
                    .contains("of the image is not a directory"),
                "{error}"
            );
            std::fs::remove_file(&place).unwrap();
        }
        std::fs::write(&place, "").unwrap();
        assert_eq!(
            bed.refusal(&bed.spec(["/bin/true"])).await.kind(),
            Kind::Invalid
        );
        std::fs::remove_file(&place).unwrap();
    }
    assert!(untouched(&outside));
    // What is inside them is covered.
    for (directory, name) in [
        ("dev", "pts"),
        ("dev", "shm"),
        ("dev", "console"),
        ("sys", "fs"),
    ] {
        std::fs::create_dir_all(bed.image().join(directory)).unwrap();
        symlink(&outside, bed.image().join(directory).join(name)).unwrap();
    }
    let mut spec = bed.script("stat -f -c %T /dev/pts /dev/shm /sys /proc");
    spec.stdio.terminal = true;
    let text = bed.run(&spec).await.stdout.replace('\r', "");
    assert_eq!(text, "devpts\ntmpfs\nsysfs\nproc\n");
    assert!(untouched(&outside));
}

async fn nothing_is_mounted_inside_proc(bed: Bed) {
    std::fs::create_dir(bed.path("data")).unwrap();
    std::fs::write(bed.path("meminfo"), "MemTotal: 1 kB\n").unwrap();
    symlink("/proc/sys", bed.image().join("alias")).unwrap();
    for target in [
        "/proc",
        "/proc/sys",
        "/proc/self",
        "/tmp/../proc/sys",
        "/alias/kernel",
    ] {
        let mut spec = bed.spec(["/bin/true"]);
        spec.mounts = vec![bind(&bed.path("data"), target)];
        let error = bed.refusal(&spec).await;
        assert!(
            error.to_string().contains("inside /proc"),
            "{target}: {error}"
        );
    }
    let mut spec = bed.spec(["/bin/cat", "/proc/meminfo"]);
    spec.mounts = vec![bind(&bed.path("meminfo"), "/proc/meminfo")];
    assert_eq!(bed.run(&spec).await.stdout, "MemTotal: 1 kB\n");
}

/// R5, R6: another container swaps a directory for a link while mounts below it are made.
async fn a_race_for_the_mount_target_is_lost(bed: Bed) {
    let outside = sentinel(&bed);
    let volume = bed.path("volume");
    std::fs::create_dir_all(volume.join("a")).unwrap();
    symlink("/", volume.join("b")).unwrap();
    let flipping = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let flipper = std::thread::spawn({
        let (flipping, volume) = (flipping.clone(), volume.clone());
        move || {
            while flipping.load(std::sync::atomic::Ordering::Relaxed) {
                let cwd = rustix::fs::CWD;
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(
                    cwd,
                    volume.join("a"),
                    cwd,
                    volume.join("b"),
                    exchange,
                );
            }
        }
    });
    std::fs::create_dir(bed.path("data")).unwrap();
    let before = std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .count();
    for _ in 0..30 {
        let mut spec = bed.script("cat /proc/self/mountinfo");
        spec.mounts = vec![
            bind(&volume, "/volume"),
            bind(&bed.path("data"), "/volume/a/outside"),
            bind(&bed.path("meminfo"), "/volume/a/etc/made"),
        ];
        std::fs::write(bed.path("meminfo"), "").unwrap();
        // Either it lost and was refused, or all is in its own root.
        if let Ok(monitor) = bed.runtime.start(&spec).await {
            monitor.wait().await;
        }
    }
    flipping.store(false, std::sync::atomic::Ordering::Relaxed);
    flipper.join().unwrap();
    assert!(untouched(&outside));
    assert!(!Path::new("/etc/made").exists() && !Path::new("/outside").exists());
    // Other tests of the machine mount too, but none of theirs are of this directory.
    let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !after.contains(bed.path("").to_str().unwrap()),
        "{before} mounts before: {after}"
    );
}

async fn shared_memory_has_its_size(bed: Bed) {
    let mut spec = bed.script("dd if=/dev/zero of=/dev/shm/x bs=1k count=2000 2>/dev/null || echo full; stat -c %s /dev/shm/x");
    spec.shm_bytes = 1 << 20;
    assert_eq!(bed.run(&spec).await.stdout, "full\n1048576\n");
}

/// R22: a passwd file without end.
async fn huge_account_files_are_refused(bed: Bed) {
    let group = std::fs::File::create(bed.image().join("etc/group")).unwrap();
    group.set_len(200 << 20).unwrap();
    let error = bed.refusal(&bed.spec(["/bin/true"])).await;
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    assert!(
        error.to_string().contains("/etc/group of the image"),
        "{error}"
    );
}

async fn a_directory_of_another_container_can_be_joined(bed: Bed) {
    let mut first = bed.script(
        "echo theirs > /dev/shm/a; echo ready; while [ ! -e /dev/shm/b ]; do sleep 0.01; done; cat /dev/shm/b",
    );
    first.shm_bytes = 3 << 20;
    let monitor = bed.start(&first).await;
    bed.output_has(&first, "ready").await;
    let joined = |path: &str, target: &str| Mount::Joined {
        namespace: monitor.namespace_path("mnt"),
        path: path.into(),
        target: target.into(),
    };
    let mut spec = bed.script(
        "cat /dev/shm/a; stat -f -c '%T' /dev/shm; df -k /dev/shm | tail -n 1 | awk '{print $2}'; pwd; echo ours > /dev/shm/b",
    );
    spec.mounts = vec![joined("/dev/shm", "/dev/shm")];
    assert_eq!(bed.run(&spec).await.stdout, "theirs\ntmpfs\n3072\n/\n");
    assert_eq!(monitor.wait().await.code, 0);
    assert!(bed.output(&first, Stream::Stdout).ends_with("ours\n"));
    bed.assert_nothing_left(&spec);

    // Names there lead nowhere but inside, and what is missing is told.
    let other = bed.script("echo theirs > /mine; ln -s / /up; echo ready; exec sleep 1000");
    let monitor = bed.start(&other).await;
    bed.output_has(&other, "ready").await;
    let joined = |path: &str| Mount::Joined {
        namespace: monitor.namespace_path("mnt"),
        path: path.into(),
        target: "/x".into(),
    };
    let mut spec = bed.script("cat /x/mine");
    spec.mounts = vec![joined("/up/../up")];
    assert_eq!(bed.run(&spec).await.stdout, "theirs\n");
    for (mount, word) in [
        (joined("/nope"), "no such file"),
        (joined("/mine"), "not a directory"),
        (
            Mount::Joined {
                namespace: monitor.namespace_path("uts"),
                path: "/".into(),
                target: "/x".into(),
            },
            "enter the mounts",
        ),
    ] {
        spec.mounts = vec![mount];
        let error = bed.refusal(&spec).await.to_string();
        assert!(error.to_lowercase().contains(word), "{error}");
    }
    let _ = monitor.signal(signal::KILL);
    monitor.wait().await;
}

async fn namespaces_can_be_joined(bed: Bed) {
    let first = bed.spec(["/bin/sleep", "1000"]);
    let monitor = bed.start(&first).await;
    let script = "for n in pid net ipc uts; do readlink /proc/self/ns/$n; done; hostname; ps | grep -c 'sleep 1000$'";
    let mut spec = bed.script(script);
    let of = |name: &str| Namespace::Path(monitor.namespace_path(name));
    spec.namespaces.net = of("net");
    spec.namespaces.ipc = of("ipc");
    spec.namespaces.uts = of("uts");
    spec.namespaces.pid = of("pid");
    spec.hostname = "other".into();
    let text = bed.run(&spec).await.stdout;
    let mut lines = text.lines();
    for name in ["pid", "net", "ipc", "uts"] {
        let theirs = std::fs::read_link(monitor.namespace_path(name)).unwrap();
        assert_eq!(lines.next().unwrap(), theirs.to_str().unwrap());
    }
    assert_eq!(lines.collect::<Vec<_>>(), ["bed", "1"]);

    // Another kind of namespace, or none at all, is refused.
    for wrong in [
        monitor.namespace_path("uts"),
        "/etc/passwd".into(),
        "/nowhere".into(),
    ] {
        let mut spec = bed.spec(["/bin/true"]);
        spec.namespaces.net = Namespace::Path(wrong);
        bed.refusal(&spec).await;
    }
    // Who shares a PID namespace may leave processes behind: they go with their own container.
    let mut spec = bed.script("sleep 2000 & exit 4");
    spec.namespaces.pid = of("pid");
    assert_eq!(bed.run(&spec).await.exit.code, 4);
    bed.assert_nothing_left(&spec);
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn host_namespaces_can_be_used(bed: Bed) {
    let mut spec = bed.script("for n in pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; ls /sys/fs/cgroup/memory | grep -c orc-test");
    spec.namespaces.net = Namespace::Host;
    spec.namespaces.ipc = Namespace::Host;
    spec.namespaces.uts = Namespace::Host;
    spec.namespaces.pid = Namespace::Host;
    spec.namespaces.cgroup = Namespace::Host;
    let text = bed.run(&spec).await.stdout;
    let mut lines = text.lines();
    for name in ["pid", "net", "ipc", "uts", "cgroup"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(lines.next().unwrap(), own.to_str().unwrap(), "{name}");
    }
    let mut spec = bed.script("sleep 3000 & exit 5");
    spec.namespaces.pid = Namespace::Host;
    assert_eq!(bed.run(&spec).await.exit.code, 5);
    bed.assert_nothing_left(&spec);
}

async fn binds_propagate_as_asked(bed: Bed) {
    let shared = bed.path("shared");
    std::fs::create_dir_all(shared.join("later")).unwrap();
    rustix::mount::mount_bind(&shared, &shared).unwrap();
    rustix::mount::mount_change(&shared, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let mut spec = bed.script("echo ready; while [ ! -e /slave/later/seen ]; do sleep 0.01; done; [ -e /private/later/seen ] && echo leaked; echo done");
    let with = |target: &str, propagation| Mount::Bind {
        source: shared.clone(),
        target: target.into(),
        readonly: false,
        submounts: Submounts::Follow,
        propagation,
    };
    spec.mounts = vec![
        with("/slave", Propagation::Slave),
        with("/private", Propagation::Private),
    ];
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "ready").await;
    let none: Option<&std::ffi::CStr> = None;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", shared.join("later"), "tmpfs", flags, none).unwrap();
    std::fs::write(shared.join("later/seen"), "").unwrap();
    let outcome = bed.outcome(&spec, monitor.wait().await);
    let detach = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(shared.join("later"), detach).unwrap();
    rustix::mount::unmount(&shared, detach).unwrap();
    assert_eq!(outcome.stdout, "ready\ndone\n");
}

async fn mounts_below_a_source_are_as_asked(bed: Bed) {
    let source = bed.path("source");
    std::fs::create_dir_all(source.join("below")).unwrap();
    let none: Option<&std::ffi::CStr> = None;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", source.join("below"), "tmpfs", flags, none).unwrap();
    std::fs::write(source.join("below/there"), "").unwrap();
    let mut spec = bed.script(
        "for d in leave follow writable; do for at in $d $d/below; do echo x 2>/dev/null >/$at/new && echo $at written || echo $at not; [ -e /$at/there ] && echo $at there; done; done",
    );
    let with = |target: &str, submounts| Mount::Bind {
        source: source.clone(),
        target: target.into(),
        readonly: true,
        submounts,
        propagation: Propagation::Private,
    };
    spec.mounts = vec![
        with("/leave", Submounts::Leave),
        with("/follow", Submounts::Follow),
        with("/writable", Submounts::Writable),
    ];
    let outcome = bed.run(&spec).await;
    let detach = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(source.join("below"), detach).unwrap();
    assert_eq!(
        outcome.stdout,
        "leave not\nleave/below not\nfollow not\nfollow/below not\nfollow/below there\nwritable not\nwritable/below written\nwritable/below there\n"
    );
}

async fn a_part_of_a_directory_stays_inside_it(bed: Bed) {
    let data = bed.path("data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    std::fs::write(data.join("sub/file"), "inside\n").unwrap();
    std::fs::write(data.join("top"), "the top\n").unwrap();
    std::fs::write(bed.path("top"), "outside\n").unwrap();
    symlink("/", data.join("out")).unwrap();
    let within = |target: &str, subpath: &str, readonly| Mount::Within {
        directory: data.clone(),
        subpath: subpath.into(),
        target: target.into(),
        readonly,
    };
    let mut spec = bed.script(
        "cat /a/file /b/file /c/top /d/top; echo x > /a/new; (echo x > /b/new) 2>/dev/null || echo read-only",
    );
    spec.mounts = vec![
        within("/a", "sub", false),
        within("/b", "sub", true),
        within("/c", "out", true),
        within("/d", "../../..", true),
    ];
    let outcome = bed.run(&spec).await;
    assert_eq!(
        outcome.stdout,
        "inside\ninside\nthe top\nthe top\nread-only\n"
    );
    assert!(data.join("sub/new").exists());
    spec.mounts = vec![within("/a", "nope", false)];
    let error = bed.refusal(&spec).await;
    assert!(error.to_string().contains("nope"), "{error}");
}

async fn images_are_mounted_beside_the_root(bed: Bed) {
    let layer = |name: &str, file: &str| {
        let path = bed.path(name);
        std::fs::create_dir_all(path.join("etc/sub")).unwrap();
        std::fs::write(path.join("etc/sub").join(file), format!("{name}\n")).unwrap();
        std::fs::write(path.join("etc/same"), format!("{name}\n")).unwrap();
        path
    };
    let (top, bottom) = (layer("top", "new"), layer("bottom", "old"));
    // A link that would lead outside leads nowhere but inside.
    symlink("/etc/same", top.join("link")).unwrap();
    let mut spec = bed.script(
        "cat /whole/etc/same /whole/etc/sub/* /part/* /one/etc/same /file; (echo x > /whole/new) 2>/dev/null || echo read-only",
    );
    let layers = |target: &str, lowers: &[&PathBuf], subpath: Option<&str>| Mount::Layers {
        lowers: lowers.iter().map(|path| (*path).clone()).collect(),
        subpath: subpath.map(str::to_owned),
        target: target.into(),
    };
    spec.mounts = vec![
        layers("/whole", &[&top, &bottom], None),
        layers("/part", &[&top, &bottom], Some("etc/sub")),
        layers("/one", &[&bottom], None),
        layers("/file", &[&top, &bottom], Some("link")),
    ];
    let outcome = bed.run(&spec).await;
    assert_eq!(
        outcome.stdout,
        "top\ntop\nbottom\ntop\nbottom\nbottom\ntop\nread-only\n"
    );
    assert!(!top.join("new").exists());
    bed.assert_nothing_left(&spec);
    spec.mounts = vec![layers("/x", &[&top, &bottom], Some("etc/nope"))];
    let error = bed.refusal(&spec).await.to_string();
    assert!(error.contains("etc/nope"), "{error}");
}

async fn copies_are_in_memory(bed: Bed) {
    let source = bed.path("secret");
    std::fs::write(&source, "geheim\n").unwrap();
    let copy = |target: &str, mode| Mount::Copy {
        source: source.clone(),
        target: target.into(),
        uid: 7,
        gid: 8,
        mode,
    };
    let mut spec = bed.script(
        "cat /run/secrets/a; stat -c '%u:%g %a' /run/secrets/a /b /run/secrets; grep -c ' tmpfs .*ro' /proc/self/mountinfo >/dev/null; stat -f -c %T /run/secrets/a /b; (echo x > /b) 2>/dev/null || echo read-only",
    );
    spec.mounts = vec![copy("/run/secrets/a", 0o400), copy("/b", 0o4751)];
    let outcome = bed.run(&spec).await;
    assert_eq!(
        outcome.stdout,
        "geheim\n7:8 400\n7:8 4751\n0:0 755\ntmpfs\ntmpfs\nread-only\n"
    );
    assert_eq!(std::fs::read_to_string(&source).unwrap(), "geheim\n");
    bed.assert_nothing_left(&spec);

    for (bytes, word) in [(None, "no such file"), (Some(2 << 20), "larger than")] {
        std::fs::remove_file(&source).unwrap();
        if let Some(bytes) = bytes {
            std::fs::write(&source, vec![b'x'; bytes]).unwrap();
        }
        let error = bed.refusal(&spec).await.to_string();
        assert!(error.contains("secret") && error.contains(word), "{error}");
        std::fs::write(&source, "again").unwrap();
    }
    spec.mounts = vec![Mount::Copy {
        source: "/dev/zero".into(),
        target: "/x".into(),
        uid: 0,
        gid: 0,
        mode: 0,
    }];
    let error = bed.refusal(&spec).await.to_string();
    assert!(error.contains("not a file"), "{error}");
}
