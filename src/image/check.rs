//! Compares what is on disk with what it should be, and mends what can be mended.
//!
//! ```text
//! catalog ─► blobs: all bytes hashed ─► fetch again ─► documents ─► layers: unpacked again beside
//!                                                                   and compared file by file
//! ```
//!
//! While it runs nothing is collected. What is damaged harms no other image: it is named, with the
//! images that need it. Mending takes good bytes from a registry that is known to have them, or from
//! the blob of a layer; what cannot be mended and nobody uses is dropped, and said so. What containers
//! and people wrote is never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::sync::Arc;

use orc_base::clock::SystemClock;
use orc_base::{Clock, Error, Kind, Result};

use crate::archive::pipe::blocking;
use crate::cache::CacheKind;
use crate::catalog::{Need, Parts, Role};
use crate::compare;
use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::digest::Digest;
use crate::manifest::{Document, MAX_DOCUMENT_BYTES};
use crate::refetch::{BadBlob, fetch_again};
use crate::registry::http::Http;
use crate::store::{Ingest, Store};
use crate::unpack::stream::Watch;

const CHUNK_BYTES: usize = 1 << 20;

/// What to look at, and what to do about it.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Reads no contents: whether everything is there, and the documents.
    pub quick: bool,
    /// Mends what can be mended, and drops what cannot and nobody uses.
    pub repair: bool,
    /// Which containers there are, and of which images.
    pub users: Vec<User>,
}

/// A container of an image.
#[derive(Debug, Clone)]
pub struct User {
    /// Its name.
    pub name: String,
    /// The id of its image.
    pub image: String,
    /// Its root file system is mounted.
    pub runs: bool,
}

/// What kind of thing is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The list of images.
    Catalog,
    /// The compressed bytes of a layer.
    Blob,
    /// The manifest of an image.
    Manifest,
    /// The config of an image.
    Config,
    /// The files of a layer.
    Layer,
    /// What is remembered of build steps.
    Cache,
    /// A download.
    Download,
}

impl Part {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Blob => "blob",
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Layer => "layer",
            Self::Cache => "cache",
            Self::Download => "download",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet: what can be done.
    Left(String),
    /// It is good again, and why.
    Mended(String),
    /// It is gone, and what follows.
    Dropped(String),
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub part: Part,
    /// Its digest or file.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
    /// The images that need it.
    pub images: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many images there are.
    pub images: u64,
    /// How many blobs.
    pub blobs: u64,
    /// How many layers.
    pub layers: u64,
    /// How many bytes were read and compared.
    pub bytes: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// Looks at everything of the store.
pub(crate) async fn check(
    http: &Arc<Http>,
    store: &Store,
    options: CheckOptions,
) -> Result<Report> {
    let ingest = store.begin();
    ingest.settle();
    let options = Arc::new(options);
    let (inner, asked) = (ingest.clone(), Arc::clone(&options));
    let (mut report, mut bad) = blocking(move || {
        let mut check = Check::new(&inner, &asked);
        check.catalog()?;
        let bad = check.blobs()?;
        Ok((check.report, bad))
    })
    .await?;
    if options.repair {
        fetch_again(http, store, &mut bad).await?;
    }
    let (inner, asked) = (ingest.clone(), Arc::clone(&options));
    report = blocking(move || {
        let mut check = Check::new(&inner, &asked);
        check.report = report;
        check.judge_blobs(&bad)?;
        let documents = check.documents(&bad)?;
        let layers = check.layers(&bad)?;
        check.leftovers()?;
        check.drop_hopeless(&documents.into_iter().chain(layers).collect())?;
        check.report.findings.sort_by(|a, b| {
            let key = |one: &Finding| (one.part, one.name.clone());
            key(a).cmp(&key(b))
        });
        Ok(check.report)
    })
    .await?;
    ingest.end().await;
    Ok(report)
}

struct Check<'a> {
    ingest: &'a Ingest,
    store: &'a Store,
    options: &'a CheckOptions,
    images: Vec<Parts>,
    /// Blobs that came with manifests that were forgotten: whether they are collected now or later,
    /// they were told.
    forgotten: BTreeSet<String>,
    report: Report,
}

