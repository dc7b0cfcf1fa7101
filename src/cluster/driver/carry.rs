//! Carries operations out: as writes of the objects, several in one transaction where they allow it.
//!
//! What is as it should be already (made by someone before, gone) is no failure. Anything else ends the
//! rest of a decision: the subject looks again, later each time.

use orc_base::{Error, Result};
use orc_kube::kinds::CORE_EVENT;
use orc_kube::{
    DeleteOptions, ListOptions, Objects, Patch, Propagation, Reason, Scope, Subresource, Target,
    Write, WriteOptions, Written,
};
use serde_json::{Value, json};

use crate::driver::feed::{plain, row_of, version_of};
use crate::operation::{Deed, Dependents, Guard, Note, Operation, Part};
use crate::reference::{Kind, Ref};

/// Writes in one transaction, at most.
const BATCH: usize = 64;

/// What came of a write.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The object is like this now.
    Is(Kind, Value),
    /// It is gone; this was its last version.
    Gone {
        /// Which.
        target: Ref,
        /// The last version of it.
        version: u64,
    },
}

/// What came of operations.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The objects that were written.
    pub(crate) written: Vec<Settled>,
    /// What is to be told.
    pub(crate) notes: Vec<Note>,
    /// What went wrong; nothing after it was tried.
    pub(crate) failed: Option<Error>,
    /// For bindings: the pods that could not be bound.
    pub(crate) refused: Vec<Ref>,
}

/// Writes as one controller.
pub(crate) struct Carrier<'o> {
    objects: &'o dyn Objects,
    options: WriteOptions,
}

impl<'o> Carrier<'o> {
    /// Writes as `manager`.
    pub(crate) fn new(objects: &'o dyn Objects, manager: &str) -> Self {
        let options = WriteOptions::by(manager);
        Self { objects, options }
    }

    /// Does one operation after the other, neighbours together where they can be.
    pub(crate) async fn carry(&self, operations: Vec<Operation>) -> Outcome {
        let mut outcome = Outcome::default();
        for lot in lots(operations) {
            if let Err(error) = self.lot(lot, &mut outcome).await {
                outcome.failed = Some(error);
                break;
            }
        }
        outcome
    }

    /// Gives pods their nodes, all in one transaction; those that cannot have theirs are left out.
    pub(crate) async fn bind(&self, mut bindings: Vec<Operation>) -> Outcome {
        let mut outcome = Outcome::default();
        while !bindings.is_empty() {
            let rest = bindings.split_off(bindings.len().min(4 * BATCH));
            let mut lot = std::mem::replace(&mut bindings, rest);
            while !lot.is_empty() {
                let writes = lot
                    .iter()
                    .flat_map(|o| &o.deeds)
                    .filter_map(write)
                    .collect();
                match self.objects.transact(writes, &self.options).await {
                    Ok(written) => {
                        let deeds = lot.iter().flat_map(|operation| &operation.deeds);
                        outcome.written.extend(deeds.zip(written).map(settled));
                        outcome
                            .notes
                            .extend(lot.drain(..).filter_map(|operation| operation.note));
                    }
                    Err(refused) => {
                        tracing::debug!(status = %refused.status.message(), "a pod is not bound");
                        let out: Vec<Operation> = match refused.index {
                            Some(index) if index < lot.len() => vec![lot.remove(index)],
                            _ => std::mem::take(&mut lot),
                        };
                        let targets = out.iter().flat_map(|operation| &operation.deeds);
                        outcome
                            .refused
                            .extend(targets.map(|deed| deed.target().clone()));
                    }
                }
            }
        }
        outcome
    }

    async fn lot(&self, lot: Vec<Operation>, outcome: &mut Outcome) -> Result<()> {
        let deeds: Vec<&Deed> = lot.iter().flat_map(|operation| &operation.deeds).collect();
        if lot.len() > 1 && self.together(&deeds, outcome).await.is_ok() {
            outcome
                .notes
                .extend(lot.into_iter().filter_map(|operation| operation.note));
            return Ok(());
        }
        for operation in lot {
            tracing::debug!(%operation);
            if self.one(&operation, outcome).await? {
                outcome.notes.extend(operation.note);
            }
        }
        Ok(())
    }

    /// Whether the operation was done now; `false` when there was nothing left to do.
    async fn one(&self, operation: &Operation, outcome: &mut Outcome) -> Result<bool> {
        if let [Deed::Sweep { target }] = &operation.deeds[..] {
            return self.sweep(target).await.map(|()| true);
        }
        for deed in &operation.deeds {
            if !self.owners_are_gone(deed).await? {
                return Ok(false);
            }
        }
        let deeds: Vec<&Deed> = operation.deeds.iter().collect();
        match self.together(&deeds, outcome).await {
            Ok(()) => Ok(true),
            Err(status) if deeds.len() == 1 && is_done(deeds[0], &status) => Ok(false),
            Err(status) => Err(Error::from(status).within(operation.to_string())),
        }
    }

    async fn together(&self, deeds: &[&Deed], outcome: &mut Outcome) -> orc_kube::Result<()> {
        let writes: Vec<Write> = deeds.iter().filter_map(|deed| write(deed)).collect();
        let written = self.objects.transact(writes, &self.options).await;
        let written = written.map_err(|refused| refused.status)?;
        let deeds = deeds.iter().copied();
        outcome.written.extend(deeds.zip(written).map(settled));
        Ok(())
    }

