//! The terminal we are typed into: raw mode and its size.
//!
//! Raw mode (and reading single keys) is always undone: when its guard is dropped, when a panic unwinds, and by [`restore`],
//! which `ui::out::exit` calls. The settings before raw mode are kept in one place for that.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::sync::Mutex;

use orc_base::{Context, Result};
use orc_host::stream::TerminalSize;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The longest answer that is read.
const MAX_LINE_BYTES: u64 = 64 << 10;

static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input in raw mode until this is dropped.
pub(crate) struct Raw(());

impl Raw {
    /// Every key is passed on as it is typed; nothing is echoed.
    pub(crate) fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).context(|| "read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        *lock() = Some(before);
        tcsetattr(&stdin, OptionalActions::Now, &raw).context(|| "set the terminal to raw mode")?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Keys are passed on one by one and not echoed until this is dropped; those that send signals still do.
pub(crate) struct Keys(());

impl Keys {
    /// See above.
    pub(crate) fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).context(|| "read the terminal's settings")?;
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON);
        *lock() = Some(before);
        tcsetattr(&stdin, OptionalActions::Now, &keys)
            .context(|| "read single keys from the terminal")?;
        Ok(Self(()))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        restore();
    }
}

/// Asks a question and reads the answer without showing it.
pub(crate) fn hidden_line(question: &str) -> Result<String> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).context(|| "read the terminal's settings")?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    *lock() = Some(before);
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{question}").and_then(|()| err.flush());
    let mut line = String::new();
    let read = tcsetattr(&stdin, OptionalActions::Flush, &hidden)
        .context(|| "hide what is typed")
        .and_then(|()| {
            let mut limited = stdin.lock().take(MAX_LINE_BYTES);
            limited.read_line(&mut line).context(|| "read the answer")
        });
    restore();
    let _ = writeln!(err);
    read?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Puts the terminal back as it was before raw mode; nothing when it is not in raw mode.
pub(crate) fn restore() {
    if let Some(before) = lock().take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &before);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    BEFORE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether people type into standard input.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Whether people look at standard output.
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether people look at standard error.
pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// The size of the terminal on standard output, or else on standard input.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdout())
        .or_else(|_| tcgetwinsize(std::io::stdin()))
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(TerminalSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Rows and columns of the terminal on standard error, or what terminals once had.
pub(crate) fn stderr_size() -> (usize, usize) {
    match tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}
