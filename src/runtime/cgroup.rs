//! Control groups: a place for one container in every hierarchy of the machine.
//!
//! Works on the first version, the second, and both side by side ("hybrid"), where each controller
//! lives in one of them. `limits` and `devices` decide what is written, as text; this file writes.
//! Nothing outside the path it was given is ever changed, except that parents are made and, on the
//! second version, pass controllers down.
//!
//! Our own, because `cgroups-rs` knows no `CLONE_INTO_CGROUP`, treats a hybrid machine as the second
//! version alone, and brings D-Bus with it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use orc_base::{Context, Error, Kind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::cgroup::devices::Filter;
use crate::cgroup::files::{read_file, write_file, write_lines};
use crate::cgroup::layout::Tree;
use crate::spec::{DeviceRule, Resources};
use crate::sys::linux::Alone;

mod apply;
pub(crate) mod devices;
mod files;
mod layout;
mod limits;
mod stats;

pub use crate::cgroup::layout::Layout;
pub use crate::cgroup::stats::Stats;

/// Controllers of the second version that limit something here.
const LIMITING: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
/// How often a removal is tried while processes are dying, and how long between.
const REMOVE_TRIES: u32 = 400;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);
/// The deepest tree of groups that a container made below its own and that is removed with it.
const MAX_DEPTH: usize = 16;

/// One container's group.
#[derive(Debug, Clone)]
pub struct Cgroup {
    layout: Layout,
    /// Relative to the root of each hierarchy.
    path: PathBuf,
}

impl Cgroup {
    /// The group at `path`, such as `/orc/<id>`: at least one parent and a name, nothing unusual.
    pub fn new(layout: &Layout, path: &str) -> Result<Self> {
        Ok(Self {
            layout: layout.clone(),
            path: checked(path)?,
        })
    }

    /// Makes the group in one tree, the second version's if there is one. Who succeeds owns the group
    /// and may remove it; a [`Kind::Conflict`] is someone else's.
    pub(crate) fn claim(&self) -> Result<()> {
        match self.claimed() {
            Some(tree) => self.create_in(tree),
            None => Ok(()),
        }
    }

