//! Puts variables into values: `$NAME`, `${NAME}`, and `:-`, `-`, `:?`, `?`, `:+`, `+` inside braces.
//!
//! Values only, never keys; what was put in is not looked at again. A variable that nobody set is
//! empty and is warned about once. Nothing is ever executed. A value that cannot be completed is
//! noted and marked, and the others are completed all the same.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result, spelling};

use crate::ledger::Ledger;
use crate::node::{Mark, Node, Span, Trail, Value};

/// How deep defaults may be nested in one another.
const MAX_DEPTH: usize = 64;
/// How long one value may become.
const MAX_VALUE_BYTES: usize = 4 << 20;

/// Shorter names have too many that are nearly the same.
const MIN_SUGGESTED: usize = 5;
/// How many missed variables are looked for among the others.
const MAX_SUGGESTIONS: usize = 20;
/// How many missed variables of one document are told.
const MAX_WARNINGS: usize = 100;

/// The variables, and which of them were missed.
#[derive(Debug)]
pub(crate) struct Interpolation<'a> {
    variables: &'a BTreeMap<String, String>,
    unset: BTreeSet<String>,
    /// What was missed in the value at hand.
    missed: Vec<String>,
    /// One sentence for each variable that was missed, with the place of the first time.
    pub(crate) warnings: Vec<String>,
}

impl<'a> Interpolation<'a> {
    pub(crate) fn new(variables: &'a BTreeMap<String, String>) -> Self {
        Self {
            variables,
            unset: BTreeSet::new(),
            missed: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Puts variables into every string below `node`.
    ///
    /// # Errors
    ///
    /// When there is no use in looking on; what else is wrong is noted.
    pub(crate) fn apply(
        &mut self,
        node: &mut Node,
        trail: &Trail<'_>,
        ledger: &mut Ledger,
    ) -> Result<()> {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => {
                let done = self.text(text).and_then(|full| {
                    ledger.budget.bytes(full.len())?;
                    Ok(full)
                });
                self.warn(&node.span, trail);
                match done {
                    Ok(full) => {
                        *text = full;
                        Ok(())
                    }
                    Err(error) => {
                        node.mark = Mark::Wrong;
                        let kind = error.kind();
                        let error = trail.error(&node.span, error).with_kind(kind);
                        ledger.mistakes.add(&node.span, error)
                    }
                }
            }
            Value::List(items) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(index, item)| self.apply(item, &trail.index(index), ledger)),
            Value::Map(map) => map
                .iter_mut()
                .try_for_each(|(key, entry)| self.apply(&mut entry.node, &trail.key(key), ledger)),
            _ => Ok(()),
        }
    }

    /// Puts variables into one string.
    pub(crate) fn text(&mut self, text: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        self.expand(text, &mut out, 0)?;
        Ok(out)
    }

    /// Appends the expansion of `text` to `out`.
    fn expand(&mut self, text: &str, out: &mut String, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::exhausted(format!(
                "more than {MAX_DEPTH} variables are nested in one another"
            )));
        }
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('{') {
                let end = closing_brace(inner).ok_or_else(|| invalid(text))?;
                self.braced(&inner[..end], text, out, depth)?;
                rest = &inner[end + 1..];
            } else {
                let name = name(rest);
                match name.is_empty() {
                    true => out.push('$'),
                    false => self.value(name, out),
                }
                rest = &rest[name.len()..];
            }
            if out.len() > MAX_VALUE_BYTES {
                return Err(Error::exhausted(format!(
                    "the value grows beyond {} MiB",
                    MAX_VALUE_BYTES >> 20
                )));
            }
        }
        out.push_str(rest);
        Ok(())
    }

    /// Appends what `${inner}` stands for.
    fn braced(&mut self, inner: &str, whole: &str, out: &mut String, depth: usize) -> Result<()> {
        let name = name(inner);
        let rest = &inner[name.len()..];
        if name.is_empty() {
            return Err(invalid(whole));
        }
        if rest.is_empty() {
            self.value(name, out);
            return Ok(());
        }
        let (ignore_empty, operator) = match rest.strip_prefix(':') {
            Some(operator) => (true, operator),
            None => (false, rest),
        };
        let value = self
            .variables
            .get(name)
            .filter(|value| !ignore_empty || !value.is_empty());
        let word = operator.get(1..).unwrap_or_default();
        match (operator.as_bytes().first(), value) {
            (Some(b'-' | b'?'), Some(value)) => out.push_str(value),
            (Some(b'-'), None) => self.expand(word, out, depth + 1)?,
            (Some(b'+'), Some(_)) => self.expand(word, out, depth + 1)?,
            (Some(b'+'), None) => {}
            (Some(b'?'), None) => {
                let mut message = String::new();
                self.expand(word, &mut message, depth + 1)?;
                let colon = if message.is_empty() { "" } else { ": " };
                let near = self.near(name, ": did");
                return Err(Error::invalid(format!(
                    "required variable {name} is missing a value{colon}{message}{near}"
                )));
            }
            _ => return Err(invalid(whole)),
        }
        Ok(())
    }

    /// Says what was missed in the value at hand.
    fn warn(&mut self, span: &Span, trail: &Trail<'_>) {
        for name in std::mem::take(&mut self.missed) {
            if self.warnings.len() == MAX_WARNINGS {
                let text = "more variables are not set".to_owned();
                self.warnings.push(trail.sentence(span, text));
            }
            if self.warnings.len() > MAX_WARNINGS {
                return;
            }
            let hint = match self.warnings.len() < MAX_SUGGESTIONS {
                true => self.near(&name, " Did"),
                false => String::new(),
            };
            let text =
                format!("The \"{name}\" variable is not set. Defaulting to a blank string.{hint}");
            self.warnings.push(trail.sentence(span, text));
        }
    }

    /// A question about a set variable whose name is nearly the same, after `did`.
    fn near(&self, name: &str, did: &str) -> String {
        let known = self.variables.keys().map(String::as_str);
        let near = spelling::nearest(name, known.filter(|other| *other != name));
        match near.filter(|_| name.len() >= MIN_SUGGESTED) {
            Some(near) => format!("{did} you mean `{near}`?"),
            None => String::new(),
        }
    }

    fn value(&mut self, name: &str, out: &mut String) {
        match self.variables.get(name) {
            Some(value) => out.push_str(value),
            None => {
                if self.unset.insert(name.to_owned()) {
                    self.missed.push(name.to_owned());
                }
            }
        }
    }
}

