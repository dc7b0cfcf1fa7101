//! The conversation between a monitor and the process it has just cloned, until that process
//! executes its program.
//!
//! ```text
//! child   : [Terminal] Warning* Executing                      end  (the program runs)
//!           [Terminal] Warning* [Executing] Failed             end  (the whole error)
//! monitor : Created
//! ```
//!
//! The end is the closing of the child's socket, which `execve` does. What is still due is data: a
//! message that is not due, or an end while something is due, is an error with a name.

use std::os::fd::OwnedFd;

use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::wire::{self, Trouble};

/// The most warnings of one start.
const MAX_WARNINGS: usize = 64;

/// From the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tidings {
    /// The master side of the terminal is beside this message.
    Terminal,
    /// Something that was asked for could not be had, and the start goes on.
    Warning(String),
    /// The next thing is `execve`.
    Executing,
    /// It could not be done.
    Failed(Trouble),
}

/// From the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The control groups exist, with their limits. Said to containers only: an exec's exist before.
    Created,
}

/// What is still due from the child, and what has come.
#[derive(Debug)]
pub(crate) struct Due {
    terminal: bool,
    executing: bool,
    warnings: Vec<String>,
    handed: Option<OwnedFd>,
}

/// Where the conversation stands after a message.
#[derive(Debug)]
pub(crate) enum Stand {
    /// It goes on.
    Open,
    /// The program runs.
    Executed {
        terminal: Option<OwnedFd>,
        warnings: Vec<String>,
    },
}

impl Due {
    /// The beginning: a terminal is due when one was asked for.
    pub(crate) fn new(terminal: bool) -> Self {
        Self {
            terminal,
            executing: true,
            warnings: Vec::new(),
            handed: None,
        }
    }

    /// One step: a message with the descriptors beside it, or the end.
    pub(crate) fn step(&mut self, message: Option<Tidings>, fds: Vec<OwnedFd>) -> Result<Stand> {
        let Some(message) = message else {
            return self.end();
        };
        let wanted = usize::from(message == Tidings::Terminal);
        if fds.len() != wanted {
            return Err(out_of_turn("descriptors that nobody asked for, or none"));
        }
        match message {
            Tidings::Failed(trouble) => Err(trouble.into()),
            _ if !self.executing => Err(out_of_turn("a message after the last one")),
            Tidings::Terminal if self.terminal => {
                self.terminal = false;
                self.handed = fds.into_iter().next();
                Ok(Stand::Open)
            }
            Tidings::Terminal => Err(out_of_turn("a terminal that is not due")),
            Tidings::Warning(_) if self.warnings.len() == MAX_WARNINGS => {
                Err(out_of_turn("too many warnings"))
            }
            Tidings::Warning(text) => {
                self.warnings.push(text);
                Ok(Stand::Open)
            }
            Tidings::Executing if self.terminal => {
                Err(out_of_turn("the program's start before its terminal"))
            }
            Tidings::Executing => {
                self.executing = false;
                Ok(Stand::Open)
            }
        }
    }

    fn end(&mut self) -> Result<Stand> {
        if self.executing {
            return Err(Error::internal(
                "the container's first process was killed before it could execute its program (too little memory?)",
            ));
        }
        Ok(Stand::Executed {
            terminal: self.handed.take(),
            warnings: std::mem::take(&mut self.warnings),
        })
    }
}

fn out_of_turn(what: &str) -> Error {
    Error::internal(format!("the start handshake is broken: {what}"))
}

