//! Words: the shell-like split of `command: "…"`.

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
}
