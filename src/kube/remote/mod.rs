//! The cluster's objects from afar: [`Objects`] over HTTPS, to whichever member answers.
//!
//! What workers, the command line and anything else that is no manager use. From pure to deed: `request` (a
//! call as method, path and body), `answer` (what came back), `line` (a watch's lines), `connection` (one
//! HTTP/2 connection at a time, to the first member that takes it).
//!
//! A read that broke off is asked again of another member. A write that broke off may have been made: the
//! caller is told `Timeout` and looks.

mod answer;
mod connection;
mod line;
mod request;

use async_trait::async_trait;
use hyper::Method;
use rustls::ClientConfig;

use crate::object::Object;
use crate::objects::{
    DeleteOptions, Deleted, List, ListOptions, Objects, Patch, Refused, Scope, Target, Watch,
    WatchOptions, Write, WriteOptions, Written,
};
use crate::remote::connection::Connections;
use crate::remote::request::Call;
use crate::status::{Reason, Result, Status};

pub use connection::Member;

/// Objects that members of the cluster keep.
#[derive(Debug)]
pub struct RemoteObjects(Connections);

impl RemoteObjects {
    /// Speaks to `members`, the first that answers, as whom `tls` says. No connection is made before the
    /// first call.
    pub fn new(members: Vec<Member>, tls: ClientConfig) -> Self {
        Self(Connections::new(members, tls))
    }

    /// From now on speaks to these members; an open connection goes on while it lasts.
    pub fn set_members(&self, members: Vec<Member>) {
        self.0.set_members(members);
    }

    async fn written(&self, call: Call) -> Result<Written> {
        let answer = self.0.call(&call).await?;
        let warnings = answer.warnings();
        let created = answer.status == 201;
        Ok(Written {
            object: answer.object().await?,
            created,
            warnings,
        })
    }
}

#[async_trait]
impl Objects for RemoteObjects {
    async fn get(&self, target: &Target, version: &str) -> Result<Object> {
        let call = Call::to(Method::GET, target).with("resourceVersion", version);
        self.0.call(&call).await?.object().await
    }

    async fn list(&self, scope: &Scope, options: &ListOptions) -> Result<List> {
        let call = Call::on(Method::GET, scope).listing(options);
        self.0.call(&call).await?.list(scope.kind).await
    }

    async fn watch(&self, scope: &Scope, options: &WatchOptions) -> Result<Watch> {
        let call = Call::on(Method::GET, scope).watching(options);
        Ok(line::watch(self.0.call(&call).await?))
    }

    async fn create(
        &self,
        scope: &Scope,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written> {
        let call = Call::on(Method::POST, scope).sending(&object);
        self.written(call.writing(options)).await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written> {
        let call = Call::to(Method::PUT, target).sending(&object);
        self.written(call.writing(options)).await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written> {
        let call = Call::to(Method::PATCH, target).patching(patch);
        self.written(call.writing(options)).await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted> {
        let call = Call::to(Method::DELETE, target).deleting(options);
        self.0.call(&call).await?.deleted(target).await
    }

    async fn delete_collection(
        &self,
        scope: &Scope,
        which: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List> {
        let call = Call::on(Method::DELETE, scope).listing(which);
        let answer = self.0.call(&call.deleting(options)).await?;
        answer.list(scope.kind).await
    }

    /// One write at most: Kubernetes' API has no transactions. Who wants more is a manager.
    async fn transact(
        &self,
        mut writes: Vec<Write>,
        options: &WriteOptions,
    ) -> std::result::Result<Vec<Written>, Refused> {
        let refused = |index, status| Refused { index, status };
        let Some(write) = writes.pop() else {
            return Ok(Vec::new());
        };
        if !writes.is_empty() {
            let status = Status::new(
                Reason::MethodNotAllowed,
                "several writes at once are a manager's to make",
            );
            return Err(refused(None, status));
        }
        let written = match write {
            Write::Create { scope, object } => self.create(&scope, object, options).await,
            Write::Update { target, object } => self.update(&target, object, options).await,
            Write::Patch { target, patch } => self.patch(&target, &patch, options).await,
            Write::Bind {
                namespace,
                name,
                uid,
                node,
            } => {
                let call = Call::binding(&namespace, &name, &uid, &node);
                self.written(call.writing(options)).await
            }
            Write::Delete { target, options } => self.delete(&target, &options).await.map(gone),
        };
        written
            .map(|one| vec![one])
            .map_err(|status| refused(Some(0), status))
    }
}

fn gone(deleted: Deleted) -> Written {
    let (Deleted::Gone(object) | Deleted::Marked(object)) = deleted;
    Written {
        object,
        created: false,
        warnings: Vec::new(),
    }
}
