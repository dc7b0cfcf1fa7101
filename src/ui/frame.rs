//! What live progress looks like at one moment: a header, a line a thing, a line a layer.
//!
//! Pure: lines and a time in, text out, never wider or higher than the terminal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orc_base::units;
use orc_compose::converge::{OperationEvent, Phase};
use orc_host::image;

use crate::ui::build_story::Story;
use crate::ui::color::{Color, GREEN, RED, YELLOW};
use crate::ui::escape;

/// The name of what goes on, and whether there are colours.
pub(crate) struct Look {
    /// The verb in the header.
    pub(crate) header: String,
    /// Whether signs and words are coloured.
    pub(crate) colored: bool,
}

/// One thing that is worked on.
#[derive(Debug)]
pub(crate) struct Line {
    subject: String,
    text: String,
    end: Option<(Ended, Duration)>,
    began: Instant,
    layers: BTreeMap<String, Layer>,
    build: Story,
}

/// A layer, and where and when it began to come, for its rate.
#[derive(Debug)]
struct Layer {
    progress: image::Progress,
    from: Option<(Instant, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
}

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// How long a sign of the spinner stays.
const SPIN_MS: u128 = 100;
/// A rate over less time says nothing.
const LEAST_SECONDS: f64 = 0.5;
/// The width of a bar in characters.
const BAR: u64 = 20;

impl Line {
    /// Begins now.
    pub(crate) fn new(subject: &str, began: Instant) -> Self {
        Self {
            subject: escape::line(subject).into_owned(),
            text: String::new(),
            end: None,
            began,
            layers: BTreeMap::new(),
            build: Story::default(),
        }
    }

    /// Takes in what happened.
    pub(crate) fn take(&mut self, event: OperationEvent, now: Instant) {
        let elapsed = now.duration_since(self.began);
        let text = escape::line(&event.text).into_owned();
        match event.phase {
            Phase::Started => self.text = text,
            Phase::Waiting(why) => self.text = escape::line(&why).into_owned(),
            Phase::Warning(_) | Phase::Output { .. } => {}
            Phase::Done => {
                self.text = text;
                self.end = Some((Ended::Well, elapsed));
            }
            Phase::Failed(_) => {
                self.text = "Error".into();
                self.end = Some((Ended::Badly, elapsed));
            }
            Phase::Build(told) => drop(self.build.take(&told, now)),
            Phase::Progress(progress) => match progress.layer.clone() {
                Some(layer) => self.layer(layer, progress, now),
                None => self.text = escape::line(&progress.status).into_owned(),
            },
        }
    }

    fn layer(&mut self, name: String, progress: image::Progress, now: Instant) {
        let before = self.layers.remove(&name);
        // Each kind of work on a layer has its own rate.
        let same = before.filter(|before| before.progress.status == progress.status);
        let from = same.and_then(|before| before.from);
        let from = from.or_else(|| progress.bytes.map(|(done, _)| (now, done)));
        self.layers.insert(name, Layer { progress, from });
    }

