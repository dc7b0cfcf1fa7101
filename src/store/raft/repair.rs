//! Beginning again: backups, and clusters that lost their majority.
//!
//! A backup is a snapshot (`snapshot.rs`) sealed by a key of its own. Whatever is begun again has a new
//! cluster id and one voter, so the members of the old cluster and those of the new one refuse each other.
//! Nothing here changes what it reads: the new member's directory must be empty.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::StoredMembership;
use openraft::vote::RaftLeaderId as _;
use orc_base::fs::{self, Durability};
use orc_base::{Context as _, Error, Kind, Result, id};
use serde::{Deserialize, Serialize};

use crate::disk::{Directory, Disk};
use crate::frame::{self, HEAD, Head};
use crate::keys::{self, Keys};
use crate::map::{Limits, Map};
use crate::raft::log::{self, Kept};
use crate::raft::machine::State;
use crate::raft::options::{ClusterId, Options};
use crate::raft::types::{Address, LogId, Vote};
use crate::snapshot::{self, Assembly, Image, Pieces};
use crate::transport::NodeId;
use crate::wal::{Contents, Wal};

/// What frames of a backup are called.
const BACKUP: &str = "backup";
/// Bytes of the file that says whose the directory is, at most.
const BELONGS_BYTES: u64 = 4096;

/// Whose a directory is.
#[derive(Debug, Serialize, Deserialize)]
struct Belongs {
    version: u32,
    node: NodeId,
    cluster: String,
}

impl Belongs {
    fn path(directory: &Path) -> PathBuf {
        directory.join("member.json")
    }
}

/// Checks that a directory is this member's, or says that it is when it is nobody's. `Conflict` when it is
/// another's.
pub(crate) fn belongs(options: &Options) -> Result<()> {
    let path = Belongs::path(&options.directory);
    match fs::read_json::<Belongs>(&path, BELONGS_BYTES) {
        Ok(belongs) => {
            let mine = (options.node, options.cluster.to_string());
            if belongs.version != 1 {
                return Err(Error::unsupported(format!(
                    "{} has version {}: this orc reads version 1",
                    path.display(),
                    belongs.version
                )));
            }
            match (belongs.node, belongs.cluster) == mine {
                true => Ok(()),
                false => Err(Error::conflict(format!(
                    "the store in {} is another member's than node {} of cluster {}",
                    options.directory.display(),
                    options.node,
                    options.cluster
                ))),
            }
        }
        Err(error) if error.kind() == Kind::NotFound => {
            let belongs = Belongs {
                version: 1,
                node: options.node,
                cluster: options.cluster.to_string(),
            };
            fs::write_json(&path, &belongs, Durability::Synced)
        }
        Err(error) => Err(error),
    }
}

/// Writes an image, sealed by a new key.
pub(crate) fn backup(image: Image, to: &mut dyn Write) -> Result<String> {
    let key = keys::random_key();
    let keys = Keys::of(key);
    for (number, piece) in Pieces::new(image).enumerate() {
        let frame = frame::seal(&keys, 1, BACKUP, number as u64, &piece)?;
        to.write_all(&frame).context(|| "write the backup")?;
    }
    to.flush().context(|| "write the backup")?;
    Ok(id::hex(&key))
}

/// Begins a cluster of one member with what a backup has. `key` is what
/// [`RaftStore::backup`](crate::RaftStore::backup) returned. `Denied` when it is another's, `Invalid` when
/// the backup is damaged, `Conflict` when the directory is not empty.
pub fn restore(from: &mut dyn Read, key: &str, options: &Options) -> Result<()> {
    let image = read_backup(from, key, options.limits)?;
    begin(options, image, 0)
}

fn read_backup(from: &mut dyn Read, key: &str, limits: Limits) -> Result<Image> {
    let keys = Keys::of(parse_key(key)?);
    let mut assembly = Assembly::new(limits);
    for number in 0.. {
        let piece = read_frame(from, &keys, number)
            .context(|| format!("read piece {number} of the backup"))?;
        if let Some(image) = assembly.take(&piece)? {
            return Ok(image);
        }
    }
    Err(Error::invalid("the backup has no end"))
}

