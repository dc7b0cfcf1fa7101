//! Names of what rules make: a function of who makes it and which one it is.
//!
//! Nothing random: a rule that was killed after it decided comes to the same name again, and the store
//! refuses the second one.

use orc_base::{Error, Result};
use serde::Serialize;

/// What Kubernetes makes suffixes of: no vowels, so no words.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Bytes of a name that has a suffix, before the suffix: with it 63 are a label's limit.
const BASE: usize = 57;

/// `base-xxxxx` for the `slot`th thing that `uid` makes.
pub(crate) fn child(base: &str, uid: &str, slot: usize) -> String {
    let mut hash = u64::from(fnv(&format!("{uid}/{slot}"))) << 8 | (slot as u64 & 0xff);
    let mut suffix = String::new();
    for _ in 0..5 {
        suffix.push(char::from(ALPHABET[(hash % 27) as usize]));
        hash /= 27;
    }
    format!("{}-{suffix}", cut(base, BASE))
}

/// The names of the next `count` things of `uid`: the first slots whose names are free.
pub(crate) fn free<'n>(
    base: &'n str,
    uid: &'n str,
    count: usize,
    taken: impl Fn(&str) -> bool + 'n,
) -> impl Iterator<Item = String> + 'n {
    let mut given = std::collections::BTreeSet::new();
    (0..)
        .map(move |slot| child(base, uid, slot))
        .filter(move |name| !taken(name) && given.insert(name.clone()))
        .take(count)
}

/// A short name for the content of something, such as `pod-template-hash`. `salt` tells apart two
/// contents with the same hash.
pub(crate) fn hash_of(content: &impl Serialize, salt: Option<i32>) -> Result<String> {
    let text = serde_json::to_string(content).map_err(Error::from)?;
    let salt = salt.filter(|salt| *salt > 0).map(|salt| salt.to_string());
    let hash = fnv(&format!("{text}{}", salt.unwrap_or_default()));
    let letter = |digit: u8| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]);
    Ok(hash.to_string().bytes().map(letter).collect())
}

/// The first `bytes` of a name.
pub(crate) fn cut(name: &str, bytes: usize) -> &str {
    let mut end = name.len().min(bytes);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// FNV-1a of 32 bits, with its bits mixed once more: the suffix takes its low ones.
fn fnv(text: &str) -> u32 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = text.bytes().fold(0x811c_9dc5, mix);
    (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_each_time_and_skips_what_is_taken() {
        let first: Vec<String> = free("web", "u1", 3, |_| false).collect();
        let again: Vec<String> = free("web", "u1", 3, |_| false).collect();
        assert_eq!(first, again);
        let rest: Vec<String> = free("web", "u1", 2, |name| name == first[0]).collect();
        assert_eq!(rest, first[1..]);
        let many: std::collections::BTreeSet<_> = free("web", "u1", 5000, |_| false).collect();
        assert_eq!(many.len(), 5000);
        assert_eq!(child(&"x".repeat(80), "u1", 0).len(), 63);
    }
}
