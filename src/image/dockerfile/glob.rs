//! Patterns of paths: `*?[a-z]\` as Go's `filepath.Match`, and `**` as in ignore files.
//!
//! Pure. `*` and `?` stay within one part of a path. All ways are followed at once, so that matching
//! costs at most the length of the pattern times that of the path.

use orc_base::{Error, Result};

/// The most characters of a pattern.
pub const MAX_PATTERN: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`: one character but `/`.
    One,
    /// `*`: any but `/`.
    Many,
    /// `**/` begins: it may be nothing at all.
    Directories,
    /// Within `**/`: anything up to a `/`.
    Within,
    /// `**` at the end: anything.
    All,
    /// `[a-z]`, `[^a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

/// How far a path matches.
struct Progress {
    /// All of it matches.
    whole: bool,
    /// A directory above it matches.
    parent: bool,
    /// Something below it may match.
    below: bool,
}

impl Glob {
    /// Reads a pattern of `COPY` and `ADD`, where `**` is the same as `*`. Errors: a class or an
    /// escape that is not ended.
    pub fn parse(pattern: &str) -> Result<Self> {
        read(pattern, false)
    }

    /// Reads a pattern of an ignore file, of `--exclude` and of `--parents`, where `**` is any number
    /// of directories.
    pub fn parse_deep(pattern: &str) -> Result<Self> {
        read(pattern, true)
    }

    /// Whether all of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        self.follow(path).whole
    }

    /// Whether `path` or a directory above it matches.
    pub fn matches_or_parent(&self, path: &str) -> bool {
        let progress = self.follow(path);
        progress.whole || progress.parent
    }

    /// Whether something below the directory `path` may match.
    pub fn may_match_below(&self, path: &str) -> bool {
        self.follow(path).below
    }

    fn follow(&self, path: &str) -> Progress {
        let mut progress = Progress {
            whole: false,
            parent: false,
            below: false,
        };
        let mut states = vec![false; self.0.len() + 1];
        let mut next = states.clone();
        states[0] = true;
        self.skip_empty(&mut states);
        for c in path.chars() {
            if c == '/' && states[self.0.len()] {
                progress.parent = true;
            }
            self.step(&states, &mut next, c);
            std::mem::swap(&mut states, &mut next);
            if !states.contains(&true) {
                return progress;
            }
        }
        progress.whole = states[self.0.len()];
        self.step(&states, &mut next, '/');
        progress.below = next.contains(&true);
        progress
    }

    fn step(&self, states: &[bool], next: &mut [bool], c: char) {
        next.fill(false);
        for (index, token) in self.0.iter().enumerate() {
            if !states[index] {
                continue;
            }
            match token {
                Token::Char(wanted) => next[index + 1] |= *wanted == c,
                Token::One => next[index + 1] |= c != '/',
                Token::Many => next[index] |= c != '/',
                Token::All => next[index] = true,
                Token::Directories => {}
                Token::Within => {
                    next[index] = true;
                    next[index + 1] |= c == '/';
                }
                Token::Class { negated, ranges } => {
                    let within = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                    next[index + 1] |= within != *negated;
                }
            }
        }
        self.skip_empty(next);
    }

    /// What may be nothing is passed by.
    fn skip_empty(&self, states: &mut [bool]) {
        for (index, token) in self.0.iter().enumerate() {
            if !states[index] {
                continue;
            }
            match token {
                Token::Many | Token::All => states[index + 1] = true,
                Token::Directories => {
                    states[index + 1] = true;
                    states[index + 2] = true;
                }
                _ => {}
            }
        }
    }
}

