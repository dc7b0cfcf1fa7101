//! Sets of completion indexes, as Kubernetes writes them: `0,2-5,7`.

use std::collections::BTreeSet;

/// Indexes read from a status, at most: more than a job may have.
const MAX: usize = 100_000;

/// Reads a set; what cannot be read is not in it.
pub(crate) fn read(text: &str) -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<i32>(), last.trim().parse::<i32>()) {
            let room = MAX.saturating_sub(all.len());
            all.extend((first..=last).take(room));
        }
    }
    all
}

/// Writes a set.
pub(crate) fn write(indexes: &BTreeSet<i32>) -> String {
    let mut parts: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => parts.push((*index, *index)),
        }
    }
    let text = parts.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    text.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7", "0-99999"] {
            assert_eq!(write(&read(text)), text);
        }
        assert_eq!(read("x,1-,0-999999999").len(), MAX);
    }
}
