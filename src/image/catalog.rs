//! Which images there are, what they are called and what they are made of.
//!
//! Pure: every change is made on a value that `store` writes to disk as a whole. A record names all
//! its blobs and layers, so that what nobody needs is found without reading any of them, and an image
//! can be removed whose config is damaged. Nothing is counted: what is used is what a record names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use orc_base::{Error, Kind, Result};

use crate::digest::Digest;
use crate::image::{Facts, Removal};
use crate::reference::Reference;

const VERSION: u32 = 1;
/// The fewest digits that may stand for an image; Docker takes any.
const MIN_SHORT: usize = 1;

/// All images of one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    version: u32,
    images: BTreeMap<Digest, Record>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The manifest that came last.
    manifest: Digest,
    /// The manifests that have this config, each with the blobs of its layers.
    manifests: BTreeMap<Digest, Vec<Digest>>,
    /// Lowest first, with the unpacked size of each.
    layers: Vec<Layer>,
    /// The names, each with the manifest it was given for.
    references: BTreeMap<Reference, Digest>,
    repo_digests: BTreeSet<Reference>,
}

/// A layer of an image, unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) diff_id: Digest,
    pub(crate) size_bytes: u64,
}

/// An image to add.
#[derive(Debug, Clone)]
pub(crate) struct Addition {
    pub(crate) id: Digest,
    pub(crate) manifest: Digest,
    pub(crate) blobs: Vec<Digest>,
    pub(crate) layers: Vec<Layer>,
}

/// All that an image is made of.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) id: Digest,
    /// The manifest that came last.
    pub(crate) manifest: Digest,
    /// Each with the blobs of its layers.
    pub(crate) manifests: BTreeMap<Digest, Vec<Digest>>,
    pub(crate) layers: Vec<Layer>,
    /// The names, each with the manifest it was given for.
    pub(crate) references: BTreeMap<Reference, Digest>,
    pub(crate) repo_digests: Vec<Reference>,
}

/// A blob of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) blob: Digest,
    pub(crate) role: Role,
    /// The manifest that needs it; none for the config, which all of them need.
    pub(crate) manifest: Option<Digest>,
}

/// What a file is to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Config,
    Manifest,
    /// The compressed bytes of a layer.
    Blob,
    /// The files of a layer.
    Layer,
    Download,
}

impl Parts {
    /// All its blobs; one may be there twice.
    pub(crate) fn blobs(&self) -> Vec<Need> {
        let mut needs = vec![Need {
            blob: self.id.clone(),
            role: Role::Config,
            manifest: None,
        }];
        for (manifest, layers) in &self.manifests {
            let need = |blob: &Digest, role| Need {
                blob: blob.clone(),
                role,
                manifest: Some(manifest.clone()),
            };
            needs.push(need(manifest, Role::Manifest));
            needs.extend(layers.iter().map(|blob| need(blob, Role::Blob)));
        }
        needs
    }

    /// A name for people.
    pub(crate) fn name(&self) -> String {
        self.names().swap_remove(0)
    }

    /// All names for people, the best one first.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.references.keys().chain(&self.repo_digests);
        let id = self.id.short().to_owned();
        names.map(Reference::familiar).chain([id]).collect()
    }

    /// A name for people that stands for this manifest; that of the image when none does.
    pub(crate) fn name_of(&self, manifest: &Digest) -> String {
        let mut tags = self.references.iter().filter(|(_, of)| *of == manifest);
        let mut pulled = self.repo_digests.iter();
        let name = tags
            .next()
            .map(|(tag, _)| tag)
            .or_else(|| pulled.find(|name| name.digest() == Some(manifest)));
        name.map_or_else(|| self.id.short().to_owned(), Reference::familiar)
    }

    /// The manifests that miss a blob, and one that misses none, when there are both.
    pub(crate) fn spare(&self, is_bad: impl Fn(&Digest) -> bool) -> Option<(Vec<Digest>, Digest)> {
        let whole = |(manifest, layers): &(&Digest, &Vec<Digest>)| {
            !is_bad(manifest) && !layers.iter().any(&is_bad)
        };
        let (whole, broken): (Vec<_>, Vec<_>) = self.manifests.iter().partition(whole);
        let last = whole.iter().find(|(digest, _)| **digest == self.manifest);
        let (instead, _) = last.or(whole.first())?;
        let broken: Vec<_> = broken
            .into_iter()
            .map(|(digest, _)| digest.clone())
            .collect();
        (!broken.is_empty() && !is_bad(&self.id)).then(|| (broken, (*instead).clone()))
    }
}

