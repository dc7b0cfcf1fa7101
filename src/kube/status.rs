//! What a request that failed is told: Kubernetes' `Status`.
//!
//! Texts, reasons and codes are those of the real API server (`k8s.io/apimachinery/pkg/api/errors`), for
//! clients match on reasons and people search for texts. Becomes an [`orc_base::Error`] where code above
//! does not care, and comes of one where the store failed.

use std::fmt;

use orc_base::{Error, Kind};
use serde_json::{Value, json};

use crate::field::{Cause, Causes};
use crate::kind::ObjectKind;

/// `Result` with a [`Status`].
pub type Result<T, E = Status> = std::result::Result<T, E>;

/// Why a request failed, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// 400: the request makes no sense.
    BadRequest,
    /// 401: nobody knows who asks.
    Unauthorized,
    /// 403: it may not be done.
    Forbidden,
    /// 404: it does not exist.
    NotFound,
    /// 405: the kind cannot do that.
    MethodNotAllowed,
    /// 406: the answer cannot be written as asked.
    NotAcceptable,
    /// 409: the name is taken.
    AlreadyExists,
    /// 409: it has changed meanwhile, or is in a state that forbids it.
    Conflict,
    /// 410: that part of the past is no longer kept.
    Expired,
    /// 413: too large.
    RequestEntityTooLarge,
    /// 415: the body cannot be read.
    UnsupportedMediaType,
    /// 422: the object is wrong, at the fields that the causes name.
    Invalid,
    /// 429: later.
    TooManyRequests,
    /// 500: a fault of the server.
    InternalError,
    /// 503: nobody can answer now.
    ServiceUnavailable,
    /// 504: it took too long.
    Timeout,
}

impl Reason {
    const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::Conflict,
        Self::AlreadyExists,
        Self::Expired,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];

    /// The code of HTTP.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A request that failed.
#[derive(Clone, PartialEq, Eq)]
pub struct Status(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    reason: Reason,
    message: String,
    name: String,
    group: String,
    kind: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after_s: u32,
    continue_token: String,
}

