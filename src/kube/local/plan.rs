//! From one write to guards and changes of the store.
//!
//! Looks up what it needs, changes nothing. What comes out holds only as long as its guards do, so the
//! caller makes it in one transaction and plans again when that is refused.

use orc_base::Time;
use orc_store::{Change, Entry, Guard, Key, Read, Store};
use serde_json::{Value, json};

use crate::field::{Cause, Causes, Path};
use crate::kind::{ObjectKind, Subresource};
use crate::kinds::{NAMESPACE, POD};
use crate::local::claims;
use crate::local::keys;
use crate::local::owners;
use crate::local::removal;
use crate::local::removal::Removal;
use crate::local::settings::Settings;
use crate::meta;
use crate::object::{MAX_BYTES, MAX_DEPTH, Object, depth, seconds};
use crate::objects::{DeleteOptions, Patch, Scope, Target, Write, WriteOptions};
use crate::patch::{self, managed};
use crate::scale;
use crate::schema;
use crate::status::{Reason, Result, Status};

/// What a write comes to.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What must still hold.
    pub(crate) guards: Vec<Guard>,
    /// What is changed; the object itself comes first.
    pub(crate) changes: Vec<Change>,
    /// The object afterwards, or the last of it.
    pub(crate) object: Object,
    /// Whether it is made.
    pub(crate) created: bool,
    /// Whether it goes.
    pub(crate) gone: bool,
    /// What the writer should know.
    pub(crate) warnings: Vec<String>,
}

/// What plans are made with.
pub(crate) struct Planner<'p> {
    pub(crate) store: &'p dyn Store,
    pub(crate) settings: &'p Settings,
    pub(crate) options: &'p WriteOptions,
    pub(crate) now: Time,
}

/// An object and the entry it was read from.
struct Current {
    entry: Entry,
    object: Object,
}