/// The longest name of a variable at the start of `text`.
pub(crate) fn name(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    match text.as_bytes().first() {
        Some(first) if !first.is_ascii_digit() => &text[..end],
        _ => "",
    }
}

/// Where the brace closes that was opened before `text`; every `{` inside opens another one.
pub(crate) fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0;
    text.bytes().position(|byte| match byte {
        b'}' if open == 0 => true,
        b'}' => {
            open -= 1;
            false
        }
        b'{' => {
            open += 1;
            false
        }
        _ => false,
    })
}

fn invalid(text: &str) -> Error {
    let shown: String = text.chars().take(120).collect();
    Error::invalid(format!(
        "invalid interpolation format: \"{shown}\": a literal `$` is written `$$`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String> {
        let variables = [("FOO", "first"), ("BAR", ""), ("Q", "a$b")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        Interpolation::new(&variables).text(text)
    }

    #[test]
    fn every_operator() {
        for (text, expanded) in [
            ("$FOO ${FOO}", "first first"),
            ("${BAR:-d} ${BAR-d} ${NO:-d} ${NO-d}", "d  d d"),
            ("${FOO:+r} ${BAR:+r} ${BAR+r} ${NO+r}", "r  r "),
            ("${FOO:?e} ${BAR?e}", "first "),
            ("$$FOO $${FOO} $$$FOO", "$FOO ${FOO} $first"),
            ("${NO:-${NOPE:-$FOO}}", "first"),
            ("${NO:-a:-b}", "a:-b"),
            ("${NO:-}", ""),
            ("$NO.", "."),
            ("${NO:-${FOO}-x}y", "first-xy"),
            ("$Q", "a$b"),
            ("${NO:-$(id)} `id`", "$(id) `id`"),
            ("a $ b $} $1 ^x$", "a $ b $} $1 ^x$"),
            (r#"${NO:-{"a":1}}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(run(text).unwrap(), expanded, "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (text, expected) in [
            ("${NO:?why}", "required variable NO is missing a value: why"),
            ("${BAR:?}", "required variable BAR is missing a value"),
            (
                "${NO?$FOO}",
                "required variable NO is missing a value: first",
            ),
            ("${}", "invalid interpolation format"),
            ("${FOO", "invalid interpolation format"),
            ("${ FOO}", "invalid interpolation format"),
            ("${FOO!x}", "invalid interpolation format"),
        ] {
            let error = run(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_bounded() {
        let deep = format!("{}x{}", "${A:-".repeat(10_000), "}".repeat(10_000));
        assert!(run(&deep).unwrap_err().to_string().contains("nested"));
    }

    #[test]
    fn missing_variables_are_remembered() {
        let variables = BTreeMap::new();
        let mut interpolation = Interpolation::new(&variables);
        interpolation.text("$A ${B} ${C:-x} $A").unwrap();
        assert_eq!(
            interpolation.unset.into_iter().collect::<Vec<_>>(),
            ["A", "B"]
        );
    }
}