fn parse_key(key: &str) -> Result<[u8; 32]> {
    let wrong = || Error::invalid("the key of a backup has 64 hexadecimal digits");
    let digits = key.trim().as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

fn read_frame(from: &mut dyn Read, keys: &Keys, number: u64) -> Result<Vec<u8>> {
    let damaged = || Error::invalid("it is not what was written");
    let mut bytes = vec![0; HEAD];
    from.read_exact(&mut bytes).map_err(|_| damaged())?;
    let head = Head::read(&bytes).ok_or_else(damaged)?;
    bytes.resize(head.whole(), 0);
    from.read_exact(&mut bytes[HEAD..]).map_err(|_| damaged())?;
    if head.number != number || !frame::intact(head, &bytes) {
        return Err(damaged());
    }
    frame::open(keys, BACKUP, head, &bytes)
        .map_err(|_| Error::denied("the key is not the one this backup was made with"))
}

/// Makes the directory of the only member of a new cluster.
fn begin(options: &Options, image: Image, term: u64) -> Result<()> {
    let disk = Directory::open(&options.directory)?;
    if !disk.list()?.is_empty() {
        return Err(Error::conflict(format!(
            "{} is not empty: a store can begin again only in a new directory",
            options.directory.display()
        )));
    }
    let keys = Arc::new(Keys::open(
        &options.directory.join("keys"),
        &options.key_file,
    )?);
    let old = State::of(&image)?;
    let applied = old.applied.unwrap_or(LogId::new_term_index(0, 0));
    let state = State {
        applied: Some(applied),
        membership: alone(options, applied)?,
        removed: old.removed,
    };
    let image = state.image(image.map);
    snapshot::write(&disk, &keys, &state.file(), image)?;
    let term = term.max(applied.leader_id.term);
    let vote = Vote::new(term, options.node);
    let (mut wal, _) = Wal::open(Arc::new(disk), keys)?;
    wal.write(&log::beginning(applied, vote))?;
    wal.close()?;
    // Last: without it nobody opens the directory as this member's.
    belongs(options)
}

fn alone(options: &Options, applied: LogId) -> Result<crate::raft::types::Membership> {
    let nodes = [(options.node, Address(options.address.clone()))];
    let nodes = std::collections::BTreeMap::from(nodes);
    let membership = openraft::Membership::new(vec![[options.node].into()], nodes)
        .map_err(|error| Error::internal(format!("a membership of one: {error}")))?;
    Ok(StoredMembership::new(Some(applied), membership))
}

/// What is left of a member that was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Its number.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: String,
    /// The term and the index of the last entry in its log.
    pub last: (u64, u64),
    /// Up to which entry it knows that a majority had them.
    pub committed: u64,
    /// The last term it knows of.
    pub term: u64,
    directory: PathBuf,
    key_file: PathBuf,
}

impl Survivor {
    /// Looks at a member's directory; it must not be running.
    pub async fn look(directory: &Path, key_file: &Path) -> Result<Self> {
        let belongs: Belongs = fs::read_json(&Belongs::path(directory), BELONGS_BYTES)?;
        let (state, kept) = {
            let (image, kept) = read_all(directory, key_file, Limits::default()).await?;
            let state = image.map(|image| State::of(&image)).transpose()?;
            (state.unwrap_or_default(), kept)
        };
        let last = kept.last().max(state.applied);
        let committed = kept.committed().max(state.applied);
        Ok(Self {
            node: belongs.node,
            cluster: belongs.cluster,
            last: last.map_or((0, 0), |id| (id.leader_id.term, id.index)),
            committed: committed.map_or(0, |id| id.index),
            term: kept.vote().map_or(0, |vote| vote.leader_id.term()),
            directory: directory.to_owned(),
            key_file: key_file.to_owned(),
        })
    }
}

