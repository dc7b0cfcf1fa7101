//! Lines put together from the pieces in which a program wrote them.
//!
//! Pure. Each output has its own unfinished line; a line has the time of its first byte. Lines over
//! 16 KiB come in pieces, as Docker cuts them, so that a program that never writes a line feed does
//! not fill the memory.

use std::collections::VecDeque;

use orc_base::Time;
use orc_host::stream::{Bytes, LogLine, LogOptions, Output};

/// The longest line.
pub(crate) const MAX_LINE: usize = 16 * 1024;

/// Unfinished lines of both outputs.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    stdout: Unfinished,
    stderr: Unfinished,
}

#[derive(Debug, Default)]
struct Unfinished {
    time: Time,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Adds a piece; `line` gets every line that it finishes.
    pub(crate) fn push(
        &mut self,
        output: Output,
        time: Time,
        bytes: &[u8],
        mut line: impl FnMut(LogLine),
    ) {
        let unfinished = self.of(output);
        let mut rest = bytes;
        while !rest.is_empty() {
            if unfinished.bytes.is_empty() {
                unfinished.time = time;
            }
            let room = MAX_LINE - unfinished.bytes.len();
            let window = &rest[..rest.len().min(room)];
            let feed = window.iter().position(|byte| *byte == b'\n');
            let take = feed.map_or(window.len(), |at| at + 1);
            unfinished.bytes.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            if feed.is_some() || unfinished.bytes.len() == MAX_LINE {
                line(unfinished.finish(output));
            }
        }
    }

    /// What was written without a line feed at the end, in order of time.
    pub(crate) fn finish(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        for output in [Output::Stdout, Output::Stderr] {
            let unfinished = self.of(output);
            if !unfinished.bytes.is_empty() {
                lines.push(unfinished.finish(output));
            }
        }
        lines.sort_by_key(|line| line.time);
        lines
    }

    fn of(&mut self, output: Output) -> &mut Unfinished {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }
}

impl Unfinished {
    fn finish(&mut self, output: Output) -> LogLine {
        LogLine {
            output,
            time: self.time,
            bytes: Bytes::from(std::mem::take(&mut self.bytes)),
        }
    }
}

/// Whether a line is one of those that were asked for.
pub(crate) fn wanted(options: &LogOptions, line: &LogLine) -> bool {
    options.only.is_none_or(|only| only == line.output)
        && options.since.is_none_or(|since| line.time >= since)
        && options.until.is_none_or(|until| line.time <= until)
}

/// The last lines of those that were wanted, at most as many as asked for.
pub(crate) struct Tail {
    most: usize,
    lines: VecDeque<LogLine>,
}

impl Tail {
    /// All lines when `most` is absent.
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self {
            most: most.unwrap_or(usize::MAX),
            lines: VecDeque::new(),
        }
    }

    /// Adds a line and forgets the first one when there are too many.
    pub(crate) fn push(&mut self, line: LogLine) {
        self.lines.push_back(line);
        if self.lines.len() > self.most {
            self.lines.pop_front();
        }
    }

    /// The lines.
    pub(crate) fn into_lines(self) -> VecDeque<LogLine> {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(pieces: &[(Output, i64, &str)]) -> Vec<(Output, i64, String)> {
        let mut assembler = Assembler::default();
        let mut lines = Vec::new();
        for (output, secs, text) in pieces {
            assembler.push(*output, Time::from_secs(*secs), text.as_bytes(), |line| {
                lines.push(line);
            });
        }
        lines.extend(assembler.finish());
        lines
            .into_iter()
            .map(|line| {
                let text = String::from_utf8(line.bytes.to_vec()).unwrap();
                (line.output, line.time.secs(), text)
            })
            .collect()
    }

    #[test]
    fn outputs_do_not_mix_within_a_line() {
        use Output::{Stderr, Stdout};
        assert_eq!(
            assemble(&[
                (Stdout, 1, "he"),
                (Stderr, 2, "oops\nag"),
                (Stdout, 3, "llo\r\n\nend"),
            ]),
            [
                (Stderr, 2, "oops\n".into()),
                (Stdout, 1, "hello\r\n".into()),
                (Stdout, 3, "\n".into()),
                (Stderr, 2, "ag".into()),
                (Stdout, 3, "end".into()),
            ]
        );
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let long = "x".repeat(MAX_LINE + 5) + "\n";
        let lines = assemble(&[
            (Output::Stdout, 1, &long[..7]),
            (Output::Stdout, 2, &long[7..]),
        ]);
        let lengths: Vec<usize> = lines.iter().map(|(_, _, text)| text.len()).collect();
        assert_eq!(lengths, [MAX_LINE, 6]);
    }

    #[test]
    fn keeps_the_last_wanted_lines() {
        let line = |secs, output| LogLine {
            output,
            time: Time::from_secs(secs),
            bytes: Bytes::new(),
        };
        let options = LogOptions {
            since: Some(Time::from_secs(2)),
            until: Some(Time::from_secs(5)),
            only: Some(Output::Stdout),
            ..LogOptions::default()
        };
        let mut tail = Tail::new(Some(2));
        for secs in 0..9 {
            for line in [line(secs, Output::Stdout), line(secs, Output::Stderr)] {
                if wanted(&options, &line) {
                    tail.push(line);
                }
            }
        }
        let kept: Vec<i64> = tail
            .into_lines()
            .iter()
            .map(|line| line.time.secs())
            .collect();
        assert_eq!(kept, [4, 5]);
        let mut none = Tail::new(Some(0));
        none.push(line(1, Output::Stdout));
        assert!(none.into_lines().is_empty());
    }
}