impl<'a> Check<'a> {
    fn new(ingest: &'a Ingest, options: &'a CheckOptions) -> Self {
        let store = ingest.store();
        Self {
            ingest,
            store,
            options,
            images: store.parts(),
            forgotten: BTreeSet::new(),
            report: Report::default(),
        }
    }

    fn found(
        &mut self,
        part: Part,
        name: impl Into<String>,
        problem: impl Into<String>,
    ) -> &mut Finding {
        self.report.findings.push(Finding {
            part,
            name: name.into(),
            problem: problem.into(),
            images: Vec::new(),
            outcome: Outcome::Left("`orc system check --repair` mends it".into()),
        });
        self.report.findings.last_mut().expect("it was just pushed")
    }

    /// The list of images: damaged files were dealt with when the store was opened, and are told here.
    fn catalog(&mut self) -> Result<()> {
        self.report.images = self.images.len() as u64;
        if let Some(path) = self.store.damaged_catalog() {
            let repair = self.options.repair;
            if repair {
                orc_base::fs::remove_file(&path)?;
            }
            let problem = "the list of images was damaged when the daemon started, and was made anew from its copy or the blobs";
            let finding = self.found(Part::Catalog, path.display().to_string(), problem);
            finding.outcome = match repair {
                true => Outcome::Dropped("the damaged file was removed".into()),
                false => {
                    Outcome::Left("`orc system check --repair` removes the damaged file".into())
                }
            };
        }
        for problem in self.store.record_problems(self.options.repair)? {
            let repair = self.options.repair;
            let finding = self.found(Part::Catalog, problem.0, problem.1);
            if repair {
                finding.outcome = Outcome::Mended("written anew".into());
            }
        }
        Ok(())
    }

    /// Hashes all blobs that an image needs.
    fn blobs(&mut self) -> Result<Vec<BadBlob>> {
        let mut wanted: BTreeMap<Digest, Vec<(Need, Parts)>> = BTreeMap::new();
        for image in &self.images {
            for need in image.blobs() {
                let entry = wanted.entry(need.blob.clone()).or_default();
                entry.push((need, image.clone()));
            }
        }
        let mut bad = Vec::new();
        for (digest, needs) in wanted {
            self.report.blobs += 1;
            if let Some(problem) = self.blob_problem(&digest) {
                bad.push(bad_blob(digest, problem, needs));
            }
        }
        Ok(bad)
    }

    fn blob_problem(&mut self, digest: &Digest) -> Option<String> {
        let content = self.store.content();
        if self.options.quick {
            return (!content.contains(digest)).then(|| "missing".to_owned());
        }
        match hash(self.store, digest) {
            Ok((found, bytes)) => {
                self.report.bytes += bytes;
                (found != *digest).then(|| format!("its {bytes} bytes have the digest {found}"))
            }
            Err(error) if error.kind() == Kind::NotFound => Some("missing".to_owned()),
            Err(error) => Some(format!("it cannot be read: {error}")),
        }
    }

    /// Says what became of the bad blobs. The bytes of a layer that nobody has any more are dropped:
    /// the image runs without them.
    fn judge_blobs(&mut self, bad: &[BadBlob]) -> Result<()> {
        if self.options.repair {
            self.forget_broken(bad)?;
        }
        let needs = self.images.iter().flat_map(Parts::blobs);
        let needed: BTreeSet<Digest> = needs.map(|need| need.blob).collect();
        for blob in bad {
            let outcome = match (&blob.fetched, self.options.repair) {
                (Ok(()), _) => Outcome::Mended("fetched again from its registry".into()),
                (Err(_), false) => Outcome::Left(
                    "`orc system check --repair` fetches it again where a registry has it".into(),
                ),
                (Err(error), true) if !needed.contains(&blob.digest) => {
                    self.store.content().remove(&blob.digest)?;
                    Outcome::Dropped(format!(
                        "with the manifest that needed it: the image has another one, which is whole ({error})"
                    ))
                }
                (Err(error), true) if blob.part == Role::Blob => {
                    self.store.content().remove(&blob.digest)?;
                    Outcome::Dropped(format!(
                        "the image runs, and cannot be pushed or saved until it is pulled again ({error})"
                    ))
                }
                (Err(error), true) => Outcome::Left(format!("pull the image again ({error})")),
            };
            let finding = self.found(
                part_of(blob.part),
                blob.digest.as_str(),
                blob.problem.clone(),
            );
            finding.images = blob.names.iter().cloned().collect();
            finding.outcome = outcome;
        }
        Ok(())
    }

