//! The steps are done: config, history and manifest of the image, and its names.
//!
//! Lines of the history are as old as what made them, also when an earlier build did, so the same
//! build gives the same image again. With `SOURCE_DATE_EPOCH` all new lines are of that time.

use std::collections::HashMap;
use std::sync::Arc;

use orc_base::clock::SystemClock;
use orc_base::{Clock, Error, Result, Time};

use crate::archive::pipe::blocking;
use crate::build::executor::Outcome;
use crate::build::files::Files;
use crate::build::graph::Plan;
use crate::build::layering::Made;
use crate::build::remote_cache::{LABEL, Travelling, label};
use crate::build::shared::Shared;
use crate::build::step_copy::Tree;
use crate::cache::{CacheRecord, CachedBlob};
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::image::Image;
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG};
use crate::reference::Reference;
use crate::store::Commit;

/// Makes the image visible under all names. With `inline` it carries the records of its own steps.
pub(crate) async fn finish(
    shared: &Arc<Shared>,
    plan: &Plan,
    outcomes: &[Outcome],
    tags: &[Reference],
    inline: bool,
) -> Result<Image> {
    let files = result(plan, outcomes)?;
    let mut layers = Vec::new();
    for diff_id in &files.layers {
        layers.push(blob(shared, &files, diff_id).await?);
    }
    remember_blobs(shared, plan, outcomes, &files, &layers)?;
    let mut config = describe(shared, plan, outcomes, &files);
    if inline {
        let text = label(&records(plan, outcomes, false))?;
        config.config.labels.insert(LABEL.into(), text);
    }
    let (work, tags) = (shared.clone(), tags.to_vec());
    blocking(move || keep(&work, &config, layers, &tags)).await
}

/// The file system of the image.
fn result(plan: &Plan, outcomes: &[Outcome]) -> Result<Files> {
    let Some(result) = plan.result else {
        return Ok(Files::default());
    };
    match outcomes.get(result).map(Outcome::tree) {
        Some(Tree::Files(files)) => Ok(files),
        _ => Err(Error::invalid("a context is not an image")),
    }
}

/// The blob of a layer of `files`, packed now if nobody has.
pub(crate) async fn blob(
    shared: &Arc<Shared>,
    files: &Files,
    diff_id: &Digest,
) -> Result<Descriptor> {
    if !shared.blobs.has(diff_id) {
        let layers = shared.layers();
        // Only a layer that describes the root is packed with a description of it.
        let at = files.layers.iter().position(|id| id == diff_id);
        let root = match layers.facts(diff_id)?.has_root {
            true => Some(layers.root_look(&files.layers[..at.unwrap_or(0)])?),
            false => None,
        };
        shared
            .blobs
            .begin(&shared.ingest, diff_id, shared.packing, root);
    }
    let blob = shared.blobs.take(diff_id).await?;
    blob.ok_or_else(|| Error::internal("a layer that nobody packs"))
}

/// Records of steps that ran say from now on where their blobs are.
fn remember_blobs(
    shared: &Shared,
    plan: &Plan,
    outcomes: &[Outcome],
    files: &Files,
    blobs: &[Descriptor],
) -> Result<()> {
    for (step, outcome) in plan.steps.iter().zip(outcomes) {
        let Outcome::Made(made) = outcome else {
            continue;
        };
        let Some(layer) = made.layer.as_ref().filter(|_| !made.cached) else {
            continue;
        };
        let Some(at) = files.layers.iter().position(|id| id == layer) else {
            continue;
        };
        for key in &made.keys {
            let mut record = CacheRecord::new(key.clone(), step.text.clone(), made.created);
            record.layer = Some(layer.clone());
            record.blob = Some(CachedBlob {
                digest: blobs[at].digest.clone(),
                size: blobs[at].size,
                media_type: blobs[at].media_type.clone(),
            });
            shared.store().cache_put(&shared.ingest, record)?;
        }
    }
    Ok(())
}

fn describe(shared: &Shared, plan: &Plan, outcomes: &[Outcome], files: &Files) -> ConfigFile {
    let mut config = plan.config.clone();
    config.diff_ids.clone_from(&files.layers);
    let clamp = shared.packing.clamp;
    for (step, outcome) in plan.steps.iter().zip(outcomes) {
        let (Some(line), Outcome::Made(made)) = (step.history, outcome) else {
            continue;
        };
        if let Some(line) = config.history.get_mut(line) {
            line.empty_layer = made.layer.is_none();
            line.created = Some(clamp.unwrap_or(made.created));
        }
    }
    // What only changed the config is as old as what stands before it.
    let mut last = clamp.or(config.created);
    for line in &mut config.history {
        line.created = line.created.or(last);
        last = line.created.max(last);
    }
    let now = || clamp.unwrap_or_else(|| SystemClock.now());
    let newest: Option<Time> = config.history.iter().filter_map(|line| line.created).max();
    config.created = Some(clamp.or(newest).or(config.created).unwrap_or_else(now));
    config
}

/// Writes config and manifest, unless the image is here already, and gives it its names. Blocks.
fn keep(
    shared: &Shared,
    config: &ConfigFile,
    layers: Vec<Descriptor>,
    tags: &[Reference],
) -> Result<Image> {
    let store = shared.store();
    let bytes = config.render()?;
    let id = Digest::of(&bytes);
    let blobs: Vec<Digest> = layers.iter().map(|layer| layer.digest.clone()).collect();
    let descriptor = Descriptor {
        media_type: OCI_CONFIG.into(),
        digest: id.clone(),
        size: bytes.len() as u64,
        platform: None,
    };
    let manifest = Manifest::new(descriptor, layers).to_bytes();
    let digest = Digest::of(&manifest);
    if !store.has_manifest(&digest) {
        store.content().write_whole(&id, &bytes)?;
        store.content().write_whole(&digest, &manifest)?;
        let commit = Commit {
            reference: tags.first(),
            target: None,
            manifest: &digest,
            config: &id,
            blobs: &blobs,
        };
        store.commit(&shared.ingest, &commit)?;
    }
    for tag in tags {
        if store.manifest_of(tag).as_ref() != Some(&digest) {
            store.tag(id.as_str(), tag)?;
        }
    }
    store.find(id.as_str())
}

/// In which file system each layer was made.
pub(crate) fn owners(outcomes: &[Outcome]) -> HashMap<Digest, Files> {
    let made = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Made(made) => Some((made.layer.clone()?, made.files.clone())),
        Outcome::Source(_) => None,
    });
    made.collect()
}

/// What travels to other machines: of all steps, or of those that the image is made of.
pub(crate) fn records(plan: &Plan, outcomes: &[Outcome], all: bool) -> Vec<Travelling> {
    let mut records = Vec::new();
    for (step, outcome) in plan.steps.iter().zip(outcomes) {
        let Outcome::Made(made) = outcome else {
            continue;
        };
        if all || step.history.is_some() {
            records.extend(
                made.keys
                    .iter()
                    .map(|key| travelling(key, &step.text, made)),
            );
        }
    }
    records
}

fn travelling(key: &Digest, text: &str, made: &Made) -> Travelling {
    Travelling {
        key: key.clone(),
        layer: made.layer.clone(),
        text: text.to_owned(),
        created: made.created.to_string(),
    }
}