    /// Asks for the owners that a deed says must be gone.
    async fn owners_are_gone(&self, deed: &Deed) -> Result<bool> {
        let (Deed::Delete { gone, .. } | Deed::Unless { gone, .. }) = deed else {
            return Ok(true);
        };
        for (owner, uid) in gone {
            let target = target(owner)?;
            match self.objects.get(&target, "").await {
                Ok(found) if found.uid() == uid => return Ok(false),
                Ok(_) => {}
                Err(status) if status.code() == 404 => {}
                Err(status) => return Err(status.into()),
            }
        }
        Ok(true)
    }

    async fn sweep(&self, namespace: &Ref) -> Result<()> {
        let scope = Scope::inside(&CORE_EVENT, &namespace.name);
        let (which, how) = (ListOptions::default(), DeleteOptions::default());
        let swept = self.objects.delete_collection(&scope, &which, &how).await;
        swept.map(|_| ()).map_err(Error::from)
    }
}

/// Operations in lots: creations and deletions that stand next to each other and are each of another
/// object share one.
fn lots(operations: Vec<Operation>) -> Vec<Vec<Operation>> {
    let mut lots: Vec<Vec<Operation>> = Vec::new();
    let plain = |operation: &Operation| match &operation.deeds[..] {
        [Deed::Create { .. }] => true,
        [Deed::Delete { gone, .. }] => gone.is_empty(),
        _ => false,
    };
    for operation in operations {
        let fits = |lot: &&mut Vec<Operation>| {
            let other = |o: &Operation| o.deeds[0].target() != operation.deeds[0].target();
            lot.len() < BATCH && plain(&lot[0]) && plain(&operation) && lot.iter().all(other)
        };
        match lots.last_mut().filter(fits) {
            Some(lot) => lot.push(operation),
            None => lots.push(vec![operation]),
        }
    }
    lots
}

/// Whether a refusal says that the deed needs no doing.
fn is_done(deed: &Deed, status: &orc_kube::Status) -> bool {
    match (deed, status.reason()) {
        (Deed::Create { .. }, Reason::AlreadyExists) => true,
        (Deed::Delete { .. } | Deed::Patch { .. } | Deed::Unless { .. }, Reason::NotFound) => true,
        // Another object has the name by now.
        (Deed::Delete { guard, .. }, Reason::Conflict) => guard.version.is_none(),
        _ => false,
    }
}

fn target(target: &Ref) -> Result<Target> {
    let row = row_of(target.kind)?;
    Ok(Target::new(row, &target.namespace, &target.name))
}

/// A deed as a write; nothing for what is not one.
fn write(deed: &Deed) -> Option<Write> {
    let target = target(deed.target()).ok()?;
    Some(match deed {
        Deed::Create { object, .. } => Write::Create {
            scope: Scope::inside(target.kind, &target.namespace),
            object: orc_kube::Object::from_value(object.clone()).ok()?,
        },
        Deed::Patch {
            part, guard, patch, ..
        } => Write::Patch {
            target: match part {
                Part::Spec => target,
                Part::Status => target.below(Subresource::Status),
                Part::Finalize => target.below(Subresource::Finalize),
            },
            patch: Patch::Merge(guarded(patch, guard)),
        },
        Deed::Bind { uid, node, .. } => Write::Bind {
            namespace: target.namespace,
            name: target.name,
            uid: uid.clone(),
            node: node.clone(),
        },
        Deed::Delete {
            guard,
            grace_s,
            dependents,
            ..
        } => Write::Delete {
            target,
            options: DeleteOptions {
                grace_s: *grace_s,
                propagation: match dependents {
                    // Not said: a finalizer that asks for another order stays.
                    Dependents::Background => None,
                    Dependents::Foreground => Some(Propagation::Foreground),
                },
                uid: Some(guard.uid.clone()),
                version: guard.version.clone(),
                dry_run: false,
            },
        },
        Deed::Unless { deed, .. } => return write(deed),
        Deed::Sweep { .. } => return None,
    })
}

/// A patch that fails when the object is another one, or has changed.
fn guarded(patch: &Value, guard: &Guard) -> Value {
    let mut patch = patch.clone();
    patch["metadata"]["uid"] = json!(guard.uid);
    if let Some(version) = &guard.version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    patch
}

/// What a write made of its object.
fn settled((deed, written): (&Deed, Written)) -> Settled {
    let target = deed.target().clone();
    let object = written.object;
    let waits = object
        .number(&["metadata", "deletionGracePeriodSeconds"])
        .unwrap_or(0)
        > 0;
    let free = object.finalizers().is_empty() && object.list(&["spec", "finalizers"]).is_empty();
    let gone = match deed {
        Deed::Delete { grace_s, .. } => {
            !object.is_being_deleted() || free && (*grace_s == Some(0) || !waits)
        }
        Deed::Create { .. } | Deed::Bind { .. } => false,
        _ => object.is_being_deleted() && free && !waits,
    };
    let value = plain(object);
    match gone {
        true => Settled::Gone {
            target,
            version: version_of(&value),
        },
        false => Settled::Is(target.kind, value),
    }
}
