//! What a member answered: an object, a list, or why not.

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Response};
use serde_json::Value;

use crate::kind::ObjectKind;
use crate::object::Object;
use crate::objects::{Deleted, List, Target};
use crate::status::{Reason, Result, Status};

/// Bytes of an answer, at most: ten thousand pods and more.
const MAX_BYTES: usize = 256 << 20;

/// An answer of which the body is still to come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Incoming,
}

impl Answer {
    /// An answer, or the refusal it is.
    pub(super) async fn of(response: Response<Incoming>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let answer = Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        };
        match answer.status {
            200..300 => Ok(answer),
            status => Err(answer
                .json()
                .await
                .map_or_else(|error| error, |body| Status::from_json(&body, status))),
        }
    }

    /// What the writer should know: the texts of `Warning` headers (RFC 7234, 5.5).
    pub(super) fn warnings(&self) -> Vec<String> {
        let all = self.headers.get_all("warning").into_iter();
        all.filter_map(|value| {
            let text = value.to_str().ok()?.split_once('"')?.1;
            let text = text.strip_suffix('"').unwrap_or(text);
            Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
        })
        .collect()
    }

    async fn json(self) -> Result<Value> {
        let body = Limited::new(self.body, MAX_BYTES).collect().await;
        let body = body.map_err(|error| broken(&error.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| broken(&format!("no JSON: {error}")))
    }

    pub(super) async fn object(self) -> Result<Object> {
        Ok(Object::from_value(self.json().await?)?)
    }

    pub(super) async fn list(self, kind: &'static ObjectKind) -> Result<List> {
        let mut body = self.json().await?;
        let metadata = body["metadata"].take();
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let Value::Array(items) = body["items"].take() else {
            return Err(broken("a list without items"));
        };
        // The items of a list do not say what they are.
        let whole = |mut item: Value| {
            if let Some(item) = item.as_object_mut() {
                item.entry("apiVersion")
                    .or_insert_with(|| kind.api_version().into());
                item.entry("kind").or_insert_with(|| kind.kind.into());
            }
            Ok(Object::from_value(item)?)
        };
        Ok(List {
            items: items.into_iter().map(whole).collect::<Result<_>>()?,
            version: text("resourceVersion"),
            continue_token: text("continue"),
            remaining: metadata["remainingItemCount"]
                .as_u64()
                .and_then(|count| usize::try_from(count).ok()),
        })
    }

    /// A deletion is answered with the object while it is still there, and with success, or with the
    /// last of the object, when it is gone.
    pub(super) async fn deleted(self, target: &Target) -> Result<Deleted> {
        let body = self.json().await?;
        if body["kind"] != "Status" {
            let object = Object::from_value(body)?;
            return Ok(match object.is_being_deleted() {
                true => Deleted::Marked(object),
                false => Deleted::Gone(object),
            });
        }
        let kind = target.kind;
        let mut last = Object::new(
            &kind.api_version(),
            kind.kind,
            &target.namespace,
            &target.name,
        );
        if let Some(uid) = body["details"]["uid"].as_str() {
            last.set(&["metadata", "uid"], uid);
        }
        Ok(Deleted::Gone(last))
    }
}

/// An answer that nobody can use. For a read that is no harm.
pub(super) fn broken(why: &str) -> Status {
    Status::new(
        Reason::ServiceUnavailable,
        format!("a member of the cluster answered badly: {why}"),
    )
}
