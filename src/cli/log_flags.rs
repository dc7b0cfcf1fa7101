//! Which lines of a log are wanted: the flags that `logs` has for a container and for a project.

use clap::Args;
use orc_base::{Result, Time};
use orc_host::stream::LogOptions;

use crate::cli::parse::time;

/// Which lines are wanted.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogFlags {
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what was written from then on: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was written until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the last so many lines
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        default_value = "all",
        allow_hyphen_values = true
    )]
    tail: String,
    /// Show when each line was written
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

impl LogFlags {
    /// What the flags mean.
    pub(crate) fn options(&self, now: Time) -> Result<LogOptions> {
        let moment = |text: &Option<String>| {
            text.as_deref()
                .map(|text| time::moment(text, now))
                .transpose()
        };
        Ok(LogOptions {
            follow: self.follow,
            tail: time::tail(&self.tail)?,
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            only: None,
        })
    }
}
