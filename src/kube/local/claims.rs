//! Giving and freeing what there is once, in the transaction that writes the object (decision 8).
//!
//! A claim is a key that may not exist before; so two objects never hold the same, whoever writes them,
//! and what an object held is free the moment it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bytes::Bytes;
use orc_base::id::random_bytes;
use orc_store::{Change, Guard, Key, Range, Read, Store};
use serde_json::Value;

use crate::claim::{Claim, Pool};
use crate::field::{Causes, Path};
use crate::kind::ObjectKind;
use crate::local::keys;
use crate::local::settings::Settings;
use crate::object::Object;
use crate::status::{Reason, Result, Status};

/// Fills in what an object wants and does not have.
pub(crate) async fn give(
    store: &dyn Store,
    settings: &Settings,
    kind: &ObjectKind,
    object: &mut Object,
) -> Result<()> {
    let mut given: BTreeMap<Pool, BTreeSet<u64>> = BTreeMap::new();
    for want in (kind.wants)(object) {
        let taken = match given.entry(want.pool) {
            std::collections::btree_map::Entry::Occupied(taken) => taken.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(taken(store, want.pool).await?)
            }
        };
        let (first, last) = bounds(settings, want.pool);
        let Some(number) = pick(first, last, taken) else {
            let why = match want.pool {
                Pool::Addresses => "failed to allocate a serviceIP: range is full",
                Pool::NodePorts => "failed to allocate a nodePort: range is full",
            };
            return Err(Status::new(Reason::InternalError, why).about(kind, object.name()));
        };
        taken.insert(number);
        for pointer in &want.pointers {
            put(object, pointer, shown(want.pool, number));
        }
    }
    Ok(())
}

/// What a write must guard and change for its claims. 422 when somebody else holds one.
pub(crate) async fn change(
    store: &dyn Store,
    settings: &Settings,
    kind: &ObjectKind,
    old: Option<&Object>,
    new: Option<&Object>,
) -> Result<(Vec<Guard>, Vec<Change>)> {
    let held = old.map(kind.claims).unwrap_or_default();
    let wanted = new.map(kind.claims).unwrap_or_default();
    let (mut guards, mut changes) = (Vec::new(), Vec::new());
    let mut causes = Causes::default();
    let owner = new
        .or(old)
        .map(|object| format!("{}/{}", object.namespace(), object.name()));
    let mut seen = BTreeSet::new();
    for claim in &wanted {
        let same = |other: &Claim| other.pool == claim.pool && other.value == claim.value;
        if held.iter().any(same) || !seen.insert((claim.pool, claim.value.clone())) {
            continue;
        }
        let key = keys::claim(claim.pool, &claim.value)?;
        match refusal(store, settings, claim, &key).await? {
            Some(why) => causes.invalid(&Path::new(&claim.field), claim_value(claim), &why),
            None => {
                guards.push(Guard::Absent(key.clone()));
                let owner = owner.clone().unwrap_or_default();
                changes.push(Change::Put(key, Bytes::from(owner)));
            }
        }
    }
    if !causes.is_empty() {
        let name = new.map(Object::name).unwrap_or_default();
        return Err(Status::invalid(kind, name, causes));
    }
    let mut freed = BTreeSet::new();
    for claim in held {
        let same = |other: &Claim| other.pool == claim.pool && other.value == claim.value;
        let key = keys::claim(claim.pool, &claim.value)?;
        if !wanted.iter().any(same) && freed.insert(key.clone()) {
            changes.push(Change::Remove(key));
        }
    }
    Ok((guards, changes))
}

