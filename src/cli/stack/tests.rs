//! Golden objects of projects: what each attribute becomes in Kubernetes, and what is said of the rest.
//!
//! A case in `testdata/manifests.txt` is a title after `===`, a Compose file, and after `>>>` what comes
//! of it: warnings, then objects. What every object of a project has (the namespace and its own
//! object, the labels that say whose it is) is left out but for the first case.
//! `BLESS=1` writes the file anew; read the difference.

use std::path::{Path, PathBuf};

use orc_compose::load::{LoadOptions, load};
use orc_compose::model::Project;
use orc_compose::render::document;
use serde_json::Value;

use crate::cli::compose::manifests::contents;
use crate::cli::stack::bundle::lower;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/stack/testdata/manifests.txt")
}

fn project(text: &str) -> Project {
    let variables = [("TOKEN".to_owned(), "s3cret".to_owned())];
    let options = LoadOptions {
        files: vec!["-".into()],
        stdin: Some(text.to_owned()),
        project_directory: Some("/srv/demo".into()),
        working_dir: "/".into(),
        environment: variables.into(),
        ..LoadOptions::default()
    };
    load(&options).unwrap().project
}

/// What is printed of an object.
fn shown(mut json: Value, whole: bool) -> String {
    if let Some(metadata) = json["metadata"].as_object_mut().filter(|_| !whole) {
        metadata.remove("namespace");
        metadata.remove("labels");
    }
    document(&json).unwrap()
}

fn result(text: &str, whole: bool) -> String {
    let project = project(text);
    let bundle = match contents(&project).and_then(|contents| lower(&project, &contents)) {
        Ok(bundle) => bundle,
        Err(error) => return format!("error: {error}\n"),
    };
    let warnings = bundle.warnings.iter();
    let warnings: String = warnings.map(|text| format!("warning: {text}\n")).collect();
    let objects = bundle.objects.into_iter();
    let objects: Vec<String> = objects
        .filter(|object| whole || object.json["kind"] != "Namespace")
        .map(|object| format!("--- {}\n{}", object.stem, shown(object.json, whole)))
        .collect();
    warnings + &objects.concat()
}

#[test]
fn every_case_is_as_its_golden_file_says() {
    let text = std::fs::read_to_string(goldens()).unwrap();
    let mut blessed = Vec::new();
    let mut wrong = Vec::new();
    for (index, case) in text.split("=== ").skip(1).enumerate() {
        let (head, expected) = case.split_once(">>>\n").unwrap_or((case, ""));
        let (title, compose) = head.split_once('\n').unwrap();
        let compose = format!("name: demo\n{compose}");
        let found = result(&compose, index == 0);
        if found.trim() != expected.trim() {
            wrong.push(format!("{title}\n{found}"));
        }
        blessed.push(format!("=== {}\n>>>\n{found}", head.trim_end()));
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(goldens(), blessed.join("\n")).unwrap();
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Whether an object has only the fields that Kubernetes knows, with values that it takes: it comes out
/// of Kubernetes' own types as it went in.
fn is_understood(json: &Value) {
    use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1;
    use k8s_openapi::api::networking::v1::NetworkPolicy;

    fn again<T: serde::de::DeserializeOwned + serde::Serialize>(json: &Value) -> Value {
        let typed: T = serde_json::from_value(json.clone())
            .unwrap_or_else(|error| panic!("{error}: {json:#}"));
        serde_json::to_value(typed).unwrap()
    }
    let read = match json["kind"].as_str().unwrap() {
        "ConfigMap" => again::<v1::ConfigMap>,
        "DaemonSet" => again::<DaemonSet>,
        "Deployment" => again::<Deployment>,
        "Job" => again::<Job>,
        "Namespace" => again::<v1::Namespace>,
        "NetworkPolicy" => again::<NetworkPolicy>,
        "PersistentVolumeClaim" => again::<v1::PersistentVolumeClaim>,
        "Secret" => again::<v1::Secret>,
        "Service" => again::<v1::Service>,
        kind => panic!("nobody makes a {kind}"),
    };
    assert_eq!(read(json), *json);
}

#[test]
fn kubernetes_understands_every_object() {
    let text = std::fs::read_to_string(goldens()).unwrap();
    let mut count = 0;
    for case in text.split("=== ").skip(1) {
        let (head, _) = case.split_once(">>>\n").unwrap();
        let (_, compose) = head.split_once('\n').unwrap();
        let project = project(&format!("name: demo\n{compose}"));
        let bundle = lower(&project, &contents(&project).unwrap()).unwrap();
        bundle
            .objects
            .iter()
            .for_each(|object| is_understood(&object.json));
        count += bundle.objects.len();
    }
    assert!(count > 50, "{count}");
}

#[test]
fn a_name_that_something_else_gets_is_refused() {
    let text =
        "name: demo\nservices:\n  web: {image: x, ports: ['80:80']}\n  web-published: {image: x}\n";
    assert_eq!(
        result(text, false),
        "error: two things would be the Service web-published in Kubernetes: rename one\n"
    );
}

#[test]
fn names_that_become_one_are_refused() {
    let text = "name: demo\nservices:\n  a_b: {image: x}\n  a.b: {image: x}\n";
    assert_eq!(
        result(text, false),
        "error: services a.b and a_b would both be called a-b in Kubernetes: rename one\n"
    );
}

#[test]
fn texts_that_yaml_takes_for_other_things_are_quoted() {
    // kubectl reads YAML 1.1.
    for text in [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "N",
        "true",
        "null",
        "~",
        "",
        "0644",
        "0o17",
        "0x1f",
        "1e3",
        "1.5",
        ".5",
        "12:30:00",
        "190:20:30",
        "2001-01-01",
        "1_000",
        "=",
        "<<",
        "- a",
        "a: b",
        "a #b",
        "@a",
        "`a`",
        "%a",
        "!a",
        "&a",
        "*a",
        "| a",
        "> a",
        "? a",
        "{a",
        "[a",
        "'",
        "\"",
        " a ",
        "#",
        ".inf",
        ".NaN",
        "+1",
        "-0",
        "0b11",
    ] {
        let yaml = document(&serde_json::json!({"a": text})).unwrap();
        let value = yaml.strip_prefix("a: ").unwrap_or_default();
        assert!(value.starts_with(['"', '\'']), "{text}: {yaml}");
    }
}