impl Planner<'_> {
    /// Plans one write.
    pub(crate) async fn plan(&self, write: &Write) -> Result<Plan> {
        match write {
            Write::Create { scope, object } => self.create(scope, object.clone()).await,
            Write::Update { target, object } => self.update(target, object).await,
            Write::Patch { target, patch } => self.patch(target, patch).await,
            Write::Delete { target, options } => self.delete(target, options).await,
            Write::Bind {
                namespace,
                name,
                uid,
                node,
            } => {
                self.bind(&Target::new(&POD, namespace, name), uid, node)
                    .await
            }
        }
    }

    async fn current(&self, target: &Target) -> Result<Option<Current>> {
        let key = keys::key(target.kind, &target.namespace, &target.name)?;
        let found = self.store.get(&key, Read::Latest).await?;
        let Some(entry) = found.entry else {
            return Ok(None);
        };
        let object = keys::decode(target.kind, &entry)?;
        Ok(Some(Current { entry, object }))
    }

    async fn existing(&self, target: &Target) -> Result<Current> {
        let missing = || Status::not_found(target.kind, &target.name);
        self.current(target).await?.ok_or_else(missing)
    }

    async fn create(&self, scope: &Scope, mut object: Object) -> Result<Plan> {
        let kind = scope.kind;
        fits(kind, &object)?;
        placed(kind, &scope.namespace, &mut object)?;
        if !object.resource_version().is_empty() {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Status::bad_request(why));
        }
        let warnings = schema::check(kind, &mut object, self.options.validation)?;
        (kind.default)(&mut object);
        (kind.prepare_create)(&mut object);
        meta::fill_new(kind, &mut object, self.now);
        // Again: some defaults need the identity.
        (kind.default)(&mut object);
        let live = Object::default();
        managed::track(
            kind,
            &live,
            &mut object,
            &self.options.manager,
            None,
            self.now,
        );
        self.made(kind, object, warnings).await
    }

    /// The end of every creation: what is once, what is wrong, where it goes.
    async fn made(
        &self,
        kind: &'static ObjectKind,
        mut object: Object,
        warnings: Vec<String>,
    ) -> Result<Plan> {
        let namespace = self.namespace_guard(kind, &object).await?;
        claims::give(self.store, self.settings, kind, &mut object).await?;
        bounded(kind, &object)?;
        validated(kind, &object, None)?;
        let key = keys::key(kind, object.namespace(), object.name())?;
        let (mut guards, claimed) =
            claims::change(self.store, self.settings, kind, None, Some(&object)).await?;
        guards.insert(0, Guard::Absent(key.clone()));
        guards.extend(namespace);
        if self.options.dry_run && self.store.get(&key, Read::Latest).await?.entry.is_some() {
            return Err(Status::already_exists(kind, object.name()));
        }
        let mut changes = vec![Change::Put(key, keys::encode(kind, &object))];
        changes.extend(claimed);
        Ok(Plan {
            guards,
            changes,
            object,
            created: true,
            gone: false,
            warnings,
        })
    }

    /// The namespace of a new object must be there, and stay as it is until the object is written.
    async fn namespace_guard(&self, kind: &ObjectKind, object: &Object) -> Result<Option<Guard>> {
        if !kind.namespaced {
            return Ok(None);
        }
        let name = object.namespace();
        let Some(namespace) = self.current(&Target::new(&NAMESPACE, "", name)).await? else {
            return Err(Status::not_found(&NAMESPACE, name));
        };
        if namespace.object.is_being_deleted() {
            let why = format!(
                "unable to create new content in namespace {name} because it is being terminated"
            );
            let cause = Cause {
                reason: "NamespaceTerminating",
                field: "metadata.namespace".to_owned(),
                message: format!("namespace {name} is being terminated"),
            };
            return Err(Status::forbidden(kind, object.name(), &why).with_causes(vec![cause]));
        }
        let entry = namespace.entry;
        Ok(Some(Guard::Unchanged(entry.key, entry.modified)))
    }

    async fn update(&self, target: &Target, given: &Object) -> Result<Plan> {
        let kind = target.kind;
        let mut given = given.clone();
        if target.subresource != Some(Subresource::Scale) {
            fits(kind, &given)?;
        }
        named(target, &mut given)?;
        let current = match self.current(target).await? {
            Some(current) => current,
            None if kind.create_on_update && target.subresource.is_none() => {
                let scope = Scope::inside(kind, &target.namespace);
                return self.create(&scope, given).await;
            }
            None => return Err(Status::not_found(kind, &target.name)),
        };
        let warnings = match target.subresource {
            Some(Subresource::Scale) => Vec::new(),
            _ => schema::check(kind, &mut given, self.options.validation)?,
        };
        preconditions(kind, &given, &current.object)?;
        if kind.needs_version && given.resource_version().is_empty() {
            let mut causes = Causes::default();
            let path = Path::new("metadata").child("resourceVersion");
            causes.invalid(&path, 0, "must be specified for an update");
            return Err(Status::invalid(kind, &target.name, causes));
        }
        let new = replaced(target, &current.object, given)?;
        self.changed(target, current, new, warnings).await
    }

    async fn patch(&self, target: &Target, patch: &Patch) -> Result<Plan> {
        let kind = target.kind;
        if let Patch::Apply(config) = patch {
            return self.apply(target, config).await;
        }
        let current = self.existing(target).await?;
        let base = match target.subresource {
            Some(Subresource::Scale) => scale::of(kind, &current.object)?,
            _ => current.object.clone(),
        };
        let mut given = patch::apply(kind, &base, patch)?;
        let warnings = match target.subresource {
            Some(Subresource::Scale) => Vec::new(),
            _ => {
                fits(kind, &given)?;
                schema::check(kind, &mut given, self.options.validation)?
            }
        };
        named(target, &mut given)?;
        preconditions(kind, &given, &current.object)?;
        let new = replaced(target, &current.object, given)?;
        self.changed(target, current, new, warnings).await
    }

    async fn apply(&self, target: &Target, config: &Value) -> Result<Plan> {
        let kind = target.kind;
        if self.options.manager.is_empty() {
            let mut causes = Causes::default();
            causes.required(&Path::new("fieldManager"), "is required for apply patch");
            return Err(Status::new(
                Reason::BadRequest,
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            )
            .with_causes(causes.into_list()));
        }
        if target.subresource == Some(Subresource::Scale) {
            let why = "the scale of an object is not applied; send a merge patch";
            return Err(Status::new(Reason::UnsupportedMediaType, why));
        }
        let mut config = Object::from_value(config.clone()).map_err(Status::from)?;
        fits(kind, &config)?;
        named(target, &mut config)?;
        let warnings = schema::check(kind, &mut config, self.options.validation)?;
        let current = self.current(target).await?;
        let live = current.as_ref().map(|current| &current.object);
        if let Some(live) = live {
            preconditions(kind, &config, live)?;
        } else if target.subresource.is_some() {
            return Err(Status::not_found(kind, &target.name));
        }
        let below = target.subresource.map(Subresource::name);
        let applied = managed::apply(kind, live, &config, self.options, below, self.now)?;
        match current {
            Some(current) => {
                let new = replaced(target, &current.object, applied)?;
                self.finished(target, current, new, warnings).await
            }
            None => {
                let mut object = applied;
                let managed = object.remove(&["metadata", "managedFields"]);
                (kind.default)(&mut object);
                (kind.prepare_create)(&mut object);
                meta::fill_new(kind, &mut object, self.now);
                (kind.default)(&mut object);
                if let Some(managed) = managed {
                    object.set(&["metadata", "managedFields"], managed);
                }
                self.made(kind, object, warnings).await
            }
        }
    }

    /// An update or patch of an existing object: `new` is the whole object as the writer wants it.
    async fn changed(
        &self,
        target: &Target,
        current: Current,
        mut new: Object,
        warnings: Vec<String>,
    ) -> Result<Plan> {
        (target.kind.default)(&mut new);
        self.prepared(target, &current.object, &mut new);
        let below = target.subresource.map(Subresource::name);
        managed::track(
            target.kind,
            &current.object,
            &mut new,
            &self.options.manager,
            below,
            self.now,
        );
        self.finished(target, current, new, warnings).await
    }

    fn prepared(&self, target: &Target, old: &Object, new: &mut Object) {
        meta::keep_old(new, old);
        new.set(&["metadata", "resourceVersion"], old.resource_version());
        if target.subresource.is_none() {
            (target.kind.prepare_update)(new, old);
        }
        if target.kind.has_generation && wanted(new) != wanted(old) {
            new.set(&["metadata", "generation"], old.generation() + 1);
        }
    }

    /// The end of every change: what is once, what is wrong, and whether it goes now.
    async fn finished(
        &self,
        target: &Target,
        current: Current,
        mut new: Object,
        warnings: Vec<String>,
    ) -> Result<Plan> {
        let (kind, old) = (target.kind, &current.object);
        (kind.default)(&mut new);
        self.prepared(target, old, &mut new);
        claims::give(self.store, self.settings, kind, &mut new).await?;
        bounded(kind, &new)?;
        validated(kind, &new, Some(old))?;
        owners::check(self.store, kind, &new, old).await?;
        let unchanged = new == *old;
        let gone = removal::is_due(kind, &new);
        let mut plan = Plan {
            guards: Vec::new(),
            changes: Vec::new(),
            object: new,
            created: false,
            gone,
            warnings,
        };
        if unchanged && !gone {
            return Ok(plan);
        }
        let after = (!gone).then_some(&plan.object);
        let (guards, claimed) =
            claims::change(self.store, self.settings, kind, Some(old), after).await?;
        let key = current.entry.key;
        plan.changes.push(match after {
            Some(object) => Change::Put(key.clone(), keys::encode(kind, object)),
            None => Change::Remove(key.clone()),
        });
        plan.changes.extend(claimed);
        plan.guards
            .push(Guard::Unchanged(key, current.entry.modified));
        plan.guards.extend(guards);
        Ok(plan)
    }

    async fn bind(&self, target: &Target, uid: &str, node: &str) -> Result<Plan> {
        let current = self.existing(target).await?;
        let (pod, name) = (&current.object, &target.name);
        let conflict = |why: &str| Err(Status::conflict(target.kind, name, why));
        if !uid.is_empty() && uid != pod.uid() {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                pod.uid()
            );
            return conflict(&why);
        }
        if pod.is_being_deleted() {
            return conflict(&format!(
                "pod {name} is being deleted, cannot be assigned to a host"
            ));
        }
        let has = pod.text(&["spec", "nodeName"]);
        if !has.is_empty() {
            return conflict(&format!("pod {name} is already assigned to node {has:?}"));
        }
        if !pod.list(&["spec", "schedulingGates"]).is_empty() {
            return conflict(&format!("pod {name} has non-empty .spec.schedulingGates"));
        }
        let mut new = pod.clone();
        new.set(&["spec", "nodeName"], node);
        let mut conditions = pod.list(&["status", "conditions"]).to_vec();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": seconds(self.now),
        }));
        new.set(&["status", "conditions"], conditions);
        let bytes = keys::encode(target.kind, &new);
        let key = current.entry.key;
        Ok(Plan {
            guards: vec![Guard::Unchanged(key.clone(), current.entry.modified)],
            changes: vec![Change::Put(key, bytes)],
            object: new,
            created: true,
            gone: false,
            warnings: Vec::new(),
        })
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Plan> {
        let (kind, current) = (target.kind, self.existing(target).await?);
        let key = current.entry.key;
        let guard = Guard::Unchanged(key.clone(), current.entry.modified);
        let removal = removal::decide(kind, &current.object, options, self.now)?;
        let mut plan = Plan {
            guards: vec![guard],
            changes: Vec::new(),
            object: current.object,
            created: false,
            gone: false,
            warnings: Vec::new(),
        };
        match removal {
            Removal::Wait => plan.guards.clear(),
            Removal::Mark(marked) => {
                plan.changes
                    .push(Change::Put(key, keys::encode(kind, &marked)));
                plan.object = marked;
            }
            Removal::Remove => {
                let old = Some(&plan.object);
                let (_, freed) = claims::change(self.store, self.settings, kind, old, None).await?;
                plan.changes.push(Change::Remove(key));
                plan.changes.extend(freed);
                plan.gone = true;
            }
        }
        Ok(plan)
    }
}

