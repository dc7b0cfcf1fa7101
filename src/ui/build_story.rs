//! What a build has told so far: its steps, how far each is, and the last it wrote.
//!
//! Pure: events and moments in, facts out. `build_plain.rs` and `build_frame.rs` say them in their own
//! way; what is said of a failure is the same for both and stands here.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use orc_host::image_build::{BuildEvent, BuildStep, StepState};
use orc_host::stream::Output;

use crate::ui::escape;

/// How many lines of a step's output are kept for whom it fails.
const LAST_LINES: usize = 20;
/// How many characters of a line are kept.
const MAX_LINE: usize = 2000;
/// How many lines of the Dockerfile are shown around the one to blame.
const AROUND: usize = 2;

/// A build so far.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// All steps, in the order of their numbers.
    pub(crate) steps: Vec<Step>,
    dockerfile: Option<(String, Vec<String>)>,
    failed: Option<usize>,
}

/// One step so far.
#[derive(Debug)]
pub(crate) struct Step {
    /// `[builder 2/4] RUN make`
    pub(crate) name: String,
    /// The line of the Dockerfile; 0 for none.
    line: usize,
    /// How far it is; none before it begins.
    pub(crate) state: Option<StepState>,
    /// When it began, and when it ended.
    began: Option<Instant>,
    ended: Option<Instant>,
    /// Lines of output that are not whole yet, by output.
    torn: [Vec<u8>; 2],
    /// The last lines with the time since the beginning.
    pub(crate) last: VecDeque<(Duration, String)>,
    /// What is moved: what, so far, in all.
    pub(crate) moved: Vec<(String, u64, Option<u64>)>,
}

impl Step {
    /// How long it has taken, or took.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        let began = self.began.unwrap_or(now);
        self.ended.unwrap_or(now).saturating_duration_since(began)
    }

    /// Whether it began and ended.
    pub(crate) fn is_over(&self) -> bool {
        self.state.is_some() && !self.is_running()
    }

    /// Whether it is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.state == Some(StepState::Running)
    }
}

impl Story {
    /// Takes in what happened. Returns the lines of output that became whole, with the time since
    /// their step began.
    pub(crate) fn take(&mut self, event: &BuildEvent, now: Instant) -> Vec<(Duration, String)> {
        match event {
            BuildEvent::Dockerfile { name, text } => {
                let lines = text.lines().map(str::to_owned).collect();
                self.dockerfile = Some((name.clone(), lines));
            }
            BuildEvent::Planned(steps) => self.plan(steps),
            BuildEvent::Step { step, state, .. } => return self.turn(*step, state, now),
            BuildEvent::Output {
                step,
                output,
                bytes,
            } => {
                if let Some(step) = self.steps.get_mut(*step) {
                    return step.write(*output, bytes, now);
                }
            }
            BuildEvent::Progress {
                step,
                what,
                current,
                total,
            } => {
                if let Some(step) = self.steps.get_mut(*step) {
                    let now = (escape::line(what).into_owned(), *current, *total);
                    match step.moved.iter_mut().find(|(other, ..)| *other == now.0) {
                        Some(row) => *row = now,
                        None => step.moved.push(now),
                    }
                }
            }
            BuildEvent::Warning(_) | BuildEvent::Built { .. } => {}
        }
        Vec::new()
    }

    fn plan(&mut self, steps: &[BuildStep]) {
        let stages: BTreeSet<&str> = steps
            .iter()
            .filter(|step| step.position.is_some())
            .map(|step| step.stage.as_str())
            .collect();
        let alone = stages.len() == 1;
        // A plan may come again with more steps behind those that are known.
        for (number, step) in steps.iter().enumerate() {
            let name = name(step, alone);
            match self.steps.get_mut(number) {
                Some(known) => known.name = name,
                None => self.steps.push(Step {
                    name,
                    line: step.line,
                    state: None,
                    began: None,
                    ended: None,
                    torn: Default::default(),
                    last: VecDeque::new(),
                    moved: Vec::new(),
                }),
            }
        }
    }

