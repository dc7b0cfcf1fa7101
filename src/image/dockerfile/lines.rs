//! From the text of a Dockerfile to its statements: one instruction each, on one line.
//!
//! Takes away comments, joins continued lines, reads parser directives and collects what stands below
//! a here-document. Knows where in the file each byte of a statement was, for messages.

use std::ops::Range;

use orc_base::{Error, Result};

use crate::dockerfile::ast::{Directives, Heredoc};
use crate::dockerfile::checks::{Checks, Rule, Warning};
use crate::dockerfile::heredoc;
use crate::dockerfile::source::Mistake;

/// One instruction on one line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    /// Its first line in the file, from 1.
    pub(crate) line: usize,
    /// Its last one, here-documents included.
    pub(crate) end_line: usize,
    /// All of it.
    pub(crate) text: String,
    /// What stands below it.
    pub(crate) heredocs: Vec<Heredoc>,
    /// The comments right above it.
    pub(crate) comments: Vec<String>,
    /// Where the pieces of `text` start: in it, in the file, and in that line in bytes.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    start: usize,
    line: usize,
    column: usize,
}

impl Statement {
    /// Something wrong with a part of the text.
    pub(crate) fn mistake(&self, part: Range<usize>, message: impl Into<String>) -> Mistake {
        let before = |piece: &&Piece| piece.start <= part.start;
        let piece = self.pieces.iter().rev().find(before).copied();
        let piece = piece.unwrap_or(Piece {
            start: 0,
            line: self.line,
            column: 0,
        });
        let end = self.pieces.iter().map(|piece| piece.start);
        let end = end.filter(|start| *start > part.start).min();
        let end = part.end.min(end.unwrap_or(self.text.len()));
        let columns = self
            .text
            .get(piece.start..part.start)
            .zip(self.text.get(part.start..end));
        let columns = columns.map(|(before, marked)| {
            let start = piece.column + before.chars().count();
            start..start + marked.trim_end().chars().count()
        });
        Mistake {
            line: piece.line,
            columns: columns.filter(|columns| !columns.is_empty()),
            message: message.into(),
        }
    }

    /// The first word.
    pub(crate) fn keyword(&self) -> &str {
        let end = self.text.find(char::is_whitespace);
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// The instruction behind an `ONBUILD`.
    pub(crate) fn inner(&self, text: &str) -> Self {
        Self {
            line: self.line,
            end_line: self.end_line,
            text: text.into(),
            heredocs: self.heredocs.clone(),
            ..Self::default()
        }
    }

    /// Something wrong with all of it.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> Mistake {
        Mistake {
            line: self.line,
            columns: None,
            message: message.into(),
        }
    }
}

/// What a file is made of.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) directives: Directives,
    pub(crate) statements: Vec<Statement>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Splits a file into statements.
pub(crate) fn split(text: &str) -> Statements {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        lines: text.split_inclusive('\n').collect(),
        at: 0,
        result: Statements {
            directives: Directives {
                syntax: None,
                escape: '\\',
                check: Checks::default(),
            },
            statements: Vec::new(),
            warnings: Vec::new(),
            mistakes: Vec::new(),
        },
    };
    let first = reader.directives();
    reader.at = first;
    reader.statements();
    reader.result
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    /// The next line, from 0.
    at: usize,
    result: Statements,
}

impl<'a> Reader<'a> {
    fn mistake(&mut self, line: usize, message: impl Into<String>) {
        self.result.mistakes.push(Mistake {
            line,
            columns: None,
            message: message.into(),
        });
    }

    /// Reads `# name=value` lines from the top; returns the first line that is none.
    fn directives(&mut self) -> usize {
        let mut seen: Vec<String> = Vec::new();
        for (index, line) in self.lines.clone().into_iter().enumerate() {
            let Some((name, value)) = directive(line) else {
                return index;
            };
            if seen.contains(&name) {
                let message = format!("there is more than one `{name}` directive, leave one");
                self.mistake(index + 1, message);
            }
            if let Err(error) = self.set_directive(&name, value) {
                self.mistake(index + 1, error.to_string());
            }
            seen.push(name);
        }
        self.lines.len()
    }

    fn set_directive(&mut self, name: &str, value: &str) -> Result<()> {
        let directives = &mut self.result.directives;
        match (name, value) {
            ("syntax", value) => directives.syntax = Some(value.into()),
            ("check", value) => directives.check = Checks::parse(value)?,
            (_, "\\") => directives.escape = '\\',
            (_, "`") => directives.escape = '`',
            (_, value) => {
                return Err(Error::invalid(format!(
                    "`{value}` cannot be the escape character, only \\ or ` can"
                )));
            }
        }
        Ok(())
    }

