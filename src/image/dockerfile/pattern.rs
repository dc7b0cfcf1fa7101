//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`.
//!
//! `*` is any text, `?` any character, neither crosses the end of a line; a backslash takes away a
//! meaning. Matching follows all ways at once, so no pattern is slow by itself, and a budget of steps
//! bounds the rest.

use orc_base::{Error, Result};

/// How many steps one expansion may take.
const MAX_STEPS: usize = 1_000_000;
/// How many characters of a pattern a message repeats.
const MAX_SHOWN: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    Any,
    Many,
}

/// The beginning of a pattern, for a message: it may have been expanded to a megabyte.
fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// A pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
    steps: usize,
}

/// Which of several matches is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Shortest,
    Longest,
}

impl Pattern {
    /// Reads a pattern. Errors: a backslash before what has no meaning.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    // `}` and `/` end the parts of an expansion, so they are escaped in it.
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    Some(c) => {
                        return Err(Error::invalid(format!(
                            "`\\{c}` means nothing in the pattern `{}`; `*`, `?` and `\\` can be escaped",
                            shown(text)
                        )));
                    }
                    None => {
                        return Err(Error::invalid(format!(
                            "the pattern `{}` ends in a backslash",
                            shown(text)
                        )));
                    }
                },
                c => Token::Char(c),
            });
        }
        Ok(Self { tokens, steps: 0 })
    }

    /// `value` without what the pattern matches at its start.
    pub(crate) fn trim_start(mut self, value: &str, length: Length) -> Result<String> {
        let value: Vec<char> = value.chars().collect();
        let end = self.find(&value, length)?.unwrap_or(0);
        Ok(value[end..].iter().collect())
    }

    /// `value` without what the pattern matches at its end.
    pub(crate) fn trim_end(mut self, value: &str, length: Length) -> Result<String> {
        self.tokens.reverse();
        let value: Vec<char> = value.chars().rev().collect();
        let end = self.find(&value, length)?.unwrap_or(0);
        Ok(value[end..].iter().rev().collect())
    }

    /// `value` with `text` in place of the first match or of all of them.
    pub(crate) fn replace(mut self, value: &str, text: &str, all: bool) -> Result<String> {
        let value: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let (mut at, mut end_of_last) = (0, None);
        while at <= value.len() {
            match self.find(&value[at..], Length::Longest)? {
                // Nothing that is empty is replaced right behind what was replaced.
                Some(length) if length > 0 || end_of_last != Some(at) => {
                    result.push_str(text);
                    at += length;
                    end_of_last = Some(at);
                    if !all {
                        break;
                    }
                    if length > 0 {
                        continue;
                    }
                }
                _ => {}
            }
            result.extend(value.get(at));
            at += 1;
        }
        result.extend(value.iter().skip(at));
        Ok(result)
    }

    /// How long the match at the start of `value` is.
    fn find(&mut self, value: &[char], length: Length) -> Result<Option<usize>> {
        let mut states = vec![false; self.tokens.len() + 1];
        states[0] = true;
        self.skip_many(&mut states);
        let mut found = None;
        for at in 0..=value.len() {
            if states[self.tokens.len()] {
                found = Some(at);
                if length == Length::Shortest {
                    break;
                }
            }
            let Some(c) = value.get(at) else { break };
            self.spend(states.len())?;
            states = self.step(&states, *c);
            if !states.contains(&true) {
                break;
            }
        }
        Ok(found)
    }

    fn step(&self, states: &[bool], c: char) -> Vec<bool> {
        let mut next = vec![false; states.len()];
        for (index, token) in self.tokens.iter().enumerate() {
            if !states[index] {
                continue;
            }
            match token {
                Token::Char(wanted) if *wanted == c => next[index + 1] = true,
                Token::Any if c != '\n' => next[index + 1] = true,
                Token::Many if c != '\n' => next[index] = true,
                _ => {}
            }
        }
        self.skip_many(&mut next);
        next
    }

    /// `*` may be nothing.
    fn skip_many(&self, states: &mut [bool]) {
        for (index, token) in self.tokens.iter().enumerate() {
            if *token == Token::Many && states[index] {
                states[index + 1] = true;
            }
        }
    }

    fn spend(&mut self, steps: usize) -> Result<()> {
        self.steps += steps;
        match self.steps > MAX_STEPS {
            true => Err(Error::exhausted(format!(
                "matching the pattern takes more than {MAX_STEPS} steps; make the value or the pattern shorter"
            ))),
            false => Ok(()),
        }
    }
}
