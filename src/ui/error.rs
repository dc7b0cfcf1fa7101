//! Prints what failed, once: `orc: start web-1: …`, escaped. Further lines (a Dockerfile's own) are
//! indented, so that none can be taken for a line of ours.

use std::sync::atomic::{AtomicBool, Ordering};

use orc_base::Error;
use serde_json::json;

use crate::ui::color::{Ansi, RED};
use crate::ui::{escape, out};

/// Whether programs read it: `--progress json`.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on errors are JSON objects, as docker compose's are with `--progress json`.
pub(crate) fn use_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// Tells what failed.
pub(crate) fn print(error: &Error) {
    let message = error.to_string();
    match AS_JSON.load(Ordering::Relaxed) {
        true => out::note(&json!({"error": true, "message": message}).to_string()),
        false => out::note(&render(&message, Ansi::Auto.stderr())),
    }
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
