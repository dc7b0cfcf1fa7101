//! Containers' files looked at from outside, running and stopped (HAZARDS D1 to D3).

use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use orc_base::root::Root;
use orc_runtime::spec::{Mount, Propagation, Submounts};
use orc_runtime::view::View;
use rustix::fs::{Mode, OFlags};

use crate::bed::Bed;

crate::tests! {
    sees_a_running_container_without_the_kernels_file_systems
    sees_a_stopped_container_with_its_binds
    a_read_only_root_cannot_be_written_through_a_view
    leaves_the_containers_mounts_alone
}

fn read(root: &Root, path: &str) -> orc_base::Result<String> {
    let file = root.open_at(path, OFlags::RDONLY, Mode::empty())?;
    Ok(std::io::read_to_string(std::fs::File::from(file))?)
}

fn names(root: &Root, path: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = root.open_at(path, flags, Mode::empty()).unwrap();
    let mut names: Vec<String> = rustix::fs::Dir::read_from(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "." && name != "..")
        .collect();
    names.sort();
    names
}

fn bind(bed: &Bed, target: &str) -> Mount {
    let data = bed.path("data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    std::fs::write(data.join("file"), "volume\n").unwrap();
    Mount::Bind {
        source: data,
        target: target.into(),
        readonly: false,
        submounts: Submounts::Follow,
        propagation: Propagation::Private,
    }
}

fn tmpfs(target: &str) -> Mount {
    Mount::Tmpfs {
        target: target.into(),
        size_bytes: None,
        mode: None,
        uid: None,
        gid: None,
        readonly: false,
        exec: false,
    }
}

fn mountinfo() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

async fn sees_a_running_container_without_the_kernels_file_systems(bed: Bed) {
    symlink("/vol", bed.image().join("way")).unwrap();
    let mut spec = bed.script(
        "echo upper > /file; echo memory > /mem/file; ln -s /proc/self/root /escape; echo ready; sleep 1000",
    );
    spec.mounts = vec![bind(&bed, "/way/deep"), tmpfs("/mem"), tmpfs("/other")];
    std::fs::create_dir(bed.image().join("vol")).unwrap();
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "ready").await;
    let before = mountinfo();
    let targets = ["/way/deep".to_owned(), "/mem".into(), "/gone".into()];
    let view = View::of_running(&monitor, &targets).unwrap();
    let root = view.root();
    assert_eq!(read(root, "/file").unwrap(), "upper\n");
    assert_eq!(read(root, "/vol/deep/file").unwrap(), "volume\n");
    assert_eq!(read(root, "/mem/file").unwrap(), "memory\n");
    for empty in ["/proc", "/sys", "/dev", "/other"] {
        assert_eq!(names(root, empty), [""; 0], "{empty}");
    }
    assert!(read(root, "/escape/etc/passwd").is_err());
    assert!(read(root, "/proc/self/status").is_err());
    // What is written is there for the container.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let made = root.open_at("/vol/deep/made", flags, Mode::RUSR).unwrap();
    rustix::io::write(made.as_fd(), b"outside").unwrap();
    assert_eq!(std::fs::read(bed.path("data/made")).unwrap(), b"outside");
    let bare = View::of_running(&monitor, &[]).unwrap();
    assert_eq!(names(bare.root(), "/mem"), [""; 0]);
    // The view stays when the container goes.
    monitor.signal(orc_runtime::signal::KILL).unwrap();
    monitor.wait().await;
    assert_eq!(read(root, "/vol/deep/file").unwrap(), "volume\n");
    drop((view, bare));
    assert_eq!(mountinfo(), before);
    bed.assert_nothing_left(&spec);
}

async fn sees_a_stopped_container_with_its_binds(bed: Bed) {
    let mut spec = bed.script("echo upper > /file; echo more >> /data/file");
    spec.mounts = vec![bind(&bed, "/data"), tmpfs("/mem")];
    assert_eq!(bed.run(&spec).await.exit.code, 0);
    let before = mountinfo();
    let view = View::of_stopped(&spec.rootfs, &spec.mounts).unwrap();
    let root = view.root();
    assert_eq!(read(root, "/file").unwrap(), "upper\n");
    assert_eq!(read(root, "/data/file").unwrap(), "volume\nmore\n");
    assert_eq!(names(root, "/proc"), [""; 0]);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    root.open_at("/data/sub/made", flags, Mode::RUSR).unwrap();
    root.open_at("/made", flags, Mode::RUSR).unwrap();
    drop(view);
    assert_eq!(mountinfo(), before);
    assert!(bed.path("data/sub/made").exists() && spec.rootfs.upper.join("made").exists());
    // Nothing of the view is in the way of the next start.
    assert_eq!(bed.run(&spec).await.exit.code, 0);
}

async fn a_read_only_root_cannot_be_written_through_a_view(bed: Bed) {
    let mut spec = bed.script("echo ready; sleep 1000");
    spec.rootfs.readonly = true;
    spec.mounts = vec![bind(&bed, "/data")];
    std::fs::create_dir(bed.image().join("data")).unwrap();
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "ready").await;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let check = |view: &View, name: &str| {
        let refused = view.root().open_at("/made", flags, Mode::RUSR);
        assert!(refused.unwrap_err().to_string().contains("read-only"));
        let path = format!("/data/{name}");
        view.root().open_at(path, flags, Mode::RUSR).unwrap();
    };
    let targets = ["/data".to_owned()];
    check(&View::of_running(&monitor, &targets).unwrap(), "one");
    monitor.signal(orc_runtime::signal::KILL).unwrap();
    monitor.wait().await;
    check(
        &View::of_stopped(&spec.rootfs, &spec.mounts).unwrap(),
        "two",
    );
}

/// Shared mounts would take along what is unmounted in the view.
async fn leaves_the_containers_mounts_alone(bed: Bed) {
    let mut spec = bed.script("echo ready; sleep 1000");
    let mut mount = bind(&bed, "/data");
    if let Mount::Bind { propagation, .. } = &mut mount {
        *propagation = Propagation::Shared;
    }
    spec.mounts = vec![mount];
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "ready").await;
    let pid = monitor.pid();
    let theirs = || std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let before = theirs();
    for _ in 0..20 {
        drop(View::of_running(&monitor, &[]).unwrap());
    }
    assert_eq!(theirs(), before);
    monitor.signal(orc_runtime::signal::KILL).unwrap();
    monitor.wait().await;
}
