//! The flags of an instruction: `--name=value` words before its arguments.

use std::ops::Range;

use orc_base::spelling;

use crate::dockerfile::lines::Statement;
use crate::dockerfile::source::Mistake;

/// How many mistakes of one instruction are kept.
const MAX_MISTAKES: usize = 100;

/// A flag as it is written.
#[derive(Debug, Clone)]
struct Flag {
    name: String,
    value: Option<String>,
    part: Range<usize>,
}

/// The flags of one instruction, taken out one by one; what is left over does not belong there.
#[derive(Debug)]
pub(crate) struct Flags<'a> {
    statement: &'a Statement,
    instruction: &'static str,
    flags: Vec<Flag>,
    known: Vec<&'static str>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Splits off the flags from `start` of a statement's text; returns where the arguments start.
pub(crate) fn split<'a>(
    statement: &'a Statement,
    instruction: &'static str,
    start: usize,
    escape: char,
) -> (Flags<'a>, usize) {
    let text = &statement.text;
    let mut flags = Vec::new();
    let mut at = skip_spaces(text, start);
    while text[at..].starts_with("--") {
        let (word, end) = word(text, at, escape);
        let part = at..end;
        at = skip_spaces(text, end);
        if word == "--" {
            break;
        }
        let (name, value) = match word[2..].split_once('=') {
            Some((name, value)) => (name.into(), Some(value.into())),
            None => (word[2..].into(), None),
        };
        flags.push(Flag { name, value, part });
    }
    let flags = Flags {
        statement,
        instruction,
        flags,
        known: Vec::new(),
        mistakes: Vec::new(),
    };
    (flags, at)
}

fn skip_spaces(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}

/// A word without its quotes and escapes, and where it ends.
fn word(text: &str, start: usize, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text[start..].char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            c if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            c if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if quote.is_none() && c.is_whitespace() => return (word, start + index),
            c => word.push(c),
        }
    }
    (word, text.len())
}

impl Flags<'_> {
    /// A flag with a value.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.one(name)?.1
    }

    /// The same and where it stands.
    pub(crate) fn placed(&mut self, name: &'static str) -> Option<(Range<usize>, String)> {
        let (part, value) = self.one(name)?;
        Some((part, value?))
    }

    fn one(&mut self, name: &'static str) -> Option<(Range<usize>, Option<String>)> {
        let mut found = self.take(name);
        for twice in found.iter().skip(1) {
            self.wrong(twice.part.clone(), format!("--{name} is there twice"));
        }
        let flag = (!found.is_empty()).then(|| found.swap_remove(0))?;
        if flag.value.is_none() {
            self.wrong(
                flag.part.clone(),
                format!("--{name} needs a value: --{name}=…"),
            );
        }
        Some((flag.part, flag.value))
    }

    /// A flag that may come more than once.
    pub(crate) fn texts(&mut self, name: &'static str) -> Vec<(Range<usize>, String)> {
        let mut values = Vec::new();
        for flag in self.take(name) {
            match flag.value {
                Some(value) => values.push((flag.part, value)),
                None => self.wrong(flag.part, format!("--{name} needs a value: --{name}=…")),
            }
        }
        values
    }

    /// A flag that is true when it is there, `--name=false` apart.
    pub(crate) fn switch(&mut self, name: &'static str) -> Option<bool> {
        let mut found = self.take(name);
        for twice in found.iter().skip(1) {
            self.wrong(twice.part.clone(), format!("--{name} is there twice"));
        }
        let flag = (!found.is_empty()).then(|| found.swap_remove(0))?;
        match flag
            .value
            .as_deref()
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None | Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => {
                self.wrong(
                    flag.part,
                    format!("--{name} is true or false, not `{other}`"),
                );
                None
            }
        }
    }

    fn take(&mut self, name: &'static str) -> Vec<Flag> {
        self.known.push(name);
        let (found, rest) = std::mem::take(&mut self.flags)
            .into_iter()
            .partition(|flag| flag.name == name);
        self.flags = rest;
        found
    }

    pub(crate) fn wrong(&mut self, part: Range<usize>, message: String) {
        if !self.is_full() {
            self.mistakes.push(self.statement.mistake(part, message));
        }
    }

    /// Whether no more mistakes are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.mistakes.len() >= MAX_MISTAKES
    }

    /// Refuses what is left over and returns all that was wrong.
    pub(crate) fn finish(mut self) -> Vec<Mistake> {
        for flag in std::mem::take(&mut self.flags)
            .into_iter()
            .take(MAX_MISTAKES)
        {
            let near = spelling::nearest(&flag.name, self.known.iter().copied());
            let hint = match (near, self.known.is_empty()) {
                (Some(near), _) => format!(", did you mean --{near}?"),
                (None, true) => format!(", {} takes no flags", self.instruction),
                (None, false) => {
                    // A device can be asked for, but never given.
                    let known = self.known.iter().filter(|name| **name != "device");
                    let known: Vec<String> = known.map(|name| format!("--{name}")).collect();
                    format!(", there are {}", known.join(" "))
                }
            };
            let message = format!(
                "unknown flag --{} for {}{hint}",
                flag.name, self.instruction
            );
            let end = flag.part.start + 2 + flag.name.len();
            let end = end.min(flag.part.end);
            self.wrong(flag.part.start..end, message);
        }
        self.mistakes
    }
}
