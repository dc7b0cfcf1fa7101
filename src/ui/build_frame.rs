//! A build on a terminal at one moment: what is done in one line each, what runs with its last words.
//!
//! Pure: a story and a time in, lines out, never wider or higher than the terminal.

use std::time::{Duration, Instant};

use orc_base::units;
use orc_host::image_build::StepState;

use crate::ui::build_story::{Step, Story};
use crate::ui::color::{Color, GREEN, RED, YELLOW};

/// How many lines of its output a step that runs shows.
const LOG_LINES: usize = 6;

/// The lines of the screen for a build that began `elapsed` ago.
pub(crate) fn frame(
    story: &Story,
    elapsed: Duration,
    now: Instant,
    (rows, columns): (usize, usize),
    colored: bool,
) -> Vec<String> {
    let done = story.steps.iter().filter(|step| step.is_over()).count();
    let header = format!(
        "[+] Building {:.1}s ({done}/{})",
        elapsed.as_secs_f64(),
        story.steps.len()
    );
    let begun: Vec<&Step> = story
        .steps
        .iter()
        .filter(|step| step.state.is_some())
        .collect();
    let room = rows.saturating_sub(2).max(1);
    // Those that are done go out of sight first, the oldest before.
    let running: usize = begun
        .iter()
        .filter(|step| step.is_running())
        .map(|step| 1 + details(step).len())
        .sum();
    let for_done = room.saturating_sub(running);
    let hidden = begun
        .iter()
        .filter(|step| step.is_over())
        .count()
        .saturating_sub(for_done);
    let mut left_out = 0;
    let mut lines: Vec<(String, Option<Color>)> = vec![(header, None)];
    for step in begun {
        if step.is_over() && left_out < hidden {
            left_out += 1;
            continue;
        }
        lines.push(line(step, now, columns));
        if step.is_running() {
            lines.extend(details(step).into_iter().map(|text| (text, None)));
        }
    }
    lines.truncate(room + 1);
    let cut = |(text, color): (String, Option<Color>)| {
        let text: String = text.chars().take(columns.saturating_sub(1)).collect();
        match color.filter(|_| colored) {
            Some(color) => color.paint(&text, true),
            None => text,
        }
    };
    lines.into_iter().map(cut).collect()
}

/// The name at the left, the time at the right edge.
fn line(step: &Step, now: Instant, columns: usize) -> (String, Option<Color>) {
    let (word, color) = match &step.state {
        Some(StepState::Cached) => ("CACHED ", Some(GREEN)),
        Some(StepState::Done) => ("", Some(GREEN)),
        Some(StepState::Failed { .. }) => ("ERROR ", Some(RED)),
        Some(StepState::Cancelled) => ("CANCELED ", Some(YELLOW)),
        Some(StepState::Running) | None => ("", None),
    };
    let time = format!("{:.1}s", step.elapsed(now).as_secs_f64());
    let width = columns.saturating_sub(time.len() + 2);
    let name = format!(" => {word}{}", step.name);
    let name: String = match name.chars().count() > width {
        true => name
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => name,
    };
    (format!("{name:<width$} {time}"), color)
}

fn details(step: &Step) -> Vec<String> {
    let moved = step.moved.iter().map(|(what, current, total)| {
        let current = units::format_bytes(*current);
        match total {
            Some(total) => format!(" => => {what} {current} / {}", units::format_bytes(*total)),
            None => format!(" => => {what} {current}"),
        }
    });
    let skip = step.last.len().saturating_sub(LOG_LINES);
    let log = step.last.iter().skip(skip);
    let log = log.map(|(_, line)| format!(" => => # {}", line.replace('\t', "    ")));
    moved.chain(log).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::build_story::tests::{planned, state, wrote};

    fn story(now: Instant) -> Story {
        let mut story = Story::default();
        for event in [
            planned(),
            state(0, StepState::Running),
            state(0, StepState::Done),
            state(1, StepState::Cached),
            state(2, StepState::Running),
        ] {
            story.take(&event, now);
        }
        for number in 1..=8 {
            story.take(&wrote(2, &format!("line {number}\n")), now);
        }
        story
    }

    #[test]
    fn what_runs_shows_its_last_words() {
        let began = Instant::now();
        let mut story = story(began);
        let now = began + Duration::from_millis(2100);
        let shown = frame(&story, now - began, now, (24, 40), false);
        assert_eq!(
            shown.join("\n"),
            "\
[+] Building 2.1s (2/3)
 => [internal] load build context  0.0s
 => CACHED [1/2] FROM busybox      0.0s
 => [2/2] RUN make all             2.1s
 => => # line 3
 => => # line 4
 => => # line 5
 => => # line 6
 => => # line 7
 => => # line 8"
        );
        story.take(&state(2, StepState::Done), now);
        let shown = frame(&story, now - began, now, (24, 40), true);
        assert_eq!(shown.len(), 4, "collapsed when done: {shown:?}");
        assert!(shown[3].starts_with("\u{1b}[32m"), "{shown:?}");
    }

    #[test]
    fn never_higher_or_wider_than_the_screen() {
        let now = Instant::now();
        for rows in 1..12 {
            let shown = frame(&story(now), Duration::ZERO, now, (rows, 20), false);
            assert!(shown.len() < rows.max(3), "{rows}: {shown:?}");
            assert!(shown.iter().all(|line| line.chars().count() < 20));
        }
        let shown = frame(&story(now), Duration::ZERO, now, (9, 40), false);
        assert!(
            shown[1].contains("RUN make"),
            "the oldest go first: {shown:?}"
        );
    }
}
