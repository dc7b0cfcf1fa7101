//! The calls on objects: from a request to [`crate::Objects`] and back.
//!
//! Nothing is decided here about objects; a request's words are checked against its path, and the answer is
//! written in the form the client asked for.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::kind::{ObjectKind, Subresource};
use crate::kinds;
use crate::object::Object;
use crate::objects::{Deleted, List, Patch, Scope, Target, Write, Written};
use crate::server::accept::Form;
use crate::server::guard::{self, NodeWrite};
use crate::server::reply::{self, Reply};
use crate::server::request::not_found;
use crate::server::state::{Call, State};
use crate::server::{body, options, tables};
use crate::status::{Result, Status, success};

/// Answers any call but watches and streams.
pub(super) async fn answer(
    service: &State,
    call: &Call,
    kind: &'static ObjectKind,
    body: &Bytes,
) -> Result<Reply> {
    let request = Request {
        service,
        call,
        kind,
    };
    if !call.resource.below.is_empty() {
        return request.below(body).await;
    }
    if !kind.verbs.contains(&call.verb) {
        return Err(Status::not_allowed(kind, call.verb));
    }
    match call.verb {
        "get" => request.get(request.target()).await,
        "list" => request.list().await,
        "create" => request.create(body).await,
        "update" => request.update(request.target(), body).await,
        "patch" => request.patch(request.target(), body).await,
        "delete" => request.delete(body).await,
        "deletecollection" => request.delete_collection(body).await,
        verb => Err(Status::not_allowed(kind, verb)),
    }
}

struct Request<'r> {
    service: &'r State,
    call: &'r Call,
    kind: &'static ObjectKind,
}

