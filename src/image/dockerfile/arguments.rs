//! What stands behind the keyword and the flags of an instruction: words, lists, quotes.

use std::ops::Range;

use crate::dockerfile::ast::Command;
use crate::dockerfile::lines::Statement;
use crate::dockerfile::source::Mistake;

/// A list in JSON, or not.
pub(crate) enum Json {
    List(Vec<String>),
    /// A list of other things than strings.
    Others,
    No,
}

/// What stands behind the keyword and the flags of an instruction.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    pub(crate) statement: &'a Statement,
    pub(crate) name: &'static str,
    pub(crate) start: usize,
    pub(crate) escape: char,
}

/// A result, or what is wrong.
pub(crate) type Outcome<T> = std::result::Result<T, Mistake>;

impl<'a> Arguments<'a> {
    /// All arguments as one text.
    pub(crate) fn rest(self) -> &'a str {
        self.statement.text[self.start..].trim()
    }

    /// Something wrong with the arguments, or with the keyword when there are none.
    pub(crate) fn wrong(self, message: impl Into<String>) -> Mistake {
        let part = match self.rest() {
            "" => 0..self.statement.keyword().len(),
            rest => self.start..self.start + rest.len(),
        };
        self.statement.mistake(part, message)
    }

    pub(crate) fn needs(self, what: &str) -> Mistake {
        self.wrong(format!("{} needs {what}", self.name))
    }

    pub(crate) fn whole(self) -> Outcome<String> {
        match self.rest() {
            "" => Err(self.needs("an argument")),
            rest => Ok(rest.into()),
        }
    }

    /// Words at spaces, whatever is in them, and where they are.
    pub(crate) fn placed_words(self) -> Vec<(Range<usize>, &'a str)> {
        let text = &self.statement.text;
        let words = text[self.start..].split([' ', '\t', '\r', '\u{b}', '\u{c}']);
        let mut at = self.start;
        let mut placed = Vec::new();
        for word in words {
            if !word.is_empty() {
                placed.push((at..at + word.len(), word));
            }
            at += word.len() + 1;
        }
        placed
    }

    pub(crate) fn some_words(self) -> Outcome<Vec<String>> {
        let words = self.placed_words();
        match words.is_empty() {
            true => Err(self.needs("at least one argument")),
            false => Ok(words.into_iter().map(|(_, word)| word.into()).collect()),
        }
    }

    /// Words at spaces that are neither quoted nor escaped; quotes and escapes stay.
    pub(crate) fn quoted_words(self) -> Outcome<Vec<(Range<usize>, &'a str)>> {
        let text = &self.statement.text;
        let mut words = Vec::new();
        let mut start = None;
        let mut quote: Option<(char, usize)> = None;
        let mut chars = text[self.start..].char_indices();
        while let Some((index, c)) = chars.next() {
            let at = self.start + index;
            match quote {
                None if c.is_whitespace() => {
                    words.extend(start.take().map(|start| start..at));
                    continue;
                }
                None if c == '\'' || c == '"' => quote = Some((c, at)),
                Some((open, _)) if c == open => quote = None,
                _ => {}
            }
            start.get_or_insert(at);
            let literal = matches!(quote, Some(('\'', _)));
            if c == self.escape && !literal {
                chars.next();
            }
        }
        if let Some((open, at)) = quote {
            let kind = if open == '"' { "double" } else { "single" };
            let message = format!("a {kind} quote is not closed");
            return Err(self.statement.mistake(at..text.len(), message));
        }
        words.extend(start.map(|start| start..text.trim_end().len().max(start)));
        let word = |range: Range<usize>| (range.clone(), &text[range]);
        Ok(words.into_iter().map(word).collect())
    }

    pub(crate) fn json(self) -> Json {
        let rest = self.rest();
        if !rest.starts_with('[') {
            return Json::No;
        }
        if let Ok(list) = serde_json::from_str(rest) {
            return Json::List(list);
        }
        match serde_json::from_str::<Vec<serde_json::Value>>(rest) {
            Ok(_) => Json::Others,
            Err(_) => Json::No,
        }
    }

    pub(crate) fn not_strings(self) -> Mistake {
        self.wrong(format!(
            "the JSON list of {} may hold nothing but strings",
            self.name
        ))
    }

    pub(crate) fn command(self) -> Outcome<Command> {
        match self.json() {
            Json::List(words) => Ok(Command::Exec(words)),
            Json::Others => Err(self.not_strings()),
            Json::No if self.rest().is_empty() => Err(self.needs("a command")),
            Json::No => Ok(Command::Shell(self.rest().into())),
        }
    }
}
