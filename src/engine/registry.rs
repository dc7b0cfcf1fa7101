//! All containers by id and name. Names are unique, also while a container is being made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orc_base::{Error, Id, Name, Result};

use crate::cell::Cell;
use crate::names;

/// The containers of one engine.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    names: BTreeMap<Name, Id>,
    cells: BTreeMap<Id, Arc<Cell>>,
}

/// A name that is kept for a container being made; dropping it frees the name.
pub(crate) struct Reservation<'a> {
    registry: &'a Registry,
    name: Name,
    kept: bool,
}

impl Registry {
    /// Keeps `name`, or a random one, for the container `id`.
    pub(crate) fn reserve(&self, name: Option<Name>, id: &Id) -> Result<Reservation<'_>> {
        let mut entries = self.lock();
        let name = match name {
            Some(name) => name,
            None => names::random(|name| {
                name.parse()
                    .is_ok_and(|name: Name| entries.names.contains_key(&name))
            }),
        };
        entries.take(&name, id)?;
        drop(entries);
        Ok(Reservation {
            registry: self,
            name,
            kept: false,
        })
    }

    /// Adds a container that has its records; its name was reserved or is on disk.
    pub(crate) fn insert(&self, cell: Arc<Cell>) {
        let mut entries = self.lock();
        entries
            .names
            .insert(cell.record().name.clone(), cell.id().clone());
        entries.cells.insert(cell.id().clone(), cell);
    }

    /// Forgets a container and frees its name.
    pub(crate) fn remove(&self, id: &Id) {
        let mut entries = self.lock();
        entries.cells.remove(id);
        entries.names.retain(|_, other| other != id);
    }

    /// Keeps a second name for a container that is being renamed.
    pub(crate) fn reserve_new(&self, name: &Name, id: &Id) -> Result<()> {
        self.lock().take(name, id)
    }

    /// Frees one of the names of a container that was renamed, or could not be.
    pub(crate) fn release(&self, name: &Name) {
        self.lock().names.remove(name);
    }

    /// The container with this id.
    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Cell>> {
        self.lock().cells.get(id).cloned()
    }

    /// What people call a container: full id, name, or the beginning of the id.
    pub(crate) fn find(&self, typed: &str) -> Result<Arc<Cell>> {
        let entries = self.lock();
        let whole = entries
            .names
            .iter()
            .filter(|(_, id)| entries.cells.contains_key(*id))
            .map(|(name, id)| (id, name));
        let id = names::resolve(typed, whole)?;
        Ok(entries.cells[id].clone())
    }

    /// All containers.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        self.lock().cells.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn take(&mut self, name: &Name, id: &Id) -> Result<()> {
        if let Some(owner) = self.names.get(name) {
            return Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        self.names.insert(name.clone(), id.clone());
        Ok(())
    }
}

impl Reservation<'_> {
    /// The name.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The container exists now and has the name.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.registry.release(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    #[test]
    fn a_name_is_free_again_when_its_container_was_not_made() {
        let registry = Registry::default();
        let web: Name = "web".parse().unwrap();
        let id = Id::random();
        let first = registry.reserve(Some(web.clone()), &id).unwrap();
        let error = registry
            .reserve(Some(web.clone()), &Id::random())
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains(&format!(
            "The container name \"/web\" is already in use by container \"{id}\"."
        )));
        assert!(registry.find("web").is_err(), "it does not exist yet");
        drop(first);
        registry.reserve(Some(web.clone()), &id).unwrap().keep();
        assert!(registry.reserve(Some(web), &id).is_err());
    }
}
