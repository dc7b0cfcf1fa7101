//! The part of the store that answers `check`: what there should be, and what there is besides.

use std::collections::HashSet;
use std::path::PathBuf;

use orc_base::{Result, Time, fs};

use crate::catalog::{Parts, Role};
use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::store::{Ingest, RESUME_WITHIN, Store, Sweep, lock};

impl Store {
    /// All images with all that they are made of.
    pub(crate) fn parts(&self) -> Vec<Parts> {
        lock(&self.0.catalog).parts()
    }

    /// Forgets manifests of an image whose blobs are lost; what stood for them stands for `instead`.
    pub(crate) fn forget(&self, id: &Digest, gone: &[Digest], instead: &Digest) -> Result<()> {
        self.change(|catalog| {
            catalog.forget(id, gone, instead);
            Ok(())
        })
    }

    /// What an image is for, when its config can be read.
    pub(crate) fn platform(&self, id: &Digest) -> Option<Platform> {
        let bytes = self.0.content.read(id, MAX_CONFIG_BYTES).ok()?;
        let config = ConfigFile::parse(&bytes).ok()?;
        let platform = Platform::new(&config.os, &config.architecture, &config.variant);
        Some(platform).filter(|platform| !platform.architecture.is_empty())
    }

    /// A catalog that could not be read when the store was opened.
    pub(crate) fn damaged_catalog(&self) -> Option<PathBuf> {
        self.0.ledger.damaged_file()
    }

    /// Compares the files that only the store writes with what it has in memory: each that differs,
    /// and why. Writes them anew when that is to be.
    pub(crate) fn record_problems(&self, repair: bool) -> Result<Vec<(String, String)>> {
        let catalog = lock(&self.0.catalog);
        let mut problems = match catalog.ids().is_empty() {
            true => Vec::new(),
            false => self.0.ledger.problems(&catalog),
        };
        if repair && !problems.is_empty() {
            self.write(&catalog)?;
        }
        drop(catalog);
        problems.extend(self.cache_problem(repair)?);
        Ok(problems)
    }

    /// What nobody needs, when nobody but `_ingest` puts an image together; otherwise only downloads
    /// that nobody goes on with. With `remove` the downloads are removed; the rest is for the sweep.
    pub(crate) fn strays(
        &self,
        _ingest: &Ingest,
        now: Time,
        remove: bool,
    ) -> Result<Vec<(Role, String)>> {
        let ingests = lock(&self.0.ingests);
        let (stale, nameless) = self.0.content.strays(now, RESUME_WITHIN)?;
        let alone = ingests.running <= 1;
        let downloads: Vec<_> = match alone {
            true => stale.into_iter().chain(nameless).collect(),
            false => stale,
        };
        let mut strays = Vec::new();
        for path in downloads {
            if remove {
                fs::remove_file(&path)?;
            }
            strays.push((Role::Download, path.display().to_string()));
        }
        if !alone {
            return Ok(strays);
        }
        let (blobs, layers) = self.roots();
        let blob = |digest: Digest| (Role::Blob, digest.to_string());
        let found = self.0.content.list()?.into_iter();
        strays.extend(found.filter(|one| !blobs.contains(one)).map(blob));
        let layers: HashSet<_> = layers.iter().map(Digest::hex).collect();
        let found = self.0.layers.list()?.into_iter();
        let layer = |hex: String| (Role::Layer, hex);
        strays.extend(
            found
                .filter(|hex| !layers.contains(hex.as_str()))
                .map(layer),
        );
        Ok(strays)
    }

    /// Collects what nobody needs when the last ingest ends.
    pub(crate) fn sweep_when_over(&self) {
        self.note(Sweep::KeepPartial);
    }
}
