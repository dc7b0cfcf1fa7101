//! What is wrong in the files of one project, told together and in the order of the files.
//!
//! A stage that finds something wrong notes it and goes on where what follows still means something;
//! whoever drives the stages refuses the project before anything acts on it.

use std::sync::Arc;

use orc_base::{Error, Kind, Result};

use crate::node::{Span, Trail};
use crate::source::Source;

/// How many mistakes are told at once.
const MAX_TOLD: usize = 20;

/// The mistakes so far.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: Vec<(Span, Error)>,
    /// In the order in which something was found in them.
    files: Vec<Arc<Source>>,
}

impl Mistakes {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Notes that something is wrong there.
    ///
    /// # Errors
    ///
    /// When there is no use in looking on: a limit was reached, or enough is wrong.
    pub(crate) fn note(
        &mut self,
        trail: &Trail<'_>,
        span: &Span,
        text: impl std::fmt::Display,
    ) -> Result<()> {
        self.add(span, trail.error(span, text))
    }

    /// [`Mistakes::note`] for an error that says its place itself; `span` is for the order only.
    pub(crate) fn add(&mut self, span: &Span, error: Error) -> Result<()> {
        if error.kind() == Kind::Exhausted {
            return Err(error);
        }
        if self
            .found
            .iter()
            .any(|(_, other)| other.to_string() == error.to_string())
        {
            return Ok(());
        }
        if self.found.len() == MAX_TOLD {
            return Err(Error::invalid("there is more: mend these first"));
        }
        if let Some(file) = &span.file
            && !self.files.contains(file)
        {
            self.files.push(Arc::clone(file));
        }
        self.found.push((span.clone(), error));
        Ok(())
    }

    /// All of them as one error; none is fine.
    pub(crate) fn refuse(self) -> Result<()> {
        match self.found.is_empty() {
            true => Ok(()),
            false => Err(self.told(None)),
        }
    }

    /// All of them and what ended the search. A reached limit stands alone: what was found before
    /// does not matter to whoever meets it.
    pub(crate) fn with(self, last: Error) -> Error {
        match self.found.is_empty() || last.kind() == Kind::Exhausted {
            true => last,
            false => self.told(Some(last)),
        }
    }

    fn told(mut self, last: Option<Error>) -> Error {
        let rank = |span: &Span| {
            let file = self
                .files
                .iter()
                .position(|file| Some(file) == span.file.as_ref());
            (file, span.line, span.column)
        };
        self.found.sort_by_key(|(span, _)| rank(span));
        let kind = self
            .found
            .first()
            .map_or(Kind::Invalid, |(_, error)| error.kind());
        let all = self.found.into_iter().map(|(_, error)| error).chain(last);
        let texts: Vec<String> = all.map(|error| error.to_string()).collect();
        Error::new(kind, texts.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(file: &Arc<Source>, line: u32) -> Span {
        Span {
            file: Some(Arc::clone(file)),
            line,
            column: 1,
        }
    }

    #[test]
    fn told_in_the_order_of_the_files_and_once() {
        let (a, b) = (
            Arc::new(Source::new("a", "")),
            Arc::new(Source::new("b", "")),
        );
        let mut mistakes = Mistakes::default();
        for (file, line) in [(&a, 7), (&b, 1), (&a, 2), (&b, 1)] {
            mistakes
                .note(&Trail::ROOT, &span(file, line), "no")
                .unwrap();
        }
        assert_eq!(mistakes.count(), 3);
        let error = mistakes.refuse().unwrap_err();
        assert_eq!(error.to_string(), "a:2:1: no\na:7:1: no\nb:1:1: no");
        assert!(Mistakes::default().refuse().is_ok());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let file = Arc::new(Source::new("a", ""));
        let mut mistakes = Mistakes::default();
        let last =
            (1..).find_map(|line| mistakes.note(&Trail::ROOT, &span(&file, line), "no").err());
        let error = mistakes.with(last.unwrap());
        assert_eq!(error.to_string().lines().count(), MAX_TOLD + 1);
        assert!(error.to_string().ends_with("mend these first"));
    }

    #[test]
    fn limits_end_the_search_and_stand_alone() {
        let mut mistakes = Mistakes::default();
        mistakes.note(&Trail::ROOT, &Span::default(), "no").unwrap();
        let limit = mistakes.add(&Span::default(), Error::exhausted("too much"));
        assert_eq!(mistakes.with(limit.unwrap_err()).to_string(), "too much");
    }
}
