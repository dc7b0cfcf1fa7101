//! What lint says: a rule, a place, what is there and what to do about it.

use std::fmt;

use orc_base::spelling;

use crate::node::Span;

/// How many remarks are kept; a file with more has other problems.
pub(crate) const MAX_REMARKS: usize = 10_000;

/// The rules, in the order of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// An anchor that no alias names.
    UnusedAnchor,
    /// A key that hides what `<<` brings.
    ShadowedMerge,
    /// A later file that says again what an earlier one says.
    RepeatedOverride,
    /// A variable that is set in two places.
    ShadowedVariable,
    /// A port that is reachable from everywhere.
    OpenPort,
    /// A port of the machine that two containers want.
    DuplicatePort,
    /// An image without a tag, or with `latest`.
    FloatingTag,
    /// A wait for the health of a service that has no check.
    MissingHealthcheck,
    /// A job that is not waited for to end.
    StartedJob,
    /// A job that is waited for and always starts again.
    EndlessJob,
    /// A fixed name beside a number of replicas.
    FixedName,
    /// `version`.
    ObsoleteVersion,
    /// A bind mount whose source is not there.
    MissingBind,
    /// A secret in the open.
    PlainSecret,
    /// A rule to ignore that there is not.
    UnknownRule,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::UnusedAnchor,
        Self::ShadowedMerge,
        Self::RepeatedOverride,
        Self::ShadowedVariable,
        Self::OpenPort,
        Self::DuplicatePort,
        Self::FloatingTag,
        Self::MissingHealthcheck,
        Self::StartedJob,
        Self::EndlessJob,
        Self::FixedName,
        Self::ObsoleteVersion,
        Self::MissingBind,
        Self::PlainSecret,
        Self::UnknownRule,
    ];

    /// Its name, for people and for `x-orc-lint`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnusedAnchor => "unused-anchor",
            Self::ShadowedMerge => "shadowed-merge",
            Self::RepeatedOverride => "repeated-override",
            Self::ShadowedVariable => "shadowed-variable",
            Self::OpenPort => "open-port",
            Self::DuplicatePort => "duplicate-port",
            Self::FloatingTag => "floating-tag",
            Self::MissingHealthcheck => "missing-healthcheck",
            Self::StartedJob => "started-job",
            Self::EndlessJob => "endless-job",
            Self::FixedName => "fixed-name",
            Self::ObsoleteVersion => "obsolete-version",
            Self::MissingBind => "missing-bind",
            Self::PlainSecret => "plain-secret",
            Self::UnknownRule => "unknown-rule",
        }
    }

    /// Why it is a rule.
    pub fn why(self) -> &'static str {
        match self {
            Self::UnusedAnchor => "nothing uses it, so changing it changes nothing",
            Self::ShadowedMerge => {
                "`<<` merges one level deep: a key that is there hides the whole value that the alias brings"
            }
            Self::RepeatedOverride => {
                "the earlier file says so already; when one of the two is changed, the other is forgotten"
            }
            Self::ShadowedVariable => {
                "only one of the values counts, and whoever edits the other one sees no effect"
            }
            Self::OpenPort => {
                "whoever reaches this machine reaches the port, past most firewalls' own rules"
            }
            Self::DuplicatePort => {
                "a port of the machine leads to one container; the second one does not start"
            }
            Self::FloatingTag => {
                "what it names changes over time, so two machines may run different programs"
            }
            Self::MissingHealthcheck => {
                "without a check nothing ever becomes healthy, and whoever waits for it does not start"
            }
            Self::StartedJob => "the other one may start before the job has done its work",
            Self::EndlessJob => {
                "a service that always starts again never completes, so whoever waits for it never starts"
            }
            Self::FixedName => {
                "two containers cannot have one name, so the service can never have a second replica"
            }
            Self::ObsoleteVersion => "`version` has no meaning any more and is ignored",
            Self::MissingBind => {
                "what is not there is made as an empty directory of root, or refused"
            }
            Self::PlainSecret => {
                "whoever reads the file, its history or `inspect` of the container reads the secret"
            }
            Self::UnknownRule => "a rule that there is not ignores nothing",
        }
    }

    /// The rule of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == name)
    }

    /// The rule whose name is nearest.
    pub(crate) fn nearest(name: &str) -> Option<&'static str> {
        spelling::nearest(name, Self::ALL.iter().map(|rule| rule.as_str()))
    }
}

/// One thing that could be better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Which rule says so.
    pub rule: Rule,
    /// The file as people are shown it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// The key, `services.web.ports[0]`; a variable's name in a file of variables.
    pub path: String,
    /// What is there.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// The service it is about, whose own `x-orc-lint` counts.
    pub(crate) service: Option<String>,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            path,
            what,
            fix,
            ..
        } = self;
        let (rule, why) = (self.rule.as_str(), self.rule.why());
        writeln!(f, "{file}:{line}:{column}: {rule}: {path}: {what}")?;
        writeln!(f, "    why: {why}")?;
        writeln!(f, "    fix: {fix}")
    }
}

/// Collects remarks.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) remarks: Vec<Remark>,
    /// The service that is being looked at.
    pub(crate) service: Option<String>,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        rule: Rule,
        span: &Span,
        path: impl fmt::Display,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        if self.remarks.len() >= MAX_REMARKS {
            return;
        }
        self.remarks.push(Remark {
            rule,
            file: span.file_name().unwrap_or("compose").to_owned(),
            line: span.line,
            column: span.column,
            path: path.to_string(),
            what: what.into(),
            fix: fix.into(),
            service: self.service.clone(),
        });
    }
}
