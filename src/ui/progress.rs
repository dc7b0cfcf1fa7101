//! How far things are, on standard error: live lines on a terminal, plain lines or JSON elsewhere.
//!
//! `frame.rs` says what the live lines look like; here they are kept, and drawn at most every few
//! hundredths of a second. Whoever waits calls [`Progress::tick`] now and then, so that clocks run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use orc_compose::converge::{Observer, OperationEvent, Phase};
use orc_host::image;
use orc_host::image_build::BuildEvent;
use serde_json::json;

use crate::ui::build_plain::Plain;
use crate::ui::color::Ansi;
use crate::ui::frame::{self, Line, Look};
use crate::ui::{escape, out, status};

/// How progress is shown, from `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Mode {
    /// Live lines on a terminal, plain ones elsewhere.
    #[default]
    Auto,
    /// Live lines.
    Tty,
    /// A line whenever something happens.
    Plain,
    /// A JSON object whenever something happens.
    #[value(alias = "rawjson")]
    Json,
    /// Nothing but warnings.
    Quiet,
}

/// Between two drawings.
const BETWEEN_FRAMES: Duration = Duration::from_millis(60);
/// How often somebody who waits should call [`Progress::tick`].
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A display of progress. Dropping it leaves the last lines on the screen.
pub(crate) struct Progress {
    mode: Mode,
    look: Look,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: BTreeMap<usize, Line>,
    drawn: usize,
    last: Option<Instant>,
    /// The last word about each layer, so that plain output says it once.
    layers: BTreeMap<(String, String), String>,
    /// What each build has told, by the number of its step.
    builds: BTreeMap<usize, Plain>,
}

impl Progress {
    /// A display for `what`, the verb in the header.
    pub(crate) fn new(mode: Mode, ansi: Ansi, what: &str) -> Self {
        let mode = match mode {
            Mode::Auto if status::is_terminal() && ansi != Ansi::Never => Mode::Tty,
            Mode::Auto => Mode::Plain,
            mode => mode,
        };
        Self {
            mode,
            look: Look {
                header: what.to_owned(),
                colored: ansi.stderr(),
            },
            state: Mutex::default(),
        }
    }

    /// Redraws the clocks.
    pub(crate) fn tick(&self) {
        if self.mode == Mode::Tty {
            self.draw(&mut self.lock(), false);
        }
    }

    /// One step of a transfer: `subject` is the whole, `Image busybox`.
    pub(crate) fn transfer(&self, subject: &str, progress: &image::Progress) {
        self.event(OperationEvent {
            id: 0,
            subject: subject.to_owned(),
            text: String::new(),
            phase: Phase::Progress(progress.clone()),
        });
    }