/// The child's end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Says something that needs no descriptor.
    pub(crate) fn tell(&self, tidings: &Tidings) -> Result<()> {
        wire::send(&self.socket, tidings, &[])
    }

    /// Warns and goes on.
    pub(crate) fn warn(&self, error: &Error) -> Result<()> {
        let text = wire::clip_warnings(&[error.to_string()]).remove(0);
        self.tell(&Tidings::Warning(text))
    }

    /// Hands over the master side of the terminal.
    pub(crate) fn hand_terminal(&self, terminal: &OwnedFd) -> Result<()> {
        use std::os::fd::AsFd;
        wire::send(&self.socket, &Tidings::Terminal, &[terminal.as_fd()])
    }

    /// Waits for the monitor to say `word`, which must be the next.
    pub(crate) fn expect(&self, word: Word) -> Result<()> {
        let Some(packet) = wire::receive(&self.socket)? else {
            return Err(Error::unavailable("the monitor gave the start up"));
        };
        match packet.parse::<Word>()? == word {
            true => Ok(()),
            false => Err(out_of_turn("a word of the monitor that is not due")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Option<Tidings> = None;

    fn fd() -> OwnedFd {
        wire::pair().unwrap().0
    }

    fn warning() -> Option<Tidings> {
        Some(Tidings::Warning("w".into()))
    }

    fn failed() -> Option<Tidings> {
        let error = Error::not_found("no such file or directory").within("exec `x`");
        Some(Tidings::Failed(Trouble::from(&error)))
    }

    /// Every message of `sequence`; descriptors come where they belong.
    fn run(terminal: bool, sequence: Vec<Option<Tidings>>) -> String {
        let mut due = Due::new(terminal);
        let mut last = String::new();
        for message in sequence {
            let fds = match message {
                Some(Tidings::Terminal) => vec![fd()],
                _ => Vec::new(),
            };
            last = match due.step(message, fds) {
                Ok(Stand::Open) => "open".into(),
                Ok(Stand::Executed { terminal, warnings }) => format!(
                    "executed, terminal: {}, warnings: {}",
                    terminal.is_some(),
                    warnings.len()
                ),
                Err(error) => return error.to_string(),
            };
        }
        last
    }

    #[test]
    fn legal_orders() {
        let executing = || Some(Tidings::Executing);
        let terminal = || Some(Tidings::Terminal);
        for (with, sequence, end) in [
            (
                false,
                vec![executing(), END],
                "executed, terminal: false, warnings: 0",
            ),
            (
                true,
                vec![terminal(), executing(), END],
                "executed, terminal: true, warnings: 0",
            ),
            (
                true,
                vec![warning(), terminal(), warning(), executing(), END],
                "executed, terminal: true, warnings: 2",
            ),
            (false, vec![failed()], "exec `x`: no such file or directory"),
            (true, vec![failed()], "exec `x`: no such file or directory"),
            (
                false,
                vec![executing(), failed()],
                "exec `x`: no such file or directory",
            ),
            (false, vec![warning()], "open"),
        ] {
            assert_eq!(run(with, sequence), end);
        }
    }

    #[test]
    fn illegal_orders() {
        let executing = || Some(Tidings::Executing);
        let terminal = || Some(Tidings::Terminal);
        for (with, sequence, text) in [
            (false, vec![END], "was killed"),
            (true, vec![terminal(), END], "was killed"),
            (true, vec![executing()], "before its terminal"),
            (false, vec![terminal()], "not due"),
            (true, vec![terminal(), terminal()], "not due"),
            (false, vec![executing(), executing()], "after the last"),
            (false, vec![executing(), warning()], "after the last"),
            (
                true,
                vec![terminal(), executing(), terminal()],
                "after the last",
            ),
            (false, vec![warning(); MAX_WARNINGS + 1], "too many"),
        ] {
            let end = run(with, sequence);
            assert!(end.contains(text), "{end} instead of {text}");
        }
    }

    #[test]
    fn descriptors_only_where_they_belong() {
        let none = Vec::new();
        assert!(Due::new(true).step(Some(Tidings::Terminal), none).is_err());
        let two = vec![fd(), fd()];
        assert!(Due::new(true).step(Some(Tidings::Terminal), two).is_err());
        let one = vec![fd()];
        assert!(Due::new(false).step(Some(Tidings::Executing), one).is_err());
    }

    #[test]
    fn the_child_takes_words_in_order() {
        let (monitor, child) = wire::pair().unwrap();
        let channel = Channel::new(child);
        wire::send(&monitor, &Word::Created, &[]).unwrap();
        wire::send(&monitor, &Tidings::Executing, &[]).unwrap();
        channel.expect(Word::Created).unwrap();
        assert!(channel.expect(Word::Created).is_err());
        drop(monitor);
        assert!(channel.expect(Word::Created).is_err());
    }
}