    /// Forgets the manifests that lost a blob where the same image has one that is whole: its names
    /// stand for that one from now on, and what is lost is no longer needed.
    fn forget_broken(&mut self, bad: &[BadBlob]) -> Result<()> {
        let is_lost = |digest: &Digest| {
            let mut lost = bad.iter().filter(|blob| blob.fetched.is_err());
            lost.any(|blob| blob.digest == *digest)
        };
        for image in &self.images {
            if let Some((broken, whole)) = image.spare(is_lost) {
                self.store.forget(&image.id, &broken, &whole)?;
                let needs = image.blobs().into_iter();
                self.forgotten
                    .extend(needs.map(|need| need.blob.to_string()));
            }
        }
        self.images = self.store.parts();
        Ok(())
    }

    /// Reads configs and manifests and compares them with the list. Returns the images without a
    /// readable one.
    fn documents(&mut self, bad: &[BadBlob]) -> Result<BTreeSet<Digest>> {
        let mut hopeless = BTreeSet::new();
        for image in self.images.clone() {
            let is_bad = |digest: &Digest| {
                bad.iter()
                    .any(|blob| blob.digest == *digest && blob.fetched.is_err())
            };
            if is_bad(&image.id) || is_bad(&image.manifest) {
                hopeless.insert(image.id);
                continue;
            }
            if let Err(error) = self.compare_documents(&image) {
                let finding = self.found(Part::Config, image.id.as_str(), error.to_string());
                finding.images = vec![image.name()];
                hopeless.insert(image.id);
            }
        }
        Ok(hopeless)
    }

    fn compare_documents(&self, image: &Parts) -> Result<()> {
        let content = self.store.content();
        let config = ConfigFile::parse(&content.read(&image.id, MAX_CONFIG_BYTES)?)?;
        let layers: Vec<_> = image.layers.iter().map(|layer| &layer.diff_id).collect();
        if !config.diff_ids.iter().eq(layers) {
            return Err(Error::invalid(
                "its layers are not those of the list of images",
            ));
        }
        let manifest = content.read(&image.manifest, MAX_DOCUMENT_BYTES)?;
        let Document::Manifest(manifest) = Document::parse(&manifest, &[])? else {
            return Err(Error::invalid("its manifest is a list of manifests"));
        };
        let blobs = image.manifests.get(&image.manifest);
        let same =
            blobs.is_some_and(|blobs| manifest.layers.iter().map(|layer| &layer.digest).eq(blobs));
        match same && manifest.config.digest == image.id {
            true => Ok(()),
            false => Err(Error::invalid(
                "its manifest is not that of the list of images",
            )),
        }
    }

