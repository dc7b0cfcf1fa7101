//! What happens in a build, in the sentences of Docker's classic builder.
//!
//! Clients look for a few of them: `Step 1/5 : …`, `Successfully built …`, `Successfully tagged …`,
//! the aux message with the id, and an error whose code is the exit code of the program. A step is
//! numbered in the order of the plan; steps that run at the same time speak in turn.

use orc_base::Error;
use orc_host::image_build::{BuildEvent, BuildStep, StepState};

use crate::convert::progress;
use crate::wire::build::Aux;
use crate::wire::message::{ErrorDetail, Message, ProgressDetail};

/// How many digits of an id people see.
const SHORT: usize = 12;

/// Turns events into lines; remembers what was planned.
#[derive(Debug, Default)]
pub(crate) struct Log {
    steps: Vec<BuildStep>,
    /// Those that were told, in that order: some go side by side.
    told: Vec<usize>,
    tags: Vec<String>,
    /// Only the id at the end.
    quiet: bool,
    exit_code: Option<i32>,
}

impl Log {
    /// For an image that gets these names.
    pub(crate) fn new(tags: Vec<String>, quiet: bool) -> Self {
        Self {
            tags,
            quiet,
            ..Self::default()
        }
    }

    /// The lines of one event.
    pub(crate) fn lines(&mut self, event: BuildEvent) -> Vec<Message> {
        match event {
            BuildEvent::Built { image } => self.built(&image),
            BuildEvent::Planned(steps) => {
                self.steps = steps;
                Vec::new()
            }
            BuildEvent::Step {
                state: StepState::Failed { exit_code, .. },
                ..
            } => {
                self.exit_code = exit_code;
                Vec::new()
            }
            _ if self.quiet => Vec::new(),
            BuildEvent::Step { step, state, .. } => self.step(step, &state),
            BuildEvent::Output { bytes, .. } => {
                vec![stream(String::from_utf8_lossy(&bytes).into_owned())]
            }
            BuildEvent::Warning(text) => vec![stream(format!("[Warning] {text}\n"))],
            BuildEvent::Progress {
                what,
                current,
                total,
                ..
            } => vec![Message {
                status: "Transferring".into(),
                id: what,
                progress_detail: Some(ProgressDetail {
                    current: Some(current),
                    total,
                }),
                ..Message::default()
            }],
            BuildEvent::Dockerfile { .. } => Vec::new(),
        }
    }

    /// Each instruction once, with the number of its turn; Docker's builder knows no other steps.
    fn step(&mut self, number: usize, state: &StepState) -> Vec<Message> {
        let instruction = |step: &&BuildStep| step.line > 0;
        let count = self.steps.iter().filter(instruction).count();
        let Some(step) = self.steps.get(number).filter(instruction) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        if !self.told.contains(&number) {
            self.told.push(number);
            let turn = self.told.len();
            lines.push(stream(format!("Step {turn}/{count} : {}\n", step.text)));
        }
        if *state == StepState::Cached {
            lines.push(stream(" ---> Using cache\n"));
        }
        lines
    }

    fn built(&self, image: &str) -> Vec<Message> {
        if self.quiet {
            return vec![stream(format!("{image}\n"))];
        }
        let hex = image.strip_prefix("sha256:").unwrap_or(image);
        let short = hex.get(..SHORT).unwrap_or(hex);
        let mut lines = vec![
            Message {
                aux: Some(Aux { id: image.into() }),
                ..Message::default()
            },
            stream(format!("Successfully built {short}\n")),
        ];
        let tagged = self.tags.iter().map(|tag| {
            let tag = with_tag(tag);
            stream(format!("Successfully tagged {tag}\n"))
        });
        lines.extend(tagged);
        lines
    }

    /// The line that ends a build that failed.
    pub(crate) fn failure(&self, error: &Error) -> Message {
        let mut message = progress::plain(progress::failure(error));
        let code = self.exit_code.and_then(|code| u16::try_from(code).ok());
        if let (Some(code), Some(detail)) = (code, &mut message.error_detail) {
            *detail = ErrorDetail {
                code,
                message: std::mem::take(&mut detail.message),
            };
        }
        message
    }
}

fn stream(text: impl Into<String>) -> Message {
    Message {
        stream: Some(text.into()),
        ..Message::default()
    }
}

/// Docker says the tag that was meant.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.contains(':') {
        true => name.into(),
        false => format!("{name}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Time;
    use orc_host::stream::Output;

    use super::*;

    fn steps() -> BuildEvent {
        let step = |text: &str, line| BuildStep {
            stage: "stage-0".into(),
            position: None,
            text: text.into(),
            line,
        };
        BuildEvent::Planned(vec![
            step("load build context", 0),
            step("FROM busybox", 1),
            step("RUN make", 2),
        ])
    }

    fn state(step: usize, state: StepState) -> BuildEvent {
        BuildEvent::Step {
            step,
            state,
            time: Time::EPOCH,
        }
    }

    fn text(log: &mut Log, events: Vec<BuildEvent>) -> String {
        let lines = events.into_iter().flat_map(|event| log.lines(event));
        let lines: Vec<String> = lines
            .map(|line| serde_json::to_string(&line).unwrap())
            .collect();
        lines.join("\n")
    }

    fn story() -> Vec<BuildEvent> {
        vec![
            steps(),
            state(0, StepState::Running),
            state(1, StepState::Running),
            state(1, StepState::Cached),
            state(0, StepState::Done),
            state(2, StepState::Running),
            BuildEvent::Output {
                step: 2,
                output: Output::Stderr,
                bytes: b"cc x.c\n".to_vec(),
            },
            state(2, StepState::Done),
            BuildEvent::Built {
                image: "sha256:0123456789abcdef".into(),
            },
        ]
    }

    #[test]
    fn as_dockers_builder_says_it() {
        let mut log = Log::new(vec!["demo".into(), "host:5000/demo:1".into()], false);
        assert_eq!(
            text(&mut log, story()),
            r#"{"stream":"Step 1/2 : FROM busybox\n"}
{"stream":" ---> Using cache\n"}
{"stream":"Step 2/2 : RUN make\n"}
{"stream":"cc x.c\n"}
{"aux":{"ID":"sha256:0123456789abcdef"}}
{"stream":"Successfully built 0123456789ab\n"}
{"stream":"Successfully tagged demo:latest\n"}
{"stream":"Successfully tagged host:5000/demo:1\n"}"#
        );
        let mut log = Log::new(Vec::new(), true);
        assert_eq!(
            text(&mut log, story()),
            r#"{"stream":"sha256:0123456789abcdef\n"}"#
        );
    }

    #[test]
    fn the_code_is_the_programs() {
        let mut log = Log::default();
        let failed = StepState::Failed {
            why: "exit code: 7".into(),
            exit_code: Some(7),
        };
        log.lines(steps());
        log.lines(state(2, failed));
        let line = log.failure(&Error::invalid("exit code: 7"));
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"errorDetail":{"code":7,"message":"exit code: 7"},"error":"exit code: 7"}"#
        );
    }
}
