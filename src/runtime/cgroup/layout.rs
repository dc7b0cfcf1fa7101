//! Which hierarchies the machine has mounted, and which controller lives where. Read once.

use std::path::PathBuf;

use orc_base::{Context, Result};

use crate::cgroup::files::read_file;

/// The hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    v1: Vec<Tree>,
    v2: Option<Tree>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) mount: PathBuf,
    /// Controllers; a hierarchy without any has its name, `name=systemd`.
    pub(crate) controllers: Vec<String>,
    unified: bool,
}

impl Tree {
    pub(crate) fn is_unified(&self) -> bool {
        self.unified
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// The directory name that people expect: `memory`, `cpu,cpuacct`, `systemd`.
    pub(crate) fn name(&self) -> String {
        let names = self.controllers.join(",");
        names.strip_prefix("name=").unwrap_or(&names).to_owned()
    }
}

impl Layout {
    /// Looks at this machine.
    pub fn detect() -> Result<Self> {
        let mounts = read_file("/proc/self/mountinfo".as_ref())
            .context(|| "find the control group hierarchies")?;
        let mut layout = Self::parse(&mounts);
        if let Some(tree) = &mut layout.v2 {
            let names = read_file(&tree.mount.join("cgroup.controllers"))?;
            tree.controllers = names.split_whitespace().map(String::from).collect();
        }
        Ok(layout)
    }

    /// From the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)); the second version's
    /// controllers are not in it.
    pub(crate) fn parse(mountinfo: &str) -> Self {
        let mut layout = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let (Some(mount), mut right) = (left.split(' ').nth(4), right.split(' ')) else {
                continue;
            };
            let (kind, options) = (right.next(), right.nth(1).unwrap_or(""));
            let mount = PathBuf::from(unescape(mount));
            match kind {
                Some("cgroup2") if layout.v2.is_none() => {
                    layout.v2 = Some(Tree {
                        mount,
                        controllers: Vec::new(),
                        unified: true,
                    });
                }
                Some("cgroup") => layout.add_v1(mount, options),
                _ => {}
            }
        }
        layout
    }

    fn add_v1(&mut self, mount: PathBuf, options: &str) {
        const NOT_CONTROLLERS: [&str; 7] = [
            "rw",
            "ro",
            "xattr",
            "noprefix",
            "clone_children",
            "cpuset_v2_mode",
            "favordynmods",
        ];
        let controllers: Vec<String> = options
            .split(',')
            .filter(|option| !NOT_CONTROLLERS.contains(option))
            .filter(|option| !option.contains('=') || option.starts_with("name="))
            .map(String::from)
            .collect();
        let known = self.v1.iter().any(|tree| tree.controllers == controllers);
        if !controllers.is_empty() && !known {
            self.v1.push(Tree {
                mount,
                controllers,
                unified: false,
            });
        }
    }

    pub(crate) fn v1(&self) -> impl Iterator<Item = &Tree> {
        self.v1.iter()
    }

    pub(crate) fn unified(&self) -> Option<&Tree> {
        self.v2.as_ref()
    }

    pub(crate) fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.v1.iter().chain(&self.v2)
    }

    /// Where a controller lives; the first version is asked first, since a controller that is
    /// mounted there is not in the second.
    pub(crate) fn tree_of(&self, controller: &str) -> Option<&Tree> {
        self.trees().find(|tree| tree.has(controller))
    }

    pub(crate) fn v1_tree_of(&self, controller: &str) -> Option<&Tree> {
        self.v1.iter().find(|tree| tree.has(controller))
    }

    /// This machine's second version alone, as if it were all there is.
    #[cfg(test)]
    pub(crate) fn unified_alone() -> Option<Self> {
        let mut layout = Self::detect().expect("a layout");
        layout.v1.clear();
        layout.v2.is_some().then_some(layout)
    }

    /// A machine with these trees, for tests of decisions.
    #[cfg(test)]
    pub(crate) fn of(v1: &[&str], v2: Option<&[&str]>) -> Self {
        let tree = |controllers: &[&str], unified| Tree {
            mount: PathBuf::from("/sys/fs/cgroup"),
            controllers: controllers.iter().map(|name| name.to_string()).collect(),
            unified,
        };
        Self {
            v1: v1.iter().map(|name| tree(&[name], false)).collect(),
            v2: v2.map(|names| tree(names, true)),
        }
    }
}

/// Undoes the kernel's `\040` for a blank and the like.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                plain.push(code.into());
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_hybrid_machine() {
        let layout = Layout::parse(
            "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd\n\
             34 30 0:30 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw,nsdelegate\n\
             35 30 0:28 / /mnt/again rw - cgroup cgroup rw,memory\n\
             garbage\n",
        );
        let names: Vec<String> = layout.v1().map(Tree::name).collect();
        assert_eq!(names, ["cpu,cpuacct", "memory", "systemd"]);
        assert_eq!(
            layout.unified().unwrap().mount,
            PathBuf::from("/sys/fs/cgroup/uni fied")
        );
        assert!(layout.tree_of("cpuacct").is_some() && layout.tree_of("pids").is_none());
        assert_eq!(
            layout.tree_of("memory").unwrap().mount,
            PathBuf::from("/sys/fs/cgroup/memory")
        );
    }

    #[test]
    fn reads_a_pure_machine() {
        let layout = Layout::parse(
            "26 22 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(layout.v1().count(), 0);
        assert!(layout.unified().is_some());
    }
}
