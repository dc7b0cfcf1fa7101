//! From a request's body to JSON: JSON, YAML or protobuf, never more than 3 MiB and a minute.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use serde_json::Value;

use crate::object::MAX_BYTES;
use crate::objects::Patch;
use crate::protobuf;
use crate::status::{Reason, Result, Status};

/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads it whole. 413 when it is too large, 408's sense as 504 when it does not come.
pub(super) async fn read<B>(body: B) -> Result<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BYTES).collect())
        .await
        .map_err(|_| Status::new(Reason::Timeout, "the request's body did not come"))?;
    match whole {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Status::new(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {MAX_BYTES}"),
        )),
        Err(error) => Err(Status::bad_request(format!("the request's body: {error}"))),
    }
}

/// The object in a body. 415 for encodings there are not.
pub(super) fn object(content_type: &str, body: &[u8]) -> Result<Value> {
    match media(content_type) {
        "" | "application/json" => json(body),
        "application/yaml" => yaml(body),
        "application/vnd.kubernetes.protobuf" => Ok(protobuf::decode::object(body)?),
        other => Err(unsupported(
            other,
            &[
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ],
        )),
    }
}

/// The patch in a body; which kind it is the content type says.
pub(super) fn patch(content_type: &str, body: &[u8]) -> Result<Patch> {
    match media(content_type) {
        "application/json-patch+json" => Ok(Patch::Json(json(body)?)),
        "application/merge-patch+json" => Ok(Patch::Merge(json(body)?)),
        "application/strategic-merge-patch+json" => Ok(Patch::Strategic(json(body)?)),
        "application/apply-patch+yaml" => Ok(Patch::Apply(yaml(body)?)),
        other => Err(unsupported(
            other,
            &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ],
        )),
    }
}

fn media(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn unsupported(media: &str, known: &[&str]) -> Status {
    let known = known.join(", ");
    Status::new(
        Reason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: {known}, not {media:?}"
        ),
    )
}

/// serde_json bounds the nesting at 128.
fn json(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).map_err(|error| {
        // The place, not the text: it could be a secret's.
        Status::bad_request(format!(
            "the body is not valid JSON at line {} column {}",
            error.line(),
            error.column()
        ))
    })
}

/// Clients send JSON as YAML, so that is tried first: it is a hundred times faster.
fn yaml(body: &[u8]) -> Result<Value> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Status::bad_request("the body is not valid UTF-8"))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or_else(String::new, |location| {
            format!(" at line {} column {}", location.line(), location.column())
        });
        Status::bad_request(format!("the body is not valid YAML{place}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use serde_json::json;

    #[test]
    fn reads_each_encoding() {
        let object = |media, text: &str| super::object(media, text.as_bytes());
        assert_eq!(
            object("application/json", r#"{"a":1}"#).unwrap(),
            json!({ "a": 1 })
        );
        assert_eq!(
            object("application/json; charset=utf-8", "{}").unwrap(),
            json!({})
        );
        let yaml = object("application/yaml", "a: [1, 'x']\nb: yes\nc: 0644").unwrap();
        assert_eq!(yaml, json!({ "a": [1, "x"], "b": true, "c": 420 }));
        assert_eq!(object("text/plain", "{}").unwrap_err().code(), 415);
        assert_eq!(
            object("application/vnd.kubernetes.protobuf", "x")
                .unwrap_err()
                .code(),
            400
        );
        assert!(matches!(
            patch("application/apply-patch+yaml", b"a: 1").unwrap(),
            Patch::Apply(_)
        ));
        assert_eq!(patch("application/json", b"{}").unwrap_err().code(), 415);
    }

    #[test]
    fn says_nothing_of_what_was_sent() {
        for media in ["application/json", "application/yaml"] {
            let error = object(media, b"{\"password\": hunter2 } [").unwrap_err();
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn refuses_bombs() {
        let deep = "[".repeat(100_000);
        let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for pair in "abcdefghi".as_bytes().windows(2) {
            let (from, to) = (char::from(pair[0]), char::from(pair[1]));
            let alias = format!("*{from},").repeat(9);
            laughs += &format!("{to}: &{to} [{}]\n", alias.trim_end_matches(','));
        }
        for text in [deep.as_str(), laughs.as_str()] {
            for media in ["application/json", "application/yaml"] {
                assert_eq!(object(media, text.as_bytes()).unwrap_err().code(), 400);
            }
        }
    }

    #[tokio::test]
    async fn reads_no_more_than_there_may_be() {
        let fits = Full::new(Bytes::from(vec![b' '; MAX_BYTES]));
        assert_eq!(read(fits).await.unwrap().len(), MAX_BYTES);
        let large = Full::new(Bytes::from(vec![b' '; MAX_BYTES + 1]));
        assert_eq!(read(large).await.unwrap_err().code(), 413);
    }
}
