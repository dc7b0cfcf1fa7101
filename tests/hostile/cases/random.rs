//! Layers of random entries under few names, so that they meet: files, links, directories and
//! whiteouts over and through each other.

use crate::cases::Case;
use crate::entry::{Entry, Kind};
use crate::random::Random;

/// Names that are near each other.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// `layers` layers of some entries each; the same seed gives the same.
pub(super) fn case(seed: u64, layers: usize) -> Case {
    let mut random = Random::new(seed);
    let layers: Vec<_> = (0..layers).map(|_| layer(&mut random)).collect();
    Case::of(format!("random layers of seed {seed}"), &layers)
}

fn layer(random: &mut Random) -> Vec<Entry> {
    let count = 1 + random.below(14);
    (0..count).map(|_| entry(random)).collect()
}

fn path(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    let parts: Vec<_> = (0..depth).map(|_| *random.pick(&NAMES)).collect();
    parts.join("/")
}

fn entry(random: &mut Random) -> Entry {
    let name = path(random);
    let hidden = match name.rsplit_once('/') {
        Some((above, last)) => format!("{above}/.wh.{last}"),
        None => format!(".wh.{name}"),
    };
    let entry = match random.below(16) {
        0..5 => Entry::file(name, path(random)),
        5..8 => Entry::directory(name),
        8 => Entry::symlink(name, path(random)),
        9 => Entry::symlink(name, format!("/{}", path(random))),
        10 => Entry::symlink(name, format!("../{}", path(random))),
        11 => Entry::hard_link(name, path(random)),
        12 => Entry::new(name, Kind::Fifo),
        13 | 14 => Entry::file(hidden, ""),
        _ => Entry::file(format!("{name}/.wh..wh..opq"), ""),
    };
    let mode = *random.pick(&[0o644, 0o755, 0o4711, 0o2775, 0o1777, 0o000]);
    let owner = *random.pick(&[(0, 0), (0, 50), (1000, 1000)]);
    let entry = entry.mode(mode).owner(owner.0, owner.1);
    let mtime = 1_000_000_000 + random.below(1000) as i64;
    match random.below(8) {
        0 => entry.mtime(mtime).xattr("user.x", b"random"),
        _ => entry.mtime(mtime),
    }
}
