//! `.env` files, `env_file`s and label files.
//!
//! The grammar of docker compose: `export`, `KEY=value` and `KEY: value`, single quotes that keep,
//! double quotes that expand `\n` and `$NAME`, values over several lines in quotes, comments, and a
//! bare `KEY` that is inherited. Errors carry the place and show the line.

use std::collections::BTreeMap;

use orc_base::{Error, Result};

use crate::budget::Budget;
use crate::interpolate::Interpolation;
use crate::source::Source;

/// How many variables a file may set.
const MAX_VARIABLES: usize = 100_000;

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// As docker compose reads `.env`.
    Compose,
    /// As `docker run --env-file` does: a line is a name, `=` and a value, as they stand.
    Raw,
}

/// What a file sets, later lines over earlier ones. `outer` wins over the file's own variables when
/// a value mentions one, and is where bare names are inherited from.
pub(crate) fn parse(
    source: &Source,
    grammar: Grammar,
    outer: &BTreeMap<String, String>,
    budget: &mut Budget,
) -> Result<BTreeMap<String, String>> {
    let text = source.text();
    let reader = Reader {
        source,
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
        outer,
        visible: match grammar {
            Grammar::Compose => outer.clone(),
            Grammar::Raw => BTreeMap::new(),
        },
        set: BTreeMap::new(),
        budget,
    };
    match grammar {
        Grammar::Raw => reader.raw(),
        Grammar::Compose => reader.all(),
    }
}

struct Reader<'a> {
    source: &'a Source,
    rest: &'a str,
    /// Where `rest` begins, from 1.
    line: usize,
    outer: &'a BTreeMap<String, String>,
    /// What values may mention: `outer` over `set`.
    visible: BTreeMap<String, String>,
    set: BTreeMap<String, String>,
    budget: &'a mut Budget,
}

impl<'a> Reader<'a> {
    fn all(mut self) -> Result<BTreeMap<String, String>> {
        while self.skip_to_statement() {
            let (line, rest) = (self.line, self.rest);
            self.statement()
                .map_err(|error| self.at(line, rest, &error))?;
        }
        Ok(self.set)
    }

    fn raw(mut self) -> Result<BTreeMap<String, String>> {
        for (index, line) in self.rest.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (line, self.outer.get(line).cloned()),
            };
            if key.is_empty() || key.contains(char::is_whitespace) {
                let error = Error::invalid(format!("`{key}` is not a variable's name"));
                return Err(self.at(index + 1, line, &error));
            }
            if let Some(value) = value {
                self.insert(key, value)?;
            }
        }
        Ok(self.set)
    }

    /// An error about what begins with `rest`, a part of the text in that line.
    fn at(&self, line: usize, rest: &str, error: &Error) -> Error {
        let text = self.source.text();
        let before = &text[..rest.as_ptr() as usize - text.as_ptr() as usize];
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let column = u32::try_from(column).unwrap_or(u32::MAX);
        let (name, excerpt) = (self.source.name(), self.source.excerpt(line, column));
        Error::new(
            error.kind(),
            format!("{name}:{line}:{column}: {error}{excerpt}"),
        )
    }

    /// Goes over blanks and comments; false at the end of the file.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let start = self.rest.trim_start();
            self.advance(self.rest.len() - start.len());
            if !start.starts_with('#') {
                return !start.is_empty();
            }
            self.advance(start.find('\n').unwrap_or(start.len()));
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes);
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    fn statement(&mut self) -> Result<()> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with([' ', '\t'])
        {
            self.advance(self.rest.len() - after.trim_start_matches([' ', '\t']).len());
        }
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let key = self.rest[..end].trim_end();
        let inherited = !self.rest[end..].starts_with(['=', ':']);
        let key = match inherited {
            true => key.split(" #").next().unwrap_or_default().trim_end(),
            false => key,
        };
        check_key(key)?;
        if inherited {
            self.advance(end);
            if let Some(value) = self.outer.get(key) {
                self.put(key, value.clone())?;
            }
            return Ok(());
        }
        self.advance(end + 1);
        let value = self
            .rest
            .trim_start_matches([' ', '\t', '\r', '\u{b}', '\u{c}']);
        self.advance(self.rest.len() - value.len());
        let value = match value.chars().next() {
            Some('\'') => self.single_quoted()?,
            Some('"') => self.double_quoted()?,
            _ => self.unquoted()?,
        };
        self.put(key, value)
    }

    fn put(&mut self, key: &str, value: String) -> Result<()> {
        if !self.outer.contains_key(key) {
            self.visible.insert(key.to_owned(), value.clone());
        }
        self.insert(key, value)
    }

    fn insert(&mut self, key: &str, value: String) -> Result<()> {
        self.budget.bytes(key.len() + value.len())?;
        self.set.insert(key.to_owned(), value);
        match self.set.len() > MAX_VARIABLES {
            true => Err(Error::exhausted(format!(
                "more than {MAX_VARIABLES} variables"
            ))),
            false => Ok(()),
        }
    }

    fn unquoted(&mut self) -> Result<String> {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        let value = line.split(" #").next().unwrap_or_default().trim_end();
        self.advance(end);
        self.expand(value)
    }

    fn single_quoted(&mut self) -> Result<String> {
        let inner = self.quoted('\'')?;
        Ok(inner.replace("\\'", "'"))
    }

    fn double_quoted(&mut self) -> Result<String> {
        let inner = self.quoted('"')?;
        self.expand(&unescape(inner))
    }

    /// What stands between the quotes, escapes as they are; goes behind the closing one.
    fn quoted(&mut self, quote: char) -> Result<&'a str> {
        let inner = &self.rest[1..];
        let mut escaped = false;
        for (at, c) in inner.char_indices() {
            if c == quote && !escaped {
                self.advance(at + 2);
                return Ok(&inner[..at]);
            }
            escaped = c == '\\' && !escaped;
        }
        let line = self.rest.lines().next().unwrap_or_default();
        Err(Error::invalid(format!("unterminated quoted value {line}")))
    }

    fn expand(&self, text: &str) -> Result<String> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        Interpolation::new(&self.visible).text(text)
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.contains(char::is_whitespace) {
        return Err(Error::invalid(format!(
            "`{key}`: key cannot contain a space"
        )));
    }
    let odd = key
        .chars()
        .find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']')));
    match odd {
        Some(c) => Err(Error::invalid(format!(
            "unexpected character {c:?} in variable name `{key}`"
        ))),
        None if key.is_empty() => Err(Error::invalid("a variable has no name")),
        None => Ok(()),
    }
}

