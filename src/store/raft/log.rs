//! openraft's log over the log on disk.
//!
//! All entries that are not purged are in memory too, so replication and applying never read the disk.
//! What was committed is noted with the next entries, never by a sync of its own: it only says how far a
//! restarted member may apply before it hears from a leader.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use orc_base::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raft::types::{Entry, LogId, Types, Vote};
use crate::wal::{Contents, Record};
use crate::writer::Writer;

/// Bytes of entries that are sent to a member at once; one entry may be larger.
const MAX_BATCH: usize = 4 << 20;

const VOTE: u8 = 0;
const COMMITTED: u8 = 1;
const PURGED: u8 = 2;

/// The log of one member. Copies share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    kept: Arc<Mutex<Kept>>,
    writer: Writer,
}

/// What is in memory.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The index of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// Whether the disk knows `committed`.
    noted: bool,
    purged: Option<LogId>,
}

impl Kept {
    /// What a log on disk says. `Invalid` when it is no log of ours.
    pub(crate) fn read(contents: &Contents) -> Result<Self> {
        let note = |slot| contents.notes.get(&slot);
        let entries: Result<VecDeque<Entry>> = contents.entries.iter().map(decode).collect();
        let kept = Self {
            first: contents.first,
            entries: entries?,
            vote: note(VOTE).map(decode).transpose()?,
            committed: note(COMMITTED).map(decode).transpose()?,
            noted: true,
            purged: note(PURGED).map(decode).transpose()?,
        };
        let unlike = |(at, entry): (usize, &Entry)| entry.log_id.index != kept.first + at as u64;
        match kept.entries.iter().enumerate().any(unlike) {
            true => Err(Error::invalid("the entries of the log are in disorder")),
            false => Ok(kept),
        }
    }

    /// The entries, without gaps.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The last entry, also when it was purged.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.back().map(|e| e.log_id).or(self.purged)
    }

    /// Up to where this member knows that a majority had the entries.
    pub(crate) fn committed(&self) -> Option<LogId> {
        self.committed
    }

    /// The last term this member knows of, and whom it voted for in it.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let at = |index: u64| {
            let at = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
            at.min(self.entries.len())
        };
        let (start, end) = (at(start), at(end));
        self.entries.range(start..end.max(start))
    }
}

fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|error| Error::unsupported(format!("a newer orc wrote the log: {error}")))
}

fn encode(value: &impl Serialize) -> Bytes {
    let bytes = postcard::to_allocvec(value);
    bytes.expect("plain data can always be encoded").into()
}

fn note(slot: u8, value: &impl Serialize) -> Record {
    Record::Note {
        slot,
        value: encode(value),
    }
}

impl LogStore {
    /// A log that goes on behind `kept`.
    pub(crate) fn new(kept: Kept, writer: Writer) -> Self {
        Self {
            kept: Arc::new(Mutex::new(kept)),
            writer,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.kept().range(start, end).cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.kept().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let kept = self.kept();
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += bytes_of(entry);
            first || bytes <= MAX_BATCH
        };
        Ok(kept.range(start, end).take_while(fits).cloned().collect())
    }
}

fn bytes_of(entry: &Entry) -> usize {
    64 + match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let kept = self.kept();
        Ok(LogState {
            last_purged_log_id: kept.purged,
            last_log_id: kept.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.kept().vote = Some(*vote);
        let records = vec![note(VOTE, vote)];
        self.writer.write(records).await.map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut kept = self.kept();
        kept.committed = committed;
        kept.noted = false;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.kept().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let mut kept = self.kept();
        if !kept.noted
            && let Some(committed) = kept.committed
        {
            records.push(note(COMMITTED, &committed));
            kept.noted = true;
        }
        for entry in entries {
            if kept.entries.is_empty() {
                kept.first = entry.index();
            }
            records.push(Record::Append {
                index: entry.index(),
                payload: encode(&entry),
            });
            kept.entries.push_back(entry);
        }
        let done = move |result: Result<()>| flushed.io_completed(result.map_err(io::Error::other));
        self.writer.submit(records, Some(Box::new(done)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let after = last.map(|last| last.index);
        {
            let mut kept = self.kept();
            let keep = after.map_or(0, |after| (after + 1).saturating_sub(kept.first));
            let keep = usize::try_from(keep).unwrap_or(usize::MAX);
            kept.entries.truncate(keep);
        }
        let records = vec![Record::Cut { after }];
        self.writer.write(records).await.map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut kept = self.kept();
        while kept
            .entries
            .pop_front_if(|entry| entry.log_id.index <= upto.index)
            .is_some()
        {
            kept.first += 1;
        }
        kept.purged = kept.purged.max(Some(upto));
        let records = vec![note(PURGED, &upto), Record::Purge { upto: upto.index }];
        // Nothing depends on it: what is not purged after a crash is purged again.
        self.writer.submit(records, None);
        Ok(())
    }
}

/// The records of a log that begins behind what a snapshot has.
pub(crate) fn beginning(applied: LogId, vote: Vote) -> Vec<Record> {
    vec![
        note(VOTE, &vote),
        note(COMMITTED, &applied),
        note(PURGED, &applied),
        Record::Purge {
            upto: applied.index,
        },
    ]
}
