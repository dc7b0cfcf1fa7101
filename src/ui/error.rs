//! Prints what failed, once: `orc: start web-1: …`, escaped. Further lines (a Dockerfile's own) are
//! indented, so that none can be taken for a line of ours.

use orc_base::Error;

use crate::ui::color::{Ansi, RED};
use crate::ui::{escape, out};

/// Tells a person what failed.
pub(crate) fn print(error: &Error) {
    out::note(&render(&error.to_string(), Ansi::Auto.stderr()));
}

/// The text of an error.
fn render(message: &str, colored: bool) -> String {
    let message = escape::text(message.trim_end()).replace('\n', "\n  ");
    format!("{} {message}", RED.paint("orc:", colored))
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
        let error = Error::invalid("Dockerfile:1: wrong\n  1 | RUM\norc: all is well");
        assert_eq!(
            render(&error.to_string(), false),
            "orc: Dockerfile:1: wrong\n    1 | RUM\n  orc: all is well"
        );
    }
}
