//! A build as plain lines, in BuildKit's way: `#5 [builder 2/4] RUN make`, `#5 0.312 text`,
//! `#5 DONE 0.4s`.
//!
//! Pure. Steps that run at the same time take turns: when another one speaks its name is said again.

use std::time::Instant;

use orc_base::units;
use orc_host::image_build::{BuildEvent, StepState};

use crate::ui::build_story::{Story, seconds};
use crate::ui::escape;

/// Turns events into lines.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// What was told so far.
    pub(crate) story: Story,
    /// Who spoke last and has not ended.
    current: Option<usize>,
    /// The name of the whole when several builds speak: `web `.
    prefix: String,
}

impl Plain {
    /// For one of several builds.
    pub(crate) fn of(whole: &str) -> Self {
        Self {
            prefix: format!("{} ", escape::line(whole)),
            ..Self::default()
        }
    }

    /// The lines that say what happened.
    pub(crate) fn take(&mut self, event: &BuildEvent, now: Instant) -> Vec<String> {
        let whole = self.story.take(event, now);
        let mut lines = Vec::new();
        match event {
            BuildEvent::Step { step, state, .. } => {
                let whole = whole.into_iter().map(|(at, line)| (seconds(at), line));
                self.output(*step, whole.collect(), &mut lines);
                self.state(*step, state, now, &mut lines);
            }
            BuildEvent::Output { step, .. } => {
                let whole = whole.into_iter().map(|(at, line)| (seconds(at), line));
                self.output(*step, whole.collect(), &mut lines);
            }
            BuildEvent::Progress {
                step,
                what,
                current,
                total: Some(total),
            } if current >= total => {
                let what = format!("{} {}", escape::line(what), units::format_bytes(*total));
                self.output(*step, vec![(what, "done".into())], &mut lines);
            }
            BuildEvent::Warning(text) => {
                lines.push(format!("{}warning: {}", self.prefix, escape::text(text)));
            }
            BuildEvent::Dockerfile { .. }
            | BuildEvent::Planned(_)
            | BuildEvent::Progress { .. }
            | BuildEvent::Built { .. } => {}
        }
        lines
    }

    fn output(&mut self, step: usize, whole: Vec<(String, String)>, lines: &mut Vec<String>) {
        if whole.is_empty() {
            return;
        }
        self.speak(step, lines);
        let (prefix, number) = (&self.prefix, step + 1);
        lines.extend(
            whole
                .into_iter()
                .map(|(at, line)| format!("{prefix}#{number} {at} {line}")),
        );
    }

    fn state(&mut self, step: usize, state: &StepState, now: Instant, lines: &mut Vec<String>) {
        let Some(elapsed) = self.story.steps.get(step).map(|step| step.elapsed(now)) else {
            return;
        };
        let number = step + 1;
        let word = match state {
            StepState::Running => {
                self.speak(step, lines);
                return;
            }
            StepState::Cached => "CACHED".to_owned(),
            StepState::Done => format!("DONE {:.1}s", elapsed.as_secs_f64()),
            StepState::Failed { why, .. } => format!("ERROR: {}", escape::line(why)),
            StepState::Cancelled => "CANCELED".to_owned(),
        };
        self.speak(step, lines);
        lines.push(format!("{}#{number} {word}", self.prefix));
        lines.push(String::new());
        self.current = None;
    }

    /// Gives a step the word.
    fn speak(&mut self, step: usize, lines: &mut Vec<String>) {
        if self.current == Some(step) {
            return;
        }
        if let Some(other) = self.current.replace(step) {
            lines.push(format!("{}#{} ...", self.prefix, other + 1));
            lines.push(String::new());
        }
        if let Some(told) = self.story.steps.get(step) {
            lines.push(format!("{}#{} {}", self.prefix, step + 1, told.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ui::build_story::tests::{failed, planned, state, wrote};

    #[test]
    fn as_buildkit_writes_it() {
        let mut plain = Plain::default();
        let began = Instant::now();
        let mut lines = Vec::new();
        for (ms, event) in [
            (0, planned()),
            (0, state(0, StepState::Running)),
            (10, state(0, StepState::Done)),
            (10, state(1, StepState::Cached)),
            (20, state(2, StepState::Running)),
            (332, wrote(2, "cc a.c\ncc")),
            (400, wrote(2, " b.c\n")),
            (520, state(2, failed())),
            (530, BuildEvent::Warning("Dockerfile:1: odd".into())),
        ] {
            lines.extend(plain.take(&event, began + Duration::from_millis(ms)));
        }
        assert_eq!(
            lines.join("\n"),
            "\
#1 [internal] load build context
#1 DONE 0.0s

#2 [1/2] FROM busybox
#2 CACHED

#3 [2/2] RUN make all
#3 0.312 cc a.c
#3 0.380 cc b.c
#3 ERROR: process \"/bin/sh -c make all\" did not complete successfully: exit code: 2

warning: Dockerfile:1: odd"
        );
    }

    #[test]
    fn steps_take_turns() {
        let mut plain = Plain::of("web");
        let now = Instant::now();
        let mut lines = Vec::new();
        for event in [
            planned(),
            state(1, StepState::Running),
            state(2, StepState::Running),
            wrote(1, "one\n"),
            wrote(2, "two\n"),
            state(2, StepState::Done),
            state(1, StepState::Cancelled),
        ] {
            lines.extend(plain.take(&event, now));
        }
        assert_eq!(
            lines.join("\n"),
            "\
web #2 [1/2] FROM busybox
web #2 ...

web #3 [2/2] RUN make all
web #3 ...

web #2 [1/2] FROM busybox
web #2 0.000 one
web #2 ...

web #3 [2/2] RUN make all
web #3 0.000 two
web #3 DONE 0.0s

web #2 [1/2] FROM busybox
web #2 CANCELED
"
        );
    }
}
