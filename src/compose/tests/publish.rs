//! What others see of a project, and which variables it asks for.

use std::collections::BTreeMap;
use std::path::Path;

use super::support::{HOME, load_with, options};
use crate::files::Memory;
use crate::load::LoadOptions;
use crate::pins::{self, ImageOf};
use crate::publish::{Publication, publication_from};
use crate::render::{Format, render};
use crate::variables::variables;

fn publish(
    files: &[(&str, &str)],
    with_env: bool,
    images: &[(&str, &str)],
) -> orc_base::Result<Publication> {
    let files: BTreeMap<_, _> = files
        .iter()
        .map(|(name, text)| (Path::new(HOME).join(name), (*text).to_owned()))
        .collect();
    let images = images
        .iter()
        .map(|(service, image)| {
            let place = ImageOf::Service((*service).to_owned());
            (place, (*image).to_owned())
        })
        .collect();
    publication_from(&options(), with_env, &images, &Memory(files))
}

const WEB: &str = "
name: shop
include: [more.yaml]
services:
  web:
    extends: {file: base.yaml, service: common}
    image: ${IMAGE:-shop/web}
    ports: ['${PORT}:80']
    environment: {PORT: '${PORT}', COLOR: red, EMPTY: null}
    volumes: ['./conf:/conf:ro', 'data:/data']
volumes: {data: {}}
configs: {note: {content: hello}}
";

#[test]
fn one_document_with_what_is_included_and_variables_as_they_are() {
    let files = [
        ("compose.yaml", WEB),
        ("base.yaml", "services:\n  common: {restart: always}\n"),
        (
            "more.yaml",
            "services:\n  db: {image: postgres, environment: [API_TOKEN=s3cr3t]}\n",
        ),
    ];
    let made = publish(&files, false, &[("db", "postgres@sha256:00")]).unwrap();
    for kept in [
        "image: ${IMAGE:-shop/web}",
        "restart: always",
        "image: postgres@sha256:00",
        "${PORT}",
        "./conf",
        "content: hello",
    ] {
        assert!(
            made.document.contains(kept),
            "{kept} is not in\n{}",
            made.document
        );
    }
    assert!(!made.document.contains(HOME), "{}", made.document);
    let told = made.concerns.join("\n");
    for concern in [
        "service web: values of environment variables (COLOR)",
        "service db: values of environment variables (API_TOKEN)",
        "./conf",
        "configs.note: its content",
        "a secret stands in the file",
    ] {
        assert!(told.contains(concern), "{concern} is not in\n{told}");
    }
    assert!(!told.contains("s3cr3t"), "{told}");
    // Whoever reads it gets the same project.
    let again = load_with(&made.document, &[], &options()).unwrap();
    assert_eq!(
        again.project.services["web"].image.as_deref(),
        Some("shop/web")
    );
}

#[test]
fn what_readers_would_miss_is_refused_or_sent() {
    let file = "services:\n  a: {image: x, env_file: [{path: secret.env}, {path: none.env, required: false}]}\n";
    let files = [("compose.yaml", file), ("secret.env", "TOKEN=abc\n")];
    let refused = publish(&files, false, &[]).unwrap_err().to_string();
    assert!(refused.contains("`--with-env`"), "{refused}");
    let made = publish(&files, true, &[]).unwrap();
    let (name, text) = made.env_files.first_key_value().unwrap();
    assert_eq!((made.env_files.len(), text.as_str()), (1, "TOKEN=abc\n"));
    assert!(made.document.contains(name) && !made.document.contains("secret.env"));
    assert_eq!(made.concerns, ["service a: the content of its env_file"]);

    let built = [("compose.yaml", "services: {a: {build: .}}\n")];
    let refused = publish(&built, false, &[]).unwrap_err().to_string();
    assert!(
        refused.contains("service a is built and has no `image`"),
        "{refused}"
    );
}

#[test]
fn variables_of_the_files_as_they_stand() {
    let as_written = LoadOptions {
        no_interpolate: true,
        no_normalize: true,
        ..options()
    };
    let project = load_with(
        WEB.replace("include: [more.yaml]\n", "").as_str(),
        &[("base.yaml", "services:\n  common: {image: 'x:${TAG:?}'}\n")],
        &as_written,
    )
    .unwrap()
    .project;
    let names: Vec<String> = variables(&project).into_keys().collect();
    // The image of `common` is replaced, and its variable with it.
    assert_eq!(names, ["IMAGE", "PORT"]);
}

#[test]
fn images_are_pinned_alone() {
    let text = "name: p\nservices:\n  a: {image: x, command: run, pre_start: [{image: h, command: y}], volumes: ['./d:/d', {type: image, source: v, target: /v}, {type: image, source: b, target: /b}]}\n  b: {build: .}\nvolumes: {v: {}}\n";
    let mut project = load_with(text, &[], &options()).unwrap().project;
    let found = pins::images(&project);
    assert_eq!(found.values().collect::<Vec<_>>(), ["x", "h", "v"]);
    let pinned = found
        .into_iter()
        .map(|(place, image)| (place, format!("{image}@sha256:00")))
        .collect();
    pins::set_images(&mut project, &pinned);
    assert_eq!(project.services["a"].image.as_deref(), Some("x@sha256:00"));
    let whole = render(&project, Format::Yaml, &[], false).unwrap();
    for image in ["image: h@sha256:00", "source: v@sha256:00", "source: b\n"] {
        assert!(whole.contains(image), "{whole}");
    }
    assert_eq!(pins::unpinned_steps(&project), ["a"]);
    pins::keep_images(&mut project);
    let text = render(&project, Format::Yaml, &[], false).unwrap();
    assert_eq!(
        text,
        "services:\n  a:\n    image: x@sha256:00\n    volumes:\n      - source: v@sha256:00\n        target: /v\n        type: image\n      - source: b\n        target: /b\n        type: image\n  b: {}\n"
    );
}
