//! Whether and how output is coloured. Colour never carries meaning alone.

use std::io::IsTerminal;

/// When to colour, from `--ansi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Ansi {
    /// Never.
    Never,
    /// Even into a pipe.
    Always,
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
}

impl Ansi {
    /// Whether standard output is coloured.
    pub(crate) fn stdout(self) -> bool {
        self.on(std::io::stdout().is_terminal())
    }

    /// Whether standard error is coloured.
    pub(crate) fn stderr(self) -> bool {
        self.on(std::io::stderr().is_terminal())
    }

    fn on(self, terminal: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Auto => {
                terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
            }
        }
    }
}

/// <https://no-color.org>: present and not empty.
fn set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// A colour of the terminal's own palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Color(u8);

/// Good news.
pub(crate) const GREEN: Color = Color(32);
/// Bad news.
pub(crate) const RED: Color = Color(31);
/// Something to look at.
pub(crate) const YELLOW: Color = Color(33);

/// What the log prefixes of a project cycle through, in docker compose's order.
pub(crate) const CYCLE: [Color; 10] = [
    Color(36),
    Color(33),
    Color(32),
    Color(35),
    Color(34),
    Color(96),
    Color(93),
    Color(92),
    Color(95),
    Color(94),
];

impl Color {
    /// `text` in this colour when `on`.
    pub(crate) fn paint(self, text: &str, on: bool) -> String {
        match on {
            true => format!("\u{1b}[{}m{text}\u{1b}[0m", self.0),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paints_only_when_on() {
        assert_eq!(GREEN.paint("ok", false), "ok");
        assert_eq!(GREEN.paint("ok", true), "\u{1b}[32mok\u{1b}[0m");
        assert!(Ansi::Always.on(false));
        assert!(!Ansi::Never.on(true));
        assert!(!Ansi::Auto.on(false));
    }
}
