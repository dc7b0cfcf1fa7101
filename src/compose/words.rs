//! Words: the shell-like split of `command: "…"`, and the nearest known word to a mistyped one.

use orc_base::{Error, Result};

/// Splits as a POSIX shell would, without expanding anything: quotes and backslashes group words.
pub(crate) fn split(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(open("'", line)),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default(), line)?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(open("\\", line)),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String, line: &str) -> Result<()> {
    loop {
        match chars.next() {
            Some('"') => return Ok(()),
            Some('\\') => match chars.next() {
                Some('\n') => {}
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => return Err(open("\\", line)),
            },
            Some(c) => word.push(c),
            None => return Err(open("\"", line)),
        }
    }
}

fn open(what: &str, line: &str) -> Error {
    let shown: String = line.chars().take(60).collect();
    Error::invalid(format!("`{shown}` ends inside {what}"))
}

/// The known word that a mistyped one probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
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
    fn splits_like_a_shell() {
        for (line, words) in [
            (
                "bundle exec thin -p 3000",
                vec!["bundle", "exec", "thin", "-p", "3000"],
            ),
            ("sh -c 'a \"b\" c'", vec!["sh", "-c", "a \"b\" c"]),
            (r#"echo "a\"b" c\ d"#, vec!["echo", "a\"b", "c d"]),
            ("a '' b", vec!["a", "", "b"]),
            ("", vec![]),
            ("a$(id)`id`", vec!["a$(id)`id`"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for bad in ["a 'b", "a \"b", "a \\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn finds_the_nearest_word() {
        let known = ["image", "ports", "environment", "volumes"];
        assert_eq!(nearest("iamge", known), Some("image"));
        assert_eq!(nearest("enviroment", known), Some("environment"));
        assert_eq!(nearest("helicopter", known), None);
        assert_eq!(nearest("port", known), Some("ports"));
    }
}
