//! The text of a Dockerfile as people know it: its name, its lines, and where in them something is.
//!
//! Messages begin with `Dockerfile:7:` and show the line; several independent ones come together.

use std::ops::Range;

use orc_base::{Error, Kind, Result};

/// How many mistakes one error tells.
const MAX_SHOWN: usize = 20;
/// How many characters of a line are shown.
const MAX_WIDTH: usize = 160;

/// A Dockerfile's name and lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// What it is called in messages.
    pub name: String,
    lines: Vec<String>,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Which characters of the line, from 0.
    pub(crate) columns: Option<Range<usize>>,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Source {
    /// Keeps `text` to show lines of it.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self {
            name: name.into(),
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// `error` as something that is wrong in a line, which is shown; its kind stays.
    pub fn wrong(&self, line: usize, error: &Error) -> Error {
        let mistake = Mistake {
            line,
            columns: None,
            message: error.to_string(),
        };
        Error::new(error.kind(), self.show(&mistake))
    }

    /// All mistakes as one error; none is fine.
    pub(crate) fn refuse(&self, mistakes: &[Mistake]) -> Result<()> {
        if mistakes.is_empty() {
            return Ok(());
        }
        let shown = mistakes.iter().take(MAX_SHOWN);
        let mut texts: Vec<String> = shown.map(|mistake| self.show(mistake)).collect();
        if mistakes.len() > MAX_SHOWN {
            texts.push(format!("and {} more", mistakes.len() - MAX_SHOWN));
        }
        Err(Error::new(Kind::Invalid, texts.join("\n")))
    }

    /// `Dockerfile:7: message`, the line, and marks under the part that is meant.
    fn show(&self, mistake: &Mistake) -> String {
        let mut text = format!("{}:{}: {}", self.name, mistake.line, mistake.message);
        let Some(line) = self.lines.get(mistake.line.wrapping_sub(1)) else {
            return text;
        };
        let characters = line.chars().count();
        let columns = mistake.columns.clone().unwrap_or(0..0);
        // A long line is shown from shortly before the part that is meant.
        let skip = match columns.end > MAX_WIDTH {
            true => columns.start.saturating_sub(20).min(characters),
            false => 0,
        };
        let shown: String = line.chars().skip(skip).take(MAX_WIDTH).map(plain).collect();
        let number = format!("{:4}", mistake.line);
        text.push_str(&format!("\n{number} | {}", shown.trim_end()));
        if mistake.columns.is_some() {
            let width = columns.len().clamp(1, MAX_WIDTH);
            let indent = " ".repeat(columns.start - skip);
            text.push_str(&format!("\n     | {indent}{}", "^".repeat(width)));
        }
        text
    }
}

/// One column each, and nothing that steers a terminal.
fn plain(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}
