//! Asks before something is removed for good.

use std::io::{BufRead, Write};

use orc_base::{Context, Result};

/// Whether the answer is yes. The question goes to standard error.
pub(crate) fn confirm(what: &str) -> Result<bool> {
    let mut err = std::io::stderr().lock();
    let _ = write!(
        err,
        "WARNING! {what}\nAre you sure you want to continue? [y/N] "
    )
    .and_then(|()| err.flush());
    drop(err);
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context(|| "read the answer")?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
