//! Turns a registry's refusals into errors that say what to do.
//!
//! Pure. Knows the JSON of the distribution specification's errors and the HTTP statuses; foreign text
//! is shortened, freed of line breaks and of every secret that was sent.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use orc_base::{Error, Kind};

use crate::registry::retry::{Failure, Hope};

const MAX_SHOWN: usize = 300;

/// What was asked for, to name it in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A manifest by name.
    Manifest,
    /// A layer or a config.
    Blob,
    /// Anything that changes the registry.
    Upload,
    /// A token.
    Token,
    /// Which tags there are.
    Tags,
    /// Whether it knows an account.
    Login,
}

/// Everything a refusal is made of.
pub(crate) struct Refusal<'a> {
    /// The registry as the user wrote it.
    pub(crate) registry: &'a str,
    /// The repository on it.
    pub(crate) repository: &'a str,
    pub(crate) asked: Asked,
    pub(crate) status: StatusCode,
    /// The start of the body.
    pub(crate) body: &'a [u8],
    pub(crate) retry_after: Option<Duration>,
    /// Whether credentials were at hand.
    pub(crate) had_credentials: bool,
    /// What must not be printed.
    pub(crate) secrets: &'a [String],
}

impl Refusal<'_> {
    /// The error, and whether trying again may help.
    pub(crate) fn failure(&self) -> Failure {
        let (kind, text) = self.words();
        let hope = match self.status.as_u16() {
            429 | 503 => self.retry_after.map_or(Hope::Soon, Hope::After),
            408 | 425 | 500 | 502 | 504 => Hope::Soon,
            _ => Hope::None,
        };
        Failure {
            error: Error::new(kind, text),
            hope,
        }
    }

    fn words(&self) -> (Kind, String) {
        let Self {
            registry,
            repository,
            status,
            ..
        } = self;
        let said = said(self.body, self.secrets);
        let because = said
            .as_deref()
            .map_or(String::new(), |said| format!(": {said}"));
        let code = status.as_u16();
        if self.asked == Asked::Login && matches!(code, 401 | 403) {
            let text = format!(
                "registry {registry} refuses this login ({code}){because}: check the user name and the password"
            );
            return (Kind::Denied, text);
        }
        match code {
            401 if self.had_credentials => (
                Kind::Denied,
                format!(
                    "registry {registry} refuses the credentials for {repository} ({code}){because}: run `orc login {registry}` with an account that may do this"
                ),
            ),
            401 => (
                Kind::Denied,
                format!(
                    "registry {registry} gives no access to {repository} without credentials ({code}){because}: check the name, or run `orc login {registry}`"
                ),
            ),
            403 => (
                Kind::Denied,
                format!(
                    "registry {registry} denies access to {repository} ({code}){because}: check the name, or run `orc login {registry}` with an account that may do this"
                ),
            ),
            404 => (Kind::NotFound, self.missing(said.as_deref())),
            407 => (
                Kind::Denied,
                format!(
                    "a proxy before registry {registry} asks for credentials ({code}): put them into the proxy's URL"
                ),
            ),
            408 | 504 => (
                Kind::Timeout,
                format!("registry {registry} gave up waiting ({code}){because}: try again later"),
            ),
            413 => (
                Kind::Exhausted,
                format!("registry {registry} takes no upload as large as this ({code}){because}"),
            ),
            429 => (Kind::Unavailable, self.too_many(&because)),
            507 => (
                Kind::Exhausted,
                format!("registry {registry} has no space left ({code}){because}"),
            ),
            500.. => (
                Kind::Unavailable,
                format!(
                    "registry {registry} failed ({}){because}: try again later",
                    self.status
                ),
            ),
            _ => (
                Kind::Invalid,
                format!(
                    "registry {registry} refuses the request for {repository} ({}){because}",
                    self.status
                ),
            ),
        }
    }

    fn missing(&self, said: Option<&str>) -> String {
        let Self {
            registry,
            repository,
            ..
        } = self;
        match (self.asked, said) {
            (Asked::Manifest, said) => format!(
                "{}: check the name and the tag",
                said.unwrap_or("manifest unknown")
            ),
            (Asked::Token, _) => {
                format!("the place where registry {registry} issues tokens does not exist (404)")
            }
            (Asked::Tags | Asked::Login, Some(said)) => format!("{said}: check the name"),
            (Asked::Tags, None) => {
                format!("registry {registry} has no repository {repository} (404)")
            }
            (Asked::Login, None) => format!("{registry} is not a registry (404)"),
            (Asked::Blob | Asked::Upload, Some(said)) => {
                format!("registry {registry} does not have it in {repository}: {said}")
            }
            (Asked::Blob | Asked::Upload, None) => {
                format!("registry {registry} does not have it in {repository} (404)")
            }
        }
    }

    fn too_many(&self, because: &str) -> String {
        let registry = self.registry;
        let when = match self.retry_after {
            Some(wait) if !wait.is_zero() => {
                format!("try again in {}", wait_words(wait))
            }
            _ => "try again later".into(),
        };
        let login = match self.had_credentials {
            true => String::new(),
            false => format!(", or run `orc login {registry}` for a higher limit"),
        };
        format!("registry {registry} has had too many requests (429){because}: {when}{login}")
    }
}