    fn render(&self, look: &Look, width: usize, now: Instant) -> Vec<(String, Option<Color>)> {
        let elapsed = self
            .end
            .map_or_else(|| now.duration_since(self.began), |(_, elapsed)| elapsed);
        let (sign, color) = match self.end {
            Some((Ended::Well, _)) => ('✔', Some(GREEN)),
            Some((Ended::Badly, _)) => ('✘', Some(RED)),
            None => (
                SPINNER[(elapsed.as_millis() / SPIN_MS) as usize % SPINNER.len()],
                Some(YELLOW),
            ),
        };
        let head = format!(
            " {sign} {:width$}  {:<12} {:>5.1}s",
            self.subject,
            self.text,
            elapsed.as_secs_f64()
        );
        let color = color.filter(|_| look.colored);
        let mut lines = vec![(head, color)];
        if self.end.is_none() {
            lines.extend(self.layers.values().map(|layer| (layer.render(now), None)));
            lines.extend(self.building(now).map(|line| (line, None)));
        }
        lines
    }
}

impl Line {
    /// The steps of a build that run, each with its last word.
    fn building(&self, now: Instant) -> impl Iterator<Item = String> {
        let running = self.build.steps.iter().filter(|step| step.is_running());
        running.flat_map(move |step| {
            let elapsed = step.elapsed(now).as_secs_f64();
            let last = step.last.back().map(|(_, line)| format!("     # {line}"));
            std::iter::once(format!("   {}  {elapsed:.1}s", step.name)).chain(last)
        })
    }
}

impl Layer {
    fn render(&self, now: Instant) -> String {
        let progress = &self.progress;
        let rate = self.from.zip(progress.bytes).and_then(|(from, bytes)| {
            let (since, before) = from;
            let seconds = now.duration_since(since).as_secs_f64();
            let came = bytes.0.checked_sub(before)?;
            (seconds >= LEAST_SECONDS && came > 0).then(|| (came as f64 / seconds) as u64)
        });
        layer(progress, rate)
    }
}

fn layer(progress: &image::Progress, rate: Option<u64>) -> String {
    let name = escape::line(progress.layer.as_deref().unwrap_or_default()).into_owned();
    let status = escape::line(&progress.status).into_owned();
    match progress.bytes {
        Some((done, total)) if total > 0 && done < total => {
            let filled = (done * BAR / total).min(BAR) as usize;
            let bar = format!(
                "{}{}",
                "=".repeat(filled),
                " ".repeat(BAR as usize - filled)
            );
            let (done, total) = (units::format_bytes(done), units::format_bytes(total));
            let rate = rate.map(|rate| format!(" {}/s", units::format_bytes(rate)));
            format!(
                "   {name}  {status:<14} [{bar}] {done}/{total}{}",
                rate.unwrap_or_default()
            )
        }
        _ => format!("   {name}  {status}"),
    }
}

/// The lines of the screen.
pub(crate) fn frame<'a>(
    look: &Look,
    lines: impl Iterator<Item = &'a Line>,
    now: Instant,
    rows: usize,
    columns: usize,
) -> Vec<String> {
    let lines: Vec<&Line> = lines.collect();
    let done = lines.iter().filter(|line| line.end.is_some()).count();
    let width = lines
        .iter()
        .map(|line| line.subject.chars().count())
        .max()
        .unwrap_or(0);
    let mut shown = vec![(format!("[+] {} {done}/{}", look.header, lines.len()), None)];
    // When there is not room for all, those that go on are more interesting than those that are done.
    let mut body: Vec<Vec<(String, Option<Color>)>> = lines
        .iter()
        .map(|line| line.render(look, width, now))
        .collect();
    let room = rows.saturating_sub(2).max(1);
    if body.iter().map(Vec::len).sum::<usize>() > room {
        let mut ordered: Vec<(bool, Vec<_>)> = lines
            .iter()
            .map(|line| line.end.is_some())
            .zip(body)
            .collect();
        ordered.sort_by_key(|(ended, _)| *ended);
        body = ordered.into_iter().map(|(_, lines)| lines).collect();
    }
    let body: Vec<_> = body.into_iter().flatten().collect();
    let hidden = match body.len() > room {
        true => body.len() - (room - 1),
        false => 0,
    };
    shown.extend(body.into_iter().take(room - usize::from(hidden > 0)));
    if hidden > 0 {
        shown.push((format!("   … {hidden} more"), None));
    }
    let finish = |(line, color): (String, Option<Color>)| {
        let cut: String = line.chars().take(columns.saturating_sub(1)).collect();
        color.map_or(cut.clone(), |color| color.paint(&cut, true))
    };
    shown.into_iter().map(finish).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: usize, text: &str, phase: Phase) -> OperationEvent {
        OperationEvent {
            id,
            subject: format!("Container demo-web-{id}"),
            text: text.into(),
            phase,
        }
    }

    fn lines(count: usize) -> (Instant, Vec<Line>) {
        let began = Instant::now();
        let lines = (1..=count).map(|id| {
            let mut line = Line::new(&format!("Container demo-web-{id}"), began);
            line.take(event(id, "Starting", Phase::Started), began);
            line
        });
        (began, lines.collect())
    }

    fn look() -> Look {
        Look {
            header: "up".into(),
            colored: false,
        }
    }

    #[test]
    fn one_line_a_thing() {
        let (began, mut lines) = lines(2);
        lines[0].take(
            event(1, "Started", Phase::Done),
            began + Duration::from_millis(1500),
        );
        let later = began + Duration::from_secs(2);
        assert_eq!(
            frame(&look(), lines.iter(), later, 24, 80),
            [
                "[+] up 1/2",
                " ✔ Container demo-web-1  Started        1.5s",
                " ⠋ Container demo-web-2  Starting       2.0s",
            ]
        );
    }

    #[test]
    fn never_higher_or_wider_than_the_screen() {
        let (began, lines) = lines(50);
        let shown = frame(&look(), lines.iter(), began, 10, 20);
        assert_eq!(shown.len(), 9);
        assert_eq!(shown[8], "   … 43 more");
        assert!(shown.iter().all(|line| line.chars().count() < 20));
    }

    #[test]
    fn layers_of_what_goes_on() {
        let (began, mut lines) = lines(1);
        let progress = image::Progress {
            layer: Some("0123456789ab".into()),
            status: "Downloading".into(),
            bytes: Some((512_000, 1_024_000)),
            image: None,
        };
        lines[0].take(event(1, "", Phase::Progress(progress)), began);
        let shown = frame(&look(), lines.iter(), began, 24, 80);
        assert_eq!(
            shown[2],
            "   0123456789ab  Downloading    [==========          ] 512kB/1.02MB"
        );
        let more = image::Progress {
            layer: Some("0123456789ab".into()),
            status: "Downloading".into(),
            bytes: Some((912_000, 1_024_000)),
            image: None,
        };
        let later = began + Duration::from_secs(2);
        lines[0].take(event(1, "", Phase::Progress(more)), later);
        let shown = frame(&look(), lines.iter(), later, 24, 80);
        assert_eq!(
            shown[2],
            "   0123456789ab  Downloading    [=================   ] 912kB/1.02MB 200kB/s"
        );
    }
}
