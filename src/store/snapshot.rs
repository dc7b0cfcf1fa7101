//! A whole map as a row of pieces, and as a file.
//!
//! The pieces are what travels to another member and, sealed as frames (`frame.rs`), what lies on disk:
//! a head, the entries, the history, and a foot that counts them. They are made one after the other from
//! a copy of the map, which costs nothing, so a snapshot never stops the store and never lies in memory
//! twice. Two maps are the same when their pieces are.

use std::collections::HashMap;

use bytes::Bytes;
use orc_base::{Context as _, Error, Result};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::frame::{self, HEAD, Head as FrameHead};
use crate::keys::Keys;
use crate::map::{Limits, Map};
use crate::model::{Entry, Event, Key, Revision};

/// Bytes of keys and values after which a piece ends.
const PIECE: usize = 512 << 10;
/// What the file is called while it is written.
const UNFINISHED: &str = "snapshot.new";

/// What a snapshot holds: the map, and what its owner says about it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) map: Map,
    pub(crate) about: Bytes,
}

/// Order is the format: new ones go to the end.
#[derive(Serialize, Deserialize)]
enum Piece {
    Head(Head),
    Entries(Vec<Entry>),
    Events(Vec<Event>),
    Foot { entries: u64, events: u64 },
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    about: Bytes,
    floor: Revision,
    revision: Revision,
}

/// Makes the pieces of an image, one at a time.
pub(crate) struct Pieces {
    image: Image,
    stage: Stage,
    entries: u64,
    events: u64,
}

enum Stage {
    Head,
    Entries(Option<Key>),
    Events(Revision),
    End,
}

impl Pieces {
    pub(crate) fn new(image: Image) -> Self {
        Self {
            image,
            stage: Stage::Head,
            entries: 0,
            events: 0,
        }
    }

    fn piece(&mut self) -> Option<Piece> {
        let map = &self.image.map;
        match &self.stage {
            Stage::Head => {
                self.stage = Stage::Entries(None);
                Some(Piece::Head(Head {
                    version: 1,
                    about: self.image.about.clone(),
                    floor: map.floor(),
                    revision: map.revision(),
                }))
            }
            Stage::Entries(after) => {
                let entries = up_to(map.entries_after(after.as_ref()).cloned(), entry_bytes);
                self.entries += entries.len() as u64;
                self.stage = match entries.last() {
                    Some(last) => Stage::Entries(Some(last.key.clone())),
                    None => Stage::Events(map.floor()),
                };
                Some(Piece::Entries(entries))
            }
            Stage::Events(after) => {
                let events = map.events_after(*after).map(|event| (**event).clone());
                let events = up_to(events, event_bytes);
                self.events += events.len() as u64;
                let Some(last) = events.last() else {
                    self.stage = Stage::End;
                    return Some(Piece::Foot {
                        entries: self.entries,
                        events: self.events,
                    });
                };
                self.stage = Stage::Events(last.revision());
                Some(Piece::Events(events))
            }
            Stage::End => None,
        }
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let piece = self.piece()?;
        Some(postcard::to_allocvec(&piece).expect("plain data can always be encoded"))
    }
}

fn up_to<T>(items: impl Iterator<Item = T>, bytes_of: fn(&T) -> usize) -> Vec<T> {
    let mut bytes = 0;
    items
        .take_while(|item| {
            let first = bytes == 0;
            bytes += 32 + bytes_of(item);
            first || bytes <= PIECE
        })
        .collect()
}

fn entry_bytes(entry: &Entry) -> usize {
    entry.key.as_str().len() + entry.value.len()
}

fn event_bytes(event: &Event) -> usize {
    let new = match event {
        Event::Put { entry, .. } => entry_bytes(entry),
        Event::Removed { .. } => 0,
    };
    new + event.previous().map_or(0, entry_bytes)
}

/// Puts pieces together again.
pub(crate) struct Assembly {
    limits: Limits,
    head: Option<Head>,
    entries: Vec<Entry>,
    events: Vec<Event>,
}