    fn turn(&mut self, number: usize, state: &StepState, now: Instant) -> Vec<(Duration, String)> {
        let Some(step) = self.steps.get_mut(number) else {
            return Vec::new();
        };
        step.state = Some(state.clone());
        match state {
            StepState::Running => {
                step.began.get_or_insert(now);
                return Vec::new();
            }
            StepState::Failed { .. } => self.failed = self.failed.or(Some(number)),
            StepState::Cached | StepState::Done | StepState::Cancelled => {}
        }
        step.ended = Some(now);
        step.rest(now)
    }

    /// What is shown of a failure: the last that was written, and the Dockerfile around the line.
    pub(crate) fn failure(&self) -> Vec<String> {
        let Some(step) = self.failed.and_then(|number| self.steps.get(number)) else {
            return Vec::new();
        };
        let mut shown = vec!["------".to_owned(), format!(" > {}:", step.name)];
        let last = step.last.iter();
        shown.extend(last.map(|(at, line)| format!("{} {line}", seconds(*at))));
        shown.push("------".into());
        shown.extend(self.excerpt(step.line));
        shown
    }

    fn excerpt(&self, line: usize) -> Vec<String> {
        let Some((name, lines)) = self.dockerfile.as_ref().filter(|_| line > 0) else {
            return Vec::new();
        };
        let first = line - 1;
        if first >= lines.len() {
            return Vec::new();
        }
        let continued = lines[first..]
            .iter()
            .take_while(|line| line.trim_end().ends_with('\\'))
            .count();
        let last = (first + continued).min(lines.len() - 1);
        let from = first.saturating_sub(AROUND);
        let to = (last + AROUND).min(lines.len() - 1);
        let rule = "-".repeat(20);
        let mut shown = vec![format!("{}:{line}", escape::line(name)), rule.clone()];
        for (index, text) in lines.iter().enumerate().take(to + 1).skip(from) {
            let mark = match (first..=last).contains(&index) {
                true => ">>>",
                false => "   ",
            };
            shown.push(format!("{:>4} | {mark} {}", index + 1, escape::text(text)));
        }
        shown.push(rule);
        shown
    }
}

impl Step {
    fn write(&mut self, output: Output, bytes: &[u8], now: Instant) -> Vec<(Duration, String)> {
        let at = self.elapsed(now);
        let torn = &mut self.torn[usize::from(output == Output::Stderr)];
        torn.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(end) = torn.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = torn.drain(..=end).collect();
            whole.push((at, readable(&line[..end])));
        }
        // A line without an end is cut rather than kept for ever.
        if torn.len() > 4 * MAX_LINE {
            whole.push((at, readable(&std::mem::take(torn))));
        }
        self.keep(&whole);
        whole
    }

    /// What was written without a line feed at the end.
    fn rest(&mut self, now: Instant) -> Vec<(Duration, String)> {
        let at = self.elapsed(now);
        let torn = self.torn.iter_mut().filter(|torn| !torn.is_empty());
        let whole: Vec<_> = torn
            .map(|torn| (at, readable(&std::mem::take(torn))))
            .collect();
        self.keep(&whole);
        whole
    }

    fn keep(&mut self, lines: &[(Duration, String)]) {
        self.last.extend(lines.iter().cloned());
        while self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
    }
}

/// Seconds as BuildKit writes them beside output.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// A stage's name is only told when there are several.
fn name(step: &BuildStep, alone: bool) -> String {
    let text = escape::line(&step.text);
    let stage = escape::line(&step.stage);
    let unnamed = alone && step.stage.starts_with("stage-");
    match (step.position, stage.as_ref()) {
        (Some((at, of)), _) if unnamed => format!("[{at}/{of}] {text}"),
        (Some((at, of)), stage) => format!("[{stage} {at}/{of}] {text}"),
        (None, "") => format!("[internal] {text}"),
        (None, stage) => format!("[{stage}] {text}"),
    }
}

