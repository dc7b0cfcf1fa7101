//! Owners that own each other: nothing would ever be collected, so an update may not make them.
//!
//! Only an update can: what a new object's owners are was there before it.

use orc_store::{Read, Store};

use crate::field::{Causes, Path};
use crate::kind::ObjectKind;
use crate::kinds;
use crate::local::keys;
use crate::object::{Object, Owner};
use crate::status::{Result, Status};

/// Owners that are looked at, at most.
const MAX_OWNERS: usize = 64;

/// 422 when an object would belong to itself by way of others.
pub(crate) async fn check(
    store: &dyn Store,
    kind: &ObjectKind,
    new: &Object,
    old: &Object,
) -> Result<()> {
    let path = ["metadata", "ownerReferences"];
    if new.at(&path) == old.at(&path) {
        return Ok(());
    }
    let mut waiting = new.owners();
    for _ in 0..MAX_OWNERS {
        let Some(owner) = waiting.pop() else {
            return Ok(());
        };
        if owner.uid == new.uid() {
            let mut causes = Causes::default();
            let shown = new.at(&path).cloned().unwrap_or_default();
            let why = "the object would belong to itself by way of its owners";
            causes.invalid(&Path::new("metadata").child("ownerReferences"), shown, why);
            return Err(Status::invalid(kind, new.name(), causes));
        }
        waiting.extend(owners_of(store, &owner, new.namespace()).await?);
    }
    Ok(())
}

async fn owners_of(store: &dyn Store, owner: &Owner, namespace: &str) -> Result<Vec<Owner>> {
    let Some(kind) = kinds::by_kind(&owner.api_version, &owner.kind) else {
        return Ok(Vec::new());
    };
    let Ok(key) = keys::key(kind, namespace, &owner.name) else {
        return Ok(Vec::new());
    };
    let Some(entry) = store.get(&key, Read::Latest).await?.entry else {
        return Ok(Vec::new());
    };
    let object = keys::decode(kind, &entry)?;
    Ok(match object.uid() == owner.uid {
        true => object.owners(),
        false => Vec::new(),
    })
}
