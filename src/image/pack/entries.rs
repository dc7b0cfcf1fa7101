//! Turns what a walk meets into entries of an archive.
//!
//! Keeps what `unpack` keeps: kinds, modes, owners, times in whole seconds, hard links, capabilities
//! of programs and the attributes of users. Sockets cannot be in an archive and are passed over. A
//! file that shrinks while it is read is an error: its size has been said.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use orc_base::{Error, Result, Time};

use crate::pack::look;
use crate::pack::tape::{Header, Kind, Tape};
use crate::pack::walk::Met;
use crate::unpack::sparse::{Map, Piece};

const CHUNK_BYTES: usize = 256 << 10;

/// What was packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Bytes of all files, holes included.
    pub file_bytes: u64,
    /// Whether an entry describes the root directory.
    pub has_root: bool,
}

/// An archive to which files are added.
pub(super) struct Entries<'o> {
    tape: Tape<'o>,
    clamp: Option<Time>,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    packed: Packed,
    /// Who owns everything, whoever owns it here.
    owner: Option<(u32, u32)>,
}

impl<'o> Entries<'o> {
    pub(super) fn new(out: &'o mut dyn Write, clamp: Option<Time>) -> Self {
        Self {
            tape: Tape::new(out),
            clamp,
            links: HashMap::new(),
            buffer: vec![0; CHUNK_BYTES],
            packed: Packed::default(),
            owner: None,
        }
    }

    /// Everything that is added belongs to this user and group.
    pub(super) fn owned_by(mut self, owner: (u32, u32)) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Adds what was met under the name `path`.
    pub(super) fn add(&mut self, met: &Met<'_>, path: &Path) -> Result<()> {
        let name = path.as_os_str().as_bytes().to_vec();
        if let Some(directory) = met.directory {
            return self.directory(directory, name, met.stat);
        }
        match met.kind() {
            FileType::RegularFile => self.regular(met, name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(met.parent, met.name, Vec::new())?;
                self.once(met.stat, name, Kind::Symlink(target.into_bytes()))
            }
            FileType::Fifo => self.once(met.stat, name, Kind::Fifo),
            FileType::CharacterDevice => {
                self.once(met.stat, name, Kind::Char(look::device(met.stat)))
            }
            FileType::BlockDevice => self.once(met.stat, name, Kind::Block(look::device(met.stat))),
            // Sockets, and a directory that was swapped for something else.
            _ => Ok(()),
        }
    }

    /// Adds the directory `name`; `.` is the root.
    pub(super) fn directory(
        &mut self,
        directory: impl AsFd,
        mut name: Vec<u8>,
        stat: &Stat,
    ) -> Result<()> {
        self.packed.has_root |= name == b".";
        if !name.ends_with(b"/") {
            name.push(b'/');
        }
        let xattrs = look::xattrs(directory.as_fd())?;
        let header = look::header(name, Kind::Directory, stat, self.clamp);
        self.put(&Header { xattrs, ..header })
    }

    /// Adds an empty file that only its name means something of.
    pub(super) fn mark(&mut self, name: Vec<u8>) -> Result<()> {
        self.put(&Header {
            name,
            kind: Kind::File(0),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: Vec::new(),
        })
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<Packed> {
        self.packed.bytes = self.tape.finish()?;
        Ok(self.packed)
    }

    fn put(&mut self, header: &Header) -> Result<()> {
        self.packed.entries += 1;
        let Some((uid, gid)) = self.owner else {
            return self.tape.header(header);
        };
        let header = header.clone();
        self.tape.header(&Header { uid, gid, ..header })
    }

    /// Adds something without data, or one more name of it.
    fn once(&mut self, stat: &Stat, name: Vec<u8>, kind: Kind) -> Result<()> {
        let kind = match self.first_name(stat, &name) {
            Some(first) => Kind::HardLink(first),
            None => kind,
        };
        let header = look::header(name, kind, stat, self.clamp);
        self.put(&header)
    }

    fn regular(&mut self, met: &Met<'_>, name: Vec<u8>) -> Result<()> {
        let Some((file, stat)) = look::open_file(met.parent, met.name)? else {
            return Ok(());
        };
        if let Some(first) = self.first_name(&stat, &name) {
            let header = look::header(name, Kind::HardLink(first), &stat, self.clamp);
            return self.put(&header);
        }
        let xattrs = look::xattrs(file.as_fd())?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.packed.file_bytes = self.packed.file_bytes.saturating_add(size);
        // Files in /proc and the like have bytes that their size does not tell; blocks do.
        let has_holes = u64::try_from(stat.st_blocks).unwrap_or(0) * 512 < size;
        let map = match has_holes {
            true => look::map(&file, size)?,
            false => whole(size),
        };
        let sparse = has_holes && look::is_worth_a_map(&map);
        let kind = match sparse {
            true => Kind::Sparse(map.clone()),
            false => Kind::File(size),
        };
        let header = look::header(name, kind, &stat, self.clamp);
        self.put(&Header { xattrs, ..header })?;
        self.contents(&file, &map, sparse)
    }

    /// The pieces of a file; what is between them as zeros unless the header has told.
    fn contents(&mut self, file: &File, map: &Map, sparse: bool) -> Result<()> {
        let mut at = 0;
        for piece in &map.pieces {
            if !sparse {
                self.zeros(piece.offset - at)?;
            }
            self.piece(file, piece)?;
            at = piece.offset + piece.length;
        }
        match sparse {
            true => Ok(()),
            false => self.zeros(map.size - at),
        }
    }

    fn piece(&mut self, file: &File, piece: &Piece) -> Result<()> {
        let (mut at, mut left) = (piece.offset, piece.length);
        while left > 0 {
            let room = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match file.read_at(&mut self.buffer[..room], at) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if count == 0 {
                return Err(Error::conflict("became shorter while it was read"));
            }
            self.tape.data(&self.buffer[..count])?;
            at += count as u64;
            left -= count as u64;
        }
        Ok(())
    }

    fn zeros(&mut self, mut left: u64) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while left > 0 {
            let count = ZEROS.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.tape.data(&ZEROS[..count])?;
            left -= count as u64;
        }
        Ok(())
    }

    /// The name under which this file is in the archive already. Remembers the first one.
    fn first_name(&mut self, stat: &Stat, name: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&inode) {
            return Some(first.clone());
        }
        self.links.insert(inode, name.to_vec());
        None
    }
}

fn whole(size: u64) -> Map {
    let piece = Piece {
        offset: 0,
        length: size,
    };
    let pieces = if size > 0 { vec![piece] } else { Vec::new() };
    Map { size, pieces }
}
