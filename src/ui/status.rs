//! Where is told what goes on: on standard error, or with `COMPOSE_STATUS_STDOUT` on standard output, as
//! docker compose does for programs that take whatever is on standard error for a failure.

use std::io::Write;
use std::sync::OnceLock;

use crate::ui::{out, terminal};

/// Rows and columns where nobody knows.
const USUAL: (usize, usize) = (24, 80);

/// One line.
pub(crate) fn line(text: &str) {
    match is_data() {
        true => out::line(text),
        false => out::note(text),
    }
}

/// Text as it is, at once.
pub(crate) fn draw(text: &str) {
    if is_data() {
        return out::bytes(text.as_bytes());
    }
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Whether people look at it.
pub(crate) fn is_terminal() -> bool {
    match is_data() {
        true => terminal::stdout_is_terminal(),
        false => terminal::stderr_is_terminal(),
    }
}

/// Rows and columns of its terminal.
pub(crate) fn size() -> (usize, usize) {
    match is_data() {
        true => terminal::size().map_or(USUAL, |size| (size.rows.into(), size.columns.into())),
        false => terminal::stderr_size(),
    }
}

static DATA: OnceLock<bool> = OnceLock::new();

/// Says where it is told, when the environment does not; before anything is told.
pub(crate) fn set_data(wanted: bool) {
    if std::env::var_os("COMPOSE_STATUS_STDOUT").is_none() {
        let _ = DATA.set(wanted);
    }
}

fn is_data() -> bool {
    let here = || std::env::var("COMPOSE_STATUS_STDOUT");
    *DATA.get_or_init(|| here().is_ok_and(|value| is_yes(&value)))
}

/// What docker compose takes for yes.
pub(crate) fn is_yes(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    matches!(value.as_str(), "1" | "t" | "true" | "y" | "yes" | "on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_in_many_words() {
        assert!(["1", "true", " Yes", "ON"].into_iter().all(is_yes));
        assert!(
            ["", "0", "false", "no", "2"]
                .into_iter()
                .all(|word| !is_yes(word))
        );
    }
}
