//! Writing to standard output and standard error.
//!
//! When the reader of a pipe has gone (`orc ps | head -1`), the process ends quietly with the status
//! a shell shows for SIGPIPE. Rust ignores that signal, which is right for sockets, so the error is
//! looked at here. Standard error that is gone is nothing to fail for.

use std::io::{ErrorKind, Write};

use crate::ui::{footer, terminal};

/// What a shell shows for a program that SIGPIPE ended.
const SIGPIPE_STATUS: i32 = 128 + 13;

/// One line of data.
pub(crate) fn line(text: &str) {
    let away = footer::away();
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"));
    drop((out, away));
    finish(written);
}

/// Data as it is, at once.
pub(crate) fn bytes(bytes: &[u8]) {
    let away = footer::away();
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    drop((out, away));
    finish(written);
}

/// Data as it is to standard error: what a container wrote there.
pub(crate) fn error_bytes(bytes: &[u8]) {
    let away = footer::away();
    let mut err = std::io::stderr().lock();
    let written = err.write_all(bytes);
    drop((err, away));
    finish(written);
}

/// One line for people, to standard error.
pub(crate) fn note(text: &str) {
    let _away = footer::away();
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(format!("{text}\n").as_bytes());
}

/// Something that is not as asked, to standard error.
pub(crate) fn warning(text: &str) {
    note(&format!("warning: {}", crate::ui::escape::line(text)));
}

/// Ends the process. The terminal is as it was before.
pub(crate) fn exit(code: i32) -> ! {
    terminal::restore();
    let _ = std::io::stdout().flush();
    std::process::exit(code)
}

fn finish(written: std::io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(SIGPIPE_STATUS),
        Err(error) => {
            note(&format!("orc: write the output: {error}"));
            exit(1)
        }
    }
}
