//! Foreign text made harmless for a terminal.
//!
//! Names, labels and messages come from images, registries and Compose files. An escape sequence in
//! one of them must not move the cursor, set a title or hide what was really said, so control
//! characters and those that turn the direction of writing are shown as `\u{1b}` and the like.

use std::borrow::Cow;

/// The text with everything that a terminal would act on spelled out. Line feeds and tabs count.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// As [`line`], but line feeds and tabs stay: for text that may have several lines.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

fn escape(text: &str, keep: fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| is_harmful(c) && !keep(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match harmful(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_terminal_acts_on() {
        assert_eq!(line("plain ünïcode"), "plain ünïcode");
        assert_eq!(line("\u{1b}]0;owned\u{7}"), "\\u{1b}]0;owned\\u{7}");
        assert_eq!(line("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(
            line("c1 \u{9b}31m rlo \u{202e}"),
            "c1 \\u{9b}31m rlo \\u{202e}"
        );
        assert_eq!(text("a\nb\u{1b}"), "a\nb\\u{1b}");
    }
}
