//! When each reference was last fetched from its registry: what `pull_policy: daily` asks for.
//!
//! One small file beside the images. Losing it means that an image counts as old, and is asked for
//! once more; so it is not synced, and one that cannot be read is begun anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use orc_base::fs::{self, Durability};
use orc_base::{Kind, Result, Time};

/// The most bytes of the file.
const MAX_FILE: u64 = 4 << 20;
/// The most references that are remembered; the oldest are forgotten first.
const MAX_REFERENCES: usize = 4096;

/// The last fetch of each reference, as people write it.
#[derive(Debug)]
pub(crate) struct Pulls {
    file: PathBuf,
    times: Mutex<BTreeMap<String, Time>>,
}

impl Pulls {
    /// Reads what an earlier daemon remembered.
    pub(crate) fn open(file: &Path) -> Self {
        let times = fs::read_json(file, MAX_FILE).unwrap_or_else(|error| {
            if error.kind() != Kind::NotFound {
                tracing::warn!("{}", error.within("forget when images were pulled"));
            }
            BTreeMap::new()
        });
        Self {
            file: file.to_owned(),
            times: Mutex::new(times),
        }
    }

    /// Remembers a fetch.
    pub(crate) fn remember(&self, reference: &str, now: Time) -> Result<()> {
        let mut times = self.lock();
        times.insert(reference.to_owned(), now);
        while times.len() > MAX_REFERENCES {
            let oldest = times.iter().min_by_key(|(_, time)| **time);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            times.remove(&oldest);
        }
        fs::write_json(&self.file, &*times, Durability::Process)
    }

    /// The last fetch of any of these references.
    pub(crate) fn last(&self, references: &[String]) -> Option<Time> {
        let times = self.lock();
        let found = references.iter().filter_map(|name| times.get(name));
        found.max().copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Time>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_is_remembered_by_the_next_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pulled.json");
        let pulls = Pulls::open(&file);
        assert_eq!(pulls.last(&["a:1".into()]), None);
        pulls.remember("a:1", Time::from_secs(5)).unwrap();
        pulls.remember("b:1", Time::from_secs(9)).unwrap();
        pulls.remember("a:1", Time::from_secs(7)).unwrap();
        let next = Pulls::open(&file);
        assert_eq!(next.last(&["a:1".into()]), Some(Time::from_secs(7)));
        let both = ["a:1".to_owned(), "b:1".to_owned()];
        assert_eq!(next.last(&both), Some(Time::from_secs(9)));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Pulls::open(&file).last(&both), None, "begun anew");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let pulls = Pulls::open(&directory.path().join("pulled.json"));
        let many = (0..MAX_REFERENCES).map(|index| (format!("x:{index}"), Time::from_secs(9)));
        pulls.lock().extend(many);
        pulls.lock().insert("old:1".into(), Time::from_secs(1));
        pulls.remember("new:1", Time::from_secs(10)).unwrap();
        assert_eq!(pulls.last(&["old:1".into()]), None);
        assert_eq!(pulls.last(&["new:1".into()]), Some(Time::from_secs(10)));
    }
}
