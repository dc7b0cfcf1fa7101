//! The specification's errors: a status, a code and a sentence (OCI distribution specification 1.1,
//! "Error codes").

use hyper::StatusCode;
use orc_base::{Error, Kind};

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// More headers, such as how far an upload is.
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// There is no such address or name.
    pub(super) fn name(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    }

    pub(super) fn name_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message)
    }

    pub(super) fn manifest(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(super) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    pub(super) fn blob(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
    }

    pub(super) fn upload_unknown() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "BLOB_UPLOAD_UNKNOWN",
            "there is no such upload: it ended, or took too long",
        )
    }

    pub(super) fn upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn digest(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    /// The body.
    pub(super) fn json(&self) -> String {
        let error = serde_json::json!({"code": self.code, "message": self.message});
        serde_json::json!({"errors": [error]}).to_string()
    }
}

/// What the layers below say. Their words are for people who run this machine, and so are those who
/// may ask it.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let (status, code) = match error.kind() {
            Kind::NotFound => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Kind::Invalid => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Kind::Unsupported => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            Kind::Conflict => (StatusCode::CONFLICT, "DENIED"),
            Kind::Denied => (StatusCode::FORBIDDEN, "DENIED"),
            Kind::Exhausted => (StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        };
        Self::new(status, code, message)
    }
}
