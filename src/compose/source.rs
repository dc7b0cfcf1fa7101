//! The text of a Compose file as people know it: its name, and its lines for messages.
//!
//! A message about a place shows the line and marks what is meant; where the marks end is guessed
//! from the text, because a value's own place is only where it begins.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::remote::Origin;

/// How many characters of a line are shown.
const MAX_WIDTH: usize = 160;
/// How much of a long line is shown before what is meant.
const BEFORE: usize = 20;

/// A file's name and text.
pub(crate) struct Source {
    /// The file as people are shown it.
    name: String,
    text: String,
    /// Where each line begins; found out when a line is first asked for.
    starts: OnceLock<Vec<usize>>,
    /// Set for a file that is not this machine's own.
    origin: Option<Arc<Origin>>,
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            starts: OnceLock::new(),
            origin: None,
        }
    }

    /// The same file, from elsewhere when there is an origin.
    pub(crate) fn of(self, origin: Option<Arc<Origin>>) -> Self {
        Self { origin, ..self }
    }

    /// Where it came from, when it is not this machine's own.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The line, and marks under what begins at the column, both from 1; each on a line of its own
    /// that begins with a line feed. Nothing when there is no such line.
    pub(crate) fn excerpt(&self, line: u32, column: u32) -> String {
        let Some(text) = self.line(line) else {
            return String::new();
        };
        let start = column.saturating_sub(1) as usize;
        let rest: String = text.chars().skip(start).take(MAX_WIDTH + 1).collect();
        let width = token(&rest).clamp(1, MAX_WIDTH);
        let skip = match start + width > MAX_WIDTH {
            true => start.saturating_sub(BEFORE),
            false => 0,
        };
        let shown: String = text.chars().skip(skip).take(MAX_WIDTH).map(plain).collect();
        let (indent, marks) = (" ".repeat(start - skip), "^".repeat(width));
        format!(
            "\n{line:4} | {}\n     | {indent}{}",
            shown.trim_end(),
            marks
        )
    }

    fn line(&self, number: u32) -> Option<&str> {
        let starts = self.starts.get_or_init(|| {
            let after = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after).collect()
        });
        let index = (number as usize).checked_sub(1)?;
        let start = *starts.get(index)?;
        let line = self.text[start..].lines().next()?;
        Some(line)
    }
}

/// How many characters the word takes that `text` begins with: what is quoted, a bracket, or a
/// plain scalar up to what ends one.
fn token(text: &str) -> usize {
    let mut chars = text.chars();
    match chars.next() {
        Some(quote @ ('"' | '\'')) => {
            let end = chars.position(|c| c == quote);
            return end.map_or(text.chars().count(), |end| end + 2);
        }
        Some('[' | '{') => return 1,
        _ => {}
    }
    let mut inside = 0_usize;
    let mut end = 0;
    let mut before = ' ';
    for (at, c) in text.chars().enumerate() {
        let next = text[byte(text, at + 1)..].chars().next().unwrap_or(' ');
        match c {
            '{' if before == '$' || inside > 0 => inside += 1,
            '}' if inside > 0 => inside -= 1,
            ']' | '}' => break,
            ',' | ':' if inside == 0 && next.is_whitespace() => break,
            '#' if before.is_whitespace() => break,
            _ => {}
        }
        if !c.is_whitespace() {
            end = at + 1;
        }
        before = c;
    }
    end
}

/// Where the `at`th character begins.
fn byte(text: &str, at: usize) -> usize {
    text.char_indices()
        .nth(at)
        .map_or(text.len(), |(byte, _)| byte)
}

/// One column each, and nothing that steers a terminal.
fn plain(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Two places are in the same file when its name is the same.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_what_is_meant() {
        let source = Source::new("c", "a: 1\nports: [\"80:80\", x:80] # two\n");
        assert_eq!(
            source.excerpt(2, 1),
            "\n   2 | ports: [\"80:80\", x:80] # two\n     | ^^^^^"
        );
        let marks = |column| {
            let text = source.excerpt(2, column);
            text.lines().last().unwrap()[7..].to_owned()
        };
        assert_eq!(marks(9), "        ^^^^^^^");
        assert_eq!(marks(18), "                 ^^^^");
        assert_eq!(marks(8), "       ^");
        assert_eq!(source.excerpt(9, 1), "");
        assert_eq!(source.excerpt(0, 0), "");
    }

    #[test]
    fn words_end_where_yaml_ends_them() {
        for (text, width) in [
            ("key: value", 3),
            ("a b c  # d", 5),
            ("${A:-{x: y}}-z", 14),
            ("x}", 1),
            ("10:20", 5),
            ("", 0),
        ] {
            assert_eq!(token(text), width, "{text}");
        }
    }

    #[test]
    fn long_lines_are_cut_and_steer_nothing() {
        let source = Source::new("c", format!("{}\u{1b}[2J bad", "x".repeat(5_000)));
        let text = source.excerpt(1, 5_006);
        assert!(text.len() < 400 && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("[2J bad") && text.ends_with("^^^"));
    }
}