/// What an update of a subresource, or of all but the status, makes of the object.
fn replaced(target: &Target, old: &Object, given: Object) -> Result<Object> {
    let part: &[&str] = match target.subresource {
        None => {
            let mut new = given;
            if target.kind.has(Subresource::Status) {
                copy(&mut new, old, &["status"]);
            }
            if target.kind.has(Subresource::Finalize) {
                copy(&mut new, old, &["spec", "finalizers"]);
            }
            return Ok(new);
        }
        Some(Subresource::Scale) => {
            let mut new = old.clone();
            scale::put(target.kind, &mut new, &given)?;
            return Ok(new);
        }
        Some(subresource) if !target.kind.has(subresource) => {
            let name = format!("{}/{}", target.name, subresource.name());
            return Err(Status::not_found(target.kind, &name));
        }
        Some(Subresource::Status) => &["status"],
        Some(Subresource::Finalize) => &["spec", "finalizers"],
        Some(Subresource::EphemeralContainers) => &["spec", "ephemeralContainers"],
        Some(Subresource::Binding | Subresource::Eviction) => {
            return Err(Status::not_allowed(target.kind, "update"));
        }
    };
    let mut new = old.clone();
    copy(&mut new, &given, part);
    if let Some(managed) = given.at(&["metadata", "managedFields"]) {
        new.set(&["metadata", "managedFields"], managed.clone());
    }
    Ok(new)
}