fn wait_words(wait: Duration) -> String {
    match wait.as_secs() {
        secs @ 0..=119 => format!("{secs} s"),
        secs @ 120..=359_999 => format!("{} min", secs.div_ceil(60)),
        _ => "some days".into(),
    }
}

/// What the body says, when it is the specification's JSON: `manifest unknown: no such tag`.
fn said(body: &[u8], secrets: &[String]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<One>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }

    let body: Body = serde_json::from_slice(body).ok()?;
    let text = match body.errors.into_iter().next() {
        Some(one) => {
            let code = one
                .code
                .unwrap_or_default()
                .to_lowercase()
                .replace('_', " ");
            match one.message.unwrap_or_default() {
                message if message.to_lowercase() == code => message,
                message if message.is_empty() => code,
                message if code.is_empty() => message,
                message => format!("{code}: {message}"),
            }
        }
        None => body.details.or(body.message)?,
    };
    let text = clean(&text, secrets);
    (!text.is_empty()).then_some(text)
}

/// Foreign text on one line, short, and without secrets.
pub(crate) fn clean(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "…");
    }
    let line: String = text
        .trim()
        .chars()
        .take(MAX_SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.trim_end_matches(['.', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<'a>(status: u16, body: &'a str, secrets: &'a [String]) -> Refusal<'a> {
        Refusal {
            registry: "localhost:5000",
            repository: "a/b",
            asked: Asked::Manifest,
            status: StatusCode::from_u16(status).unwrap(),
            body: body.as_bytes(),
            retry_after: None,
            had_credentials: false,
            secrets,
        }
    }

    fn check(refusal: &Refusal<'_>, kind: Kind, text: &str) {
        let failure = refusal.failure();
        assert_eq!(failure.error.to_string(), text);
        assert_eq!(failure.error.kind(), kind);
    }

    #[test]
    fn says_what_is_wrong_and_what_to_do() {
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        let name = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#;
        for (status, body, kind, text) in [
            (
                404,
                unknown,
                Kind::NotFound,
                "manifest unknown: check the name and the tag",
            ),
            (
                404,
                name,
                Kind::NotFound,
                "name unknown: repository name not known to registry: check the name and the tag",
            ),
            (
                404,
                "<html>",
                Kind::NotFound,
                "manifest unknown: check the name and the tag",
            ),
            (
                401,
                "",
                Kind::Denied,
                "registry localhost:5000 gives no access to a/b without credentials (401): check the name, or run `orc login localhost:5000`",
            ),
            (
                403,
                "",
                Kind::Denied,
                "registry localhost:5000 denies access to a/b (403): check the name, or run `orc login localhost:5000` with an account that may do this",
            ),
            (
                500,
                r#"{"message": "boom.\nsecond"}"#,
                Kind::Unavailable,
                "registry localhost:5000 failed (500 Internal Server Error): boom. second: try again later",
            ),
            (
                418,
                "[]",
                Kind::Invalid,
                "registry localhost:5000 refuses the request for a/b (418 I'm a teapot)",
            ),
            (
                504,
                "",
                Kind::Timeout,
                "registry localhost:5000 gave up waiting (504): try again later",
            ),
        ] {
            check(&refusal(status, body, &[]), kind, text);
        }
        let known = Refusal {
            had_credentials: true,
            ..refusal(401, "", &[])
        };
        check(
            &known,
            Kind::Denied,
            "registry localhost:5000 refuses the credentials for a/b (401): run `orc login localhost:5000` with an account that may do this",
        );
        let busy = Refusal {
            retry_after: Some(Duration::from_secs(3600)),
            ..refusal(429, "", &[])
        };
        check(
            &busy,
            Kind::Unavailable,
            "registry localhost:5000 has had too many requests (429): try again in 60 min, or run `orc login localhost:5000` for a higher limit",
        );
        assert_eq!(busy.failure().hope, Hope::After(Duration::from_secs(3600)));
    }

    #[test]
    fn only_some_refusals_may_pass() {
        for (status, hope) in [
            (400, Hope::None),
            (401, Hope::None),
            (404, Hope::None),
            (429, Hope::Soon),
            (500, Hope::Soon),
            (501, Hope::None),
            (502, Hope::Soon),
            (503, Hope::Soon),
            (505, Hope::None),
        ] {
            assert_eq!(refusal(status, "", &[]).failure().hope, hope, "{status}");
        }
    }

    #[test]
    fn foreign_words_are_short_and_keep_secrets() {
        let body = format!(
            r#"{{"errors":[{{"code":"X","message":"you sent s3cr3t\n\u001b[31m{}"}}]}}"#,
            "y".repeat(10_000)
        );
        let secrets = ["s3cr3t".to_owned()];
        let text = refusal(400, &body, &secrets).failure().error.to_string();
        assert!(text.contains("you sent …"), "{text}");
        assert!(!text.contains("s3cr3t") && !text.contains('\u{1b}') && !text.contains('\n'));
        assert!(text.len() < 600);
    }
}