/// How a name led to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// By a tag.
    Tag(Digest, Reference),
    /// By the digest it was pulled with.
    RepoDigest(Digest, Reference),
    /// By its id or the start of it.
    Id(Digest),
}

impl Found {
    pub(crate) fn id(&self) -> &Digest {
        match self {
            Self::Tag(id, _) | Self::RepoDigest(id, _) | Self::Id(id) => id,
        }
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            version: VERSION,
            images: BTreeMap::new(),
        }
    }
}

impl Catalog {
    /// Refuses what a newer orc wrote.
    pub(crate) fn check(&self) -> Result<()> {
        match self.version {
            VERSION => Ok(()),
            newer => Err(Error::unsupported(format!(
                "the images were written in format {newer}, this orc knows {VERSION}: use a newer orc"
            ))),
        }
    }

    pub(crate) fn ids(&self) -> Vec<Digest> {
        self.images.keys().cloned().collect()
    }

    /// All images with all that they are made of.
    pub(crate) fn parts(&self) -> Vec<Parts> {
        let parts = |(id, record): (&Digest, &Record)| Parts {
            id: id.clone(),
            manifest: record.manifest.clone(),
            manifests: record.manifests.clone(),
            layers: record.layers.clone(),
            references: record.references.clone(),
            repo_digests: record.repo_digests.iter().cloned().collect(),
        };
        self.images.iter().map(parts).collect()
    }

    pub(crate) fn facts(&self, id: &Digest) -> Result<Facts> {
        let record = self.record(id)?;
        Ok(Facts {
            id: id.clone(),
            manifest: record.manifest.clone(),
            references: record.references.keys().cloned().collect(),
            repo_digests: record.repo_digests.iter().cloned().collect(),
            layer_sizes: record.layers.iter().map(|layer| layer.size_bytes).collect(),
        })
    }

    /// The diff ids of an image, lowest first.
    pub(crate) fn layers(&self, id: &Digest) -> Result<Vec<Digest>> {
        let layers = &self.record(id)?.layers;
        Ok(layers.iter().map(|layer| layer.diff_id.clone()).collect())
    }

    /// The manifest that a name stands for.
    pub(crate) fn manifest(&self, found: &Found) -> Result<Digest> {
        let record = self.record(found.id())?;
        let named = match found {
            Found::Tag(_, reference) => record.references.get(reference),
            Found::RepoDigest(_, reference) => reference
                .digest()
                .filter(|digest| record.manifests.contains_key(*digest)),
            Found::Id(_) => None,
        };
        Ok(named.unwrap_or(&record.manifest).clone())
    }

    /// The image of a tag.
    pub(crate) fn tagged(&self, reference: &Reference) -> Option<&Digest> {
        let mut images = self.images.iter();
        images
            .find(|(_, record)| record.references.contains_key(reference))
            .map(|(id, _)| id)
    }

    /// The manifest that a tag stands for.
    pub(crate) fn manifest_of(&self, tag: &Reference) -> Option<&Digest> {
        let mut images = self.images.values();
        images.find_map(|record| record.references.get(tag))
    }

