//! Log lines of several containers on one screen: `web-1  | line`.
//!
//! Names are padded to the widest; each container keeps its colour. Pure: bytes in, bytes out.

use std::collections::BTreeMap;

use orc_base::Time;

use crate::ui::color::{CYCLE, Color};
use crate::ui::escape;

/// How the lines of a project are marked.
#[derive(Debug)]
pub(crate) struct Prefixes {
    colored: bool,
    hidden: bool,
    timestamps: bool,
    width: usize,
    colors: BTreeMap<String, Color>,
}

impl Prefixes {
    /// Marks for lines, none when `hidden`; `timestamps` adds when each line was written.
    pub(crate) fn new(colored: bool, hidden: bool, timestamps: bool) -> Self {
        Self {
            colored,
            hidden,
            timestamps,
            width: 0,
            colors: BTreeMap::new(),
        }
    }

    /// Makes room and takes a colour for `name`; to be called for all known names first.
    pub(crate) fn add(&mut self, name: &str) {
        self.width = self.width.max(name.chars().count());
        let next = CYCLE[self.colors.len() % CYCLE.len()];
        self.colors.entry(name.to_owned()).or_insert(next);
    }

    /// One line as it is shown, always with a line feed at its end.
    pub(crate) fn line(&mut self, name: &str, time: Time, bytes: &[u8]) -> Vec<u8> {
        let mut shown = self.mark(name).into_bytes();
        if self.timestamps {
            shown.extend(format!("{} ", timestamp(time)).into_bytes());
        }
        shown.extend(bytes.strip_suffix(b"\n").unwrap_or(bytes));
        shown.push(b'\n');
        shown
    }

    /// What happened to a container, between its lines: `web-1 exited with code 0`.
    pub(crate) fn status(&mut self, name: &str, text: &str) -> String {
        let line = format!("{} {text}", escape::line(name));
        match self.colors.get(name) {
            Some(color) => color.paint(&line, self.colored),
            None => line,
        }
    }

    fn mark(&mut self, name: &str) -> String {
        if self.hidden {
            return String::new();
        }
        self.add(name);
        let width = self.width;
        let mark = format!("{:width$}  | ", escape::line(name));
        self.colors[name].paint(&mark, self.colored)
    }
}

/// RFC 3339 with all nine digits, so that columns stay in line.
pub(crate) fn timestamp(time: Time) -> String {
    let text = time.to_string();
    let whole = text.trim_end_matches('Z');
    let (seconds, fraction) = whole.split_once('.').unwrap_or((whole, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_the_widest_and_ends_every_line() {
        let mut prefixes = Prefixes::new(false, false, false);
        prefixes.add("web-1");
        prefixes.add("database-1");
        assert_eq!(
            prefixes.line("web-1", Time::EPOCH, b"hi\n"),
            b"web-1       | hi\n"
        );
        assert_eq!(
            prefixes.line("database-1", Time::EPOCH, b"no end"),
            b"database-1  | no end\n"
        );
        assert_eq!(
            prefixes.status("web-1", "exited with code 0"),
            "web-1 exited with code 0"
        );
    }

    #[test]
    fn each_name_keeps_its_colour() {
        let mut prefixes = Prefixes::new(true, false, false);
        let first = prefixes.line("a", Time::EPOCH, b"1");
        let _ = prefixes.line("b", Time::EPOCH, b"2");
        assert_eq!(prefixes.line("a", Time::EPOCH, b"1"), first);
        assert!(first.starts_with(b"\x1b[36ma  | \x1b[0m1"));
    }

    #[test]
    fn hidden_prefixes_and_timestamps() {
        let mut prefixes = Prefixes::new(true, true, true);
        let time: Time = "2026-01-02T03:04:05.5Z".parse().unwrap();
        assert_eq!(
            prefixes.line("a", time, b"x\n"),
            b"2026-01-02T03:04:05.500000000Z x\n"
        );
    }
}