impl Request<'_> {
    fn target(&self) -> Target {
        let resource = &self.call.resource;
        Target::new(self.kind, &resource.namespace, &resource.name)
    }

    fn scope(&self) -> Scope {
        Scope::inside(self.kind, &self.call.resource.namespace)
    }

    async fn below(&self, body: &Bytes) -> Result<Reply> {
        let subresource = Subresource::parse(&self.call.resource.below)
            .filter(|subresource| self.kind.has(*subresource))
            .ok_or_else(not_found)?;
        let target = self.target().below(subresource);
        match (self.call.verb, subresource) {
            ("create", Subresource::Binding) => self.bind(body).await,
            ("create", Subresource::Eviction) => self.evict(body).await,
            (_, Subresource::Binding | Subresource::Eviction) => {
                Err(Status::not_allowed(self.kind, self.call.verb))
            }
            ("get", _) => self.get(target).await,
            ("update", _) => self.update(target, body).await,
            ("patch", _) => self.patch(target, body).await,
            (verb, _) => Err(Status::not_allowed(self.kind, verb)),
        }
    }

    async fn get(&self, target: Target) -> Result<Reply> {
        let version = self.call.query.text("resourceVersion");
        let object = self.service.objects().get(&target, version).await?;
        Ok(self.one(200, object))
    }

    async fn list(&self) -> Result<Reply> {
        let options = options::list(self.kind, &self.call.query)?;
        let list = self.service.objects().list(&self.scope(), &options).await?;
        Ok(reply::json(200, &self.many(list)))
    }

    async fn create(&self, body: &Bytes) -> Result<Reply> {
        let options = options::write(&self.call.query, &self.call.agent)?;
        let object = self.object(body)?;
        // A node that makes its Node: the path has no name yet.
        let target = Target::new(self.kind, object.namespace(), object.name());
        self.check_write(&target, NodeWrite::Whole(&object)).await?;
        let scope = self.scope();
        let written = self
            .service
            .objects()
            .create(&scope, object, &options)
            .await?;
        Ok(self.written(written))
    }

    async fn update(&self, target: Target, body: &Bytes) -> Result<Reply> {
        let options = options::write(&self.call.query, &self.call.agent)?;
        let mut object = match target.subresource {
            Some(Subresource::Scale) => self.plain(body, "autoscaling/v1", "Scale")?,
            _ => self.object(body)?,
        };
        match object.name() {
            "" => object.set(&["metadata", "name"], target.name.as_str()),
            name if name != target.name => {
                return Err(Status::bad_request(format!(
                    "the name of the object ({name}) does not match the name on the URL ({})",
                    target.name
                )));
            }
            _ => {}
        }
        self.check_write(&target, NodeWrite::Whole(&object)).await?;
        let written = self
            .service
            .objects()
            .update(&target, object, &options)
            .await?;
        Ok(self.written(written))
    }

    async fn patch(&self, target: Target, body: &Bytes) -> Result<Reply> {
        let options = options::write(&self.call.query, &self.call.agent)?;
        let patch = body::patch(&self.call.content_type, body)?;
        let applies = matches!(patch, Patch::Apply(_));
        if applies && self.call.query.text("fieldManager").is_empty() {
            return Err(Status::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        if !applies && options.force {
            return Err(Status::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
            ));
        }
        self.check_write(&target, NodeWrite::Patch(&patch)).await?;
        let written = self
            .service
            .objects()
            .patch(&target, &patch, &options)
            .await?;
        Ok(self.written(written))
    }

    async fn delete(&self, body: &Bytes) -> Result<Reply> {
        let options = options::delete(&self.call.query, self.options_of(body)?.as_ref())?;
        let deleted = self
            .service
            .objects()
            .delete(&self.target(), &options)
            .await?;
        Ok(match deleted {
            Deleted::Gone(object) => {
                reply::json(200, &success(self.kind, object.name(), object.uid()))
            }
            Deleted::Marked(object) => self.one(200, object),
        })
    }

    async fn delete_collection(&self, body: &Bytes) -> Result<Reply> {
        let options = options::delete(&self.call.query, self.options_of(body)?.as_ref())?;
        let which = options::list(self.kind, &self.call.query)?;
        let objects = self.service.objects();
        let deleted = objects
            .delete_collection(&self.scope(), &which, &options)
            .await?;
        Ok(reply::json(200, &self.many(deleted)))
    }

    async fn bind(&self, body: &Bytes) -> Result<Reply> {
        let options = options::write(&self.call.query, &self.call.agent)?;
        let binding = self.plain(body, "v1", "Binding")?;
        let kind = binding.text(&["target", "kind"]);
        let node = binding.text(&["target", "name"]);
        if node.is_empty() || !matches!(kind, "" | "Node") {
            return Err(Status::bad_request(
                "target: Required value: the name of a node",
            ));
        }
        let target = self.target();
        let write = Write::Bind {
            namespace: target.namespace,
            name: target.name,
            uid: binding.uid().to_owned(),
            node: node.to_owned(),
        };
        let objects = self.service.objects();
        let made = objects.transact(vec![write], &options).await;
        made.map_err(|refused| refused.status)?;
        Ok(reply::json(201, &done()))
    }

    async fn evict(&self, body: &Bytes) -> Result<Reply> {
        let eviction = self.plain(body, "policy/v1", "Eviction")?;
        let options = options::delete(&self.call.query, eviction.at(&["deleteOptions"]))?;
        self.service
            .objects()
            .delete(&self.target(), &options)
            .await?;
        Ok(reply::json(201, &done()))
    }

    async fn check_write(&self, target: &Target, write: NodeWrite<'_>) -> Result<()> {
        let call = self.call;
        let objects = self.service.objects();
        guard::check_write(objects, &call.user, &call.wanted, target, write).await
    }

    /// The object of this kind in a body, in the namespace of the path.
    fn object(&self, body: &Bytes) -> Result<Object> {
        let mut object = self.plain(body, &self.kind.api_version(), self.kind.kind)?;
        let wanted = self.call.resource.namespace.as_str();
        match object.namespace() {
            "" if !wanted.is_empty() => object.set(&["metadata", "namespace"], wanted),
            namespace if namespace != wanted => {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            _ => {}
        }
        Ok(object)
    }

    /// The object of this type in a body.
    fn plain(&self, body: &Bytes, api_version: &str, kind: &str) -> Result<Object> {
        let value = body::object(&self.call.content_type, body)?;
        let mut object = Object::from_value(value)?;
        object.set_default(&["apiVersion"], api_version);
        object.set_default(&["kind"], kind);
        for (found, wanted, what) in [
            (object.api_version(), api_version, "API version"),
            (object.kind(), kind, "kind"),
        ] {
            if found != wanted {
                return Err(Status::bad_request(format!(
                    "the {what} in the data ({found}) does not match the expected {what} ({wanted})"
                )));
            }
        }
        Ok(object)
    }

    /// `DeleteOptions`, when there is a body.
    fn options_of(&self, body: &Bytes) -> Result<Option<Value>> {
        if body.is_empty() {
            return Ok(None);
        }
        let value = body::object(&self.call.content_type, body)?;
        match value.get("kind").and_then(Value::as_str) {
            None | Some("DeleteOptions") => Ok(Some(value)),
            Some(other) => Err(Status::bad_request(format!(
                "the body of a deletion is DeleteOptions, not {other:?}"
            ))),
        }
    }

    fn written(&self, written: Written) -> Reply {
        let code = if written.created { 201 } else { 200 };
        reply::warned(self.one(code, written.object), &written.warnings)
    }

    fn one(&self, code: u16, object: Object) -> Reply {
        let value = match self.call.form {
            Form::Table { version } => tables::of_one(self.call, self.kind, version, object),
            Form::Metadata => metadata(&object),
            _ => object.into_value(),
        };
        reply::json(code, &value)
    }

    fn many(&self, list: List) -> Value {
        let mut about = json!({ "resourceVersion": list.version });
        if !list.continue_token.is_empty() {
            about["continue"] = list.continue_token.into();
        }
        if let Some(remaining) = list.remaining {
            about["remainingItemCount"] = remaining.into();
        }
        let (api_version, kind) = match self.call.form {
            Form::Table { version } => {
                return tables::of_many(self.call, self.kind, version, &list.items, about);
            }
            Form::Metadata => (
                "meta.k8s.io/v1".to_owned(),
                "PartialObjectMetadataList".to_owned(),
            ),
            _ => (self.kind.api_version(), format!("{}List", self.kind.kind)),
        };
        let items: Vec<Value> = match self.call.form {
            Form::Metadata => list.items.iter().map(metadata).collect(),
            _ => list.items.into_iter().map(Object::into_value).collect(),
        };
        json!({ "kind": kind, "apiVersion": api_version, "metadata": about, "items": items })
    }
}

/// The kind a path names; 404 when there is none, or when the path has a namespace and the kind has none.
pub(super) fn kind_of(call: &Call) -> Result<&'static ObjectKind> {
    let resource = &call.resource;
    let kind = kinds::by_resource(&resource.group, &resource.version, &resource.plural)
        .ok_or_else(not_found)?;
    let many = resource.name.is_empty();
    let fits = match (kind.namespaced, resource.namespace.is_empty()) {
        (true, true) => many && matches!(call.verb, "list" | "watch"),
        (false, false) => false,
        _ => true,
    };
    if fits { Ok(kind) } else { Err(not_found()) }
}

/// `PartialObjectMetadata` of an object.
pub(super) fn metadata(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.at(&["metadata"]),
    })
}

fn done() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 })
}