/// One line without what moves a cursor or colours: after a carriage return only the last word.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or_default();
    let mut plain = String::with_capacity(text.len().min(MAX_LINE));
    let mut characters = text.chars().take(MAX_LINE).peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.peek() == Some(&'[') {
            characters.next();
            // The final byte of a control sequence (ECMA-48, 5.4).
            let end = |c: &char| ('\u{40}'..='\u{7e}').contains(c);
            while characters.next().is_some_and(|c| !end(&c)) {}
            continue;
        }
        plain.push(character);
    }
    escape::text(&plain).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use orc_base::Time;

    use super::*;

    pub(crate) fn planned() -> BuildEvent {
        let step = |stage: &str, position, text: &str, line| BuildStep {
            stage: stage.into(),
            position,
            text: text.into(),
            line,
        };
        BuildEvent::Planned(vec![
            step("", None, "load build context", 0),
            step("stage-0", Some((1, 2)), "FROM busybox", 2),
            step("stage-0", Some((2, 2)), "RUN make all", 3),
        ])
    }

    pub(crate) fn state(step: usize, state: StepState) -> BuildEvent {
        let time = Time::EPOCH;
        BuildEvent::Step { step, state, time }
    }

    pub(crate) fn wrote(step: usize, text: &str) -> BuildEvent {
        BuildEvent::Output {
            step,
            output: Output::Stdout,
            bytes: text.as_bytes().to_vec(),
        }
    }

    pub(crate) fn failed() -> StepState {
        StepState::Failed {
            why: "process \"/bin/sh -c make all\" did not complete successfully: exit code: 2"
                .into(),
            exit_code: Some(2),
        }
    }

    fn dockerfile() -> BuildEvent {
        BuildEvent::Dockerfile {
            name: "Dockerfile".into(),
            text: "# demo\nFROM busybox\nRUN make \\\n  all\nCMD x\nUSER y\nLABEL z=1\n".into(),
        }
    }

    #[test]
    fn a_failure_shows_the_line_and_the_last_words() {
        let mut story = Story::default();
        let began = Instant::now();
        story.take(&dockerfile(), began);
        story.take(&planned(), began);
        story.take(&state(2, StepState::Running), began);
        for number in 0..30 {
            let later = began + Duration::from_millis(number);
            story.take(&wrote(2, &format!("line {number}\n")), later);
        }
        let later = began + Duration::from_millis(31);
        story.take(&wrote(2, "no line feed"), later);
        story.take(&state(2, failed()), later);
        let shown = story.failure();
        assert_eq!(shown[1], " > [2/2] RUN make all:");
        assert_eq!(shown[2], "0.011 line 11");
        assert_eq!(shown[21], "0.031 no line feed");
        assert_eq!(
            shown[22..].join("\n"),
            "------\nDockerfile:3\n--------------------\n   1 |     # demo\n   2 |     FROM busybox\n   3 | >>> RUN make \\\n   4 | >>>   all\n   5 |     CMD x\n   6 |     USER y\n--------------------"
        );
    }

    #[test]
    fn output_is_harmless() {
        for (written, shown) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("10%\r50%\r100%\r", "100%"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("tab\there", "tab\there"),
        ] {
            assert_eq!(readable(written.as_bytes()), shown);
        }
    }

    #[test]
    fn stages_have_names_when_there_are_several() {
        let mut story = Story::default();
        story.take(&planned(), Instant::now());
        let names: Vec<_> = story.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "[internal] load build context",
                "[1/2] FROM busybox",
                "[2/2] RUN make all"
            ]
        );
        let BuildEvent::Planned(mut steps) = planned() else {
            unreachable!()
        };
        steps[2].stage = "web".into();
        story.take(&BuildEvent::Planned(steps), Instant::now());
        assert_eq!(story.steps[1].name, "[stage-0 1/2] FROM busybox");
        assert_eq!(story.steps[2].name, "[web 2/2] RUN make all");
    }
}