fn copy(to: &mut Object, from: &Object, path: &[&str]) {
    match from.at(path) {
        Some(value) => to.set(path, value.clone()),
        None => {
            to.remove(path);
        }
    }
}

/// All that is neither metadata nor status.
fn wanted(object: &Object) -> Vec<(&String, &Value)> {
    let outside = ["metadata", "status", "apiVersion", "kind"];
    object
        .as_map()
        .iter()
        .filter(|(name, _)| !outside.contains(&name.as_str()))
        .collect()
}

/// Whether an object is of the kind of its request.
fn fits(kind: &ObjectKind, object: &Object) -> Result<()> {
    let (api, name) = (object.api_version(), object.kind());
    if name.is_empty() {
        let why = "Object 'Kind' is missing: every object says its `kind`";
        return Err(Status::bad_request(why));
    }
    if name != kind.kind {
        return Err(Status::bad_request(format!(
            "{name} in version {api:?} cannot be handled as a {}: no kind \"{name}\" is registered for this path",
            kind.kind
        )));
    }
    if api != kind.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api}) does not match the expected API version ({})",
            kind.api_version()
        )));
    }
    if !object.at(&["metadata"]).is_none_or(Value::is_object) {
        return Err(Status::bad_request("metadata must be an object"));
    }
    Ok(())
}

