//! Words of a Dockerfile: quotes, escapes and variables, as BuildKit expands them.
//!
//! `$x ${x} ${x:-y} ${x-y} ${x:+y} ${x+y} ${x:?m} ${x?m} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r}
//! ${x//p/r}`. Pure. What has no value is empty and listed, so that whoever asks can warn. The result
//! and the nesting have limits; an expansion can double a value, and a file can do it many times.

use std::collections::BTreeSet;

use orc_base::{Error, Result};

use crate::dockerfile::environment::Environment;
use crate::dockerfile::pattern::{Length, Pattern};

/// The most bytes that one text may expand to.
pub const MAX_EXPANDED: usize = 1 << 20;
/// How many characters of the word in `${name:?word}` become the message.
const MAX_MESSAGE: usize = 1_000;
const MAX_DEPTH: usize = 32;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What takes away the meaning of the next character.
    pub escape: char,
    /// What quotes do.
    pub quotes: Quotes,
    /// Escapes stay in the result.
    pub keep_escapes: bool,
    /// A variable without a value stays as it is written.
    pub keep_unset: bool,
}

/// What quotes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// They hold text together and go away.
    Remove,
    /// They hold text together and stay.
    Keep,
    /// They are characters like others.
    Ignore,
}

/// What a text expands to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// The same, split at spaces that are not quoted.
    pub words: Vec<String>,
    /// Variables that had a value.
    pub used: BTreeSet<String>,
    /// Variables that had none.
    pub unset: BTreeSet<String>,
}

impl Words {
    /// Quotes and escapes go away, and what has no value is empty.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            quotes: Quotes::Remove,
            keep_escapes: false,
            keep_unset: false,
        }
    }

    /// Expands a text. Errors: `Invalid` for what is not closed, for an operator that does not exist
    /// and for `${x:?}` without a value; `Exhausted` past [`MAX_EXPANDED`].
    pub fn expand(self, text: &str, environment: &Environment) -> Result<Expanded> {
        let mut reader = Reader {
            options: self,
            rest: text,
            environment,
            limit: MAX_EXPANDED.max(text.len()),
            depth: 0,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
        };
        let collected = reader.until(None, self.keep_escapes)?;
        Ok(Expanded {
            text: collected.text,
            words: collected.words,
            used: reader.used,
            unset: reader.unset,
        })
    }
}

/// A text and its words so far.
#[derive(Default)]
struct Collected {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Collected {
    /// Text that may be split.
    fn push(&mut self, c: char) {
        self.text.push(c);
        match c.is_whitespace() {
            true => self.end_word(),
            false => self.word.push(c),
        }
    }

    /// Text that stays together.
    fn push_whole(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

struct Reader<'a> {
    options: Words,
    rest: &'a str,
    environment: &'a Environment,
    limit: usize,
    depth: usize,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.next();
        }
        there
    }