    /// Draws the final state.
    pub(crate) fn finish(&self) {
        if self.mode == Mode::Tty {
            let mut state = self.lock();
            self.draw(&mut state, true);
            state.drawn = 0;
            state.lines.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, event: OperationEvent) {
        let mut state = self.lock();
        if let Phase::Warning(text) = &event.phase {
            self.erase(&mut state);
            out::warning(text);
        }
        if let Phase::Output { service, line } = &event.phase {
            self.erase(&mut state);
            status::line(&said(service, line));
        }
        let line = state
            .lines
            .entry(event.id)
            .or_insert_with(|| Line::new(&event.subject, Instant::now()));
        line.take(event, Instant::now());
        self.draw(&mut state, false);
    }

    fn draw(&self, state: &mut State, now: bool) {
        let recently = state
            .last
            .is_some_and(|last| last.elapsed() < BETWEEN_FRAMES);
        if state.lines.is_empty() || (recently && !now) {
            return;
        }
        let (rows, columns) = status::size();
        let frame = frame::frame(
            &self.look,
            state.lines.values(),
            Instant::now(),
            rows,
            columns,
        );
        let mut text = up(state.drawn);
        for line in &frame {
            text.push_str(line);
            text.push_str("\u{1b}[K\n");
        }
        text.push_str("\u{1b}[J");
        status::draw(&text);
        state.drawn = frame.len();
        state.last = Some(Instant::now());
    }

    fn erase(&self, state: &mut State) {
        status::draw(&format!("{}\u{1b}[J", up(state.drawn)));
        state.drawn = 0;
        state.last = None;
    }

    fn plain(&self, event: &OperationEvent) {
        let subject = escape::line(&event.subject);
        match &event.phase {
            Phase::Started | Phase::Done => {
                status::line(&format!(" {subject} {}", escape::line(&event.text)));
            }
            Phase::Waiting(why) => {
                status::line(&format!(" {subject} Waiting: {}", escape::line(why)));
            }
            Phase::Failed(why) => {
                // What follows the first line is printed with the error at the end.
                let why = why.lines().next().unwrap_or_default();
                status::line(&format!(" {subject} Error {}", escape::line(why)));
            }
            Phase::Output { service, line } => status::line(&said(service, line)),
            Phase::Warning(text) => out::warning(text),
            Phase::Progress(progress) => self.plain_transfer(&subject, progress),
            // `event` has printed its lines.
            Phase::Build(_) => {}
        }
    }

    /// Lets the story of a build go on. Its lines are printed where lines are printed; of a failure
    /// everybody sees the last words.
    fn build(&self, event: &OperationEvent) {
        let mut state = self.lock();
        match &event.phase {
            Phase::Build(told) => {
                let whole = event.subject.trim_start_matches("Image ");
                let plain = state
                    .builds
                    .entry(event.id)
                    .or_insert_with(|| Plain::of(whole));
                let lines = plain.take(told, Instant::now());
                if let BuildEvent::Warning(text) = told
                    && self.mode == Mode::Tty
                {
                    self.erase(&mut state);
                    out::warning(text);
                } else if matches!(self.mode, Mode::Plain | Mode::Auto) {
                    lines.iter().for_each(|line| status::line(line));
                }
            }
            Phase::Failed(_) if self.mode != Mode::Json => {
                let Some(plain) = state.builds.get(&event.id) else {
                    return;
                };
                let lines = plain.story.failure();
                if self.mode == Mode::Tty {
                    self.erase(&mut state);
                }
                lines.iter().for_each(|line| status::line(line));
            }
            _ => {}
        }
    }

    fn plain_transfer(&self, subject: &str, progress: &image::Progress) {
        let Some(layer) = &progress.layer else {
            return status::line(&format!(" {subject} {}", escape::line(&progress.status)));
        };
        let mut state = self.lock();
        let key = (subject.to_owned(), layer.clone());
        if state.layers.get(&key) != Some(&progress.status) {
            state.layers.insert(key, progress.status.clone());
            status::line(&format!(
                " {} {}",
                escape::line(layer),
                escape::line(&progress.status)
            ));
        }
    }

    fn json(&self, event: &OperationEvent) {
        let (status, details) = match &event.phase {
            Phase::Started => ("Working", json!({})),
            Phase::Waiting(why) => ("Working", json!({"details": why})),
            Phase::Done => ("Done", json!({})),
            Phase::Failed(why) => ("Error", json!({"details": why})),
            Phase::Output { service, line } => {
                ("Output", json!({"service": service, "details": line}))
            }
            Phase::Warning(text) => ("Warning", json!({"details": text})),
            Phase::Progress(progress) => ("Working", transfer_json(&event.subject, progress)),
            Phase::Build(told) => ("Working", json!({"build": told})),
        };
        let mut object = json!({"id": event.subject, "status": status, "text": event.text});
        if let (Some(object), Some(details)) = (object.as_object_mut(), details.as_object()) {
            object.extend(details.clone());
        }
        status::line(&object.to_string());
    }
}

fn up(lines: usize) -> String {
    match lines {
        0 => String::new(),
        lines => format!("\u{1b}[{lines}A"),
    }
}

/// A line of a hook, under the name of its service.
fn said(service: &str, line: &str) -> String {
    format!("{} | {}", escape::line(service), escape::line(line))
}

fn transfer_json(subject: &str, progress: &image::Progress) -> serde_json::Value {
    let mut object = json!({"text": progress.status});
    if let Some(layer) = &progress.layer {
        object["id"] = json!(layer);
        object["parent_id"] = json!(subject);
    }
    if let Some((current, total)) = progress.bytes {
        object["current"] = json!(current);
        object["total"] = json!(total);
        object["percent"] = json!(current.saturating_mul(100) / total.max(1));
    }
    object
}

impl Observer for Progress {
    fn event(&self, event: OperationEvent) {
        self.build(&event);
        match (self.mode, &event.phase) {
            (Mode::Tty, _) => self.live(event),
            (Mode::Json, _) => self.json(&event),
            (Mode::Quiet, Phase::Warning(text)) => out::warning(text),
            (Mode::Quiet, _) => {}
            (Mode::Plain | Mode::Auto, _) => self.plain(&event),
        }
    }
}
