//! What will surprise the author of a Dockerfile: BuildKit's checks, by their names.
//!
//! <https://docs.docker.com/reference/build-checks/>. A check is told as a warning; `# check=skip=…`
//! above everything or above one instruction turns some off, `error=true` makes them refusals.

use std::collections::BTreeSet;
use std::fmt;

use orc_base::{Error, Result};

/// Something that will surprise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Its line; 0 when it has none.
    pub line: usize,
    /// Which check found it.
    pub rule: Rule,
    /// What was found.
    pub message: String,
}

impl Warning {
    /// A finding of `rule` in `line`.
    pub fn new(line: usize, rule: Rule, message: impl Into<String>) -> Self {
        Self {
            line,
            rule,
            message: message.into(),
        }
    }
}

/// The checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "the names are documented by Docker; `Display` prints them"
)]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    /// Not Docker's: `# syntax=` names a language that is not Docker's own.
    ForeignSyntax,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    JSONArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    /// Not Docker's: a `--build-arg` that no `ARG` takes.
    UnusedBuildArg,
    WorkdirRelativePath,
}

impl Rule {
    /// Only found when it is asked for.
    fn experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which checks are wanted: `skip=A,B;error=true;experimental=all`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    skip: Names,
    experimental: Names,
    /// Whether a finding fails the build.
    pub error: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Names {
    #[default]
    None,
    Some(BTreeSet<String>),
    All,
}

impl Names {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Some(names.split(',').map(|name| name.trim().into()).collect()),
        }
    }

    fn has(&self, rule: Rule) -> bool {
        match self {
            Self::None => false,
            Self::Some(names) => names.contains(&rule.to_string()),
            Self::All => true,
        }
    }
}

impl Checks {
    /// Reads the value of a `check` directive. Errors: an option that does not exist.
    pub fn parse(text: &str) -> Result<Self> {
        let mut checks = Self::default();
        for option in text.split(';').filter(|option| !option.trim().is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name.trim() {
                "skip" => checks.skip = Names::parse(value),
                "experimental" => checks.experimental = Names::parse(value),
                "error" => {
                    checks.error = match value.trim().to_ascii_lowercase().as_str() {
                        "true" | "1" | "t" => true,
                        "false" | "0" | "f" => false,
                        other => {
                            return Err(Error::invalid(format!(
                                "`{other}` is neither true nor false, in `error` of check"
                            )));
                        }
                    }
                }
                other => {
                    return Err(Error::invalid(format!(
                        "`{other}` is no option of check; there are skip, error and experimental"
                    )));
                }
            }
        }
        Ok(checks)
    }

    /// What a `# check=…` in the comments above an instruction says.
    pub fn of_comments(comments: &[String]) -> Self {
        let option = |comment: &String| {
            let (name, value) = comment.split_once('=')?;
            let ours = name.trim().eq_ignore_ascii_case("check");
            ours.then(|| value.split_whitespace().next())?
                .and_then(|value| Self::parse(value).ok())
        };
        comments.iter().find_map(option).unwrap_or_default()
    }

    /// Whether findings of `rule` are told.
    pub fn tells(&self, rule: Rule) -> bool {
        match rule.experimental() {
            true => self.experimental.has(rule),
            false => !self.skip.has(rule),
        }
    }
}
