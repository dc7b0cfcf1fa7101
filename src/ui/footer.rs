//! One line that stays below all that is written to the terminal: which keys do what.
//!
//! Whoever writes takes it away first ([`away`]) and it comes back below. It is drawn on standard error
//! and only while somebody shows it, so nothing of it is ever in a pipe.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ui::terminal;

static SHOWN: Mutex<Option<String>> = Mutex::new(None);

/// To the first column, and nothing is left on the line (ECMA-48, EL).
const ERASE: &str = "\r\x1b[2K";

/// Shows `text`, instead of what was shown.
pub(crate) fn show(text: &str) {
    away().0.replace(text.to_owned());
}

/// Shows nothing any more.
pub(crate) fn hide() {
    away().0.take();
}

/// Nothing is in the way until this is dropped.
pub(crate) struct Away(MutexGuard<'static, Option<String>>);

/// Takes the line away.
pub(crate) fn away() -> Away {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.is_some() {
        write(ERASE);
    }
    Away(shown)
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Some(text) = &*self.0 {
            let (_, columns) = terminal::stderr_size();
            // A line that is full would be two when the cursor stands behind it.
            let fits: String = text.chars().take(columns.saturating_sub(1)).collect();
            write(&fits);
        }
    }
}

fn write(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
