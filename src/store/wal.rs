//! The log on disk: what is written here before it is acknowledged is there after any crash.
//!
//! A log is a row of segments, a segment a row of frames (`frame.rs`), a frame what was made durable by
//! one sync. Frames are counted through all segments, so none can be missing; a segment is never written
//! again once it was left, and begins with all notes, so that older segments can be removed whole.
//! Segments grow in steps of zeros: a sync that changes no length is twice as fast.
//!
//! On opening, a last frame that was never written to its end is cut off: it was never acknowledged.
//! Anything else that is not as it was written stops the node, with the file and the place.
//! What entries and notes say is the business of `raft/`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use orc_base::{Context as _, Error, Result};
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::frame::{self, Head};
use crate::keys::Keys;

/// Bytes after which the next frame begins a segment.
const SEGMENT: u64 = 32 << 20;
/// Bytes of a segment, at most: one frame may go beyond its end.
const MAX_SEGMENT: usize = 192 << 20;
/// Bytes of zeros that a segment grows by.
const STEP: u64 = if cfg!(test) { 64 << 10 } else { 1 << 20 };
/// Bytes of entries that are put into one frame.
const MAX_BODY: usize = 8 << 20;

/// One thing to remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// The entry at `index`, which follows the last one.
    Append {
        /// Where it is.
        index: u64,
        /// What it says.
        payload: Bytes,
    },
    /// Entries after this one are void; all, when there is none.
    Cut {
        /// The last that stays.
        after: Option<u64>,
    },
    /// Entries up to this one are no longer needed.
    Purge {
        /// The last that goes.
        upto: u64,
    },
    /// Something else, which replaces what the slot had.
    Note {
        /// Which.
        slot: u8,
        /// What it says.
        value: Bytes,
    },
}

impl Record {
    fn bytes(&self) -> usize {
        16 + match self {
            Self::Append { payload, .. } => payload.len(),
            Self::Note { value, .. } => value.len(),
            Self::Cut { .. } | Self::Purge { .. } => 0,
        }
    }
}

/// What all records together say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The index of the first entry.
    pub(crate) first: u64,
    /// The entries, without gaps.
    pub(crate) entries: VecDeque<Bytes>,
    /// Up to where entries were purged.
    pub(crate) purged: Option<u64>,
    /// The notes by slot.
    pub(crate) notes: BTreeMap<u8, Bytes>,
}

impl Contents {
    fn take(&mut self, record: Record) -> Result<()> {
        match record {
            Record::Append { index, payload } => {
                if self.entries.is_empty() {
                    self.first = index;
                }
                let next = self.first + self.entries.len() as u64;
                if index != next {
                    return Err(Error::invalid(format!(
                        "entry {index} stands where {next} belongs"
                    )));
                }
                self.entries.push_back(payload);
            }
            Record::Cut { after } => {
                let keep = after.map_or(0, |after| (after + 1).saturating_sub(self.first));
                self.entries
                    .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            }
            Record::Purge { upto } => {
                while !self.entries.is_empty() && self.first <= upto {
                    self.entries.pop_front();
                    self.first += 1;
                }
                self.purged = self.purged.max(Some(upto));
            }
            Record::Note { slot, value } => {
                self.notes.insert(slot, value);
            }
        }
        Ok(())
    }