impl Assembly {
    /// Begins; the map will keep this much history.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            head: None,
            entries: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes the next piece; the last one gives the image. `Invalid` when it does not fit.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<Option<Image>> {
        let piece = postcard::from_bytes(piece)
            .map_err(|error| Error::invalid(format!("a piece of a snapshot: {error}")))?;
        match (piece, &self.head) {
            (Piece::Head(head), None) if head.version == 1 => self.head = Some(head),
            (Piece::Head(head), None) => {
                return Err(Error::unsupported(format!(
                    "the snapshot has version {}: this orc reads version 1",
                    head.version
                )));
            }
            (Piece::Entries(entries), Some(_)) if self.events.is_empty() => {
                self.entries.extend(entries);
            }
            (Piece::Events(events), Some(_)) => self.events.extend(events),
            (Piece::Foot { entries, events }, Some(_)) => return self.end(entries, events),
            _ => return Err(Error::invalid("the pieces of a snapshot are out of order")),
        }
        Ok(None)
    }

    fn end(&mut self, entries: u64, events: u64) -> Result<Option<Image>> {
        let found = (self.entries.len() as u64, self.events.len() as u64);
        if found != (entries, events) {
            return Err(Error::invalid(format!(
                "the snapshot has {} entries and {} changes, but it was made with {entries} and {events}",
                found.0, found.1
            )));
        }
        let Some(head) = self.head.take() else {
            return Ok(None);
        };
        let mut shared = Interned::of(&self.entries);
        let events = std::mem::take(&mut self.events);
        let events = events.into_iter().map(|event| shared.event(event));
        let entries = std::mem::take(&mut self.entries);
        let revisions = (head.floor, head.revision);
        Ok(Some(Image {
            map: Map::restore(self.limits, revisions, entries, events),
            about: head.about,
        }))
    }
}

/// The same entry is one value in memory, wherever it is mentioned.
struct Interned(HashMap<Revision, Entry>);

impl Interned {
    fn of(entries: &[Entry]) -> Self {
        let by_revision = entries.iter().map(|entry| (entry.modified, entry.clone()));
        Self(by_revision.collect())
    }

    fn entry(&mut self, entry: Entry) -> Entry {
        self.0.entry(entry.modified).or_insert(entry).clone()
    }

    fn event(&mut self, event: Event) -> Event {
        match event {
            Event::Put { entry, previous } => Event::Put {
                entry: self.entry(entry),
                previous: previous.map(|entry| self.entry(entry)),
            },
            Event::Removed { revision, previous } => Event::Removed {
                revision,
                previous: self.entry(previous),
            },
        }
    }
}

/// The SHA-256 of all that a map says: entries, revision and history.
pub(crate) fn checksum(map: &Map) -> [u8; 32] {
    let mut sum = digest::Context::new(&digest::SHA256);
    let image = Image {
        map: map.clone(),
        about: Bytes::new(),
    };
    Pieces::new(image).for_each(|piece| sum.update(&piece));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(sum.finish().as_ref());
    bytes
}

/// Writes an image to the file `name`, durably, and removes all other snapshots.
pub(crate) fn write(disk: &dyn Disk, keys: &Keys, name: &str, image: Image) -> Result<()> {
    disk.remove(UNFINISHED)?;
    let key = keys.current();
    let mut offset = 0;
    for (number, piece) in Pieces::new(image).enumerate() {
        let frame = frame::seal(keys, key, name, number as u64, &piece)?;
        disk.write(UNFINISHED, offset, &frame)?;
        offset += frame.len() as u64;
    }
    disk.sync(UNFINISHED)?;
    disk.rename(UNFINISHED, name)?;
    for other in names(disk)?.iter().filter(|other| *other != name) {
        disk.remove(other)?;
    }
    Ok(())
}

/// The name of the newest snapshot.
pub(crate) fn newest(disk: &dyn Disk) -> Result<Option<String>> {
    Ok(names(disk)?.pop())
}

fn names(disk: &dyn Disk) -> Result<Vec<String>> {
    let mut names = disk.list()?;
    names.retain(|name| name.starts_with("snapshot-"));
    Ok(names)
}

/// Reads the file `name`. `Invalid` when it is not whole, with the place.
pub(crate) fn read(disk: &dyn Disk, keys: &Keys, name: &str, limits: Limits) -> Result<Image> {
    let mut assembly = Assembly::new(limits);
    let (mut offset, mut number) = (0_u64, 0);
    loop {
        let piece = read_piece(disk, keys, name, offset, number);
        let taken = piece.and_then(|(piece, length)| Ok((assembly.take(&piece)?, length)));
        let (image, length) = taken.context(|| {
            let place = disk.place();
            format!("the snapshot is damaged: {place}/{name} at byte {offset}")
        })?;
        if let Some(image) = image {
            return Ok(image);
        }
        offset += length;
        number += 1;
    }
}

