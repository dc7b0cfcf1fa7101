//! The files of a fake container: a map, and as much of tar as the contract needs.

use std::collections::BTreeMap;

use orc_base::{Error, Result, Time};

use crate::archive::{ChangeKind, PathChange, PathStat, WriteOptions};
use crate::stream::Bytes;

const BLOCK: usize = 512;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    File(Vec<u8>),
}

/// All files of a container, by absolute path.
#[derive(Debug, Clone)]
pub(crate) struct Files(BTreeMap<String, Node>);

impl Default for Files {
    /// An image with two directories.
    fn default() -> Self {
        let nodes = ["/", "/etc"].map(|path| (path.to_owned(), Node::Directory));
        Self(nodes.into())
    }
}

impl Files {
    pub(crate) fn stat(&self, path: &str, now: Time) -> Result<PathStat> {
        let (cleaned, node) = self.find(path)?;
        Ok(PathStat {
            name: match cleaned.rsplit('/').next() {
                Some("") | None => "/".into(),
                Some(_) if path.ends_with("/.") => ".".into(),
                Some(name) => name.into(),
            },
            size_bytes: match node {
                Node::Directory => 4096,
                Node::File(bytes) => bytes.len() as u64,
            },
            mode: match node {
                Node::Directory => 0o040_755,
                Node::File(_) => 0o100_644,
            },
            mtime: now,
            link_target: String::new(),
        })
    }

    /// The archive of what is at a path, called `called`.
    pub(crate) fn pack(&self, path: &str, called: &str) -> Result<Bytes> {
        let (cleaned, _) = self.find(path)?;
        let top = cleaned.trim_end_matches('/');
        let mut tar = Vec::new();
        for (path, node) in &self.0 {
            let Some(rest) = path.strip_prefix(top) else {
                continue;
            };
            if rest.is_empty() || rest.starts_with('/') {
                let name = format!("{called}{rest}");
                put(&mut tar, name.trim_start_matches('/'), node);
            }
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        Ok(tar.into())
    }

    /// Writes the files of an archive into a directory.
    pub(crate) fn unpack(&mut self, path: &str, tar: &[u8], options: WriteOptions) -> Result<()> {
        let (top, node) = self.find(path)?;
        if *node != Node::Directory {
            return Err(Error::invalid("extraction point is not a directory"));
        }
        let top = top.trim_end_matches('/').to_owned();
        let mut rest = tar;
        while let Some((header, after)) = rest.split_at_checked(BLOCK) {
            if header.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let name = text(&header[..100]);
            let size = usize::from_str_radix(&text(&header[124..135]), 8).unwrap_or(0);
            let data = after.get(..size).ok_or_else(cut)?;
            let name = name.trim_start_matches("./").trim_end_matches('/');
            let node = match header[156] {
                b'5' => Node::Directory,
                _ => Node::File(data.to_vec()),
            };
            self.write(format!("{top}/{name}"), node, options)?;
            rest = after.get(size.next_multiple_of(BLOCK)..).ok_or_else(cut)?;
        }
        Err(cut())
    }

    fn write(&mut self, path: String, node: Node, options: WriteOptions) -> Result<()> {
        let changes_kind = match (self.0.get(&path), &node) {
            (Some(Node::Directory), Node::File(_)) => true,
            (Some(Node::File(_)), Node::Directory) => true,
            (Some(_) | None, _) => false,
        };
        if changes_kind && options.keeps_kinds {
            return Err(Error::invalid(format!(
                "cannot overwrite what is at {path}: it is of another kind"
            )));
        }
        let mut above = path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            if !parent.is_empty() {
                self.0.entry(parent.to_owned()).or_insert(Node::Directory);
            }
            above = parent;
        }
        self.0.insert(path, node);
        Ok(())
    }

    /// Removes what is at a path and below it.
    pub(crate) fn remove(&mut self, path: &str) -> Result<()> {
        let cleaned = clean(path);
        if cleaned == "/" {
            return Err(Error::invalid("the root directory cannot be removed"));
        }
        let below = format!("{cleaned}/");
        self.0
            .retain(|path, _| *path != cleaned && !path.starts_with(&below));
        Ok(())
    }

    /// How they differ from the image's.
    pub(crate) fn changes(&self) -> Vec<PathChange> {
        let image = Self::default();
        let added = self.0.keys().filter(|path| !image.0.contains_key(*path));
        let change = |path: &String| PathChange {
            kind: ChangeKind::Added,
            path: path.clone(),
        };
        added.map(change).collect()
    }

    fn find(&self, path: &str) -> Result<(String, &Node)> {
        let cleaned = clean(path);
        match self.0.get(&cleaned) {
            Some(node) => Ok((cleaned, node)),
            None => Err(Error::not_found(format!("Could not find the file {path}"))),
        }
    }
}

/// The absolute path without `.` and doubled slashes.
fn clean(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let cleaned = parts.fold(String::new(), |all, part| format!("{all}/{part}"));
    match cleaned.is_empty() {
        true => "/".into(),
        false => cleaned,
    }
}

fn cut() -> Error {
    Error::invalid("the archive has no end")
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

fn put(tar: &mut Vec<u8>, name: &str, node: &Node) {
    let (kind, mode, data) = match node {
        Node::Directory => (b'5', "0000755", &[][..]),
        Node::File(bytes) => (b'0', "0000644", &bytes[..]),
    };
    let mut header = [0; BLOCK];
    let name = &name.as_bytes()[..name.len().min(100)];
    header[..name.len()].copy_from_slice(name);
    header[100..107].copy_from_slice(mode.as_bytes());
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(data);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}
