//! What is at a path of a container, in Docker's words: Go's file modes, and a header for the rest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orc_base::{Context, Error, Result};
use orc_host::archive::{ChangeKind, PathChange, PathStat};

use crate::wire::archive as wire;

/// The header that carries a [`PathStat`].
pub(crate) const PATH_STAT: &str = "x-docker-container-path-stat";
/// The longest header that is read.
const MAX_HEADER: usize = 64 << 10;

/// Go's bits (package `io/fs`) beside those of `st_mode` (inode(7)).
const KINDS: [(u32, u32); 7] = [
    (0o040_000, 1 << 31),
    (0o120_000, 1 << 27),
    (0o060_000, 1 << 26),
    (0o020_000, 1 << 26 | 1 << 21),
    (0o010_000, 1 << 25),
    (0o140_000, 1 << 24),
    (0o100_000, 0),
];
const EXTRAS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
const KIND: u32 = 0o170_000;
const PERMISSIONS: u32 = 0o777;

/// `st_mode` as Go's file mode.
fn go_mode(mode: u32) -> u32 {
    let kind = KINDS.iter().find(|(unix, _)| mode & KIND == *unix);
    let extras = EXTRAS.iter().filter(|(unix, _)| mode & unix != 0);
    extras.fold(
        mode & PERMISSIONS | kind.map_or(0, |(_, go)| *go),
        |all, (_, go)| all | go,
    )
}

/// Go's file mode as `st_mode`.
fn unix_mode(mode: u32) -> u32 {
    const GO_KIND: u32 = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21;
    let kind = KINDS.iter().find(|(_, go)| mode & GO_KIND == *go);
    let extras = EXTRAS.iter().filter(|(_, go)| mode & go != 0);
    extras.fold(
        mode & PERMISSIONS | kind.map_or(0, |(unix, _)| *unix),
        |all, (unix, _)| all | unix,
    )
}

/// The value of the header.
pub(crate) fn stat_to_header(stat: &PathStat) -> Result<String> {
    let wire = wire::PathStat {
        name: stat.name.clone(),
        size: i64::try_from(stat.size_bytes).unwrap_or(i64::MAX),
        mode: go_mode(stat.mode),
        mtime: stat.mtime.to_string(),
        link_target: stat.link_target.clone(),
    };
    Ok(STANDARD.encode(serde_json::to_vec(&wire)?))
}

/// What a header says.
pub(crate) fn stat_from_header(header: &str) -> Result<PathStat> {
    let read = || -> Result<PathStat> {
        if header.len() > MAX_HEADER {
            return Err(Error::exhausted("it is too long"));
        }
        let bytes = STANDARD
            .decode(header)
            .map_err(|error| Error::invalid(error.to_string()))?;
        let wire: wire::PathStat = serde_json::from_slice(&bytes)?;
        Ok(PathStat {
            name: wire.name,
            size_bytes: u64::try_from(wire.size).unwrap_or(0),
            mode: unix_mode(wire.mode),
            mtime: wire.mtime.parse()?,
            link_target: wire.link_target,
        })
    };
    read().context(|| format!("understand the header {PATH_STAT}"))
}

/// Docker's numbers for the kinds.
pub(crate) fn change_to_wire(change: &PathChange) -> wire::Change {
    wire::Change {
        path: change.path.clone(),
        kind: match change.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        },
    }
}

/// A change as it was told.
pub(crate) fn change_from_wire(wire: wire::Change) -> Result<PathChange> {
    let kind = match wire.kind {
        0 => ChangeKind::Modified,
        1 => ChangeKind::Added,
        2 => ChangeKind::Deleted,
        other => {
            return Err(Error::internal(format!(
                "the daemon tells a change of the unknown kind {other}"
            )));
        }
    };
    Ok(PathChange {
        kind,
        path: wire.path,
    })
}

#[cfg(test)]
mod tests {
    use orc_base::Time;

    use super::*;

    #[test]
    fn modes_go_both_ways() {
        for (unix, go) in [
            (0o100_644, 0o644),
            (0o104_755, 0o755 | 1 << 23),
            (0o041_777, 0o777 | 1 << 31 | 1 << 20),
            (0o120_777, 0o777 | 1 << 27),
            (0o020_666, 0o666 | 1 << 26 | 1 << 21),
            (0o060_660, 0o660 | 1 << 26),
            (0o010_600, 0o600 | 1 << 25),
            (0o142_755, 0o755 | 1 << 24 | 1 << 22),
        ] {
            assert_eq!(go_mode(unix), go, "{unix:o}");
            assert_eq!(unix_mode(go), unix, "{unix:o}");
        }
    }

    #[test]
    fn a_stat_survives_the_header() {
        let stat = PathStat {
            name: "\u{e4} b".into(),
            size_bytes: 5,
            mode: 0o120_777,
            mtime: Time::from_nanos(1_700_000_000_123_456_789),
            link_target: "/x".into(),
        };
        let header = stat_to_header(&stat).unwrap();
        assert_eq!(stat_from_header(&header).unwrap(), stat);
        for bad in ["", "!", "bnVsbA==", &"A".repeat(MAX_HEADER + 1)] {
            assert!(stat_from_header(bad).is_err(), "{bad:.9}");
        }
    }
}
