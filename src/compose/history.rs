//! What ran before: for each project the last revisions, each with its canonical file and with the
//! images that its services ran.
//!
//! A revision is written when `up` has reached its goal and something differs from the last one. The
//! file outlives `down` (going back is most wanted then), holds at most [`MAX_REVISIONS`] and
//! [`MAX_BYTES`], and is for root alone, since a canonical file shows what variables held. What the
//! file only refers to (files of secrets and configs, variables they come from, `build` contexts) is
//! not kept: going back uses it as it is then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Kind, Result, Time};
use serde::{Deserialize, Serialize};

use crate::load::{LoadOptions, load};
use crate::model::Project;
use crate::observe::Observed;
use crate::render::{Format, render};

/// How many revisions are kept.
pub const MAX_REVISIONS: usize = 20;
/// How large the file of a project may be; older revisions go first.
pub const MAX_BYTES: usize = 16 << 20;

/// The revisions of one project, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// In order of their numbers.
    pub revisions: Vec<Revision>,
}

/// What ran at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Counts up from 1.
    pub number: u64,
    /// When it was reached.
    pub time: Time,
    /// What reached it: `up`, `rollback to 3`.
    pub by: String,
    /// The project directory.
    pub working_dir: PathBuf,
    /// The files it was loaded from.
    pub files: Vec<PathBuf>,
    /// The canonical file, which loads as the same project again.
    pub text: String,
    /// What each service ran.
    pub services: BTreeMap<String, Ran>,
}

/// What one service ran.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ran {
    /// The image by the name in the file, or the one it is built as.
    pub image: String,
    /// `sha256:…` of it.
    pub image_id: String,
    /// `name@sha256:…` for each registry that has it.
    pub digests: Vec<String>,
    /// The digest of what its containers were made from (the label `config-hash`).
    pub hash: String,
}

impl Revision {
    /// What runs now, without a number. The images are those of the containers, not those that their
    /// names lead to by now.
    pub fn now(project: &Project, observed: &Observed, time: Time, by: &str) -> Result<Self> {
        let ran = |name: &str, hash: &str| {
            let image = project.services.get(name)?.image_name(&project.name);
            let containers = observed.of_service(name);
            let image_id = &containers.first()?.image_id;
            let found = observed.image(image_id);
            Some(Ran {
                image,
                image_id: image_id.clone(),
                digests: found.map(|found| found.digests.clone()).unwrap_or_default(),
                hash: hash.to_owned(),
            })
        };
        let services = project.services.iter();
        Ok(Self {
            number: 0,
            time,
            by: by.to_owned(),
            working_dir: project.working_dir.clone(),
            files: project.files.clone(),
            text: render(project, Format::Yaml, &[], true)?,
            services: services
                .filter_map(|(name, service)| Some((name.clone(), ran(name, &service.hash)?)))
                .collect(),
        })
    }

    /// The project as it was, with the images that it ran. `NotFound` when one of them is gone and no
    /// registry is known to have it.
    pub fn project(
        &self,
        name: &str,
        environment: &BTreeMap<String, String>,
        observed: &Observed,
    ) -> Result<Project> {
        let options = LoadOptions {
            files: vec!["-".into()],
            stdin: Some(self.text.clone()),
            project_directory: Some(self.working_dir.clone()),
            project_name: Some(name.to_owned()),
            profiles: vec!["*".into()],
            environment: environment.clone(),
            working_dir: self.working_dir.clone(),
            ..LoadOptions::default()
        };
        let mut project = load(&options)
            .map_err(|error| error.within(format!("read revision {} again", self.number)))?
            .project;
        project.files.clone_from(&self.files);
        for (name, service) in &mut project.services {
            // It ran, so nothing is built.
            service.build = None;
            service.pull_policy = None;
            let Some(ran) = self.services.get(name) else {
                continue;
            };
            service.hash.clone_from(&ran.hash);
            service.image = Some(self.image(name, ran, observed)?);
        }
        Ok(project)
    }

