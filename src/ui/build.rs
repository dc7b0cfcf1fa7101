//! Shows a build on standard error while it happens: live on a terminal, as plain lines or as JSON.
//!
//! What is shown is decided by `build_plain.rs` and `build_frame.rs`; here it is drawn, at most every
//! few hundredths of a second. Whoever waits calls [`Display::tick`] now and then, so that clocks run.

use std::io::Write;
use std::time::{Duration, Instant};

use orc_base::Error;
use orc_host::image_build::BuildEvent;
use serde_json::json;

use crate::ui::build_frame::frame;
use crate::ui::build_plain::Plain;
use crate::ui::color::Ansi;
use crate::ui::progress::Mode;
use crate::ui::{out, terminal};

/// Between two drawings.
const BETWEEN_FRAMES: Duration = Duration::from_millis(60);

/// The display of one build.
pub(crate) struct Display {
    mode: Mode,
    colored: bool,
    plain: Plain,
    began: Instant,
    drawn: usize,
    last: Option<Instant>,
}

impl Display {
    /// A display that begins now.
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode: match mode {
                Mode::Auto if terminal::stderr_is_terminal() => Mode::Tty,
                Mode::Auto => Mode::Plain,
                mode => mode,
            },
            colored: Ansi::Auto.stderr(),
            plain: Plain::default(),
            began: Instant::now(),
            drawn: 0,
            last: None,
        }
    }

    /// Something happened.
    pub(crate) fn event(&mut self, event: &BuildEvent) {
        let lines = self.plain.take(event, Instant::now());
        match (self.mode, event) {
            (Mode::Plain | Mode::Auto, _) => lines.iter().for_each(|line| out::note(line)),
            (Mode::Json, event) => out::note(&json!(event).to_string()),
            (Mode::Tty, BuildEvent::Warning(text)) => {
                self.erase();
                out::warning(text);
            }
            (Mode::Tty, _) => self.draw(false),
            (Mode::Quiet, _) => {}
        }
    }

    /// Redraws the clocks.
    pub(crate) fn tick(&mut self) {
        if self.mode == Mode::Tty {
            self.draw(false);
        }
    }

    /// Draws the final state.
    pub(crate) fn finish(&mut self) {
        if self.mode == Mode::Tty {
            self.draw(true);
            self.drawn = 0;
        }
    }

    /// Draws the final state and what is to be seen of a failure; the error itself is printed by
    /// whoever ends the command.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.finish();
        match self.mode {
            Mode::Json => out::note(&json!({"error": {"message": error.to_string()}}).to_string()),
            _ => self
                .plain
                .story
                .failure()
                .iter()
                .for_each(|line| out::note(line)),
        }
    }

    fn draw(&mut self, now: bool) {
        let recently = self
            .last
            .is_some_and(|last| last.elapsed() < BETWEEN_FRAMES);
        if self.plain.story.steps.is_empty() || (recently && !now) {
            return;
        }
        let moment = Instant::now();
        let elapsed = moment.duration_since(self.began);
        let size = terminal::stderr_size();
        let lines = frame(&self.plain.story, elapsed, moment, size, self.colored);
        let mut text = up(self.drawn);
        for line in &lines {
            text.push_str(line);
            text.push_str("\u{1b}[K\n");
        }
        text.push_str("\u{1b}[J");
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
        self.drawn = lines.len();
        self.last = Some(moment);
    }

    fn erase(&mut self) {
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(format!("{}\u{1b}[J", up(self.drawn)).as_bytes());
        self.drawn = 0;
        self.last = None;
    }
}

fn up(lines: usize) -> String {
    match lines {
        0 => String::new(),
        lines => format!("\u{1b}[{lines}A"),
    }
}