/// Gives an object the namespace of its request.
fn placed(kind: &ObjectKind, namespace: &str, object: &mut Object) -> Result<()> {
    if !kind.namespaced {
        return Ok(());
    }
    match object.namespace() {
        "" => object.set(&["metadata", "namespace"], namespace),
        own if own != namespace && !namespace.is_empty() => {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(why));
        }
        _ => {}
    }
    Ok(())
}

/// Gives an object the name and namespace of its request.
fn named(target: &Target, object: &mut Object) -> Result<()> {
    placed(target.kind, &target.namespace, object)?;
    match object.name() {
        "" => object.set(&["metadata", "name"], target.name.as_str()),
        own if own != target.name => {
            return Err(Status::bad_request(format!(
                "the name of the object ({own}) does not match the name on the URL ({})",
                target.name
            )));
        }
        _ => {}
    }
    Ok(())
}

fn preconditions(kind: &ObjectKind, given: &Object, current: &Object) -> Result<()> {
    let name = current.name();
    if !given.uid().is_empty() && given.uid() != current.uid() {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            given.uid(),
            current.uid()
        );
        return Err(Status::conflict(kind, name, &why));
    }
    let version = given.resource_version();
    if !matches!(version, "" | "0") && version != current.resource_version() {
        return Err(Status::stale(kind, name));
    }
    Ok(())
}

fn validated(kind: &ObjectKind, object: &Object, old: Option<&Object>) -> Result<()> {
    let mut causes = Causes::default();
    meta::validate(kind, object, &mut causes);
    (kind.validate)(object, &mut causes);
    if let Some(old) = old {
        meta::validate_update(object, old, &mut causes);
        (kind.validate_update)(object, old, &mut causes);
    }
    match causes.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(kind, object.name(), causes)),
    }
}

/// Patches can make what no request could send.
fn bounded(kind: &ObjectKind, object: &Object) -> Result<()> {
    let too_deep = object
        .as_map()
        .values()
        .any(|value| depth(value, MAX_DEPTH - 1) >= MAX_DEPTH);
    if too_deep || object.to_bytes().len() > MAX_BYTES {
        let message = format!(
            "{} {:?} would be larger than {MAX_BYTES} bytes or deeper than {MAX_DEPTH}",
            kind.group_kind(),
            object.name()
        );
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    Ok(())
}

/// The key that a creation found taken, if that is why it was refused.
pub(crate) fn taken(guard: &Guard) -> Option<&Key> {
    match guard {
        Guard::Absent(key) => Some(key),
        Guard::Present(_) | Guard::Unchanged(..) => None,
    }
}
