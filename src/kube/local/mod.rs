//! The objects of a store in this process: [`Objects`] as the API server does it.
//!
//! Reads are in `read`, changes that are followed in `watch`; every write is first a plan (`plan`: pure
//! but for what it looks up), then one transaction of the store, made again when another came before.

mod claims;
mod commit;
mod keys;
mod owners;
mod plan;
mod read;
mod removal;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use orc_base::Clock;
use orc_store::Store;

use crate::kind::Subresource;
use crate::local::plan::{Plan, Planner};
use crate::local::read::Reader;
use crate::object::Object;
use crate::objects::{
    DeleteOptions, Deleted, List, ListOptions, Objects, Patch, Refused, Scope, Target, Watch,
    WatchOptions, Write, WriteOptions, Written,
};
use crate::scale;
use crate::status::{Result, Status};

pub use settings::Settings;

/// Objects in a store.
#[derive(Clone)]
pub struct LocalObjects {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl LocalObjects {
    /// On a store, which may be empty.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self {
            store,
            clock,
            settings,
        }
    }
}

#[async_trait]
impl Objects for LocalObjects {
    async fn get(&self, target: &Target, version: &str) -> Result<Object> {
        let object = self.reader().get(target, version).await?;
        match target.subresource {
            None | Some(Subresource::Status) => Ok(object),
            Some(Subresource::Scale) => scale::of(target.kind, &object),
            Some(_) => Err(Status::not_allowed(target.kind, "get")),
        }
    }

    async fn list(&self, scope: &Scope, options: &ListOptions) -> Result<List> {
        self.reader().list(scope, options).await
    }

    async fn watch(&self, scope: &Scope, options: &WatchOptions) -> Result<Watch> {
        let Settings {
            patience,
            bookmarks,
            ..
        } = self.settings;
        watch::watch(&*self.store, patience, bookmarks, scope, options).await
    }

    async fn create(
        &self,
        scope: &Scope,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written> {
        let scope = scope.clone();
        let plan = self.one(Write::Create { scope, object }, options).await?;
        Ok(written(plan))
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written> {
        let write = Write::Update {
            target: target.clone(),
            object,
        };
        let plan = self.one(write, options).await?;
        below(target, written(plan))
    }

    async fn patch(
        &self,
        target: &Target,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written> {
        let write = Write::Patch {
            target: target.clone(),
            patch: patch.clone(),
        };
        let plan = self.one(write, options).await?;
        below(target, written(plan))
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted> {
        let write = Write::Delete {
            target: target.clone(),
            options: options.clone(),
        };
        let how = WriteOptions {
            dry_run: options.dry_run,
            ..WriteOptions::default()
        };
        let plan = self.one(write, &how).await?;
        Ok(match plan.gone {
            true => Deleted::Gone(plan.object),
            false => Deleted::Marked(plan.object),
        })
    }

    async fn delete_collection(
        &self,
        scope: &Scope,
        which: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List> {
        let mut list = self.list(scope, which).await?;
        let mut deleted = Vec::new();
        for object in std::mem::take(&mut list.items) {
            let target = Target::of(scope.kind, &object);
            match self.delete(&target, options).await {
                Ok(_) => deleted.push(object),
                Err(status) if status.code() == 404 => {}
                Err(status) => return Err(status),
            }
        }
        list.items = deleted;
        Ok(list)
    }

    async fn transact(
        &self,
        writes: Vec<Write>,
        options: &WriteOptions,
    ) -> std::result::Result<Vec<Written>, Refused> {
        let plans = self.made(&writes, options).await?;
        Ok(plans.into_iter().map(written).collect())
    }
}

impl LocalObjects {
    fn reader(&self) -> Reader<'_> {
        Reader {
            store: &*self.store,
            patience: self.settings.patience,
        }
    }

    async fn one(&self, write: Write, options: &WriteOptions) -> Result<Plan> {
        let plans = self.made(&[write], options).await;
        let mut plans = plans.map_err(|refused| refused.status)?;
        Ok(plans.pop().expect("one write has one plan"))
    }

    async fn made(
        &self,
        writes: &[Write],
        options: &WriteOptions,
    ) -> std::result::Result<Vec<Plan>, Refused> {
        let planner = Planner {
            store: &*self.store,
            settings: &self.settings,
            options,
            now: self.clock.now(),
        };
        commit::commit(&planner, writes).await
    }
}

fn written(plan: Plan) -> Written {
    Written {
        object: plan.object,
        created: plan.created,
        warnings: plan.warnings,
    }
}

/// What a writer of a subresource is answered.
fn below(target: &Target, mut written: Written) -> Result<Written> {
    if target.subresource == Some(Subresource::Scale) {
        written.object = scale::of(target.kind, &written.object)?;
    }
    Ok(written)
}
