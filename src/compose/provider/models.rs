//! How the plug-in `docker-model` is spoken to: docker compose's way of preparing a model.
//!
//! `ls --json` says which models are there, `pull` fetches one, `configure` sets it up, and
//! `status --json` says where models answer.

use orc_base::{Error, Result};
use serde::Deserialize;

use crate::model::Project;
use crate::model::provider::Model;
use crate::provider::call::{Call, environment};

/// The plug-in's name as a program.
pub const PROGRAM: &str = "docker-model";

/// The first version that takes flags for the program that runs a model.
const FLAGS_SINCE: [u64; 3] = [1, 0, 6];

/// A call of the plug-in.
pub(crate) fn call(project: &Project, arguments: Vec<String>) -> Call {
    Call {
        program: PROGRAM.to_owned(),
        arguments,
        environment: environment(project),
    }
}

/// Same plug-in, same variables, other arguments.
pub(crate) fn with(call: &Call, arguments: &[&str]) -> Call {
    Call {
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        ..call.clone()
    }
}

/// `configure [--context-size N] MODEL [-- FLAGS]`.
pub(crate) fn configure(model: &Model) -> Vec<String> {
    let mut words = vec!["configure".to_owned()];
    if let Some(size) = model.context_size.filter(|size| *size > 0) {
        words.extend(["--context-size".to_owned(), size.to_string()]);
    }
    words.push(model.model.clone());
    if !model.runtime_flags.is_empty() {
        words.push("--".to_owned());
        words.extend(model.runtime_flags.iter().cloned());
    }
    words
}

/// Whether `ls --json` names the model.
pub(crate) fn is_there(list: &str, model: &str) -> Result<bool> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default)]
        tags: Vec<String>,
    }
    let listed: Vec<Listed> = read("ls --json", list)?;
    Ok(listed
        .iter()
        .any(|one| one.tags.iter().any(|tag| tag == model)))
}

/// The address in `status --json`.
pub(crate) fn endpoint(status: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Status {
        endpoint: String,
    }
    read::<Status>("status --json", status).map(|status| status.endpoint)
}

/// Whether the version in `docker-cli-plugin-metadata` takes flags for the program that runs a model.
pub(crate) fn takes_flags(metadata: &str) -> bool {
    #[derive(Deserialize)]
    struct Plugin {
        #[serde(rename = "Version", default)]
        version: String,
    }
    let Ok(plugin) = serde_json::from_str::<Plugin>(metadata) else {
        return false;
    };
    let numbers = plugin.version.trim_start_matches('v').split(['-', '+']);
    let numbers = numbers.take(1).flat_map(|core| core.split('.'));
    let numbers: Vec<u64> = numbers.map_while(|part| part.parse().ok()).collect();
    numbers.as_slice() >= FLAGS_SINCE.as_slice()
}

fn read<'t, T: Deserialize<'t>>(question: &str, answer: &'t str) -> Result<T> {
    serde_json::from_str(answer).map_err(|error| {
        Error::invalid(format!(
            "`{PROGRAM} {question}` printed no JSON that is understood: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_need_a_version() {
        for (version, expected) in [
            ("v1.0.6", true),
            ("1.0.10", true),
            ("2.0", true),
            ("1.0.5", false),
            ("v0.9.9", false),
            ("1.0.6-rc1", true),
            ("main", false),
        ] {
            let text = format!(r#"{{"SchemaVersion":"0.1.0","Version":"{version}"}}"#);
            assert_eq!(takes_flags(&text), expected, "{version}");
        }
        assert!(!takes_flags("no JSON"));
    }

    #[test]
    fn a_model_is_configured_by_its_size_and_flags() {
        let model = Model {
            model: "ai/smollm2".into(),
            context_size: Some(1024),
            runtime_flags: vec!["--verbose".into()],
            ..Model::default()
        };
        assert_eq!(
            configure(&model),
            [
                "configure",
                "--context-size",
                "1024",
                "ai/smollm2",
                "--",
                "--verbose"
            ]
        );
        assert!(is_there(r#"[{"id":"x","tags":["ai/smollm2"]}]"#, "ai/smollm2").unwrap());
        assert!(!is_there("[]", "ai/smollm2").unwrap());
        assert!(is_there("oops", "x").is_err());
        assert_eq!(
            endpoint(r#"{"endpoint":"http://e/"}"#).unwrap(),
            "http://e/"
        );
    }
}