/// Whether a text has characters that make it a pattern.
pub fn has_wildcards(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

/// The part of a pattern before its first component with wildcards, and the rest.
pub fn split_wildcards(pattern: &str) -> (&str, &str) {
    let mut start = 0;
    for part in pattern.split_inclusive('/') {
        if has_wildcards(part) {
            break;
        }
        start += part.len();
    }
    pattern.split_at(start)
}

fn read(pattern: &str, deep: bool) -> Result<Glob> {
    if pattern.chars().count() > MAX_PATTERN {
        return Err(Error::exhausted(format!(
            "a pattern of paths is longer than {MAX_PATTERN} characters"
        )));
    }
    let wrong = |why: &str| Error::invalid(format!("the pattern `{pattern}` {why}"));
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if deep && chars.peek() == Some(&'*') => {
                let first = tokens.is_empty();
                while chars.peek() == Some(&'*') {
                    chars.next();
                }
                let slash = chars.next_if_eq(&'/').is_some();
                match chars.peek() {
                    None => tokens.push(Token::All),
                    // `**name` at the start also takes the end of a name, as in Docker.
                    Some(_) if first && !slash && !has_wildcards(pattern.trim_matches('*')) => {
                        tokens.push(Token::All);
                    }
                    Some(_) => tokens.extend([Token::Directories, Token::Within]),
                }
            }
            '*' => tokens.push(Token::Many),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut chars).map_err(wrong)?),
            '\\' => {
                let escaped = chars.next().ok_or_else(|| wrong("ends in a backslash"))?;
                tokens.push(Token::Char(escaped));
            }
            c => tokens.push(Token::Char(c)),
        }
    }
    Ok(Glob(tokens))
}

/// What stands behind `[`.
fn class(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> std::result::Result<Token, &'static str> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Token::Class { negated, ranges });
        }
        let from = class_char(chars)?;
        let to = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => from,
        };
        ranges.push((from, to));
    }
}

fn class_char(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> std::result::Result<char, &'static str> {
    const OPEN: &str = "has a `[` that is not ended by `]`";
    match chars.next().ok_or(OPEN)? {
        '-' | ']' => Err("has a `-` or `]` in `[…]` that is not escaped"),
        '\\' => chars.next().ok_or(OPEN),
        c => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_go() {
        // Cases of Go's path/filepath/match_test.go.
        for (pattern, path, wanted) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "a", false),
            ("*x", "xxx", true),
            ("**", "a/b", false),
        ] {
            assert_eq!(
                Glob::parse(pattern).unwrap().matches(path),
                wanted,
                "{pattern} {path}"
            );
        }
        for bad in [
            "[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "[a-b-c]", "a\\",
        ] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn any_number_of_directories() {
        for (pattern, path, wanted) in [
            ("**", "a/b", true),
            ("**/", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a**", "ab/c", true),
            ("**/a", "a", true),
            ("**/a", "b/c/a", true),
            ("**/a", "ba", false),
            ("**a", "ba", true),
            ("**/*.go", "x.go", true),
            ("**/*.go", "a/b/x.go", true),
            ("**/*.go", "a/b/x.gone", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false),
            ("a**/b", "axx/b", true),
            ("**/**/x", "x", true),
            ("a/***/x", "a/b/x", true),
            ("?/x", "a/x", true),
        ] {
            let glob = Glob::parse_deep(pattern).unwrap();
            assert_eq!(glob.matches(path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn parents_and_what_is_below() {
        let glob = |pattern| Glob::parse_deep(pattern).unwrap();
        assert!(glob("a/b").matches_or_parent("a/b/c/d"));
        assert!(!glob("a/b").matches_or_parent("a/bc"));
        assert!(glob("*").matches_or_parent("x/y"));
        assert!(glob("a/*/c").may_match_below("a/b"));
        assert!(glob("a/*/c").may_match_below("a"));
        assert!(!glob("a/*/c").may_match_below("b"));
        assert!(!glob("a").may_match_below("a"));
        assert!(glob("**/x").may_match_below("deep/down"));
    }

    #[test]
    fn wildcards() {
        for (pattern, wanted) in [
            ("a/b", ("a/b", "")),
            ("a/b*/c", ("a/", "b*/c")),
            ("*", ("", "*")),
            ("a\\*/[x]", ("a\\*/", "[x]")),
        ] {
            assert_eq!(split_wildcards(pattern), wanted);
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = "*a".repeat(1000) + "b";
        let path = "a".repeat(4000);
        assert!(!Glob::parse(&pattern).unwrap().matches(&path));
        assert!(Glob::parse(&"*".repeat(5000)).is_err());
    }
}