    /// Reads up to `stop`, which goes away, or to the end.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool) -> Result<Collected> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::exhausted(format!(
                "variables are nested deeper than {MAX_DEPTH}"
            )));
        }
        let before = std::mem::replace(&mut self.options.keep_escapes, keep_escapes);
        let collected = self.collect(stop);
        self.options.keep_escapes = before;
        self.depth -= 1;
        collected
    }

    fn collect(&mut self, stop: Option<char>) -> Result<Collected> {
        let mut collected = Collected::default();
        let quotes = self.options.quotes != Quotes::Ignore;
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                collected.end_word();
                return Ok(collected);
            }
            match c {
                '$' => self.dollar()?.chars().for_each(|c| collected.push(c)),
                '\'' if quotes => collected.push_whole(&self.single_quoted()?),
                '"' if quotes => collected.push_whole(&self.double_quoted()?),
                '<' => collected.push_whole(&self.less_than()),
                c if c == self.options.escape => {
                    self.next();
                    if self.options.keep_escapes {
                        collected.push_whole(c.encode_utf8(&mut [0; 4]));
                    }
                    if let Some(escaped) = self.next() {
                        collected.push_whole(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
                c => {
                    self.next();
                    collected.push(c);
                }
            }
            self.check(collected.text.len())?;
        }
        if let Some(stop) = stop {
            return Err(Error::invalid(format!("`{stop}` is missing")));
        }
        collected.end_word();
        Ok(collected)
    }

    fn check(&self, bytes: usize) -> Result<()> {
        match bytes > self.limit {
            true => Err(Error::exhausted(format!(
                "the text expands to more than {MAX_EXPANDED} bytes"
            ))),
            false => Ok(()),
        }
    }

    /// Everything up to the next single quote; nothing has a meaning.
    fn single_quoted(&mut self) -> Result<String> {
        self.next();
        let end = self
            .rest
            .find('\'')
            .ok_or_else(|| Error::invalid("a single quote is not closed"))?;
        let inner = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(match self.options.quotes {
            Quotes::Keep => format!("'{inner}'"),
            _ => inner.into(),
        })
    }

    /// Everything up to the next double quote; variables and some escapes have a meaning.
    fn double_quoted(&mut self) -> Result<String> {
        let mut result = String::new();
        self.next();
        let keep = self.options.quotes == Quotes::Keep;
        result.extend(keep.then_some('"'));
        loop {
            match self.peek() {
                None => return Err(Error::invalid("a double quote is not closed")),
                Some('"') => {
                    self.next();
                    result.extend(keep.then_some('"'));
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(c) if c == self.options.escape => self.escape_in_quotes(&mut result),
                Some(c) => {
                    self.next();
                    result.push(c);
                }
            }
            self.check(result.len())?;
        }
    }

    /// In double quotes only `"`, `$` and the escape itself can be escaped (sh(1), "Double-Quotes").
    fn escape_in_quotes(&mut self, result: &mut String) {
        let escape = self.options.escape;
        self.next();
        result.extend(self.options.keep_escapes.then_some(escape));
        match self.peek() {
            None => {}
            Some(c) if c == '"' || c == '$' || c == escape => {
                self.next();
                result.push(c);
            }
            Some(_) => result.push(escape),
        }
    }

    /// `<< NAME` of a here-document is one word.
    fn less_than(&mut self) -> String {
        self.next();
        if !self.eat('<') {
            return "<".into();
        }
        let blank = |c: char| matches!(c, ' ' | '\t' | '\r');
        let spaces = self.rest.len() - self.rest.trim_start_matches(blank).len();
        let result = format!("<<{}", &self.rest[..spaces]);
        self.rest = &self.rest[spaces..];
        result
    }

    fn dollar(&mut self) -> Result<String> {
        self.next();
        if self.eat('{') {
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".into());
        }
        Ok(match self.value(&name) {
            Some(value) => value,
            None if self.options.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    /// What stands between `${` and `}`.
    fn braces(&mut self) -> Result<String> {
        if matches!(self.peek(), None | Some('{' | '}' | ':')) {
            return Err(Error::invalid(match self.peek() {
                None => "`}` is missing after `${`",
                _ => "the name of a variable is missing after `${`",
            }));
        }
        let name = self.name();
        let missing = |name: &str| Error::invalid(format!("`}}` is missing after `${{{name}`"));
        match self.next() {
            None => Err(missing(&name)),
            Some('}') => Ok(match self.value(&name) {
                Some(value) => value,
                None if self.options.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => {
                let operator = self.next().ok_or_else(|| missing(&name))?;
                match operator {
                    '-' | '+' | '?' => self.choice(&name, operator, true),
                    other => Err(unknown_operator(&name, &format!(":{other}"))),
                }
            }
            Some(operator @ ('-' | '+' | '?')) => self.choice(&name, operator, false),
            Some(operator @ ('#' | '%')) => self.trimmed(&name, operator),
            Some('/') => self.replaced(&name),
            Some(other) => Err(unknown_operator(&name, &other.to_string())),
        }
    }

    /// `-`, `+` and `?`; with a colon before them, empty is the same as unset.
    fn choice(&mut self, name: &str, operator: char, colon: bool) -> Result<String> {
        let word = self.part(name, '}', false)?;
        let value = self.value(name);
        if value.is_none() && self.options.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let was_set = value.is_some();
        let value = value.filter(|value| !colon || !value.is_empty());
        match (operator, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) if !word.is_empty() => {
                let shown: String = word.chars().take(MAX_MESSAGE).collect();
                Err(Error::invalid(format!("{name}: {shown}")))
            }
            (_, None) if was_set => Err(Error::invalid(format!("{name} must not be empty"))),
            (_, None) => Err(Error::invalid(format!("{name} must have a value"))),
        }
    }

    /// `#` and `%`, once for the shortest and twice for the longest match.
    fn trimmed(&mut self, name: &str, operator: char) -> Result<String> {
        let word = self.part(name, '}', true)?;
        let Some(value) = self.value(name) else {
            return Ok(match self.options.keep_unset {
                true => format!("${{{name}{operator}{word}}}"),
                false => String::new(),
            });
        };
        let (text, length) = match word.strip_prefix(operator) {
            Some(text) => (text, Length::Longest),
            None => (word.as_str(), Length::Shortest),
        };
        let pattern = Pattern::parse(text)?;
        match operator {
            '#' => pattern.trim_start(&value, length),
            _ => pattern.trim_end(&value, length),
        }
    }

    /// `/pattern/text` and `//pattern/text`.
    fn replaced(&mut self, name: &str) -> Result<String> {
        let all = self.eat('/');
        let pattern = self.part(name, '/', true)?;
        let text = self.part(name, '}', true)?;
        let Some(value) = self.value(name) else {
            let slashes = if all { "//" } else { "/" };
            return Ok(match self.options.keep_unset {
                true => format!("${{{name}{slashes}{pattern}/{text}}}"),
                false => String::new(),
            });
        };
        let result = Pattern::parse(&pattern)?.replace(&value, &text, all)?;
        self.check(result.len())?;
        Ok(result)
    }

    fn part(&mut self, name: &str, stop: char, keep_escapes: bool) -> Result<String> {
        let part = self.until(Some(stop), keep_escapes);
        let part = part.map_err(|error| match self.rest.is_empty() {
            true => error.within(format!("in `${{{name}…`")),
            false => error,
        })?;
        Ok(part.text)
    }

    /// A name, a number, or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let first = self.peek().unwrap_or(' ');
        let length = if first.is_ascii_digit() {
            self.rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(self.rest.len())
        } else if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            1
        } else {
            self.rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(self.rest.len())
        };
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        name.into()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.environment.get(name).map(str::to_owned);
        let names = match value {
            Some(_) => &mut self.used,
            None => &mut self.unset,
        };
        names.insert(name.into());
        value
    }
}

fn unknown_operator(name: &str, operator: &str) -> Error {
    Error::invalid(format!(
        "`{operator}` is no operator in `${{{name}{operator}…}}`; there are :- - :+ + :? ? # ## % %% / and //"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let mut environment = Environment::default();
        for (name, value) in [
            ("x", "abc"),
            ("empty", ""),
            ("path", "/usr/local/bin:/usr/bin"),
            ("star", "a*b"),
            ("two", "one two"),
            ("ä1", "umlaut"),
        ] {
            environment.set(name, value);
        }
        environment
    }

    fn expand(text: &str) -> Result<String> {
        Ok(Words::new('\\').expand(text, &environment())?.text)
    }

    #[test]
    fn operators() {
        for (text, wanted) in [
            ("$x ${x} $y ${y}|", "abc abc  |"),
            ("${x:-d} ${y:-d} ${empty:-d}", "abc d d"),
            ("${x-d} ${y-d} ${empty-d}|", "abc d |"),
            ("${x:+d} ${y:+d} ${empty:+d}|", "d  |"),
            ("${x+d} ${y+d} ${empty+d}", "d  d"),
            ("${x:?m} ${x?m} ${empty?m}|", "abc abc |"),
            ("${y:-${x:-n}} ${y:-${z:-n}}", "abc n"),
            ("${y:-a b} ${y:-\"q }\"} ${y:-'$x'}", "a b q } $x"),
            ("${x#a} ${x#?} ${x#b} ${x##*}|", "bc bc abc |"),
            ("${path#*/} ${path##*/}", "usr/local/bin:/usr/bin bin"),
            ("${path%/*} ${path%%/*}|", "/usr/local/bin:/usr |"),
            ("${path%%:*}", "/usr/local/bin"),
            ("${star#a\\*} ${star%\\*b}", "b a"),
            ("${x/b/X} ${x/z/X} ${x/?/X}", "aXc abc Xbc"),
            (
                "${path/bin/X} ${path//bin/X}",
                "/usr/local/X:/usr/bin /usr/local/X:/usr/X",
            ),
            ("${path//\\//_}", "_usr_local_bin:_usr_bin"),
            ("${path/u*r/X}", "/X/bin"),
            ("${x//*/y} ${x/*/y} ${x//?/y}", "y y yyy"),
            ("${y/a/b} ${y#a} ${y%a}|", "  |"),
            ("${x/b/${two}}", "aone twoc"),
            ("$xy${x}y$x-$", "abcyabc-$"),
            ("$1 $12a $@ $$ $ |", " a   $ |"),
            ("$ä1", "umlaut"),
        ] {
            assert_eq!(expand(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn quotes_and_escapes() {
        for (text, wanted) in [
            (r#"'$x' "$x" \$x "\$x""#, "$x abc $x $x"),
            (r#""a\"b" "a\nb" "a\\b" 'a\b'"#, r#"a"b a\nb a\b a\b"#),
            (r"a\ b a\\b a\", r"a b a\b a"),
            (r#""it's" 'say "hi"'"#, r#"it's say "hi""#),
            ("a\\", "a"),
            ("", ""),
            ("<<EOF < <<<x", "<<EOF < <<<x"),
        ] {
            assert_eq!(expand(text).unwrap(), wanted, "{text}");
        }
        let backtick = Words::new('`');
        let text = backtick.expand(r"c:\x\$x `$x ${y:-`}}", &environment());
        assert_eq!(text.unwrap().text, r"c:\x\abc $x }");
    }

    #[test]
    fn words_are_split_after_expansion_and_held_by_quotes() {
        for (text, wanted) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            (
                "$two \"$two\" '$two'",
                vec!["one", "two", "one two", "$two"],
            ),
            ("a\\ b \"\" c", vec!["a b", "c"]),
            ("x<< EOF y", vec!["x<< EOF", "y"]),
            ("pre${y:-mid dle}post", vec!["premid", "dlepost"]),
        ] {
            let words = Words::new('\\').expand(text, &environment()).unwrap().words;
            assert_eq!(words, wanted, "{text}");
        }
    }

    #[test]
    fn what_stays_as_it_is() {
        let keep = Words {
            quotes: Quotes::Keep,
            keep_unset: true,
            ..Words::new('\\')
        };
        let expand = |text: &str| keep.expand(text, &environment()).unwrap().text;
        assert_eq!(
            expand(r#"'$x' "$x" $y ${y} ${y:-$x} ${y#a} ${y//a/b}"#),
            r#"'$x' "abc" $y ${y} ${y:-abc} ${y#a} ${y//a/b}"#
        );
        let raw = Words {
            quotes: Quotes::Ignore,
            ..Words::new('\\')
        };
        let text = raw.expand("'$x' \"$x\" it's \\$x", &environment()).unwrap();
        assert_eq!(text.text, "'abc' \"abc\" it's $x");
    }

    #[test]
    fn says_what_was_used_and_what_had_no_value() {
        let expanded = Words::new('\\')
            .expand("$x ${y:-$z} ${empty}", &environment())
            .unwrap();
        assert_eq!(
            expanded.used.into_iter().collect::<Vec<_>>(),
            ["empty", "x"]
        );
        assert_eq!(expanded.unset.into_iter().collect::<Vec<_>>(), ["y", "z"]);
    }

    #[test]
    fn refusals() {
        for (text, wanted) in [
            ("'a", "a single quote is not closed"),
            ("\"a", "a double quote is not closed"),
            ("${", "`}` is missing after `${`"),
            ("${x", "`}` is missing after `${x`"),
            ("${}", "the name of a variable is missing after `${`"),
            ("${x:-a", "in `${x…`: `}` is missing"),
            ("${x/a}", "in `${x…`: `/` is missing"),
            (
                "${x:=a}",
                "`:=` is no operator in `${x:=…}`; there are :- - :+ + :? ? # ## % %% / and //",
            ),
            (
                "${x:#a}",
                "`:#` is no operator in `${x:#…}`; there are :- - :+ + :? ? # ## % %% / and //",
            ),
            (
                "${x^}",
                "`^` is no operator in `${x^…}`; there are :- - :+ + :? ? # ## % %% / and //",
            ),
            ("${y:?}", "y must have a value"),
            ("${empty:?}", "empty must not be empty"),
            ("${y?set y}", "y: set y"),
            (
                "${x#\\a}",
                "`\\a` means nothing in the pattern `\\a`; `*`, `?` and `\\` can be escaped",
            ),
        ] {
            assert_eq!(expand(text).unwrap_err().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn bounds() {
        let mut environment = Environment::default();
        environment.set("a", &"a".repeat(600_000));
        let error = Words::new('\\').expand("$a$a", &environment).unwrap_err();
        assert!(
            error.to_string().contains("more than 1048576 bytes"),
            "{error}"
        );
        let nested = format!("{}x{}", "${y:-".repeat(100), "}".repeat(100));
        let error = Words::new('\\').expand(&nested, &environment).unwrap_err();
        assert!(
            error.to_string().contains("nested deeper than 32"),
            "{error}"
        );
        let error = Words::new('\\').expand("${a//*b/}", &environment);
        assert!(error.unwrap_err().to_string().contains("1000000 steps"));
    }

    /// Found by fuzzing: a pattern is expanded before it is read, and messages repeated all of it.
    #[test]
    fn messages_stay_short_however_much_is_expanded() {
        let mut environment = Environment::default();
        environment.set("LONG", &"l".repeat(100_000));
        for text in [
            "${LONG#${LONG}\\x}",
            "${LONG/${LONG}\\x/y}",
            "${GONE:?$LONG}",
        ] {
            let error = Words::new('`').expand(text, &environment);
            let error = error.expect_err(text).to_string();
            assert!(error.len() < 1_200, "{text}: {} bytes", error.len());
        }
    }
}