    fn statements(&mut self) {
        let mut comments = Vec::new();
        while let Some(line) = self.lines.get(self.at) {
            if let Some(comment) = comment(line) {
                // An empty comment separates what follows from what stands above.
                match comment.is_empty() {
                    true => comments.clear(),
                    false => comments.push(comment.into()),
                }
                self.at += 1;
                continue;
            }
            if line.trim().is_empty() {
                comments.clear();
                self.at += 1;
                continue;
            }
            let mut statement = self.statement();
            if statement.text.trim().is_empty() {
                continue;
            }
            statement.comments = std::mem::take(&mut comments);
            self.heredocs(&mut statement);
            self.result.statements.push(statement);
        }
    }

    /// Joins a line with those that it is continued on.
    fn statement(&mut self) -> Statement {
        let mut statement = Statement {
            line: self.at + 1,
            ..Statement::default()
        };
        let mut empty = None;
        let mut continued = true;
        while continued && self.at < self.lines.len() {
            let line = trim_newline(self.lines[self.at]);
            self.at += 1;
            let first = statement.pieces.is_empty();
            if !first && comment(line).is_some() {
                continue;
            }
            if !first && line.trim().is_empty() {
                empty = empty.or(Some(self.at));
                continue;
            }
            let body = if first { line.trim_start() } else { line };
            statement.pieces.push(Piece {
                start: statement.text.len(),
                line: self.at,
                column: line.chars().count() - body.chars().count(),
            });
            let without = without_continuation(body, self.result.directives.escape);
            statement.text.push_str(without.unwrap_or(body));
            continued = without.is_some();
        }
        statement.end_line = self.at;
        if let Some(line) = empty {
            self.result.warnings.push(Warning::new(
                line,
                Rule::NoEmptyContinuation,
                "Empty continuation line",
            ));
        }
        statement
    }

    /// Collects what stands below a statement.
    fn heredocs(&mut self, statement: &mut Statement) {
        if !takes_heredocs(&statement.text) {
            return;
        }
        let announced = match heredoc::announced(&statement.text) {
            Ok(announced) => announced,
            Err(error) => {
                self.result
                    .mistakes
                    .push(statement.wrong(error.to_string()));
                return;
            }
        };
        for mut heredoc in announced {
            if let Err(mistake) = self.body(&mut heredoc, statement) {
                self.result.mistakes.push(mistake);
                return;
            }
            statement.heredocs.push(heredoc);
        }
        statement.end_line = self.at;
    }

    fn body(
        &mut self,
        heredoc: &mut Heredoc,
        statement: &Statement,
    ) -> std::result::Result<(), Mistake> {
        while let Some(line) = self.lines.get(self.at) {
            self.at += 1;
            let mut end = trim_newline(line);
            if heredoc.chomp {
                end = end.trim_start_matches('\t');
            }
            if end == heredoc.name {
                return Ok(());
            }
            heredoc.text.push_str(line);
        }
        let start = statement.text.find("<<").unwrap_or(0);
        let message = format!(
            "the here-document is not ended: no line is `{}`",
            heredoc.name
        );
        Err(statement.mistake(start..statement.text.len(), message))
    }
}

/// `RUN`, `COPY` and `ADD` that are not written as JSON, also behind `ONBUILD`.
fn takes_heredocs(text: &str) -> bool {
    if !text.contains("<<") {
        return false;
    }
    let (mut word, mut rest) = first_word(text);
    if word.eq_ignore_ascii_case("onbuild") {
        (word, rest) = first_word(rest);
    }
    let mut arguments = rest;
    while arguments.starts_with("--") {
        arguments = first_word(arguments).1;
    }
    let json = serde_json::from_str::<Vec<String>>(arguments.trim()).is_ok();
    let takes = ["run", "copy", "add"]
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name));
    takes && !json
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn comment(line: &str) -> Option<&str> {
    Some(line.trim_start().strip_prefix('#')?.trim())
}

/// `# name = value` with a name that is a directive's.
fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = comment(line)?.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let known = ["syntax", "escape", "check"].contains(&name.as_str());
    let value = value.trim();
    (known && !value.is_empty()).then_some((name, value))
}

/// A line without the escape at its end that continues it; an escaped escape does not.
fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let body = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!body.ends_with(escape)).then_some(body)
}
