//! The keys that leave an interactive container without ending it: `ctrl-p,ctrl-q`.
//!
//! [`DetachKeys`] also watches what is typed: keys that may begin the sequence are held back until
//! it is clear whether they do.

use orc_base::{Error, Result};

/// A sequence of keys, and how much of it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    sequence: Vec<u8>,
    typed: usize,
}

/// What became of some typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// They are for the program.
    Pass(Vec<u8>),
    /// The last of them completed the sequence; these came before it.
    Detach(Vec<u8>),
}

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`.
    fn default() -> Self {
        Self {
            sequence: vec![16, 17],
            typed: 0,
        }
    }
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`, `a,b` or `ctrl-\\`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let sequence: Option<Vec<u8>> = text.split(',').map(key).collect();
        match sequence {
            Some(sequence) if !sequence.is_empty() => Ok(Self { sequence, typed: 0 }),
            _ => Err(Error::invalid(format!(
                "`{text}` is not a sequence of keys: separate single characters and `ctrl-<a letter or one of @[\\]^_>` by commas"
            ))),
        }
    }

    /// Looks at what was typed.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Typed {
        let mut pass = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == self.sequence[self.typed] {
                self.typed += 1;
                if self.typed == self.sequence.len() {
                    self.typed = 0;
                    return Typed::Detach(pass);
                }
                continue;
            }
            self.release(&mut pass, byte);
        }
        Typed::Pass(pass)
    }

    /// `byte` does not go on with what was held back: passes on all that cannot begin the sequence.
    fn release(&mut self, pass: &mut Vec<u8>, byte: u8) {
        let mut held: Vec<u8> = self.sequence[..self.typed].to_vec();
        held.push(byte);
        let longest = (0..held.len()).find(|&start| self.sequence.starts_with(&held[start..]));
        let keep = longest.map_or(0, |start| held.len() - start);
        pass.extend(&held[..held.len() - keep]);
        self.typed = keep;
    }
}

fn key(text: &str) -> Option<u8> {
    let one = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    };
    match text.strip_prefix("ctrl-") {
        None => one(text),
        Some(rest) => match one(rest)?.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => Some(letter - b'a' + 1),
            b'@' => Some(0),
            sign @ b'['..=b'_' => Some(sign - b'[' + 27),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keys() {
        assert_eq!(
            DetachKeys::parse("ctrl-p,ctrl-q").unwrap(),
            DetachKeys::default()
        );
        assert_eq!(DetachKeys::parse("a,ctrl-\\").unwrap().sequence, [b'a', 28]);
        for bad in ["", "ctrl-", "ab", "ctrl-1", "a,,b", "é"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn holds_back_only_what_may_begin_the_sequence() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.look(b"ls\n"), Typed::Pass(b"ls\n".to_vec()));
        assert_eq!(keys.look(&[b'x', 16]), Typed::Pass(vec![b'x']));
        assert_eq!(keys.look(b"y"), Typed::Pass(vec![16, b'y']));
        assert_eq!(keys.look(&[16, 16]), Typed::Pass(vec![16]));
        assert_eq!(keys.look(&[17, b'z']), Typed::Detach(vec![]));
        assert_eq!(keys.look(&[b'a', 16, 17]), Typed::Detach(vec![b'a']));
    }
}
