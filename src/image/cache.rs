//! What builds may use again: records that lead from the key of a step to what it made.
//!
//! Pure, as `catalog` is: `store/cache` keeps a value of [`Records`] on disk and asks it what may go.
//! A record names the layer and the blob of a step, which the collector spares for it, or a directory
//! that steps share (`cache_mount`). Losing a record costs time, never an image. A record whose files
//! may not have reached the disk yet is *doubtful*: it holds until the machine goes down.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use orc_base::{Error, Result, Time};

use crate::digest::Digest;

const VERSION: u32 = 1;
/// With more than that the least recently used go.
const MAX_RECORDS: usize = 20_000;

/// What a step made, under the key of all that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The key.
    pub key: Digest,
    /// What it is.
    pub kind: CacheKind,
    /// The diff id of the layer with its changes; none for a step that changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Digest>,
    /// The layer as it is pushed, when it is packed already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<CachedBlob>,
    /// The step as people see it: `RUN make`.
    pub description: String,
    /// The keys of the steps that it stands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Digest>,
    /// When the step ran.
    pub created: Time,
    /// When it was last of use.
    pub last_used: Time,
    /// How often it was of use since.
    pub uses: u64,
    /// Bytes of its layer and blob, or of its directory. The store fills it in.
    pub size_bytes: u64,
}

/// What a record stands for, in BuildKit's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CacheKind {
    /// The changes of a step.
    #[serde(rename = "regular")]
    Step,
    /// Files from outside: a context, an `ADD` from the network.
    #[serde(rename = "source.local")]
    Source,
    /// A directory of `RUN --mount=type=cache`. Its content changes.
    #[serde(rename = "exec.cachemount")]
    Mount,
}

impl CacheKind {
    /// BuildKit's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "regular",
            Self::Source => "source.local",
            Self::Mount => "exec.cachemount",
        }
    }
}

/// A layer as it is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What a manifest calls it.
    pub media_type: String,
}

impl CacheRecord {
    /// A record of a step that changes nothing; the caller fills in what it has.
    pub fn new(key: Digest, description: impl Into<String>, now: Time) -> Self {
        Self {
            key,
            kind: CacheKind::Step,
            layer: None,
            blob: None,
            description: description.into(),
            parents: Vec::new(),
            created: now,
            last_used: now,
            uses: 0,
            size_bytes: 0,
        }
    }
}

/// A record and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The record.
    pub record: CacheRecord,
    /// An image needs its layer: removing the record frees nothing.
    pub shared: bool,
    /// A build that runs has asked for it.
    pub in_use: bool,
}

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct CachePrune {
    /// What images share, too: their records go, their files stay.
    pub all: bool,
    /// Only what fits each of these.
    pub filters: Vec<CacheFilter>,
    /// Removes nothing as long as what is left needs no more than so many bytes.
    pub keep_bytes: Option<u64>,
}

/// Says which records are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFilter {
    /// The start of the key, with or without its algorithm.
    Id(String),
    /// The start of the key of a parent.
    Parent(String),
    /// A part of the description.
    Description(String),
    /// What it is, in BuildKit's words.
    Kind(String),
    /// Not used for so long.
    UnusedFor(Duration),
    /// Whether a running build has asked for it.
    InUse(bool),
    /// Whether an image needs it.
    Shared(bool),
    /// Whether its content changes.
    Mutable(bool),
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachePruned {
    /// The keys.
    pub keys: Vec<Digest>,
    /// Bytes that are free now, or when the builds that run end.
    pub bytes: u64,
}

/// All records of one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Records {
    version: u32,
    /// During which boot of the machine it was written.
    boot: String,
    records: BTreeMap<Digest, CacheRecord>,
    /// Keys whose files may not have reached the disk.
    doubtful: BTreeSet<Digest>,
}

impl Records {
    /// None yet.
    pub(crate) fn new(boot: &str) -> Self {
        Self {
            version: VERSION,
            boot: boot.to_owned(),
            records: BTreeMap::new(),
            doubtful: BTreeSet::new(),
        }
    }

    /// What was written, during an earlier boot perhaps: then what is doubtful is not believed.
    pub(crate) fn reopened(mut self, boot: &str) -> Result<Self> {
        if self.version != VERSION {
            return Err(Error::unsupported(format!(
                "the build cache was written in format {}, this orc knows {VERSION}",
                self.version
            )));
        }
        if self.boot != boot {
            for key in std::mem::take(&mut self.doubtful) {
                self.records.remove(&key);
            }
            boot.clone_into(&mut self.boot);
        }
        Ok(self)
    }

    pub(crate) fn get(&self, key: &Digest) -> Option<&CacheRecord> {
        self.records.get(key)
    }

