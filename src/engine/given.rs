//! Small files that a container is given in memory: secrets and configs.
//!
//! Content that no file of the machine holds is kept beside the container's records, for root alone
//! and as long as the container is kept, because it must be there again after the machine has started
//! anew; it stands in no record, so nobody is shown it by accident. At each start the runtime copies
//! the files into memory of that container alone (hazard S8).

use std::collections::BTreeSet;
use std::path::PathBuf;

use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Id, Result};
use orc_host::container::{
    ContainerSpec, FileSource, GivenFile, MAX_GIVEN_CONTENT, MAX_GIVEN_FILE,
};
use orc_runtime::spec::Mount;

use crate::effective::mount_target;
use crate::records::{ContainerRecord, GivenRecord};
use crate::store::Store;

/// The most files one container is given.
const MAX_FILES: usize = 1024;

/// Takes the files out of what was asked for: what their record says, and what is to be kept.
pub(crate) fn take(spec: &mut ContainerSpec) -> Result<(Vec<GivenRecord>, Vec<GivenFile>)> {
    let files = std::mem::take(&mut spec.files);
    check(&files)?;
    let mut targets: BTreeSet<String> = spec
        .mounts
        .iter()
        .map(|mount| mount_target(mount.target()))
        .collect::<Result<_>>()?;
    let mut records = Vec::with_capacity(files.len());
    for file in &files {
        let target = mount_target(&file.target)?;
        if !targets.insert(target.clone()) {
            return Err(Error::invalid(format!("Duplicate mount point: {target}")));
        }
        records.push(GivenRecord {
            target,
            source: match &file.source {
                FileSource::Path(path) => Some(path.clone()),
                FileSource::Content(_) => None,
            },
            uid: file.uid,
            gid: file.gid,
            mode: file.mode,
        });
    }
    Ok((records, files))
}

fn check(files: &[GivenFile]) -> Result<()> {
    if files.len() > MAX_FILES {
        return Err(Error::invalid(format!(
            "{} files in memory are more than the {MAX_FILES} of one container",
            files.len()
        )));
    }
    let mut total = 0;
    for file in files {
        let named = |why: &str| Error::invalid(format!("file {}: {why}", file.target));
        if file.mode > 0o7777 {
            return Err(named(&format!("mode {:o} is above 7777", file.mode)));
        }
        match &file.source {
            FileSource::Path(path) if !path.is_absolute() => {
                return Err(named("its source must be an absolute path"));
            }
            FileSource::Content(content) if content.0.len() > MAX_GIVEN_FILE => {
                return Err(named(&format!(
                    "it is larger than {} KiB: mount it instead",
                    MAX_GIVEN_FILE >> 10
                )));
            }
            FileSource::Content(content) => total += content.0.len(),
            FileSource::Path(_) => {}
        }
    }
    match total <= MAX_GIVEN_CONTENT {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "the files in memory have more than {} KiB together: mount some of them instead",
            MAX_GIVEN_CONTENT >> 10
        ))),
    }
}

/// Keeps the content that no file of the machine holds.
pub(crate) fn keep(store: &Store, id: &Id, files: &[GivenFile]) -> Result<()> {
    for (index, file) in files.iter().enumerate() {
        let FileSource::Content(content) = &file.source else {
            continue;
        };
        let path = place(store, id, index);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory, 0o700)?;
        }
        fs::write_atomic(&path, &content.0, Durability::Process)
            .context(|| format!("keep the content of {}", file.target))?;
    }
    Ok(())
}

/// The files as the runtime mounts them.
pub(crate) fn given(store: &Store, record: &ContainerRecord) -> Vec<Mount> {
    let files = record.files.iter().enumerate();
    files
        .map(|(index, file)| Mount::Copy {
            source: file
                .source
                .clone()
                .unwrap_or_else(|| place(store, &record.id, index)),
            target: file.target.clone(),
            uid: file.uid,
            gid: file.gid,
            mode: file.mode,
        })
        .collect()
}

fn place(store: &Store, id: &Id, index: usize) -> PathBuf {
    store.generated(id, "given").join(index.to_string())
}

#[cfg(test)]
mod tests {
    use orc_host::container::{Content, Mount as Asked};

    use super::*;

    fn file(target: &str, bytes: usize) -> GivenFile {
        GivenFile {
            target: target.into(),
            source: FileSource::Content(Content(vec![b'x'; bytes])),
            uid: 0,
            gid: 0,
            mode: 0o444,
        }
    }

    fn refused(files: Vec<GivenFile>) -> String {
        let mut spec = ContainerSpec {
            files,
            mounts: vec![Asked::Tmpfs {
                target: "/taken".into(),
                size_bytes: None,
                mode: None,
                options: Vec::new(),
            }],
            ..ContainerSpec::default()
        };
        take(&mut spec).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let path = GivenFile {
            source: FileSource::Path("relative".into()),
            ..file("/a", 0)
        };
        let mode = GivenFile {
            mode: 0o10000,
            ..file("/a", 0)
        };
        let large = (0..3).map(|n| file(&format!("/{n}"), MAX_GIVEN_FILE));
        for (files, word) in [
            (vec![path], "absolute"),
            (vec![mode], "7777"),
            (
                vec![file("/a", 0), file("/a/", 0)],
                "Duplicate mount point: /a",
            ),
            (vec![file("/taken", 0)], "Duplicate mount point: /taken"),
            (vec![file("/a", MAX_GIVEN_FILE + 1)], "larger than"),
            (large.collect(), "together"),
            (vec![file("relative", 0)], "relative"),
        ] {
            let error = refused(files);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn no_record_has_the_content() {
        let mut spec = ContainerSpec {
            files: vec![file("/run/secrets/s", 3)],
            ..ContainerSpec::default()
        };
        let (records, files) = take(&mut spec).unwrap();
        assert_eq!((records.len(), files.len()), (1, 1));
        assert!(spec.files.is_empty());
        assert!(!format!("{records:?} {files:?}").contains("xxx"));
    }
}
