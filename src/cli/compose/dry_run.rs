//! `--dry-run`: the plan, instead of what it says.
//!
//! The plan is data, for standard output. Scripts that know docker compose look for its prefix among
//! the lines of progress, so each step is there as well where progress is plain.

use orc_compose::plan::Plan;

use crate::ui::progress::Mode;
use crate::ui::{escape, out, terminal};

/// What stands before each line of docker compose's progress when nothing is done.
const PREFIX: &str = " DRY-RUN MODE - ";

/// Shows what would be done.
pub(crate) fn show(plan: &Plan, mode: Mode) {
    let steps = plan.to_string();
    let text = escape::text(&steps);
    out::bytes(text.as_bytes());
    let plain = match mode {
        Mode::Plain => true,
        Mode::Auto => !terminal::stderr_is_terminal(),
        Mode::Tty | Mode::Json | Mode::Quiet => false,
    };
    if plain {
        text.lines().for_each(|line| out::note(&prefixed(line)));
    }
}

fn prefixed(step: &str) -> String {
    format!("{PREFIX} {}", step.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_the_prefix() {
        assert_eq!(
            prefixed("  0 stop w-web-1  (down)"),
            " DRY-RUN MODE -  0 stop w-web-1  (down)"
        );
    }
}