    /// Compares the files of all layers with what their blobs unpack to. Returns the images of layers
    /// that stay damaged.
    fn layers(&mut self, bad: &[BadBlob]) -> Result<BTreeSet<Digest>> {
        let mut wanted: BTreeMap<Digest, (BTreeSet<Digest>, Vec<Parts>)> = BTreeMap::new();
        for image in &self.images {
            for (index, layer) in image.layers.iter().enumerate() {
                let entry = wanted.entry(layer.diff_id.clone()).or_default();
                let blobs = image.manifests.values();
                entry
                    .0
                    .extend(blobs.filter_map(|blobs| blobs.get(index).cloned()));
                entry.1.push(image.clone());
            }
        }
        let mut hopeless = BTreeSet::new();
        for (diff_id, (mut blobs, images)) in wanted {
            blobs.retain(|digest| {
                let mut bad = bad.iter();
                bad.all(|blob| blob.digest != *digest || blob.fetched.is_ok())
            });
            self.report.layers += 1;
            let Some((problem, outcome)) = self.layer(&diff_id, &blobs, &images) else {
                continue;
            };
            // Nothing is left to make it from.
            if blobs.is_empty() {
                hopeless.extend(images.iter().map(|image| image.id.clone()));
            }
            let finding = self.found(Part::Layer, diff_id.as_str(), problem);
            finding.images = images.iter().map(Parts::name).collect();
            finding.outcome = outcome;
        }
        Ok(hopeless)
    }

    fn layer(
        &mut self,
        diff_id: &Digest,
        blobs: &BTreeSet<Digest>,
        images: &[Parts],
    ) -> Option<(String, Outcome)> {
        let layers = self.store.layers();
        let shallow = match layers.contains(diff_id) {
            false => Some("its directory is missing".to_owned()),
            true => layers.facts(diff_id).err().map(|error| error.to_string()),
        };
        if self.options.quick && shallow.is_none() {
            return None;
        }
        let hint = "`orc system check --repair` unpacks it again from its blob";
        let Some(blob) = blobs.first() else {
            // Without its blob nobody can say what its files should be.
            let problem = shallow?;
            return Some((problem, Outcome::Left("pull the image again".into())));
        };
        if self.options.quick {
            return Some((shallow?, Outcome::Left(hint.into())));
        }
        let (problem, staged) = match self.unpack_again(diff_id, blob) {
            Err(error) => (format!("it could not be compared: {error}"), None),
            Ok((differences, staged)) => match (shallow, differences.is_empty()) {
                (None, true) => return None,
                (Some(problem), _) => (problem, Some(staged)),
                (None, false) => (differences.join(", "), Some(staged)),
            },
        };
        let outcome = match staged {
            None => Outcome::Left("see what hinders it and check again".into()),
            Some(_) if !self.options.repair => Outcome::Left(hint.into()),
            Some(staged) => match self.busy(images).filter(|_| layers.contains(diff_id)) {
                Some(name) => Outcome::Left(format!(
                    "container {name} runs on it: stop it, then repair again"
                )),
                None => match layers.replace(staged) {
                    Ok(()) => Outcome::Mended("unpacked again from its blob".into()),
                    Err(error) => Outcome::Left(format!("it could not be replaced: {error}")),
                },
            },
        };
        Some((problem, outcome))
    }

    fn unpack_again(
        &mut self,
        diff_id: &Digest,
        blob: &Digest,
    ) -> Result<(Vec<String>, crate::layers::Staged)> {
        let layers = self.store.layers();
        let source = self.store.content().open_blob(blob)?;
        let source = BufReader::with_capacity(CHUNK_BYTES, source);
        let staged = layers.unpack_aside(diff_id, source, &Watch::default(), &mut |_| ())?;
        let mut differences = Vec::new();
        if layers.contains(diff_id) {
            differences = compare::trees(&staged.tree(), &layers.path(diff_id))?;
            let (wanted, found) = (staged.facts()?, layers.facts(diff_id));
            self.report.bytes += wanted.size_bytes;
            if found.is_ok_and(|found| found != wanted) {
                differences.push("facts.json: other facts".into());
            }
        }
        Ok((differences, staged))
    }

    fn busy(&self, images: &[Parts]) -> Option<&str> {
        self.users(images)
            .find(|user| user.runs)
            .map(|user| user.name.as_str())
    }

    fn users(&self, images: &[Parts]) -> impl Iterator<Item = &User> {
        let ids: Vec<_> = images.iter().map(|image| image.id.to_string()).collect();
        let users = self.options.users.iter();
        users.filter(move |user| ids.contains(&user.image))
    }

