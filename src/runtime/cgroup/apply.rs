//! Writes limits into a group: those of a start, and changes while it is in use.
//!
//! `limits` says what is written where; this says what follows when the kernel does not take it.

use orc_base::{Error, Kind, Result};

use crate::cgroup::files::{read_file, write_file};
use crate::cgroup::layout::Tree;
use crate::cgroup::limits::{Need, REALTIME_RUNTIME, Write};
use crate::cgroup::{Cgroup, limits};
use crate::spec::Resources;

impl Cgroup {
    /// Changes the limits of a group that is in use. Some kernels take two limits in one order only,
    /// which depends on whether they rise or fall: what is refused first is tried again after the
    /// others. Returns warnings as [`Cgroup::create_rest`] does.
    pub fn update(&self, resources: &Resources) -> Result<Vec<String>> {
        let (mut warnings, mut refused) = (Vec::new(), Vec::new());
        let writes = limits::writes(&self.layout, resources)?;
        for write in &writes {
            match self.limit(write) {
                // What need not be kept is refused by the order, too.
                Err(_) | Ok(Some(_)) => refused.push(write),
                Ok(None) => {}
            }
        }
        for write in refused {
            warnings.extend(self.limit(write)?);
        }
        Ok(warnings)
    }

    /// What of `resources` this machine cannot keep for want of a file to write it to, one sentence
    /// each. Makes the group's parents: the kernel shows these files below the root only.
    pub fn unkept(&self, resources: &Resources) -> Result<Vec<String>> {
        let mut unkept = Vec::new();
        let writes = limits::writes(&self.layout, resources)?;
        for write in writes.iter().filter(|write| write.need == Need::IfThere) {
            let known = match self.layout.tree_of(write.controller) {
                Some(tree) => {
                    self.create_parents(tree)?;
                    let parent = tree.mount.join(self.path.parent().unwrap_or(&self.path));
                    let or = write.or.as_ref().map(|(file, _)| *file);
                    [Some(write.file), or]
                        .into_iter()
                        .flatten()
                        .any(|file| parent.join(file).exists())
                }
                None => false,
            };
            if !known {
                unkept.push(not_known(write));
            }
        }
        unkept.dedup();
        Ok(unkept)
    }

    /// Writes one limit. The answer is a warning when it cannot be kept and need not be.
    pub(super) fn limit(&self, write: &Write) -> Result<Option<String>> {
        let Some(tree) = self.layout.tree_of(write.controller) else {
            let error = Error::unsupported(format!(
                "this machine has no control group controller `{}`, so the limit `{write}` cannot be kept: start without it, or enable the controller",
                write.controller
            ));
            return match write.need {
                Need::Must => Err(error),
                Need::IfThere | Need::Try => Ok(Some(error.to_string())),
            };
        };
        if write.file == REALTIME_RUNTIME {
            self.lend_realtime(tree, &write.value);
        }
        let result = match (self.write(tree, write.file, &write.value), &write.or) {
            (Err(error), Some((file, value))) if error.kind() == Kind::NotFound => {
                self.write(tree, file, value)
            }
            (result, _) => result,
        };
        match (result, write.need) {
            (Err(error), Need::IfThere) if error.kind() == Kind::NotFound => {
                Ok(Some(not_known(write)))
            }
            (Err(error), Need::Try) => Ok(Some(error.to_string())),
            (result, _) => result.map(|()| None),
        }
    }

    /// A group of the first version has real-time only when all above it have as much. What cannot
    /// be lent shows when the group's own is written.
    fn lend_realtime(&self, tree: &Tree, wanted: &str) {
        let enough = |has: &str| match (has.trim().parse::<i64>(), wanted.parse::<i64>()) {
            (Ok(has), Ok(wanted)) => has == -1 || has >= wanted,
            _ => true,
        };
        let most = read_file(&tree.mount.join(REALTIME_RUNTIME)).unwrap_or_default();
        let mut directory = tree.mount.clone();
        for part in self.path.parent().into_iter().flatten() {
            directory.push(part);
            let file = directory.join(REALTIME_RUNTIME);
            let has = read_file(&file).unwrap_or_default();
            if !enough(&has) {
                let _ = write_file(&file, most.trim()).or_else(|_| write_file(&file, wanted));
            }
        }
    }
}

fn not_known(write: &Write) -> String {
    format!(
        "the limit `{write}` is not kept: this machine's control groups have no `{}`",
        write.file
    )
}