async fn refusal(
    store: &dyn Store,
    settings: &Settings,
    claim: &Claim,
    key: &Key,
) -> Result<Option<String>> {
    let (first, last) = bounds(settings, claim.pool);
    let number = number(claim.pool, &claim.value);
    if number.is_none_or(|number| !(first..=last).contains(&number)) {
        return Ok(Some(match claim.pool {
            Pool::Addresses => format!(
                "failed to allocate IP {}: the provided IP ({}) is not in the valid range. The range of valid IPs is {}/{}",
                claim.value, claim.value, settings.service_network.0, settings.service_network.1
            ),
            Pool::NodePorts => format!(
                "provided port is not in the valid range. The range of valid ports is {first}-{last}"
            ),
        }));
    }
    let taken = store.get(key, Read::Latest).await?.entry.is_some();
    Ok(taken.then(|| match claim.pool {
        Pool::Addresses => format!(
            "failed to allocate IP {}: provided IP is already allocated",
            claim.value
        ),
        Pool::NodePorts => "provided port is already allocated".to_owned(),
    }))
}

fn claim_value(claim: &Claim) -> Value {
    match claim.pool {
        Pool::Addresses => vec![claim.value.clone()].into(),
        Pool::NodePorts => claim.value.parse::<u64>().unwrap_or_default().into(),
    }
}

/// The first and last number of a pool: for addresses without the network's own and the last.
fn bounds(settings: &Settings, pool: Pool) -> (u64, u64) {
    match pool {
        Pool::NodePorts => (settings.node_ports.0.into(), settings.node_ports.1.into()),
        Pool::Addresses => {
            let (network, bits) = settings.service_network;
            let size = 1_u64 << (32 - bits.min(30));
            let first = u64::from(network.to_bits()) & !(size - 1);
            (first + 1, first + size - 2)
        }
    }
}

async fn taken(store: &dyn Store, pool: Pool) -> Result<BTreeSet<u64>> {
    let prefix = keys::pool(pool);
    let range = Range {
        prefix: prefix.clone(),
        ..Range::default()
    };
    let listing = store.list(&range, Read::Latest).await?;
    let value = |key: &Key| number(pool, key.as_str().strip_prefix(&prefix)?);
    Ok(listing
        .entries
        .iter()
        .filter_map(|entry| value(&entry.key))
        .collect())
}

fn number(pool: Pool, value: &str) -> Option<u64> {
    match pool {
        Pool::Addresses => Some(value.parse::<Ipv4Addr>().ok()?.to_bits().into()),
        Pool::NodePorts => Some(value.parse::<u16>().ok()?.into()),
    }
}

fn shown(pool: Pool, number: u64) -> Value {
    match pool {
        Pool::Addresses => {
            let bits = u32::try_from(number).unwrap_or_default();
            Ipv4Addr::from_bits(bits).to_string().into()
        }
        Pool::NodePorts => number.into(),
    }
}

/// A free number, beginning anywhere, so that what was just freed is not at once somebody else's.
fn pick(first: u64, last: u64, taken: &BTreeSet<u64>) -> Option<u64> {
    let size = last.checked_sub(first)? + 1;
    let start = u64::from_le_bytes(random_bytes::<8>()) % size;
    (0..size)
        .map(|step| first + (start + step) % size)
        .find(|number| !taken.contains(number))
}

fn put(object: &mut Object, pointer: &str, value: Value) {
    let path: Vec<&str> = pointer.split('/').skip(1).collect();
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut place = Value::Object(std::mem::take(object.as_map_mut()));
    let parent = parents
        .iter()
        .try_fold(&mut place, |value, name| match value {
            Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
            value => value.get_mut(*name),
        });
    if let Some(Value::Object(map)) = parent {
        // `[]` at the end of a name asks for a list of one.
        match last.strip_suffix("[]") {
            Some(name) => map.insert(name.to_owned(), vec![value].into()),
            None => map.insert((*last).to_owned(), value),
        };
    }
    if let Value::Object(map) = place {
        *object.as_map_mut() = map;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_what_is_free() {
        let taken = [1, 2, 4].into();
        assert_eq!(pick(1, 4, &taken), Some(3));
        assert_eq!(pick(1, 2, &taken), None);
        let (first, last) = bounds(&Settings::default(), Pool::Addresses);
        assert_eq!(shown(Pool::Addresses, first), "10.96.0.1");
        assert_eq!(shown(Pool::Addresses, last), "10.96.255.254");
    }
}
