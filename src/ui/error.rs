//! Prints what failed, once: `orc: start web-1: …`, one line, escaped.

use orc_base::Error;

use crate::ui::color::{Ansi, RED};
use crate::ui::{escape, out};

/// Tells a person what failed.
pub(crate) fn print(error: &Error) {
    out::note(&render(&error.to_string(), Ansi::Auto.stderr()));
}

/// The one line of an error.
fn render(message: &str, colored: bool) -> String {
    format!(
        "{} {}",
        RED.paint("orc:", colored),
        escape::line(message.trim_end())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_harmless_line() {
        let error = Error::not_found("no such image `evil\u{1b}[2J`\n").within("run x");
        assert_eq!(
            render(&error.to_string(), false),
            "orc: run x: no such image `evil\\u{1b}[2J`"
        );
    }
}