impl Status {
    /// A failure that concerns no object.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_s: 0,
            continue_token: String::new(),
        }))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 404 of an object: `pods "web" not found`.
    pub fn not_found(kind: &ObjectKind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.group_resource());
        Self::new(Reason::NotFound, message).about(kind, name)
    }

    /// 409 of a name that is taken.
    pub fn already_exists(kind: &ObjectKind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.group_resource());
        Self::new(Reason::AlreadyExists, message).about(kind, name)
    }

    /// 409 of a write that cannot be made on what is there now.
    pub fn conflict(kind: &ObjectKind, name: &str, why: &str) -> Self {
        let resource = kind.group_resource();
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(Reason::Conflict, message).about(kind, name)
    }

    /// 409 of a write that was made for an older version.
    pub fn stale(kind: &ObjectKind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 403 of something that no one may do to the object.
    pub fn forbidden(kind: &ObjectKind, name: &str, why: &str) -> Self {
        let resource = kind.group_resource();
        let message = match name {
            "" => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::new(Reason::Forbidden, message).about(kind, name)
    }

    /// 405: the kind has no such verb.
    pub fn not_allowed(kind: &ObjectKind, verb: &str) -> Self {
        let resource = kind.group_resource();
        let message = format!("{verb} is not supported on resources of kind \"{resource}\"");
        Self::new(Reason::MethodNotAllowed, message).about(kind, "")
    }

    /// 422: which fields are wrong, and why.
    pub fn invalid(kind: &ObjectKind, name: &str, causes: Causes) -> Self {
        let causes = causes.into_list();
        let mut texts: Vec<String> = causes.iter().map(ToString::to_string).collect();
        texts.dedup();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status = Self::new(
            Reason::Invalid,
            format!("{} \"{name}\" is invalid: {text}", kind.group_kind()),
        );
        status.0.causes = causes;
        status.0.name = name.to_owned();
        status.0.group = kind.group.to_owned();
        status.0.kind = kind.kind.to_owned();
        status
    }

    /// 410: start over from what is now.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// 504 of a version that is not there yet; the same request may succeed in a second.
    pub fn too_large_version(asked: u64, current: u64) -> Self {
        let mut status = Self::new(
            Reason::Timeout,
            format!("Too large resource version: {asked}, current: {current}"),
        );
        status.0.causes.push(Cause {
            reason: "ResourceVersionTooLarge",
            field: String::new(),
            message: "Too large resource version".to_owned(),
        });
        status.0.retry_after_s = 1;
        status
    }

    /// The same failure, about this object.
    #[must_use]
    pub fn about(mut self, kind: &ObjectKind, name: &str) -> Self {
        self.0.name = name.to_owned();
        self.0.group = kind.group.to_owned();
        self.0.kind = kind.plural.to_owned();
        self
    }

    /// The same failure with its causes.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.0.causes = causes;
        self
    }

    /// The same failure with a token with which a list can go on.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.0.continue_token = token;
        self
    }

    /// The same failure with the seconds after which to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = seconds;
        self
    }

    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The code of HTTP.
    pub fn code(&self) -> u16 {
        self.0.reason.code()
    }

    /// Why, in words.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields that are wrong.
    pub fn causes(&self) -> &[Cause] {
        &self.0.causes
    }

    /// Seconds after which to try again; zero when that is of no use.
    pub fn retry_after_seconds(&self) -> u32 {
        self.0.retry_after_s
    }

    /// From the body of an answer with this code of HTTP; the code alone counts when the body is none of
    /// ours.
    pub fn from_json(body: &Value, code: u16) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let details = &body["details"];
        let named = Reason::ALL
            .into_iter()
            .find(|reason| body["reason"] == reason.to_string());
        let by_code = || Reason::ALL.into_iter().find(|reason| reason.code() == code);
        let message = match &body["message"] {
            Value::String(message) => message.clone(),
            _ => format!("the server answered {code}"),
        };
        let causes = details["causes"].as_array().into_iter().flatten();
        Self(Box::new(Inner {
            reason: named.or_else(by_code).unwrap_or(Reason::InternalError),
            message,
            name: text(&details["name"]),
            group: text(&details["group"]),
            kind: text(&details["kind"]),
            uid: text(&details["uid"]),
            causes: causes.map(Cause::from_json).collect(),
            retry_after_s: details["retryAfterSeconds"]
                .as_u64()
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or_default(),
            continue_token: text(&body["metadata"]["continue"]),
        }))
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Value {
        let inner = &self.0;
        let mut details = serde_json::Map::new();
        for (key, value) in [
            ("name", &inner.name),
            ("group", &inner.group),
            ("kind", &inner.kind),
            ("uid", &inner.uid),
        ] {
            if !value.is_empty() {
                details.insert(key.to_owned(), value.as_str().into());
            }
        }
        if !inner.causes.is_empty() {
            let causes = inner.causes.iter().map(Cause::to_json);
            details.insert("causes".to_owned(), causes.collect());
        }
        if inner.retry_after_s > 0 {
            details.insert("retryAfterSeconds".to_owned(), inner.retry_after_s.into());
        }
        let mut metadata = json!({});
        if !inner.continue_token.is_empty() {
            metadata["continue"] = inner.continue_token.as_str().into();
        }
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": inner.message,
            "reason": inner.reason.to_string(),
            "code": self.code(),
        });
        if !details.is_empty() {
            body["details"] = details.into();
        }
        body
    }
}

/// The answer to a deletion that left nothing: a `Status` of success.
pub fn success(kind: &ObjectKind, name: &str, uid: &str) -> Value {
    let mut details = json!({ "name": name, "kind": kind.plural, "uid": uid });
    if !kind.group.is_empty() {
        details["group"] = kind.group.into();
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    })
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {self}", self.code(), self.reason())
    }
}

impl std::error::Error for Status {}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let reason = match error.kind() {
            Kind::NotFound => Reason::NotFound,
            Kind::Conflict | Kind::Unchanged => Reason::Conflict,
            Kind::Invalid => Reason::BadRequest,
            Kind::Denied => Reason::Forbidden,
            Kind::Unavailable => Reason::ServiceUnavailable,
            Kind::Timeout => Reason::Timeout,
            Kind::Exhausted => Reason::TooManyRequests,
            Kind::Unsupported => Reason::MethodNotAllowed,
            Kind::Expired => Reason::Expired,
            Kind::Internal => Reason::InternalError,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let kind = match status.reason() {
            Reason::NotFound => Kind::NotFound,
            Reason::AlreadyExists | Reason::Conflict => Kind::Conflict,
            Reason::BadRequest
            | Reason::Invalid
            | Reason::NotAcceptable
            | Reason::UnsupportedMediaType => Kind::Invalid,
            Reason::Unauthorized | Reason::Forbidden => Kind::Denied,
            Reason::Expired => Kind::Expired,
            Reason::RequestEntityTooLarge | Reason::TooManyRequests => Kind::Exhausted,
            Reason::MethodNotAllowed => Kind::Unsupported,
            Reason::ServiceUnavailable => Kind::Unavailable,
            Reason::Timeout => Kind::Timeout,
            Reason::InternalError => Kind::Internal,
        };
        Self::new(kind, status.0.message)
    }
}