/// Shell escapes of double quotes; `\$` becomes `$$`, which interpolation leaves a `$`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let c = rest.chars().next();
        let plain = match c {
            Some('a') => "\u{7}",
            Some('b') => "\u{8}",
            Some('f') => "\u{c}",
            Some('n') => "\n",
            Some('r') => "\r",
            Some('t') => "\t",
            Some('v') => "\u{b}",
            Some('$') => "$$",
            Some('"') => "\"",
            Some('\\') => "\\",
            Some('0') => {
                let (byte, length) = octal(&rest[1..]);
                out.push(byte);
                rest = &rest[1 + length..];
                continue;
            }
            _ => {
                out.push('\\');
                continue;
            }
        };
        out.push_str(plain);
        rest = &rest[1..];
    }
    out.push_str(rest);
    out
}

/// Up to three octal digits as a character, and how many there were.
fn octal(text: &str) -> (char, usize) {
    let length = text
        .bytes()
        .take(3)
        .take_while(|byte| matches!(byte, b'0'..=b'7'))
        .count();
    let value = u32::from_str_radix(&text[..length], 8).unwrap_or(0);
    (char::from_u32(value & 0xff).unwrap_or('\0'), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        text: &str,
        grammar: Grammar,
        outer: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        parse(
            &Source::new(".env", text),
            grammar,
            outer,
            &mut Budget::default(),
        )
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let outer = BTreeMap::from([("OUT".to_owned(), "o".to_owned())]);
        let found = read(text, Grammar::Compose, &outer).unwrap();
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn grammar() {
        check(
            "\u{feff}A=1\n# c\nB = 2 # c\nexport C='x\\n$A'\nD=\"y\\n$A ${OUT}\"\nE: 5\n\nF=\n",
            &[
                ("A", "1"),
                ("B", "2"),
                ("C", "x\\n$A"),
                ("D", "y\n1 o"),
                ("E", "5"),
                ("F", ""),
            ],
        );
        check(
            "A='two\nlines' # c\nB=x#y\n",
            &[("A", "two\nlines"), ("B", "x#y")],
        );
        check(
            "OUT\nNOT\nexport.X= 1\nexportY=2",
            &[("OUT", "o"), ("export.X", "1"), ("exportY", "2")],
        );
        check(r#"A="\$B \0123 \x07 \"q\"""#, &[("A", "$B S \\x07 \"q\"")]);
        check("OUT=file\nA=$OUT\n", &[("OUT", "file"), ("A", "o")]);
        check("A=`id` $(id)\n", &[("A", "`id` $(id)")]);
        check("", &[]);
    }

    #[test]
    fn refusals_carry_the_place() {
        for (text, expected) in [
            (
                "A=1\nINVALID LINE\n",
                ".env:2:1: `INVALID LINE`: key cannot contain a space\n   2 | INVALID LINE\n     | ^^^^^^^^^^^^",
            ),
            ("A='x\n", ".env:1:1: unterminated quoted value"),
            ("\n\nlol$wut\n", ".env:3:1: unexpected character '$'"),
            ("=1", ".env:1:1: a variable has no name"),
            (
                "A='\n\n'\nB=${X:?no}",
                ".env:4:1: required variable X is missing a value: no",
            ),
        ] {
            let error = read(text, Grammar::Compose, &BTreeMap::new()).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn raw_lines_stand_as_they_are() {
        let found = read("A='x' $B # y\n#c\n\nC\n", Grammar::Raw, &BTreeMap::new()).unwrap();
        assert_eq!(
            found,
            BTreeMap::from([("A".to_owned(), "'x' $B # y".to_owned())])
        );
        assert!(read("A B=1", Grammar::Raw, &BTreeMap::new()).is_err());
    }
}
