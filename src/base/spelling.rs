//! Which known word a mistyped one probably meant.
//!
//! Pure. For messages only: nothing is ever taken for what it is not.

/// Shorter words are near to everything, so nothing is suggested for them and none of them is.
const MIN_LETTERS: usize = 3;
/// No more known words are looked at.
const MAX_KNOWN: usize = 1_000;

/// The known word that `word` probably meant: at most a third of its letters differ. None for words
/// of less than three letters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |word: &str| word.chars().take(64).count();
    if letters(word) < MIN_LETTERS {
        return None;
    }
    let limit = (letters(word) / 3).min(3);
    known
        .into_iter()
        .take(MAX_KNOWN)
        .filter(|candidate| letters(candidate) >= MIN_LETTERS)
        .filter(|candidate| letters(candidate).abs_diff(letters(word)) <= limit)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words, cut off at 64 letters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far() {
        let known = ["chown", "chmod", "from", "link"];
        assert_eq!(nearest("chwon", known), Some("chown"));
        assert_eq!(nearest("form", known), Some("from"));
        assert_eq!(nearest("parents", known), None);
        assert_eq!(nearest("", known), None);
        let known = ["image", "ports", "environment", "volumes"];
        assert_eq!(nearest("iamge", known), Some("image"));
        assert_eq!(nearest("enviroment", known), Some("environment"));
        assert_eq!(nearest("helicopter", known), None);
        assert_eq!(nearest("port", known), Some("ports"));
    }

    #[test]
    fn short_words_are_near_to_nothing() {
        for (word, known) in [
            ("A", "B"),
            ("ab", "abc"),
            ("x", "xy"),
            ("abc", "ab"),
            ("é", "e"),
        ] {
            assert_eq!(nearest(word, [known]), None, "{word}");
        }
        assert_eq!(nearest("cdm", ["cmd"]), Some("cmd"));
    }
}
