//! Keys of the build cache: digests of everything that a result depends on.
//!
//! Each ingredient is written with its length, so that no two lists of ingredients give the same
//! bytes. What kind of key it is comes first, with a version: a change of what a step means makes old
//! records useless instead of wrong.

use std::path::Path;

use std::os::unix::ffi::OsStrExt;

use crate::digest::{Digest, Hasher};

/// Raised when the same instruction would make something else than before.
const VERSION: &str = "orc build 1";

/// A key being put together.
#[derive(Debug, Clone)]
pub(crate) struct KeyHasher(Hasher);

impl KeyHasher {
    /// Begins a key for things of this kind.
    pub(crate) fn new(kind: &str) -> Self {
        let mut hasher = Self(Hasher::sha256());
        hasher.text(VERSION);
        hasher.text(kind);
        hasher
    }

    /// Adds bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Adds a path.
    pub(crate) fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// Adds a text or its absence.
    pub(crate) fn option(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    /// Adds a list.
    pub(crate) fn list<T: AsRef<str>>(&mut self, texts: &[T]) {
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text.as_ref());
        }
    }

    /// The key.
    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_apart() {
        let key = |texts: &[&[&str]]| {
            let mut hasher = KeyHasher::new("test");
            for list in texts {
                hasher.list(list);
            }
            hasher.finish()
        };
        let keys = [
            key(&[&["ab"]]),
            key(&[&["a", "b"]]),
            key(&[&["a"], &["b"]]),
            key(&[&["a", "b"], &[]]),
            key(&[&[], &["a", "b"]]),
            key(&[&["", "ab"]]),
        ];
        let mut unique = keys.to_vec();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), keys.len());
        assert_eq!(key(&[&["ab"]]), keys[0]);
    }
}
