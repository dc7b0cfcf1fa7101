//! Asks before something is removed for good.

use std::io::{BufRead, Write};

use orc_base::{Context, Error, Result};

/// [`confirm`] where somebody may interrupt the question: the thread that heeds signals is not kept.
pub(crate) async fn ask(what: String) -> Result<bool> {
    let answer = tokio::task::spawn_blocking(move || confirm(&what));
    answer
        .await
        .map_err(|error| Error::internal(format!("ask whether to go on: {error}")))?
}

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
