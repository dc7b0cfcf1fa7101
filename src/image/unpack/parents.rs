//! The directories that entries were written into last, kept open.
//!
//! Archives go through a tree directory by directory and come back to those above, so a few are enough
//! to find nearly every directory without resolving its path again. What is here must be forgotten
//! when anything on the way to it may have been removed.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many stay open.
const MAX_OPEN: usize = 16;

/// An open directory.
#[derive(Debug, Clone)]
pub(crate) struct Parent {
    /// With `O_PATH`.
    pub(crate) fd: Arc<OwnedFd>,
    /// Whether files made in it are as usual: see [`crate::unpack::born::Born::is_usual_in`].
    pub(crate) usual: bool,
}

/// The directories, the one used last in front.
#[derive(Debug, Default)]
pub(crate) struct Parents(VecDeque<(PathBuf, Parent)>);

impl Parents {
    /// The directory at `path`, if it is open.
    pub(crate) fn get(&mut self, path: &Path) -> Option<Parent> {
        let at = self.0.iter().position(|(known, _)| known == path)?;
        if at > 0 {
            let found = self.0.remove(at)?;
            self.0.push_front(found);
        }
        self.0.front().map(|(_, parent)| parent.clone())
    }

    /// Remembers a directory, and closes the one that was not used for longest.
    pub(crate) fn put(&mut self, path: &Path, parent: Parent) {
        self.0.push_front((path.to_owned(), parent));
        self.0.truncate(MAX_OPEN);
    }

    /// Closes all.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known() {
        let mut parents = Parents::default();
        let fd = Arc::new(OwnedFd::from(std::fs::File::open("/").unwrap()));
        let parent = Parent { fd, usual: true };
        for n in 0..MAX_OPEN {
            parents.put(Path::new(&n.to_string()), parent.clone());
        }
        assert!(parents.get(Path::new("0")).is_some());
        parents.put(Path::new("new"), parent);
        assert!(parents.get(Path::new("0")).is_some());
        assert!(parents.get(Path::new("1")).is_none());
        parents.forget();
        assert!(parents.get(Path::new("new")).is_none());
    }
}