fn read_piece(
    disk: &dyn Disk,
    keys: &Keys,
    name: &str,
    offset: u64,
    number: u64,
) -> Result<(Vec<u8>, u64)> {
    let damaged = || Error::invalid("it is not what was written");
    let head = disk.read(name, offset, HEAD)?;
    let head = FrameHead::read(&head).ok_or_else(damaged)?;
    let bytes = disk.read(name, offset, head.whole())?;
    if head.number != number || !frame::intact(head, &bytes) {
        return Err(damaged());
    }
    let piece = frame::open(keys, name, head, &bytes)?;
    Ok((piece, head.whole() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Directory;
    use crate::model::{Change, Transaction};

    fn sample() -> Image {
        let limits = Limits {
            events: 500,
            bytes: 64 << 20,
        };
        let mut map = Map::new(limits);
        for n in 0..900 {
            let key = Key::new(format!("key/{}", n % 300)).unwrap();
            let change = match n % 7 {
                6 => Change::Remove(key),
                _ => Change::Put(key, Bytes::from(vec![n as u8; n * 10])),
            };
            let _ = map.apply(&Transaction {
                guards: Vec::new(),
                changes: vec![change],
            });
        }
        Image {
            map,
            about: Bytes::from_static(b"who"),
        }
    }

    fn limits() -> Limits {
        Limits {
            events: 500,
            bytes: 64 << 20,
        }
    }

    #[test]
    fn pieces_make_the_same_map_again() {
        let image = sample();
        let pieces: Vec<_> = Pieces::new(image.clone()).collect();
        assert!(pieces.len() > 6, "{}", pieces.len());
        let mut assembly = Assembly::new(limits());
        let mut again = None;
        for piece in &pieces {
            assert!(again.is_none());
            again = assembly.take(piece).unwrap();
        }
        let again = again.unwrap();
        assert_eq!(again.about, "who");
        assert_eq!(checksum(&again.map), checksum(&image.map));
        assert_eq!(again.map.floor(), image.map.floor());
        let middle = Revision(image.map.floor().0 + 100);
        let range = crate::Range::default();
        assert_eq!(
            again.map.list(&range, Some(middle)).unwrap(),
            image.map.list(&range, Some(middle)).unwrap()
        );
        for missing in 0..pieces.len() {
            let mut assembly = Assembly::new(limits());
            let rest = pieces.iter().enumerate().filter(|(at, _)| *at != missing);
            let taken: Result<Vec<_>> = rest.map(|(_, piece)| assembly.take(piece)).collect();
            let whole = taken.is_ok_and(|taken| taken.iter().any(Option::is_some));
            let empty = Piece::Entries(Vec::new());
            let nothing = pieces[missing] == postcard::to_allocvec(&empty).unwrap();
            assert!(!whole || nothing, "without piece {missing}");
        }
    }

    #[test]
    fn a_file_is_whole_or_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let disk = Directory::open(place.path()).unwrap();
        let keys = Keys::ephemeral();
        let image = sample();
        write(&disk, &keys, "snapshot-1", image.clone()).unwrap();
        write(&disk, &keys, "snapshot-2", image.clone()).unwrap();
        assert_eq!(disk.list().unwrap(), ["snapshot-2"]);
        assert_eq!(newest(&disk).unwrap().unwrap(), "snapshot-2");
        let again = read(&disk, &keys, "snapshot-2", limits()).unwrap();
        assert_eq!(checksum(&again.map), checksum(&image.map));
        let path = place.path().join("snapshot-2");
        let whole = std::fs::read(&path).unwrap();
        assert!(!whole.windows(5).any(|window| window == b"key/1"));
        for at in (0..whole.len()).step_by(whole.len() / 40) {
            let mut bad = whole.clone();
            bad[at] ^= 16;
            std::fs::write(&path, &bad).unwrap();
            assert!(
                read(&disk, &keys, "snapshot-2", limits()).is_err(),
                "byte {at}"
            );
            std::fs::write(&path, &whole[..at]).unwrap();
            let error = read(&disk, &keys, "snapshot-2", limits()).unwrap_err();
            assert!(error.to_string().contains("/snapshot-2 at byte"), "{error}");
        }
    }
}
