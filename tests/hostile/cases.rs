//! The corpus: every case has a name, bytes, and what must become of it.
//!
//! Most cases are lists of entries, and [`crate::model`] says what they become; what no list of
//! entries can say (lying sizes, malformed records, cut streams) is written by hand with its outcome.

mod attributes;
mod bombs;
mod links;
mod names;
mod numbers;
mod order;
mod pax;
mod random;
mod sparse;
mod streams;
mod whiteouts;

use std::path::Path;

use crate::entry::{Entry, Kind, archive};
use crate::model::{self, Style};
use crate::tape::Tape;
use crate::view::View;

pub use links::every_link;

/// One archive, or two layers of one image.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is wrong with it.
    pub name: String,
    /// The streams as they are in blobs, lowest layer first.
    pub layers: Vec<Vec<u8>>,
    /// Whether the stream ends without the marker of archives: only a digest says that it is whole.
    pub unfinished: bool,
    /// What to expect of readers that take whiteouts for what they are.
    layer: Expect,
    /// What to expect of readers of plain files.
    plain: Expect,
    /// What to expect of readers of a build.
    build: Expect,
}

/// What becomes of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Refused in one line that has these words.
    Refused(Vec<String>),
    /// Harmless: exactly this tree.
    Lands(View),
    /// Harmless or refused; only what is outside matters.
    Contained,
}

impl Case {
    /// A case of which the model knows what becomes.
    fn of(name: impl Into<String>, layers: &[Vec<Entry>]) -> Self {
        Self {
            name: name.into(),
            layers: layers.iter().map(|entries| archive(entries)).collect(),
            unfinished: false,
            layer: expect(layers, Style::Layer),
            plain: expect(layers, Style::Plain),
            build: expect(layers, Style::Build),
        }
    }

    /// One layer of which the model knows what becomes.
    fn one(name: impl Into<String>, entries: Vec<Entry>) -> Self {
        Self::of(name, &[entries])
    }

    /// A stream that is refused in words.
    fn refused(name: impl Into<String>, stream: Vec<u8>, words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            name: name.into(),
            layers: vec![stream],
            unfinished: false,
            layer: Expect::Refused(words.clone()),
            plain: Expect::Refused(words.clone()),
            build: Expect::Refused(words),
        }
    }

    /// A stream that becomes what these entries become.
    fn like(name: impl Into<String>, stream: Vec<u8>, entries: &[Entry]) -> Self {
        let layers = [entries.to_vec()];
        Self {
            name: name.into(),
            layers: vec![stream],
            unfinished: false,
            layer: expect(&layers, Style::Layer),
            plain: expect(&layers, Style::Plain),
            build: expect(&layers, Style::Build),
        }
    }

    /// A tape that is refused in words.
    fn tape(name: impl Into<String>, tape: Tape, words: &[&str]) -> Self {
        Self::refused(name, tape.end(), words)
    }

    /// What must become of it.
    pub fn expect(&self, style: Style) -> &Expect {
        match style {
            Style::Layer => &self.layer,
            Style::Plain => &self.plain,
            Style::Build => &self.build,
        }
    }
}

fn expect(layers: &[Vec<Entry>], style: Style) -> Expect {
    let mut entries = layers.iter().flatten();
    if style != Style::Layer && entries.any(|entry| entry.kind == Kind::Char(0, 0)) {
        // Whether it can be made depends on the file system: overlayfs refuses it.
        return Expect::Contained;
    }
    match model::stack(layers, style) {
        Ok(view) => Expect::Lands(view),
        Err(refusal) => {
            let mut words = vec![refusal.says.to_owned()];
            let name = &refusal.name;
            let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
            let holds_nul = |entry: &Entry| match &entry.kind {
                Kind::Symlink(target) | Kind::HardLink(target) => target.contains(&0),
                _ => false,
            };
            // A record with a NUL is refused before anyone knows whose it is.
            let known = !layers
                .iter()
                .flatten()
                .any(|one| one.name == *name && holds_nul(one));
            if known && !name.is_empty() && name.len() <= 200 && name.iter().all(plain) {
                words.push(format!("`{}`", name.escape_ascii()));
            }
            words.retain(|word| !word.is_empty());
            Expect::Refused(words)
        }
    }
}

/// All cases; links in them lead to `outside`.
pub fn corpus(outside: &Path) -> Vec<Case> {
    [
        links::cases(outside),
        names::cases(outside),
        attributes::cases(outside),
        whiteouts::cases(outside),
        order::cases(),
        numbers::cases(),
        pax::cases(),
        sparse::cases(),
        streams::cases(),
        bombs::small(),
    ]
    .concat()
}

/// Layers of random entries; the same seed gives the same.
pub fn random(seed: u64, layers: usize) -> Case {
    random::case(seed, layers)
}

/// What wants to fill memory or disk; each takes a reader seconds.
pub fn bombs() -> Vec<Case> {
    bombs::large()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let cases = corpus(Path::new("/outside"));
        assert!(cases.len() > 500, "{}", cases.len());
        let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
        names.sort();
        let twice: Vec<_> = names.windows(2).filter(|two| two[0] == two[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
        for outcome in [
            |expect: &Expect| matches!(expect, Expect::Refused(_)),
            |expect: &Expect| matches!(expect, Expect::Lands(_)),
        ] {
            let count = cases.iter().filter(|case| outcome(&case.layer)).count();
            assert!(count > 100, "{count}");
        }
    }
}
