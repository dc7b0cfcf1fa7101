//! A disk that forgets: what was not synced when the power goes is there in part, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orc_base::{Error, Result};

use crate::disk::Disk;
use crate::sim::runtime::Chance;

/// Files in memory. Copies are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    /// The machine it was in has died: who still has it writes to nothing.
    dead: bool,
    /// The next sync fails.
    failing: bool,
    /// How long a sync takes.
    delay: Duration,
}

#[derive(Debug, Clone, Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Whether the directory has it after a power cut.
    named: bool,
    pending: Vec<(usize, Vec<u8>)>,
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        match state.dead {
            true => Err(Error::internal("the machine is dead")),
            false => Ok(state),
        }
    }

    /// What is left after a power cut.
    pub(crate) fn crash(&self) -> Self {
        let mut state = self.state();
        state.dead = true;
        let files = state
            .files
            .iter()
            .filter_map(|(name, file)| Some((name.clone(), file.crash()?)));
        Self(Arc::new(Mutex::new(State {
            files: files.collect(),
            ..State::default()
        })))
    }

    /// Lets the next sync fail.
    pub(crate) fn fail(&self) {
        self.state().failing = true;
    }

    /// Lets syncs take as long as this.
    pub(crate) fn slow(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// How long the next sync takes.
    pub(crate) fn delay(&self) -> Duration {
        let delay = self.state().delay;
        delay / 2
            + Duration::from_micros(100 + Chance::below(400))
            + Duration::from_micros(Chance::below(delay.as_micros() as u64))
    }
}

impl File {
    /// Some of what was written since the last sync, of the last of it perhaps a part.
    fn crash(&self) -> Option<Self> {
        if !self.named && Chance::percent(50) {
            return None;
        }
        let mut left = self.durable.clone();
        let count = Chance::below(self.pending.len() as u64 + 1) as usize;
        for (at, (offset, bytes)) in self.pending.iter().take(count).enumerate() {
            match at + 1 == count {
                true => put_torn(&mut left, *offset, bytes),
                false => put(&mut left, *offset, bytes),
            }
        }
        Some(Self {
            now: left.clone(),
            durable: left,
            named: true,
            pending: Vec::new(),
        })
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// Only the beginning, or everything but a sector.
fn put_torn(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let at = Chance::below(written as u64 + 1) as usize;
    if Chance::percent(50) {
        return put(file, offset, &bytes[..at]);
    }
    let before = file.clone();
    put(file, offset, bytes);
    let sector = (offset + at) / 512 * 512;
    let from = sector.max(offset);
    let to = (sector + 512).min(offset + bytes.len());
    for (place, byte) in file.iter_mut().enumerate().take(to).skip(from) {
        *byte = before.get(place).copied().unwrap_or(0);
    }
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("no file {name}"))
}

impl Disk for SimDisk {
    fn list(&self) -> Result<Vec<String>> {
        Ok(self.alive()?.files.keys().cloned().collect())
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let state = self.alive()?;
        let file = state.files.get(name).ok_or_else(|| missing(name))?;
        let from = (offset as usize).min(file.now.len());
        let to = (from + length).min(file.now.len());
        Ok(file.now[from..to].to_vec())
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.alive()?;
        let file = state.files.entry(name.to_owned()).or_default();
        put(&mut file.now, offset as usize, bytes);
        file.pending.push((offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self, name: &str) -> Result<()> {
        let mut state = self.alive()?;
        if std::mem::take(&mut state.failing) {
            return Err(Error::internal("input/output error"));
        }
        let file = state.files.get_mut(name).ok_or_else(|| missing(name))?;
        for (offset, bytes) in std::mem::take(&mut file.pending) {
            put(&mut file.durable, offset, &bytes);
        }
        file.named = true;
        Ok(())
    }

    fn cut(&self, name: &str, length: u64) -> Result<()> {
        let mut state = self.alive()?;
        let file = state.files.get_mut(name).ok_or_else(|| missing(name))?;
        file.now.truncate(length as usize);
        file.durable = file.now.clone();
        file.pending.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.alive()?;
        let file = state.files.remove(from).ok_or_else(|| missing(from))?;
        state.files.insert(
            to.to_owned(),
            File {
                named: true,
                ..file
            },
        );
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.alive()?.files.remove(name);
        Ok(())
    }

    fn place(&self) -> String {
        "the simulated disk".to_owned()
    }
}