    /// Whether the entries follow what was purged; `whole` when nothing was ever removed.
    fn check(&self, whole: bool) -> Result<()> {
        match self.purged {
            None if !whole => Err(Error::invalid("its beginning is missing")),
            Some(upto) if !self.entries.is_empty() && self.first != upto + 1 => {
                Err(Error::invalid(format!(
                    "entries {} to {} are missing",
                    upto + 1,
                    self.first - 1
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The log, open for writing. One at a time may exist for a disk.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    keys: Arc<Keys>,
    /// All segments, the one that is written last.
    segments: VecDeque<Segment>,
    /// Where the next frame goes in the last segment.
    offset: u64,
    /// Up to where the last segment has zeros.
    room: u64,
    /// The number of the next frame.
    next: u64,
    purged: Option<u64>,
    notes: BTreeMap<u8, Bytes>,
}

#[derive(Debug)]
struct Segment {
    name: String,
    key: u32,
    /// The highest index in it.
    last: Option<u64>,
}

impl Segment {
    fn new(number: u64, key: u32) -> Self {
        Self {
            name: format!("log-{number:020}"),
            key,
            last: None,
        }
    }
}

impl Wal {
    /// Reads what is there; begins a log when there is none. `Invalid` when something in it is not as
    /// it was written, with the file and the place.
    pub(crate) fn open(disk: Arc<dyn Disk>, keys: Arc<Keys>) -> Result<(Self, Contents)> {
        let (log, contents, torn) = Self::read(disk, keys)?;
        if let Some(name) = torn {
            log.disk.cut(&name, log.offset)?;
        }
        Ok((log, contents))
    }

    /// Reads what is there and changes nothing: what the log of a stopped member says.
    pub(crate) fn look(disk: Arc<dyn Disk>, keys: Arc<Keys>) -> Result<Contents> {
        Self::read(disk, keys).map(|(_, contents, _)| contents)
    }

    /// The log, what it says, and the file whose end is torn.
    fn read(disk: Arc<dyn Disk>, keys: Arc<Keys>) -> Result<(Self, Contents, Option<String>)> {
        let mut names = disk.list()?;
        names.retain(|name| name.starts_with("log-"));
        let mut reading = Reading {
            log: Self {
                disk,
                keys,
                segments: VecDeque::new(),
                offset: 0,
                room: 0,
                next: 1,
                purged: None,
                notes: BTreeMap::new(),
            },
            contents: Contents::default(),
            torn: None,
        };
        for (at, name) in names.iter().enumerate() {
            reading.segment(name, at == 0, at + 1 == names.len())?;
        }
        let place = reading.log.disk.place();
        reading
            .contents
            .check(
                names
                    .first()
                    .is_none_or(|name| name == &Segment::new(1, 0).name),
            )
            .context(|| format!("read the log in {place}"))?;
        let Reading {
            mut log,
            contents,
            torn,
        } = reading;
        log.purged = contents.purged;
        log.notes = contents.notes.clone();
        Ok((log, contents, torn))
    }

    /// Makes records durable, in their order. After an error nothing more may be written: what the disk
    /// has is not known.
    pub(crate) fn write(&mut self, records: &[Record]) -> Result<()> {
        let mut rest = records;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |record: &&Record| {
                let first = bytes == 0;
                bytes += record.bytes();
                first || bytes <= MAX_BODY
            };
            let count = rest.iter().take_while(fits).count();
            let (now, later) = rest.split_at(count);
            self.write_frame(now)?;
            rest = later;
        }
        Ok(())
    }

    /// Marks that all before was written whole: of a log that was closed, damage to its last entry is
    /// told from a torn tail.
    pub(crate) fn close(&mut self) -> Result<()> {
        match self.offset {
            0 => Ok(()),
            _ => self.put(&[]),
        }
    }

    fn write_frame(&mut self, records: &[Record]) -> Result<()> {
        if self.offset == 0 {
            // Its beginning, with the notes, was torn off.
            self.segments.pop_back();
        }
        if self.segments.is_empty() || self.offset >= SEGMENT {
            self.begin_segment()?;
        }
        self.put(records)?;
        let highest = records.iter().filter_map(|record| match record {
            Record::Append { index, .. } => Some(*index),
            _ => None,
        });
        if let Some(segment) = self.segments.back_mut() {
            segment.last = segment.last.max(highest.max());
        }
        for record in records {
            match record {
                Record::Note { slot, value } => {
                    self.notes.insert(*slot, value.clone());
                }
                Record::Purge { upto } => self.purged = self.purged.max(Some(*upto)),
                Record::Append { .. } | Record::Cut { .. } => {}
            }
        }
        self.remove_purged()
    }

    fn begin_segment(&mut self) -> Result<()> {
        let segment = Segment::new(self.next, self.keys.current());
        self.segments.push_back(segment);
        (self.offset, self.room) = (0, 0);
        let purged = self.purged.map(|upto| Record::Purge { upto });
        let notes = self.notes.iter().map(|(slot, value)| Record::Note {
            slot: *slot,
            value: value.clone(),
        });
        let records: Vec<Record> = purged.into_iter().chain(notes).collect();
        self.put(&records)
    }

    /// One frame and one sync.
    fn put(&mut self, records: &[Record]) -> Result<()> {
        let segment = self.segments.back().expect("callers begin a segment");
        let body = postcard::to_allocvec(records)
            .map_err(|error| Error::internal(format!("encode records of the log: {error}")))?;
        let mut frame = frame::seal(&self.keys, segment.key, &segment.name, self.next, &body)?;
        let end = self.offset + frame.len() as u64;
        if end > self.room {
            self.room = end.next_multiple_of(STEP);
            frame.resize((self.room - self.offset) as usize, 0);
        }
        self.disk.write(&segment.name, self.offset, &frame)?;
        self.disk.sync(&segment.name)?;
        self.offset = end;
        self.next += 1;
        Ok(())
    }

    /// Removes the first segments while all their entries are purged; never the last.
    fn remove_purged(&mut self) -> Result<()> {
        while self.segments.len() > 1 && self.segments[0].last <= self.purged {
            self.disk.remove(&self.segments[0].name)?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

/// A log while it is read.
struct Reading {
    log: Wal,
    contents: Contents,
    torn: Option<String>,
}

impl Reading {
    fn segment(&mut self, name: &str, first: bool, last: bool) -> Result<()> {
        let file = format!("{}/{name}", self.log.disk.place());
        let number = name["log-".len()..].parse::<u64>();
        let number = number.map_err(|_| Error::invalid(format!("{file} is no part of a log")))?;
        if first {
            self.log.next = number;
        }
        if number != self.log.next {
            return Err(Error::invalid(format!(
                "{file} begins at frame {number}, but the one before ends at {}: a part of the log is missing",
                self.log.next - 1
            )));
        }
        let bytes = self.log.disk.read(name, 0, MAX_SEGMENT + 1)?;
        if bytes.len() > MAX_SEGMENT {
            return Err(Error::exhausted(format!(
                "{file} is larger than {MAX_SEGMENT} bytes"
            )));
        }
        let key = self.log.keys.current();
        self.log.segments.push_back(Segment::new(number, key));
        let mut offset = 0;
        while bytes[offset..].iter().any(|byte| *byte != 0) {
            let rest = &bytes[offset..];
            let head = Head::read(rest).filter(|head| frame::intact(*head, rest));
            let Some(head) = head else {
                if last && frame::torn(rest, offset as u64) {
                    self.torn = Some(name.to_owned());
                    break;
                }
                return Err(damage(&file, offset, "it is not what was written"));
            };
            self.frame(name, head, rest)
                .map_err(|error| damage(&file, offset, &error.to_string()))?;
            offset += head.whole();
        }
        if offset == 0 && first && number != 1 {
            return Err(damage(&file, 0, "the log has no beginning"));
        }
        self.log.offset = offset as u64;
        self.log.room = match self.torn {
            Some(_) => offset as u64,
            None => bytes.len() as u64,
        };
        Ok(())
    }

    fn frame(&mut self, name: &str, head: Head, bytes: &[u8]) -> Result<()> {
        if head.number != self.log.next {
            return Err(Error::invalid(format!(
                "frame {} stands where {} belongs",
                head.number, self.log.next
            )));
        }
        let body = frame::open(&self.log.keys, name, head, &bytes[..head.whole()])?;
        let records: Vec<Record> = postcard::from_bytes(&body)
            .map_err(|error| Error::unsupported(format!("a newer orc wrote it: {error}")))?;
        for record in records {
            if let (Record::Append { index, .. }, Some(segment)) =
                (&record, self.log.segments.back_mut())
            {
                segment.last = segment.last.max(Some(*index));
            }
            self.contents.take(record)?;
        }
        self.log.next += 1;
        Ok(())
    }
}

fn damage(file: &str, offset: usize, why: &str) -> Error {
    Error::invalid(format!(
        "the log is damaged: {file} at byte {offset}: {why}; remove this member from the cluster and \
         let it join again with an empty directory, or restore a backup"
    ))
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;
    use crate::disk::Directory;

    fn append(index: u64, text: &str) -> Record {
        Record::Append {
            index,
            payload: Bytes::from(text.to_owned()),
        }
    }

    fn note(slot: u8, text: &str) -> Record {
        Record::Note {
            slot,
            value: Bytes::from(text.to_owned()),
        }
    }

    struct Place {
        directory: tempfile::TempDir,
        keys: Arc<Keys>,
    }

    impl Place {
        fn new() -> Self {
            use std::os::unix::fs::PermissionsExt as _;
            let directory = tempfile::tempdir().unwrap();
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(directory.path(), mode).unwrap();
            Self {
                directory,
                keys: Arc::new(Keys::ephemeral()),
            }
        }

        fn open(&self) -> Result<(Wal, Contents)> {
            let disk = Directory::open(self.directory.path()).unwrap();
            Wal::open(Arc::new(disk), self.keys.clone())
        }

        fn files(&self) -> Vec<std::path::PathBuf> {
            orc_base::fs::list(self.directory.path()).unwrap()
        }
    }

    fn told(contents: &Contents) -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let entries = contents.entries.iter().enumerate();
        entries
            .map(|(at, entry)| format!("{}={}", contents.first + at as u64, text(entry)))
            .chain(
                contents
                    .notes
                    .iter()
                    .map(|(slot, v)| format!("#{slot}={}", text(v))),
            )
            .collect()
    }

    #[test]
    fn what_was_written_is_there_again() {
        let place = Place::new();
        let (mut log, empty) = place.open().unwrap();
        assert_eq!(empty, Contents::default());
        log.write(&[append(1, "a"), append(2, "b"), note(0, "x")])
            .unwrap();
        log.write(&[append(3, "c"), append(4, "d"), note(0, "y"), note(1, "z")])
            .unwrap();
        log.write(&[Record::Cut { after: Some(2) }, append(3, "C")])
            .unwrap();
        log.write(&[Record::Purge { upto: 1 }]).unwrap();
        let (_, contents) = place.open().unwrap();
        assert_eq!(told(&contents), ["2=b", "3=C", "#0=y", "#1=z"]);
        assert_eq!(contents.purged, Some(1));
        let (mut log, _) = place.open().unwrap();
        log.write(&[Record::Purge { upto: 9 }, append(10, "e")])
            .unwrap();
        log.close().unwrap();
        let (mut log, contents) = place.open().unwrap();
        assert_eq!(told(&contents), ["10=e", "#0=y", "#1=z"]);
        log.write(&[Record::Cut { after: None }]).unwrap();
        assert!(place.open().unwrap().1.entries.is_empty());
    }

    #[test]
    fn old_segments_go_and_what_they_noted_stays() {
        let place = Place::new();
        let (mut log, _) = place.open().unwrap();
        let large = "x".repeat(3 << 20);
        log.write(&[note(0, "vote")]).unwrap();
        for index in 1..=30 {
            log.write(&[append(index, &large)]).unwrap();
        }
        assert!(place.files().len() > 2);
        log.write(&[Record::Purge { upto: 29 }]).unwrap();
        assert_eq!(place.files().len(), 1);
        let (_, contents) = place.open().unwrap();
        assert_eq!((contents.first, contents.entries.len()), (30, 1));
        assert_eq!(contents.notes[&0], "vote");
    }

    #[test]
    fn a_missing_segment_stops_the_node() {
        let place = Place::new();
        let (mut log, _) = place.open().unwrap();
        let large = "x".repeat(3 << 20);
        for index in 1..=40 {
            log.write(&[append(index, &large)]).unwrap();
        }
        let files = place.files();
        assert!(files.len() > 2);
        for gone in &files[..files.len() - 1] {
            let bytes = std::fs::read(gone).unwrap();
            std::fs::remove_file(gone).unwrap();
            let error = place.open().err().expect("a part is missing");
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
            std::fs::write(gone, bytes).unwrap();
        }
        assert!(place.open().is_ok());
    }

    #[test]
    fn a_torn_tail_is_cut_at_any_byte_and_writing_goes_on() {
        let place = Place::new();
        let (mut log, _) = place.open().unwrap();
        log.write(&[append(1, "one")]).unwrap();
        let before = log.offset as usize;
        log.write(&[append(2, &"two".repeat(400))]).unwrap();
        let after = log.offset as usize;
        let file = place.files().remove(0);
        let whole = std::fs::read(&file).unwrap();
        for length in (before..after).step_by(31).chain([after - 1]) {
            let mut torn = whole.clone();
            torn[length..after].fill(0);
            std::fs::write(&file, &torn).unwrap();
            let (mut log, contents) = place.open().unwrap();
            assert_eq!(told(&contents), ["1=one"], "{length}");
            log.write(&[append(2, "again")]).unwrap();
            assert_eq!(told(&place.open().unwrap().1), ["1=one", "2=again"]);
        }
    }

    #[test]
    fn any_other_damage_stops_the_node_and_names_the_place() {
        let place = Place::new();
        let (mut log, _) = place.open().unwrap();
        for index in 1..=3 {
            log.write(&[append(index, "some text of an entry")])
                .unwrap();
        }
        log.close().unwrap();
        let end = log.offset as usize;
        let file = place.files().remove(0);
        let whole = std::fs::read(&file).unwrap();
        for bit in 0..end * 8 {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&file, &bad).unwrap();
            let error = place.open().err().unwrap_or_else(|| panic!("bit {bit}"));
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(
                error
                    .to_string()
                    .contains("/log-00000000000000000001 at byte")
            );
        }
        // A whole sector that a closed log lost is damage too: the closing mark is behind it.
        let mut bad = whole.clone();
        bad[..64].fill(0);
        std::fs::write(&file, &bad).unwrap();
        assert!(place.open().is_err());
    }

    #[test]
    fn nothing_that_was_written_can_be_found_in_the_files() {
        let place = Place::new();
        let (mut log, _) = place.open().unwrap();
        log.write(&[append(1, "planted-secret"), note(0, "planted-note")])
            .unwrap();
        let bytes = std::fs::read(place.files().remove(0)).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"planted"));
    }
}