async fn read_all(
    directory: &Path,
    key_file: &Path,
    limits: Limits,
) -> Result<(Option<Image>, Kept)> {
    let disk = Arc::new(Directory::lock(directory).await?);
    let keys = Arc::new(Keys::open(&directory.join("keys"), key_file)?);
    let name = snapshot::newest(&*disk)?;
    let image = name
        .map(|name| snapshot::read(&*disk, &keys, &name, limits))
        .transpose()?;
    let contents: Contents = Wal::look(disk, keys)?;
    Ok((image, Kept::read(&contents)?))
}

/// What beginning again from survivors keeps and may lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The survivor that has most.
    pub best: NodeId,
    /// The last entry it has: whatever only the dead ones acknowledged behind it is lost.
    pub kept: u64,
    /// Entries up to here are known to have been acknowledged; those behind, up to `kept`, are kept too, and
    /// may never have been.
    pub certain: u64,
    /// How many survivors there are.
    pub survivors: usize,
}

impl Lost {
    /// Compares survivors. `Invalid` when there are none, or they are not of one cluster, or one knows of a
    /// majority for entries that none of them has.
    pub fn compare(survivors: &[Survivor]) -> Result<Self> {
        let best = best(survivors)?;
        let certain = survivors.iter().map(|survivor| survivor.committed).max();
        let certain = certain.unwrap_or(0);
        if survivors.iter().any(|other| other.cluster != best.cluster) {
            return Err(Error::invalid("the survivors are not of one cluster"));
        }
        if certain > best.last.1 {
            return Err(Error::invalid(format!(
                "a survivor knows that entry {certain} was acknowledged, but the best log ends at {}: it \
                 is damaged, or another survivor is missing",
                best.last.1
            )));
        }
        Ok(Self {
            best: best.node,
            kept: best.last.1,
            certain,
            survivors: survivors.len(),
        })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            best,
            kept,
            certain,
            survivors,
        } = self;
        write!(
            f,
            "node {best} has most of {survivors}: its log ends at entry {kept}. Entries up to {certain} \
             were acknowledged and are kept"
        )?;
        if kept > certain {
            write!(
                f,
                "; those up to {kept} are kept and may never have been acknowledged"
            )?;
        }
        write!(
            f,
            ". What the missing members acknowledged behind entry {kept} is lost"
        )
    }
}

fn best(survivors: &[Survivor]) -> Result<&Survivor> {
    let best = survivors.iter().max_by_key(|survivor| survivor.last);
    best.ok_or_else(|| Error::invalid("there is no survivor to begin again from"))
}

/// Begins a cluster of one member with all that the best of the survivors has. `options` name the new
/// member, the new cluster id and an empty directory. The old members must not run on, but if they do, they
/// and the new cluster refuse each other.
pub async fn recover(survivors: &[Survivor], options: &Options) -> Result<Lost> {
    let lost = Lost::compare(survivors)?;
    let best = best(survivors)?;
    if options.cluster.to_string() == best.cluster {
        return Err(Error::invalid("a cluster that begins again needs a new id"));
    }
    let (image, kept) = read_all(&best.directory, &best.key_file, options.limits).await?;
    let (mut state, mut map) = match image {
        Some(image) => (State::of(&image)?, image.map),
        None => (State::default(), Map::new(options.limits)),
    };
    for entry in kept.entries() {
        if Some(entry.log_id) > state.applied {
            state.apply(&mut map, entry)?;
        }
    }
    let term = survivors.iter().map(|survivor| survivor.term).max();
    begin(options, state.image(map), term.unwrap_or(0))?;
    Ok(lost)
}

impl ClusterId {
    /// The cluster and the member that a directory belongs to; nothing when it belongs to nobody.
    pub fn of_directory(directory: &Path) -> Result<Option<(Self, NodeId)>> {
        match fs::read_json::<Belongs>(&Belongs::path(directory), BELONGS_BYTES) {
            Ok(belongs) => Ok(Some((belongs.cluster.parse()?, belongs.node))),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