    /// All tags of all images.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Reference> {
        self.images
            .values()
            .flat_map(|record| record.references.keys())
    }

    /// Whether this is the manifest of some image.
    pub(crate) fn has_manifest(&self, digest: &Digest) -> bool {
        let mut images = self.images.values();
        images.any(|record| record.manifests.contains_key(digest))
    }

    /// Whether some image has this blob as its config, its manifest or a layer.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        let in_record = |record: &Record| {
            let mut manifests = record.manifests.iter();
            manifests.any(|(manifest, layers)| manifest == digest || layers.contains(digest))
        };
        self.images.contains_key(digest) || self.images.values().any(in_record)
    }

    /// The blobs and the layers that some image needs.
    pub(crate) fn used(&self) -> (HashSet<Digest>, HashSet<Digest>) {
        let (mut blobs, mut layers) = (HashSet::new(), HashSet::new());
        for (id, record) in &self.images {
            blobs.insert(id.clone());
            blobs.extend(record.manifests.keys().cloned());
            blobs.extend(record.manifests.values().flatten().cloned());
            layers.extend(record.layers.iter().map(|layer| layer.diff_id.clone()));
        }
        (blobs, layers)
    }

    /// Adds an image without a name, or one more manifest of an image that is here.
    pub(crate) fn add(&mut self, addition: Addition) {
        let record = self.images.entry(addition.id).or_insert_with(|| Record {
            manifest: addition.manifest.clone(),
            manifests: BTreeMap::new(),
            layers: addition.layers,
            references: BTreeMap::new(),
            repo_digests: BTreeSet::new(),
        });
        record.manifest = addition.manifest.clone();
        record.manifests.insert(addition.manifest, addition.blobs);
    }

    /// Forgets manifests of an image; what stood for them stands for `instead` from now on.
    pub(crate) fn forget(&mut self, id: &Digest, gone: &[Digest], instead: &Digest) {
        let Some(record) = self.images.get_mut(id) else {
            return;
        };
        record.manifests.retain(|one, _| !gone.contains(one));
        let stand = record.references.values_mut().chain([&mut record.manifest]);
        for digest in stand.filter(|digest| gone.contains(digest)) {
            *digest = instead.clone();
        }
    }

    /// Gives an image a tag, taking it from whichever image had it: that one's id is returned.
    pub(crate) fn tag(
        &mut self,
        id: &Digest,
        reference: &Reference,
        manifest: &Digest,
    ) -> Result<Option<Digest>> {
        if reference.tag().is_none() || reference.digest().is_some() {
            return Err(Error::invalid(format!(
                "refusing to create a tag with a digest reference: {}",
                reference.familiar()
            )));
        }
        self.record(id)?;
        let previous = self.tagged(reference).cloned();
        if let Some(record) = previous.as_ref().and_then(|old| self.images.get_mut(old)) {
            record.references.remove(reference);
        }
        if let Some(record) = self.images.get_mut(id) {
            record
                .references
                .insert(reference.clone(), manifest.clone());
        }
        Ok(previous.filter(|old| old != id))
    }

    /// Remembers under which digest a registry has an image.
    pub(crate) fn add_repo_digest(&mut self, id: &Digest, reference: Reference) {
        if let Some(record) = self.images.get_mut(id) {
            record.repo_digests.insert(reference);
        }
    }

    /// Finds an image by tag, by `name@digest`, by id or by the start of its id.
    pub(crate) fn find(&self, name: &str) -> Result<Found> {
        if let Some(id) = self.by_digest(name) {
            return Ok(Found::Id(id));
        }
        let reference = Reference::parse(name).ok();
        if let Some(found) = reference.as_ref().and_then(|one| self.by_reference(one)) {
            return Ok(found);
        }
        if let Some(found) = self.by_short_id(name)? {
            return Ok(found);
        }
        let shown = reference.map_or_else(
            || name.escape_debug().take(200).collect(),
            |one| one.familiar(),
        );
        Err(Error::not_found(format!("No such image: {shown}")))
    }

    fn by_digest(&self, name: &str) -> Option<Digest> {
        let digest = match name.contains(':') {
            true => Digest::parse(name),
            false => Digest::parse(&format!("sha256:{name}")),
        };
        let digest = digest.ok()?;
        if self.images.contains_key(&digest) {
            return Some(digest);
        }
        let mut images = self.images.iter();
        images
            .find(|(_, record)| record.manifests.contains_key(&digest))
            .map(|(id, _)| id.clone())
    }

    fn by_reference(&self, reference: &Reference) -> Option<Found> {
        if let Some(digest) = reference.digest() {
            let wanted = reference.with_digest(digest.clone());
            let mut images = self.images.iter();
            let (id, _) = images.find(|(_, record)| record.repo_digests.contains(&wanted))?;
            return Some(Found::RepoDigest(id.clone(), wanted));
        }
        let id = self.tagged(reference)?;
        Some(Found::Tag(id.clone(), reference.clone()))
    }

    fn by_short_id(&self, name: &str) -> Result<Option<Found>> {
        let short = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex = short
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if short.len() < MIN_SHORT || !is_hex {
            return Ok(None);
        }
        let mut matching = self.images.keys().filter(|id| id.hex().starts_with(short));
        match (matching.next(), matching.next()) {
            (None, _) => Ok(None),
            (Some(id), None) => Ok(Some(Found::Id(id.clone()))),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "image id `{short}` is ambiguous: give more of its digits"
            ))),
        }
    }

    /// Takes a name from an image, or all of them when it is called by its id, and forgets the image
    /// when no name is left and nobody uses it. `user` is the container that does, if any.
    pub(crate) fn remove(
        &mut self,
        name: &str,
        force: bool,
        in_use: &dyn Fn(&Digest) -> Option<String>,
    ) -> Result<Vec<Removal>> {
        let found = self.find(name)?;
        let record = self.record(found.id())?;
        let user = in_use(found.id());
        let gone = record.names_of(&found);
        if !force {
            record.may_remove(&found, &gone, user.as_deref())?;
        }
        let id = found.id().clone();
        let last = gone.len() == record.names();
        let mut removals: Vec<_> = gone
            .iter()
            .map(|name| Removal::Untagged(name.familiar()))
            .collect();
        if let Some(record) = self.images.get_mut(&id) {
            record.references.retain(|name, _| !gone.contains(name));
            record.repo_digests.retain(|name| !gone.contains(name));
        }
        if last && user.is_none() {
            self.images.remove(&id);
            removals.push(Removal::Deleted(id));
        }
        Ok(removals)
    }

    fn record(&self, id: &Digest) -> Result<&Record> {
        self.images
            .get(id)
            .ok_or_else(|| Error::not_found(format!("No such image: {id}")))
    }
}

