//! An instruction as people see it: on one line, its keyword in capitals, variables expanded.

use crate::dockerfile::ast::{Command, Place, Run};
use crate::dockerfile::environment::Environment;
use crate::dockerfile::heredoc;
use crate::dockerfile::words::{Quotes, Words};

/// The text of an instruction; `trigger` when the base makes it done. What cannot be expanded, as it
/// is no row of words for us but something for a shell, stays as it is written.
pub(crate) fn shown(
    place: &Place,
    environment: &Environment,
    escape: char,
    trigger: bool,
) -> String {
    let rest = place.text[place.keyword.len()..].trim_start();
    let words = Words {
        quotes: Quotes::Keep,
        keep_escapes: true,
        keep_unset: true,
        ..Words::new(escape)
    };
    let expanded = words.expand(rest, environment);
    let rest = expanded.map_or_else(|_| rest.to_owned(), |expanded| expanded.text);
    let before = if trigger { "ONBUILD " } else { "" };
    format!("{before}{} {rest}", place.keyword.to_ascii_uppercase())
}

/// The same with the first line of a script behind it.
pub(crate) fn with_script(text: String, run: &Run) -> String {
    let (Command::Shell(line), Some(first)) = (&run.command, run.heredocs.first()) else {
        return text;
    };
    if !matches!(heredoc::parse(line), Ok(Some(_))) {
        return text;
    }
    let content = first.text.trim();
    let line = content.lines().next().unwrap_or_default();
    let more = match content.lines().nth(1) {
        Some(_) => "...",
        None => "",
    };
    format!("{text} ({line}{more})")
}
