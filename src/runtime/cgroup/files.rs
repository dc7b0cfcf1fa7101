//! The kernel's small text files.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;

use orc_base::{Context, Result};

/// The most bytes read of one file.
const MAX_FILE: u64 = 1 << 20;
/// What is read of most files at once: they are shorter.
const USUAL_FILE: usize = 4096;

/// Writes a value in one call.
pub(super) fn write_file(path: &Path, value: &str) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(value.as_bytes())
    };
    write().context(|| format!("write `{value}` to {}", path.display()))
}

/// One write a line, as the kernel wants it.
pub(super) fn write_lines(path: &Path, lines: &[String]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .context(|| format!("open {}", path.display()))?;
    for line in lines {
        file.write_all(line.as_bytes())
            .context(|| format!("write `{line}` to {}", path.display()))?;
    }
    Ok(())
}

/// Reads a whole file.
pub(super) fn read_file(path: &Path) -> Result<String> {
    let read = || {
        let mut bytes = Vec::with_capacity(USUAL_FILE);
        std::fs::File::open(path)?
            .take(MAX_FILE)
            .read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().context(|| format!("read {}", path.display()))
}