    /// Whether this is known already, but for when and how often it was of use.
    pub(crate) fn has(&self, record: &CacheRecord) -> bool {
        self.get(&record.key).is_some_and(|old| {
            let past = CacheRecord {
                created: old.created,
                last_used: old.last_used,
                uses: old.uses,
                ..record.clone()
            };
            *old == past
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &CacheRecord> {
        self.records.values()
    }

    /// Adds a record, or replaces what another build found out meanwhile; its past stays.
    pub(crate) fn put(&mut self, mut record: CacheRecord, doubtful: bool) {
        let key = record.key.clone();
        if let Some(old) = self.records.get(&key) {
            record.created = old.created;
            record.uses = old.uses;
        }
        match doubtful {
            true => self.doubtful.insert(key.clone()),
            false => self.doubtful.remove(&key),
        };
        self.records.insert(key, record);
        while self.records.len() > MAX_RECORDS {
            let oldest = self.records.values().min_by_key(|one| one.last_used);
            let Some(key) = oldest.map(|one| one.key.clone()) else {
                return;
            };
            self.remove(&key);
        }
    }

    /// Notes that a record was of use.
    pub(crate) fn touch(&mut self, key: &Digest, now: Time) {
        if let Some(record) = self.records.get_mut(key) {
            record.last_used = record.last_used.max(now);
            record.uses += 1;
        }
    }

    pub(crate) fn resize(&mut self, key: &Digest, size_bytes: u64) {
        if let Some(record) = self.records.get_mut(key) {
            record.size_bytes = size_bytes;
        }
    }

    pub(crate) fn remove(&mut self, key: &Digest) -> Option<CacheRecord> {
        self.doubtful.remove(key);
        self.records.remove(key)
    }

    /// The keys whose files may not have reached the disk.
    pub(crate) fn doubtful(&self) -> BTreeSet<Digest> {
        self.doubtful.clone()
    }

    /// The files of these keys have reached the disk. Says whether that is news.
    pub(crate) fn settle(&mut self, keys: &BTreeSet<Digest>) -> bool {
        let before = self.doubtful.len();
        self.doubtful.retain(|key| !keys.contains(key));
        self.doubtful.len() != before
    }

    /// The blobs and the layers that some record needs.
    pub(crate) fn used(&self) -> (HashSet<Digest>, HashSet<Digest>) {
        let blobs = self.all().filter_map(|one| one.blob.as_ref());
        let layers = self.all().filter_map(|one| one.layer.clone());
        (
            blobs.map(|blob| blob.digest.clone()).collect(),
            layers.collect(),
        )
    }
}

impl CacheFilter {
    fn matches(&self, entry: &CacheEntry, now: Time) -> bool {
        let record = &entry.record;
        let begins = |key: &Digest, start: &str| {
            key.hex().starts_with(start) || key.as_str().starts_with(start)
        };
        match self {
            Self::Id(start) => begins(&record.key, start),
            Self::Parent(start) => record.parents.iter().any(|key| begins(key, start)),
            Self::Description(part) => record.description.contains(part.as_str()),
            Self::Kind(name) => record.kind.name() == name,
            Self::UnusedFor(age) => now.since(record.last_used) >= *age,
            Self::InUse(wanted) => entry.in_use == *wanted,
            Self::Shared(wanted) => entry.shared == *wanted,
            Self::Mutable(wanted) => (record.kind == CacheKind::Mount) == *wanted,
        }
    }
}

/// Which records go, least recently used first. What a running build has asked for stays, and so does
/// what images share unless `all` is said; that also counts for nothing.
pub(crate) fn doomed(entries: &[CacheEntry], prune: &CachePrune, now: Time) -> Vec<Digest> {
    let mut candidates: Vec<_> = entries
        .iter()
        .filter(|one| !one.in_use && (prune.all || !one.shared))
        .filter(|one| prune.filters.iter().all(|filter| filter.matches(one, now)))
        .collect();
    // Of one moment the children go before their parents, which were put first.
    candidates.sort_by(|a, b| {
        let age = |one: &CacheEntry| (one.record.last_used, std::cmp::Reverse(one.record.created));
        age(a)
            .cmp(&age(b))
            .then_with(|| a.record.key.cmp(&b.record.key))
    });
    let own = |one: &CacheEntry| match one.shared {
        true => 0,
        false => one.record.size_bytes,
    };
    let mut total: u64 = entries.iter().map(own).sum();
    let mut keys = Vec::new();
    for one in candidates {
        if prune.keep_bytes.is_some_and(|keep| total <= keep) {
            break;
        }
        total -= own(one);
        keys.push(one.record.key.clone());
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn at(secs: i64) -> Time {
        Time::from_secs(secs)
    }

    fn entry(name: &str, used: i64, bytes: u64) -> CacheEntry {
        let mut record = CacheRecord::new(key(name), name, at(used));
        record.size_bytes = bytes;
        CacheEntry {
            record,
            shared: false,
            in_use: false,
        }
    }

    fn names(entries: &[CacheEntry], prune: &CachePrune) -> Vec<String> {
        let name = |key: &Digest| {
            let found = entries.iter().find(|one| one.record.key == *key).unwrap();
            found.record.description.clone()
        };
        doomed(entries, prune, at(100)).iter().map(name).collect()
    }

    #[test]
    fn the_least_recently_used_go_first_until_it_fits() {
        let entries = [
            entry("new", 30, 5),
            entry("old", 10, 5),
            entry("mid", 20, 5),
        ];
        for (keep, gone) in [
            (None, &["old", "mid", "new"][..]),
            (Some(15), &[]),
            (Some(14), &["old"]),
            (Some(5), &["old", "mid"]),
            (Some(0), &["old", "mid", "new"]),
        ] {
            let prune = CachePrune {
                keep_bytes: keep,
                ..CachePrune::default()
            };
            assert_eq!(names(&entries, &prune), gone, "{keep:?}");
        }
    }

    #[test]
    fn what_runs_stays_and_what_images_share_counts_for_nothing() {
        let mut entries = [entry("a", 1, 9), entry("b", 2, 9), entry("c", 3, 9)];
        entries[0].in_use = true;
        entries[1].shared = true;
        assert_eq!(names(&entries, &CachePrune::default()), ["c"]);
        let all = CachePrune {
            all: true,
            ..CachePrune::default()
        };
        assert_eq!(names(&entries, &all), ["b", "c"]);
        let limit = CachePrune {
            keep_bytes: Some(18),
            ..CachePrune::default()
        };
        assert!(names(&entries, &limit).is_empty());
    }

    #[test]
    fn filters_say_which() {
        let mut entries = [entry("RUN a", 10, 1), entry("RUN b", 90, 1)];
        entries[1].record.kind = CacheKind::Mount;
        entries[1].record.parents = vec![key("RUN a")];
        let id = key("RUN a").short().to_owned();
        for (filter, gone) in [
            (CacheFilter::Id(id.clone()), "RUN a"),
            (CacheFilter::Id(format!("sha256:{id}")), "RUN a"),
            (CacheFilter::Parent(id), "RUN b"),
            (CacheFilter::Description("N b".into()), "RUN b"),
            (CacheFilter::Kind("regular".into()), "RUN a"),
            (CacheFilter::Kind("exec.cachemount".into()), "RUN b"),
            (CacheFilter::UnusedFor(Duration::from_secs(50)), "RUN a"),
            (CacheFilter::Mutable(true), "RUN b"),
        ] {
            let prune = CachePrune {
                filters: vec![filter.clone()],
                ..CachePrune::default()
            };
            assert_eq!(names(&entries, &prune), [gone], "{filter:?}");
        }
        let none = CachePrune {
            filters: vec![CacheFilter::InUse(true)],
            ..CachePrune::default()
        };
        assert!(names(&entries, &none).is_empty());
    }

    #[test]
    fn what_may_not_be_on_disk_is_believed_until_the_machine_goes_down() {
        let mut records = Records::new("boot 1");
        records.put(CacheRecord::new(key("a"), "a", at(1)), true);
        let settled = records.doubtful();
        records.put(CacheRecord::new(key("b"), "b", at(1)), true);
        assert!(records.settle(&settled));
        assert!(!records.settle(&settled));
        let text = serde_json::to_string(&records).unwrap();
        let read = |boot| {
            let records: Records = serde_json::from_str(&text).unwrap();
            let records = records.reopened(boot).unwrap();
            records.all().map(|one| one.description.clone()).collect()
        };
        let (same, other): (Vec<_>, Vec<_>) = (read("boot 1"), read("boot 2"));
        assert_eq!((same.len(), other), (2, vec!["a".to_owned()]));
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        let newer: Records = serde_json::from_str(&newer).unwrap();
        assert!(newer.reopened("boot 1").is_err());
    }

    #[test]
    fn a_record_keeps_its_past() {
        let mut records = Records::new("");
        records.put(CacheRecord::new(key("a"), "a", at(1)), false);
        records.touch(&key("a"), at(5));
        records.touch(&key("a"), at(3));
        records.put(CacheRecord::new(key("a"), "again", at(9)), false);
        let record = records.get(&key("a")).unwrap();
        assert_eq!((record.created, record.uses), (at(1), 1 + 1));
        assert_eq!(record.description, "again");
        let mut same = CacheRecord::new(key("a"), "again", at(20));
        assert!(records.has(&same));
        same.layer = Some(key("layer"));
        assert!(!records.has(&same));
        assert!(records.remove(&key("a")).is_some() && records.remove(&key("a")).is_none());
    }
}
