//! Builds: the accounts that come with them, and the lines of orc's own builds.

use std::collections::BTreeMap;

use base64::Engine as _;
use orc_base::{Error, Kind, Result};
use orc_host::image::Credentials;
use orc_host::image_build::BuildEvent;

use crate::convert::image::{TOLERANT, account};
use crate::convert::kind;
use crate::wire::build::{Failure, Line};
use crate::wire::image::Auth;

/// Docker's own name for its registry in `X-Registry-Config`.
const HUB: &str = "https://index.docker.io/v1/";

/// The header `X-Registry-Config`: accounts by registry. The error repeats nothing of it.
pub(crate) fn accounts(header: &str) -> Result<BTreeMap<String, Credentials>> {
    let header = header.trim().replace('+', "-").replace('/', "_");
    if header.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wrong =
        || Error::invalid("the header `X-Registry-Config` is not a base64 object of accounts");
    let bytes = TOLERANT.decode(header).map_err(|_| wrong())?;
    let auths: Option<BTreeMap<String, Auth>> =
        serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let mut accounts = BTreeMap::new();
    for (registry, auth) in auths.unwrap_or_default() {
        if let Some(account) = account(auth, "X-Registry-Config")? {
            accounts.insert(registry_name(&registry).to_owned(), account);
        }
    }
    Ok(accounts)
}

/// The host of a key of `config.json`, some of which are addresses.
fn registry_name(key: &str) -> &str {
    if key == HUB {
        return "docker.io";
    }
    let bare = ["https://", "http://"]
        .iter()
        .find_map(|scheme| key.strip_prefix(scheme))
        .unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

/// One line for orc's own client.
pub(crate) fn line(event: Result<BuildEvent>) -> Line {
    match event {
        Ok(event) => Line::Event(event),
        Err(error) => Line::Failed {
            error: Failure {
                kind: kind::word(error.kind()).into(),
                message: error.to_string(),
            },
        },
    }
}

/// The inverse of [`line`].
pub(crate) fn event(line: Line) -> Result<BuildEvent> {
    match line {
        Line::Event(event) => Ok(event),
        Line::Failed { error } => Err(Error::new(
            kind::of(Some(error.kind.as_str()), 500),
            error.message,
        )),
    }
}

/// Whether a failed build's error has a kind that a caller of the classic API acts on.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Invalid | Kind::Unsupported | Kind::Denied | Kind::NotFound
    )
}

#[cfg(test)]
mod tests {
    use orc_host::image_build::{BuildStep, StepState};
    use orc_host::stream::Output;

    use super::*;

    #[test]
    fn accounts_by_registry() {
        let text = r#"{"https://index.docker.io/v1/":{"username":"me","password":"secret"},
            "http://localhost:5000/v2/":{"auth":"bWU6c2VjcmV0"},"empty.example":{}}"#;
        let header = base64::engine::general_purpose::URL_SAFE.encode(text);
        let accounts = accounts(&header).unwrap();
        assert_eq!(
            accounts.keys().collect::<Vec<_>>(),
            ["docker.io", "localhost:5000"]
        );
        assert!(
            accounts
                .values()
                .all(|account| account.password == "secret")
        );
        let error = super::accounts("c2VjcmV0").unwrap_err().to_string();
        assert!(
            !error.contains("secret") && !error.contains("c2Vj"),
            "{error}"
        );
        assert!(super::accounts("").unwrap().is_empty());
    }

    #[test]
    fn lines_come_back() {
        let events = [
            BuildEvent::Planned(vec![BuildStep {
                stage: "web".into(),
                position: Some((1, 2)),
                text: "RUN make".into(),
                line: 3,
            }]),
            BuildEvent::Step {
                step: 0,
                state: StepState::Failed {
                    why: "exit code: 7".into(),
                    exit_code: Some(7),
                },
                time: orc_base::Time::from_secs(5),
            },
            BuildEvent::Output {
                step: 0,
                output: Output::Stderr,
                bytes: b"text\n".to_vec(),
            },
            BuildEvent::Output {
                step: 0,
                output: Output::Stdout,
                bytes: vec![0xff, 0, 10],
            },
            BuildEvent::Built {
                image: "sha256:00".into(),
            },
        ];
        for sent in events {
            let text = serde_json::to_string(&line(Ok(sent.clone()))).unwrap();
            assert!(!text.contains('\n'));
            let back = event(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back, sent, "{text}");
        }
        let error = Error::new(Kind::Exhausted, "disk full").within("build x");
        let text = serde_json::to_string(&line(Err(error.clone()))).unwrap();
        let back = event(serde_json::from_str(&text).unwrap()).unwrap_err();
        assert_eq!(
            (back.kind(), back.to_string()),
            (error.kind(), error.to_string())
        );
    }
}