    /// Opens the group in the second version's tree, if there is one.
    pub(crate) fn open_unified(&self) -> Result<Option<OwnedFd>> {
        let Some(tree) = self.layout.unified() else {
            return Ok(None);
        };
        let path = tree.mount.join(&self.path);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty());
        fd.map(Some)
            .context(|| format!("open control group {}", path.display()))
    }

    /// Makes the group in all other trees and writes the limits everywhere. Returns
    /// warnings about limits that the machine cannot keep and that no one has asked for in so many
    /// words.
    pub(crate) fn create_rest(
        &self,
        resources: &Resources,
        devices: Option<&[DeviceRule]>,
    ) -> Result<Vec<String>> {
        for tree in self
            .layout
            .v1()
            .filter(|tree| Some(*tree) != self.claimed())
        {
            self.create_in(tree)?;
        }
        let mut warnings = Vec::new();
        for write in limits::writes(&self.layout, resources)? {
            warnings.extend(self.limit(&write)?);
        }
        if let Some(rules) = devices {
            self.filter_devices(rules)?;
        }
        Ok(warnings)
    }

    /// Moves this process, which must have one thread, into the group of every tree of the first
    /// version. In the second's it was born.
    ///
    /// The kernel lets a thread move itself by `0` in `tasks` at once. To move another process, or a
    /// whole process by `cgroup.procs`, it stops all forks first, which waits for an RCU grace period:
    /// 5 to 20 ms (`cgroup_procs_write_start` in kernel/cgroup/cgroup.c, since Linux 5.18).
    pub(crate) fn enter(&self, _alone: &Alone) -> Result<()> {
        for tree in self.layout.v1() {
            self.write(tree, "tasks", "0")?;
        }
        Ok(())
    }

    /// Whether the kernel has killed a process of the group for want of memory.
    pub fn oom_killed(&self) -> bool {
        let Some(tree) = self.layout.tree_of("memory") else {
            return false;
        };
        let file = match tree.is_unified() {
            true => "memory.events",
            false => "memory.oom_control",
        };
        self.read(tree, file)
            .is_ok_and(|text| stats::field(&text, "oom_kill").is_some_and(|count| count > 0))
    }

    /// Stops all processes of the group where they are.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Lets frozen processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    /// What the group uses now.
    pub fn stats(&self) -> Result<Stats> {
        stats::read(&self.layout, |tree, file| self.read(tree, file))
    }

    /// The processes of the group and of groups below it.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        for tree in self.layout.trees() {
            collect_processes(&tree.mount.join(&self.path), MAX_DEPTH, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Kills what is left in the group and removes it from all trees; fine when it is gone already.
    /// Waits for the processes to die, a few seconds at most.
    pub fn remove(&self) -> Result<()> {
        let mut failed = Vec::new();
        for attempt in 0..REMOVE_TRIES {
            failed = self
                .layout
                .trees()
                .filter_map(|tree| remove_tree(&tree.mount.join(&self.path), MAX_DEPTH).err())
                .collect();
            if failed.is_empty() {
                self.remove_empty_parents();
                return Ok(());
            }
            if attempt == 0 {
                // Frozen processes do not die before they are thawed.
                let _ = self.thaw();
            }
            self.kill()?;
            std::thread::sleep(REMOVE_PAUSE);
        }
        Error::all(failed)
    }

    /// Groups between the first one and this, when nothing else is in them.
    fn remove_empty_parents(&self) {
        let parents = self.path.ancestors().skip(1);
        for parent in parents.filter(|path| path.components().count() > 1) {
            for tree in self.layout.trees() {
                let _ = std::fs::remove_dir(tree.mount.join(parent));
            }
        }
    }

    /// Kills every process of the group.
    pub fn kill(&self) -> Result<()> {
        if let Some(tree) = self.layout.unified()
            && self.write(tree, "cgroup.kill", "1").is_ok()
            && !tree.controllers.is_empty()
            && self.layout.v1().next().is_none()
        {
            return Ok(());
        }
        for pid in self.processes()? {
            self.kill_process(pid)?;
        }
        Ok(())
    }

    /// Kills one process unless its number belongs to someone else by now.
    fn kill_process(&self, raw: i32) -> Result<()> {
        let Some(pid) = Pid::from_raw(raw) else {
            return Ok(());
        };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            other => other.context(|| format!("open process {raw}"))?,
        };
        if !self.processes()?.contains(&raw) {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno).context(|| format!("kill process {raw}")),
        }
    }

    /// Where the group is in each tree, with the name under which the tree is shown in a container.
    pub(crate) fn views(&self) -> Vec<(Option<String>, PathBuf)> {
        let v1 = self.layout.v1().map(|tree| {
            let name = tree.name();
            (Some(name), tree.mount.join(&self.path))
        });
        let v2 = self.layout.unified().map(|tree| {
            let hybrid = self.layout.v1().next().is_some();
            let name = hybrid.then(|| "unified".to_owned());
            (name, tree.mount.join(&self.path))
        });
        v1.chain(v2).collect()
    }

    fn claimed(&self) -> Option<&Tree> {
        self.layout.unified().or(self.layout.v1().next())
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        if let Some(tree) = self.layout.v1_tree_of("freezer") {
            return self.write(
                tree,
                "freezer.state",
                if frozen { "FROZEN" } else { "THAWED" },
            );
        }
        match self.layout.unified() {
            Some(tree) => self.write(tree, "cgroup.freeze", if frozen { "1" } else { "0" }),
            None => Err(Error::unsupported(
                "this machine has no control group freezer: a container cannot be paused",
            )),
        }
    }

    /// The group itself must be new. Its parents are there after the first container.
    fn create_in(&self, tree: &Tree) -> Result<()> {
        let path = tree.mount.join(&self.path);
        if tree.is_unified() || !path.parent().is_some_and(Path::exists) {
            self.create_parents(tree)?;
        }
        match make_new_directory(&path) {
            // The last container below a parent has just taken it away.
            Err(error) if error.kind() == Kind::NotFound => {
                self.create_parents(tree)?;
                make_new_directory(&path)?;
            }
            other => other?,
        }
        match tree.has("cpuset") && !tree.is_unified() {
            true => inherit_cpuset(&path),
            false => Ok(()),
        }
    }

    fn create_parents(&self, tree: &Tree) -> Result<()> {
        let mut directory = tree.mount.clone();
        for part in self.path.parent().into_iter().flatten() {
            pass_down(&directory, tree)?;
            directory.push(part);
            let made = make_directory(&directory)?;
            if made && tree.has("cpuset") && !tree.is_unified() {
                inherit_cpuset(&directory)?;
            }
        }
        pass_down(&directory, tree)
    }

    fn filter_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        let filter = Filter::new(rules)?;
        if let Some(tree) = self.layout.v1_tree_of("devices") {
            self.write(tree, "devices.deny", "a")?;
            let path = tree.mount.join(&self.path).join("devices.allow");
            return write_lines(&path, &filter.lines());
        }
        let Some(tree) = self.layout.unified() else {
            return Err(Error::unsupported(
                "this machine has no control groups that can filter devices: mount cgroup2, or run privileged",
            ));
        };
        let path = tree.mount.join(&self.path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())
            .context(|| format!("open control group {}", path.display()))?;
        crate::sys::linux::attach_device_filter(fd.as_fd(), &filter.program())
            .context(|| "attach the device filter")
    }

    fn write(&self, tree: &Tree, file: &str, value: &str) -> Result<()> {
        write_file(&tree.mount.join(&self.path).join(file), value)
    }

    fn read(&self, tree: &Tree, file: &str) -> Result<String> {
        read_file(&tree.mount.join(&self.path).join(file))
    }
}

