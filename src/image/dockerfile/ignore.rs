//! Ignore files: which paths of a context are left out.
//!
//! As Docker's `.dockerignore` (<https://docs.docker.com/build/concepts/context/#dockerignore-files>):
//! the last pattern that matches a path or a directory above it decides, `!` takes back. Paths are
//! relative to the context, with `/` between their parts.

use orc_base::{Context, Error, Result};

use crate::dockerfile::glob::Glob;
use crate::dockerfile::paths;

/// The most bytes an ignore file may have.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_PATTERNS: usize = 10_000;

/// What is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    glob: Glob,
    takes_back: bool,
}

/// The names of the ignore files for a Dockerfile, the one that counts first.
pub fn names(dockerfile: &str) -> [String; 2] {
    [format!("{dockerfile}.dockerignore"), ".dockerignore".into()]
}

impl Ignore {
    /// Reads an ignore file. Errors: a pattern that means nothing, a file that is too large.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(Error::exhausted(format!(
                "the ignore file is larger than {MAX_BYTES} bytes"
            )));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut ignore = Self::default();
        for (index, line) in text.lines().enumerate() {
            if !line.starts_with('#') {
                let added = ignore.add(line);
                added.context(|| format!("line {} of the ignore file", index + 1))?;
            }
        }
        Ok(ignore)
    }

    /// From patterns as `--exclude` has them.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Result<Self> {
        let mut ignore = Self::default();
        for pattern in patterns {
            ignore.add(pattern)?;
        }
        Ok(ignore)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        let (takes_back, text) = match line.strip_prefix('!') {
            Some(text) => (true, text.trim()),
            None => (false, line),
        };
        if text.is_empty() {
            return Err(Error::invalid("a `!` needs a pattern behind it"));
        }
        let text = paths::clean(text);
        // `/a` and `a` are the same: both are seen from the context.
        let text = text
            .strip_prefix('/')
            .filter(|text| !text.is_empty())
            .unwrap_or(&text);
        self.patterns.push(Pattern {
            glob: Glob::parse_deep(text)?,
            text: text.into(),
            takes_back,
        });
        match self.patterns.len() > MAX_PATTERNS {
            true => Err(Error::exhausted(format!(
                "there are more than {MAX_PATTERNS} patterns"
            ))),
            false => Ok(()),
        }
    }

    /// Whether `path` is left out. The context itself never is.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for pattern in &self.patterns {
            // A pattern that could change nothing need not be looked at.
            if pattern.takes_back == excluded && pattern.glob.matches_or_parent(path) {
                excluded = !pattern.takes_back;
            }
        }
        excluded && !matches!(path, "" | ".")
    }

    /// Whether something below the directory `path`, which is left out itself, may be taken back.
    pub fn may_contain_included(&self, path: &str) -> bool {
        let takes_back = self.patterns.iter().filter(|pattern| pattern.takes_back);
        takes_back
            .into_iter()
            .any(|pattern| matches!(path, "" | ".") || pattern.glob.may_match_below(path))
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether some pattern takes back what another leaves out.
    pub fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.takes_back)
    }

    /// Whether everything in the context is left out.
    pub fn excludes_all(&self) -> bool {
        let all = |pattern: &Pattern| {
            !pattern.takes_back && matches!(pattern.text.as_str(), "*" | "**" | "**/*")
        };
        self.patterns.iter().any(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let ignore = Ignore::parse(
            "# comment\n  # no-comment\n\n*.log\n!keep.log\n/build/\n**/node_modules\n!docs/**/x.md\n./a/../tmp\n\ta b \n!build/out/keep\r\n[!x]y\n",
        )
        .unwrap();
        for (path, wanted) in [
            (".", false),
            ("x.log", true),
            ("keep.log", false),
            ("sub/x.log", false),
            ("build", true),
            ("build/a/b", true),
            ("build/out/keep", false),
            ("build/out/keep/x", false),
            ("build/out/other", true),
            ("node_modules", true),
            ("a/node_modules/b/c", true),
            ("tmp", true),
            ("a b", true),
            ("# no-comment", true),
            ("!y", true),
            ("comment", false),
        ] {
            assert_eq!(ignore.excludes(path), wanted, "{path}");
        }
    }

    #[test]
    fn everything_but() {
        let ignore = Ignore::parse("*\n!src\n!**/README.md\nsrc/secret").unwrap();
        assert!(ignore.excludes_all() && ignore.takes_back());
        assert!(!ignore.excludes("src/main.rs"));
        assert!(ignore.excludes("src/secret/key"));
        assert!(ignore.excludes("target"));
        assert!(ignore.excludes("target/README"));
        assert!(!ignore.excludes("target/README.md"));
        assert!(ignore.may_contain_included("target"));
        let ignore = Ignore::parse("*\n!src/lib").unwrap();
        assert!(ignore.excludes("src"));
        assert!(ignore.may_contain_included("src"));
        assert!(!ignore.may_contain_included("target"));
        assert!(!ignore.may_contain_included("src/lib2"));
        assert!(!Ignore::parse("a\nb").unwrap().may_contain_included("a"));
    }

    #[test]
    fn refusals() {
        for (text, wanted) in [
            (
                "a\n!",
                "line 2 of the ignore file: a `!` needs a pattern behind it",
            ),
            (
                "[a",
                "line 1 of the ignore file: the pattern `[a` has a `[` that is not ended by `]`",
            ),
        ] {
            assert_eq!(Ignore::parse(text).unwrap_err().to_string(), wanted);
        }
        assert!(Ignore::parse(&"a\n".repeat(20_000)).is_err());
    }

    #[test]
    fn names_beside_the_dockerfile() {
        assert_eq!(
            names("a/Dockerfile"),
            ["a/Dockerfile.dockerignore", ".dockerignore"]
        );
    }
}
