//! Small files that a container is given in memory: an extension of orc's own, since Docker's API has
//! none below a swarm. They are asked for and never shown.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orc_base::{Error, Result};
use orc_host::container::{Content, FileSource, GivenFile};

use crate::wire::container as wire;

/// One of `OrcFiles`.
pub(crate) fn to_wire(file: &GivenFile) -> Result<wire::GivenFile> {
    let (source, content) = match &file.source {
        FileSource::Content(content) => (String::new(), Some(STANDARD.encode(&content.0))),
        FileSource::Path(path) => {
            let path = path.to_str().ok_or_else(|| {
                Error::unsupported(format!(
                    "{} is not UTF-8: it cannot be named over the API",
                    path.display()
                ))
            })?;
            (path.to_owned(), None)
        }
    };
    Ok(wire::GivenFile {
        target: file.target.clone(),
        source,
        content,
        uid: file.uid,
        gid: file.gid,
        mode: file.mode,
    })
}

/// The inverse of [`to_wire`].
pub(crate) fn from_wire(file: &wire::GivenFile) -> Result<GivenFile> {
    let source = match &file.content {
        Some(text) => FileSource::Content(Content(STANDARD.decode(text).map_err(|_| {
            Error::invalid(format!("`OrcFiles` at `{}`: not Base64", file.target))
        })?)),
        None => FileSource::Path(PathBuf::from(&file.source)),
    };
    Ok(GivenFile {
        target: file.target.clone(),
        source,
        uid: file.uid,
        gid: file.gid,
        mode: file.mode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_and_hide_their_content() {
        for source in [
            FileSource::Content(Content(b"geheim\0\xff".to_vec())),
            FileSource::Content(Content(Vec::new())),
            FileSource::Path("/etc/hostname".into()),
        ] {
            let file = GivenFile {
                target: "/run/secrets/s".into(),
                source,
                uid: 7,
                gid: 8,
                mode: 0o400,
            };
            let there = to_wire(&file).unwrap();
            assert_eq!(from_wire(&there).unwrap(), file);
            assert!(!format!("{file:?}").contains("geheim"));
        }
        let broken = wire::GivenFile {
            content: Some("%".into()),
            ..Default::default()
        };
        assert!(from_wire(&broken).is_err());
    }
}