/// A path below the hierarchies' roots, made of plain names, at least two of them: a group of ours is
/// never directly below the root.
fn checked(path: &str) -> Result<PathBuf> {
    let fail = || {
        Error::invalid(format!(
            "`{}` is not a control group path such as /orc/name",
            path.escape_default()
        ))
    };
    let relative = path.strip_prefix('/').ok_or_else(fail)?;
    let parts: Vec<&str> = relative.split('/').collect();
    let plain = |part: &&str| {
        !matches!(*part, "" | "." | "..")
            && part.len() <= 255
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-:@".contains(&byte))
    };
    if parts.len() < 2 || parts.len() > MAX_DEPTH || !parts.iter().all(plain) {
        return Err(fail());
    }
    Ok(relative.into())
}

/// Whether it was missing.
fn make_directory(path: &Path) -> Result<bool> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).context(|| format!("make control group {}", path.display())),
    }
}

/// One that is there is of an earlier run and is replaced when it is empty.
fn make_new_directory(path: &Path) -> Result<()> {
    if make_directory(path)? {
        return Ok(());
    }
    remove_tree(path, MAX_DEPTH).map_err(|error| {
        error
            .with_kind(Kind::Conflict)
            .within("the container runs already, or an earlier run has left processes")
    })?;
    match make_directory(path)? {
        true => Ok(()),
        false => Err(Error::conflict(format!(
            "control group {} is in use by another start of the container",
            path.display()
        ))),
    }
}

/// Lets the groups below `directory` of the second version use the controllers that have limits.
fn pass_down(directory: &Path, tree: &Tree) -> Result<()> {
    if !tree.is_unified() || !LIMITING.iter().any(|name| tree.has(name)) {
        return Ok(());
    }
    let file = directory.join("cgroup.subtree_control");
    let enabled = read_file(&file)?;
    let available = read_file(&directory.join("cgroup.controllers"))?;
    let lists = |list: &str, name: &str| list.split_whitespace().any(|other| other == name);
    let missing = LIMITING
        .iter()
        .filter(|name| lists(&available, name) && !lists(&enabled, name));
    let wanted: Vec<String> = missing.map(|name| format!("+{name}")).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    write_file(&file, &wanted.join(" ")).context(|| {
        format!(
            "let groups below {} use {} (a group with processes of its own cannot)",
            directory.display(),
            wanted.join(" ")
        )
    })
}

/// A new group of the first version has no processors and no memory nodes until it is given some.
fn inherit_cpuset(directory: &Path) -> Result<()> {
    let Some(parent) = directory.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if is_empty(directory, file)? {
            if is_empty(parent, file)? {
                // Another start made it a moment ago and has not come to this yet.
                inherit_cpuset(parent)?;
            }
            let value = read_file(&parent.join(file))?;
            write_file(&directory.join(file), value.trim())?;
        }
    }
    // So that the kernel does the same for the groups below.
    write_file(&directory.join("cgroup.clone_children"), "1")
}

fn is_empty(directory: &Path, file: &str) -> Result<bool> {
    Ok(read_file(&directory.join(file))?.trim().is_empty())
}

/// Removes a group and those below it; fine when it is gone.
fn remove_tree(path: &Path, depth: usize) -> Result<()> {
    let context = || format!("remove control group {}", path.display());
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY) if depth > 0 => {}
        Err(errno) => return Err(errno).context(context),
    }
    for entry in std::fs::read_dir(path).context(context)? {
        let entry = entry.context(context)?;
        if entry.file_type().context(context)?.is_dir() {
            remove_tree(&entry.path(), depth - 1)?;
        }
    }
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context(context),
    }
}