    /// By which name the image is found that a service ran.
    fn image(&self, service: &str, ran: &Ran, observed: &Observed) -> Result<String> {
        let is_it = |name: &str| {
            let found = observed.image(name);
            found.is_some_and(|found| found.id == ran.image_id)
        };
        let names = [&ran.image].into_iter().chain(&ran.digests);
        let known = names.chain([&ran.image_id]).find(|name| is_it(name));
        let elsewhere = || ran.digests.first();
        known.or_else(elsewhere).cloned().ok_or_else(|| {
            Error::not_found(format!(
                "the image {} that {service} ran in revision {} is gone, and no registry is known to have it: build or load it first",
                ran.image_id, self.number
            ))
        })
    }

    /// Whether the same ran.
    fn is_like(&self, other: &Self) -> bool {
        self.services == other.services && self.text == other.text
    }

    /// What differs from an earlier one: `web (configuration, image), db (new)`; empty when only
    /// what is outside of services does.
    pub fn changes(&self, earlier: Option<&Self>) -> Vec<(String, Vec<&'static str>)> {
        let Some(earlier) = earlier else {
            let all = self.services.keys();
            return all.map(|name| (name.clone(), vec!["new"])).collect();
        };
        let mut changes = Vec::new();
        for (name, ran) in &self.services {
            let what = match earlier.services.get(name) {
                None => vec!["new"],
                Some(before) => {
                    let configuration = (before.hash != ran.hash).then_some("configuration");
                    let image = (before.image_id != ran.image_id).then_some("image");
                    configuration.into_iter().chain(image).collect()
                }
            };
            if !what.is_empty() {
                changes.push((name.clone(), what));
            }
        }
        let gone = earlier.services.keys();
        let gone = gone.filter(|name| !self.services.contains_key(*name));
        changes.extend(gone.map(|name| (name.clone(), vec!["gone"])));
        changes
    }
}

impl History {
    /// The history of a file; empty when there is none.
    pub fn load(path: &Path) -> Result<Self> {
        let limit = 2 * MAX_BYTES as u64;
        match fs::read_json(path, limit) {
            Err(error) if error.kind() == Kind::NotFound => Ok(Self::default()),
            read => read.context(|| "read the history of the project"),
        }
    }

    /// Writes it for root alone.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory, 0o700)?;
        }
        fs::write_json(path, self, Durability::Process)
            .context(|| "write the history of the project")
    }

    /// Adds what runs now. `None` when that is what ran before, else its number.
    pub fn add(&mut self, mut revision: Revision) -> Option<u64> {
        let last = self.revisions.last();
        if last.is_some_and(|last| last.is_like(&revision)) {
            return None;
        }
        let number = last.map_or(1, |last| last.number + 1);
        revision.number = number;
        self.revisions.push(revision);
        let bytes = |revisions: &[Revision]| -> usize {
            revisions.iter().map(|revision| revision.text.len()).sum()
        };
        // The last one stays, whatever its size; a Compose file has a limit of its own.
        while self.revisions.len() > 1
            && (self.revisions.len() > MAX_REVISIONS || bytes(&self.revisions) > MAX_BYTES)
        {
            self.revisions.remove(0);
        }
        Some(number)
    }

    /// The revision with that number; the one before the last when there is none.
    pub fn find(&self, number: Option<u64>) -> Result<&Revision> {
        let Some(number) = number else {
            let before = self.revisions.len().checked_sub(2);
            return before
                .and_then(|index| self.revisions.get(index))
                .ok_or_else(|| {
                    Error::not_found("there is no revision before this one to go back to")
                });
        };
        let found = self.revisions.iter().find(|one| one.number == number);
        found.ok_or_else(|| {
            let numbers = self.revisions.iter().map(|one| one.number.to_string());
            let numbers: Vec<_> = numbers.collect();
            Error::not_found(match numbers.is_empty() {
                true => format!("there is no revision {number}: none is known"),
                false => format!(
                    "there is no revision {number}: the known ones are {}",
                    numbers.join(", ")
                ),
            })
        })
    }

    /// The last revision in which a service was made from what has this digest.
    pub fn with_service(&self, service: &str, hash: &str) -> Option<&Revision> {
        let revisions = self.revisions.iter().rev();
        let is_it = |ran: &Ran| ran.hash == hash;
        revisions
            .into_iter()
            .find(|one| one.services.get(service).is_some_and(is_it))
    }
}
