//! Times of files that a build makes.

use std::path::Path;

use rustix::fs::{Timespec, Timestamps};

use orc_base::{Result, Time};

/// Gives a file of ours a time.
pub(crate) fn set_time(path: &Path, time: Time) -> Result<()> {
    let file = std::fs::File::open(path)?;
    let time = Timespec {
        tv_sec: time.secs(),
        tv_nsec: 0,
    };
    rustix::fs::futimens(
        &file,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )?;
    Ok(())
}