fn collect_processes(path: &Path, depth: usize, pids: &mut Vec<i32>) -> Result<()> {
    let text = match read_file(&path.join("cgroup.procs")) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        other => other?,
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_processes(&entry.path(), depth - 1, pids)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A group of a test's own, gone when it is dropped.
    struct Group(Cgroup);

    impl Group {
        fn new(layout: &Layout, name: &str) -> Self {
            let path = format!("/orc-unit-{}-{name}/one", std::process::id());
            let group = Cgroup::new(layout, &path).unwrap();
            group.claim().unwrap();
            Self(group)
        }

        /// A shell that moves itself into the group and then runs `script`.
        fn run(&self, script: &str) -> Child {
            let moves = self.0.layout.trees().map(|tree| {
                let path = tree.mount.join(&self.0.path).join("cgroup.procs");
                format!("echo $$ > {} || exit 9; ", path.display())
            });
            let script = moves.collect::<String>() + script;
            Command::new("/bin/sh")
                .args(["-c", &script])
                .spawn()
                .unwrap()
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = self.0.remove();
            for tree in self.0.layout.trees() {
                if let Some(parent) = self.0.path.parent() {
                    let _ = std::fs::remove_dir(tree.mount.join(parent));
                }
            }
        }
    }

    #[test]
    fn only_plain_paths_with_a_parent() {
        for good in ["/orc/x", "/a/b/c", "/orc-1/abc.def_0:@"] {
            checked(good).unwrap();
        }
        for bad in [
            "",
            "/",
            "/orc",
            "orc/x",
            "/orc/",
            "//x",
            "/orc//x",
            "/orc/../x",
            "/orc/./x",
            "/orc/a b",
            "/orc/a\n",
            "/orc/a*",
        ] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }

    /// As when two containers are the first ones: the parent is made by one, and used by the other.
    #[test]
    fn a_parent_that_is_not_filled_yet_is_filled() {
        let layout = Layout::detect().unwrap();
        let Some(tree) = layout.v1_tree_of("cpuset") else {
            return;
        };
        let parent = tree
            .mount
            .join(format!("orc-unit-{}-cpuset", std::process::id()));
        let child = parent.join("one");
        std::fs::create_dir_all(&child).unwrap();
        write_file(&parent.join("cgroup.clone_children"), "0").unwrap();
        let filled = inherit_cpuset(&child).and_then(|()| is_empty(&child, "cpuset.cpus"));
        for directory in [&child, &parent] {
            std::fs::remove_dir(directory).unwrap();
        }
        assert_eq!(filled.map_err(|error| error.to_string()), Ok(false));
    }

    #[test]
    fn the_second_version_alone() {
        let Some(layout) = Layout::unified_alone() else {
            return;
        };
        let group = Group::new(&layout, "v2");
        assert_eq!(
            group.0.claim().map_err(|error| error.kind()),
            Ok(()),
            "empty: replaced"
        );
        let wanted = Resources {
            pids_max: Some(7),
            ..Resources::default()
        };
        let rules = devices::rules(&[], &[]);
        let warnings = group.0.create_rest(&wanted, Some(&rules)).unwrap();
        // Only a machine whose second version has the controller keeps the limit.
        assert_eq!(
            warnings.is_empty(),
            layout.tree_of("pids").is_some(),
            "{warnings:?}"
        );

        let mut null = group.run(": < /dev/null && : < /dev/zero");
        assert!(null.wait().unwrap().success());
        let mut other = group.run("(: < /dev/kmsg) 2>/dev/null && exit 3; exit 4");
        assert_eq!(
            other.wait().unwrap().code(),
            Some(4),
            "an unlisted device was opened"
        );

        let mut sleeper = group.run("exec sleep 1000");
        while group.0.processes().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let in_use = group.0.claim().unwrap_err();
        assert_eq!(in_use.kind(), Kind::Conflict, "{in_use}");
        group.0.freeze().unwrap();
        group.0.thaw().unwrap();
        group.0.stats().unwrap();
        group.0.freeze().unwrap();
        // The processes of a test are its own children: somebody must reap them.
        let reaper = std::thread::spawn(move || sleeper.wait().unwrap());
        group.0.remove().unwrap();
        assert!(!reaper.join().unwrap().success());
        group.0.remove().unwrap();
    }

    #[test]
    fn limits_that_cannot_be_kept_are_loud() {
        let Some(layout) = Layout::unified_alone() else {
            return;
        };
        if layout.tree_of("memory").is_some() {
            return;
        }
        let group = Group::new(&layout, "loud");
        let wanted = Resources {
            memory_bytes: Some(64 << 20),
            ..Resources::default()
        };
        let error = group.0.create_rest(&wanted, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("`memory`"), "{error}");
    }
}