    /// Removes images that cannot be mended and that no container has.
    fn drop_hopeless(&mut self, hopeless: &BTreeSet<Digest>) -> Result<()> {
        if !self.options.repair {
            return Ok(());
        }
        for image in self.images.clone() {
            if !hopeless.contains(&image.id) {
                continue;
            }
            let user = self.users(std::slice::from_ref(&image)).next();
            let (id, name, names) = (image.id.as_str(), image.name(), image.names());
            let outcome = match user {
                Some(user) => Outcome::Left(format!(
                    "container {} is of image {name}: remove it, then repair again or pull the image",
                    user.name
                )),
                None => {
                    self.store.remove(id, true, &|_| None)?;
                    Outcome::Dropped(format!("image {name} was removed: it could not be mended"))
                }
            };
            let findings = self.report.findings.iter_mut();
            let concerned = findings.filter(|one| {
                let concerned = one.images.iter().any(|name| names.contains(name));
                concerned && matches!(one.outcome, Outcome::Left(_))
            });
            concerned.for_each(|one| one.outcome = outcome.clone());
        }
        Ok(())
    }

    /// What nobody needs, and records of build steps whose files are gone.
    fn leftovers(&mut self) -> Result<()> {
        let repair = self.options.repair;
        let mut lost = Vec::new();
        for entry in self.store.cache_list()? {
            let record = entry.record;
            let (layers, content) = (self.store.layers(), self.store.content());
            let whole = record
                .layer
                .as_ref()
                .is_none_or(|id| layers.facts(id).is_ok())
                && record.blob.as_ref().is_none_or(|blob| {
                    let size = content.size(&blob.digest);
                    size.is_ok_and(|size| size == blob.size)
                });
            if whole || record.kind == CacheKind::Mount {
                continue;
            }
            let problem = format!("the files of step `{}` are gone", record.description);
            let finding = self.found(Part::Cache, record.key.as_str(), problem);
            if repair {
                finding.outcome = Outcome::Dropped("the step runs again in the next build".into());
                lost.push(record.key);
            }
        }
        self.store.cache_remove(&lost)?;
        let strays = self.store.strays(self.ingest, SystemClock.now(), repair)?;
        for (part, name) in strays {
            if self.forgotten.contains(&name) {
                continue;
            }
            let finding = self.found(part_of(part), name, "nothing needs it");
            if repair {
                finding.outcome = Outcome::Dropped("removed".into());
            }
        }
        if repair {
            self.store.sweep_when_over();
        }
        Ok(())
    }
}

/// What is wrong with a blob, and whom it harms.
fn bad_blob(digest: Digest, problem: String, needs: Vec<(Need, Parts)>) -> BadBlob {
    let mut bad = BadBlob {
        digest,
        part: needs[0].0.role,
        problem,
        images: Vec::new(),
        manifests: BTreeSet::new(),
        names: BTreeSet::new(),
        fetched: Err(Error::unavailable("not tried")),
    };
    for (need, image) in needs {
        bad.names.insert(match &need.manifest {
            Some(manifest) => image.name_of(manifest),
            None => image.name(),
        });
        bad.manifests.extend(need.manifest);
        if bad.images.last().is_none_or(|last| last.id != image.id) {
            bad.images.push(image);
        }
    }
    bad
}

fn part_of(role: Role) -> Part {
    match role {
        Role::Config => Part::Config,
        Role::Manifest => Part::Manifest,
        Role::Blob => Part::Blob,
        Role::Layer => Part::Layer,
        Role::Download => Part::Download,
    }
}

/// The digest that the bytes of a blob really have, and how many there are.
fn hash(store: &Store, digest: &Digest) -> Result<(Digest, u64)> {
    let mut file = store.content().open_blob(digest)?;
    let mut hasher = digest.hasher();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut total = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hasher.finish(), total));
        }
        hasher.update(&buffer[..count]);
        total += count as u64;
    }
}
