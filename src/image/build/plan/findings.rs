//! Collects what will surprise the author, in the order of lines.

use std::collections::BTreeSet;

use orc_base::{Error, Result};

use crate::dockerfile::ast::{Dockerfile, Place};
use crate::dockerfile::checks::{Checks, Rule, Warning};

/// How many findings of the plan are told, beside those of the text.
const MAX_FINDINGS: usize = 200;

/// What was found so far.
pub(crate) struct Findings<'a> {
    dockerfile: &'a Dockerfile,
    found: BTreeSet<Warning>,
    room: usize,
}

impl<'a> Findings<'a> {
    /// Begins with what was found when the file was read.
    pub(crate) fn new(dockerfile: &'a Dockerfile) -> Self {
        let checks = &dockerfile.directives.check;
        let told = dockerfile
            .warnings
            .iter()
            .filter(|warning| checks.tells(warning.rule));
        Self {
            dockerfile,
            found: told.cloned().collect(),
            room: MAX_FINDINGS,
        }
    }

    /// Adds one, unless the file or the comments above the instruction turn it off.
    pub(crate) fn add(&mut self, place: &Place, rule: Rule, message: impl Into<String>) {
        if self.is_full() {
            return;
        }
        let file = &self.dockerfile.directives.check;
        if file.tells(rule) && Checks::of_comments(&place.comments).tells(rule) {
            let new = self.found.insert(Warning::new(place.line, rule, message));
            self.room -= usize::from(new);
        }
    }

    /// Whether nothing more is told: who looks for hints need not look.
    pub(crate) fn is_full(&self) -> bool {
        self.room == 0
    }

    /// `Dockerfile:3: Rule: message` each. Errors: `check=error=true` and something was found.
    pub(crate) fn finish(self) -> Result<Vec<String>> {
        let name = &self.dockerfile.source.name;
        let show = |warning: &Warning| {
            let line = match warning.line {
                0 => String::new(),
                line => format!("{line}:"),
            };
            format!("{name}:{line} {}: {}", warning.rule, warning.message)
        };
        let lines: Vec<String> = self.found.iter().map(show).collect();
        match self.dockerfile.directives.check.error && !lines.is_empty() {
            true => Err(Error::invalid(format!(
                "`check=error=true` stands in the Dockerfile, and checks found something:\n{}",
                lines.join("\n")
            ))),
            false => Ok(lines),
        }
    }
}
