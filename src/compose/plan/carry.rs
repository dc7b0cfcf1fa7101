//! Anonymous volumes of a container that is replaced go to the one that replaces it.

use std::collections::BTreeMap;

use orc_host::container::{Container, ContainerSpec, Mount, MountKind};

use crate::observe::Observed;

/// Mounts the anonymous volumes of `old` by name in `spec`, where nothing else is mounted: those the
/// service asks for without a name, and those the image asked for.
pub(crate) fn carry_over(old: &Container, spec: &mut ContainerSpec, observed: &Observed) {
    for point in &old.mounts {
        let Some(name) = point
            .name
            .as_ref()
            .filter(|_| point.kind == MountKind::Volume)
        else {
            continue;
        };
        let anonymous = observed
            .volumes
            .get(name)
            .is_some_and(|volume| volume.anonymous);
        if !anonymous {
            continue;
        }
        let wanted = spec
            .mounts
            .iter_mut()
            .find(|mount| mount.target() == point.target);
        match wanted {
            Some(Mount::Volume { name: wanted, .. }) if wanted.is_empty() => {
                wanted.clone_from(name);
            }
            Some(_) => {}
            None if asked_for_by_file(old, &point.target) => {}
            None => spec.mounts.push(Mount::Volume {
                name: name.clone(),
                target: point.target.clone(),
                read_only: point.read_only,
                no_copy: false,
                subpath: None,
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            }),
        }
    }
}

/// The anonymous volumes that a container has from one it replaced and that nobody else mounts: its
/// own go with it, these do not, because it mounts them by name.
pub(crate) fn carried<'o>(container: &'o Container, observed: &'o Observed) -> Vec<&'o str> {
    let used = |name: &str| {
        let mut others = observed
            .containers
            .iter()
            .filter(|other| other.id != container.id);
        others.any(|other| {
            other
                .mounts
                .iter()
                .any(|point| point.name.as_deref() == Some(name))
        })
    };
    let named = container
        .spec
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            Mount::Volume { name, .. } => observed.volumes.get(name),
            _ => None,
        });
    named
        .filter(|volume| volume.anonymous && !used(&volume.name))
        .map(|volume| volume.name.as_str())
        .collect()
}

/// Whether the old file asked for the volume, which the new one no longer does: an anonymous mount
/// with a name came from the image and was carried over before.
fn asked_for_by_file(old: &Container, target: &str) -> bool {
    old.spec.mounts.iter().any(|mount| {
        mount.target() == target && matches!(mount, Mount::Volume { name, .. } if name.is_empty())
    })
}