impl Record {
    fn names(&self) -> usize {
        self.references.len() + self.repo_digests.len()
    }

    /// The names that go when the image is removed in this way: with the last tag of a repository go
    /// the digests of that repository, as Docker has it.
    fn names_of(&self, found: &Found) -> Vec<Reference> {
        let all = self.references.keys().chain(&self.repo_digests);
        match found {
            Found::Id(_) => all.cloned().collect(),
            Found::RepoDigest(_, reference) => vec![reference.clone()],
            Found::Tag(_, reference) => {
                let same = |other: &&Reference| other.name() == reference.name();
                match self.references.keys().filter(same).count() {
                    1 => all.filter(same).cloned().collect(),
                    _ => vec![reference.clone()],
                }
            }
        }
    }

    fn may_remove(&self, found: &Found, gone: &[Reference], user: Option<&str>) -> Result<()> {
        let short = found.id().short();
        let text = match (found, user) {
            (Found::Id(_), _) if self.has_several_names() => format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            ),
            (Found::Id(_), Some(user)) => format!(
                "conflict: unable to delete {short} (must be forced) - image is being used by container {user}"
            ),
            (Found::Tag(_, name) | Found::RepoDigest(_, name), Some(user))
                if gone.len() == self.names() =>
            {
                format!(
                    "conflict: unable to remove repository reference \"{}\" (must force) - container {user} is using its referenced image {short}",
                    name.familiar()
                )
            }
            _ => return Ok(()),
        };
        Err(Error::new(Kind::Conflict, text))
    }

    fn has_several_names(&self) -> bool {
        let names = self.references.keys().chain(&self.repo_digests);
        let repositories: BTreeSet<_> = names.map(Reference::name).collect();
        self.references.len() > 1 || repositories.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn reference(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    fn add(catalog: &mut Catalog, image: &str, names: &[&str]) -> Digest {
        let (id, manifest) = (digest(image), digest(&format!("{image} manifest")));
        catalog.add(Addition {
            id: id.clone(),
            manifest: manifest.clone(),
            blobs: vec![digest(&format!("{image} blob"))],
            layers: vec![Layer {
                diff_id: digest("shared"),
                size_bytes: 7,
            }],
        });
        for name in names {
            match reference(name) {
                one if one.digest().is_some() => catalog.add_repo_digest(&id, one),
                one => {
                    catalog.tag(&id, &one, &manifest).unwrap();
                }
            }
        }
        id
    }

    fn nobody(_: &Digest) -> Option<String> {
        None
    }

    fn somebody(_: &Digest) -> Option<String> {
        Some("web-1".into())
    }

    fn untagged(removals: &[Removal]) -> Vec<String> {
        let name = |one: &Removal| match one {
            Removal::Untagged(name) => name.clone(),
            Removal::Deleted(id) => format!("-{}", id.short()),
        };
        removals.iter().map(name).collect()
    }

    #[test]
    fn finds_by_every_name() {
        let mut catalog = Catalog::default();
        let pulled = format!("busybox@{}", digest("a manifest"));
        let id = add(
            &mut catalog,
            "a",
            &["busybox", "localhost:5000/x:1", &pulled],
        );
        for name in [
            "busybox",
            "busybox:latest",
            "docker.io/library/busybox",
            "localhost:5000/x:1",
            &pulled,
            id.as_str(),
            id.hex(),
            id.short(),
            &id.hex()[..1],
            &format!("sha256:{}", id.short()),
            digest("a manifest").as_str(),
        ] {
            assert_eq!(*catalog.find(name).unwrap().id(), id, "{name}");
        }
        for name in ["busybox:1", "nope", "../x", "", "UPPER", "x\ny"] {
            let error = catalog.find(name).unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound, "{name}");
            assert!(!error.to_string().contains('\n'));
        }
        let error = catalog.find("nope").unwrap_err().to_string();
        assert_eq!(error, "No such image: nope:latest");
    }

    #[test]
    fn an_ambiguous_id_is_refused_and_a_name_wins() {
        let mut catalog = Catalog::default();
        let ids: Vec<_> = (0..40)
            .map(|n| add(&mut catalog, &n.to_string(), &[]))
            .collect();
        let twice = |c: &char| ids.iter().filter(|id| id.hex().starts_with(*c)).count() > 1;
        let short = "0123456789abcdef".chars().find(twice).unwrap().to_string();
        assert_eq!(catalog.find(&short).unwrap_err().kind(), Kind::Invalid);
        let named = add(&mut catalog, "named", &[&short]);
        assert_eq!(*catalog.find(&short).unwrap().id(), named);
    }

    #[test]
    fn a_tag_moves_and_leaves_the_old_image_nameless() {
        let mut catalog = Catalog::default();
        let old = add(&mut catalog, "old", &["app:1"]);
        let new = add(&mut catalog, "new", &[]);
        let moved = catalog.tag(&new, &reference("app:1"), &digest("new manifest"));
        assert_eq!(moved.unwrap(), Some(old.clone()));
        assert!(catalog.facts(&old).unwrap().references.is_empty());
        let again = catalog.tag(&new, &reference("app:1"), &digest("new manifest"));
        assert_eq!(again.unwrap(), None);
        let pinned = reference(&format!("app@{old}"));
        assert!(catalog.tag(&new, &pinned, &old).is_err());
    }

    #[test]
    fn the_last_name_takes_the_image_with_it() {
        let mut catalog = Catalog::default();
        let id = add(&mut catalog, "a", &["app:1", "app:2"]);
        let first = catalog.remove("app:1", false, &somebody).unwrap();
        assert_eq!(untagged(&first), ["app:1"]);
        let last = catalog.remove("app:2", false, &nobody).unwrap();
        assert_eq!(
            untagged(&last),
            ["app:2".into(), format!("-{}", id.short())]
        );
        assert_eq!(catalog, Catalog::default());
    }

    #[test]
    fn the_last_tag_takes_its_repository_digests() {
        let mut catalog = Catalog::default();
        let (ours, theirs) = (
            format!("app@{}", digest("m")),
            format!("other@{}", digest("m")),
        );
        add(&mut catalog, "a", &["app:1", &ours, &theirs]);
        let removed = catalog.remove("app:1", false, &nobody).unwrap();
        assert_eq!(untagged(&removed), ["app:1", &ours]);
        let removed = catalog.remove(&theirs, false, &nobody).unwrap();
        assert_eq!(removed.len(), 2);
    }

    #[test]
    fn refuses_in_dockers_words() {
        let mut catalog = Catalog::default();
        let id = add(&mut catalog, "a", &["app:1"]);
        let short = id.short().to_owned();
        let refuse = |catalog: &mut Catalog, name: &str, user| {
            let error = catalog.remove(name, false, user).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            error.to_string()
        };
        assert_eq!(
            refuse(&mut catalog, "app:1", &somebody),
            format!(
                "conflict: unable to remove repository reference \"app:1\" (must force) - container web-1 is using its referenced image {short}"
            )
        );
        assert_eq!(
            refuse(&mut catalog, &short, &somebody),
            format!(
                "conflict: unable to delete {short} (must be forced) - image is being used by container web-1"
            )
        );
        add(&mut catalog, "a", &["b:1"]);
        assert_eq!(
            refuse(&mut catalog, &short, &nobody),
            format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )
        );
    }

    #[test]
    fn force_takes_all_names_but_not_what_runs() {
        let mut catalog = Catalog::default();
        let id = add(&mut catalog, "a", &["app:1", "b:1"]);
        let removed = catalog.remove(id.short(), true, &somebody).unwrap();
        assert_eq!(untagged(&removed), ["app:1", "b:1"]);
        let removed = catalog.remove(id.short(), true, &nobody).unwrap();
        assert_eq!(removed, [Removal::Deleted(id)]);
    }

    #[test]
    fn what_is_shared_stays_used() {
        let mut catalog = Catalog::default();
        add(&mut catalog, "a", &["a"]);
        add(&mut catalog, "b", &["b"]);
        catalog.remove("a", false, &nobody).unwrap();
        let (blobs, layers) = catalog.used();
        assert_eq!(layers, HashSet::from([digest("shared")]));
        assert!(blobs.contains(&digest("b manifest")) && !blobs.contains(&digest("a blob")));
    }

    #[test]
    fn survives_json_and_refuses_the_future() {
        let mut catalog = Catalog::default();
        add(&mut catalog, "a", &["a", &format!("a@{}", digest("m"))]);
        let text = serde_json::to_string(&catalog).unwrap();
        assert_eq!(serde_json::from_str::<Catalog>(&text).unwrap(), catalog);
        catalog.check().unwrap();
        let newer: Catalog = serde_json::from_str(&text.replacen(":1", ":2", 1)).unwrap();
        assert_eq!(newer.check().unwrap_err().kind(), Kind::Unsupported);
    }
}
