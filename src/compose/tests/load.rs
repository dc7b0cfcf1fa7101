//! From files to a project: names, variables, profiles, merging, including, extending.

use super::support::{HOME, load, load_with, options, project};
use crate::load::{LoadOptions, project_name_from};

fn env(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_name_comes_from_the_flag_the_variable_the_file_or_the_directory() {
    let text = "name: from-file-${N:-x}\nservices: {a: {image: '${COMPOSE_PROJECT_NAME}'}}\n";
    let name = |options: LoadOptions| {
        let project = load_with(text, &[], &options).unwrap().project;
        let image = project.services["a"].image.clone().unwrap();
        assert_eq!(image, project.name);
        project.name
    };
    assert_eq!(name(options()), "from-file-x");
    let from_variable = LoadOptions {
        environment: env(&[("COMPOSE_PROJECT_NAME", "from-variable")]),
        ..options()
    };
    assert_eq!(name(from_variable.clone()), "from-variable");
    let from_flag = LoadOptions {
        project_name: Some("from-flag".into()),
        ..from_variable
    };
    assert_eq!(name(from_flag.clone()), "from-flag");
    assert_eq!(project("services: {}").name, "demo");
    let nothing = crate::files::Memory::default();
    assert_eq!(
        project_name_from(&from_flag, &nothing).unwrap(),
        "from-flag"
    );
    assert_eq!(project_name_from(&options(), &nothing).unwrap(), "demo");
}

#[test]
fn files_are_found_upwards_with_their_override() {
    let below = LoadOptions {
        working_dir: format!("{HOME}/src/deep").into(),
        ..options()
    };
    let others = [("compose.override.yaml", "services: {a: {image: over}}")];
    let loaded = load_with("services: {a: {image: base}}", &others, &below).unwrap();
    assert_eq!(loaded.project.services["a"].image.as_deref(), Some("over"));
    assert_eq!(loaded.project.working_dir, std::path::Path::new(HOME));
    assert_eq!(loaded.project.files.len(), 2);
}

#[test]
fn compose_file_names_several() {
    let several = LoadOptions {
        environment: env(&[("COMPOSE_FILE", "compose.yaml:b.yaml")]),
        ..options()
    };
    let others = [("b.yaml", "services: {a: {command: x}}")];
    let loaded = load_with("services: {a: {image: base}}", &others, &several).unwrap();
    let a = &loaded.project.services["a"];
    assert_eq!(a.image.as_deref(), Some("base"));
    assert_eq!(a.command.as_deref(), Some(["x".to_owned()].as_slice()));
}

#[test]
fn standard_input_is_a_file() {
    let stdin = LoadOptions {
        files: vec!["-".into()],
        stdin: Some("services: {a: {image: x}}".into()),
        ..options()
    };
    let loaded = crate::load::load_from(&stdin, &crate::files::Memory::default()).unwrap();
    assert_eq!(loaded.project.name, "demo");
}

#[test]
fn variables_from_the_shell_win_over_dotenv() {
    let shell = LoadOptions {
        environment: env(&[("A", "shell")]),
        ..options()
    };
    let text = "services: {a: {image: x, environment: {A: '${A}', B: '${B}', C: '${C}', D: }}}";
    let loaded = load_with(text, &[(".env", "A=file\nB=file\nD=file\n")], &shell).unwrap();
    let environment = &loaded.project.services["a"].environment;
    let value = |name: &str| environment[name].as_deref();
    assert_eq!(
        (value("A"), value("B"), value("C"), value("D")),
        (Some("shell"), Some("file"), Some(""), Some("file"))
    );
    assert_eq!(
        loaded.warnings,
        [
            "compose.yaml:1:65: services.a.environment.C: The \"C\" variable is not set. Defaulting to a blank string."
        ]
    );
    let named = LoadOptions {
        env_files: vec!["one.env".into(), "two.env".into()],
        ..options()
    };
    let files = [
        ("one.env", "A=1\nB=1\n"),
        ("two.env", "B=2\nC=${A}\n"),
        (".env", "D=not read\n"),
    ];
    let loaded = load_with(text, &files, &named).unwrap();
    let environment = &loaded.project.services["a"].environment;
    assert_eq!(environment["B"].as_deref(), Some("2"));
    assert_eq!(environment["C"].as_deref(), Some("1"));
    assert_eq!(environment["D"], None);
}

#[test]
fn env_files_lie_below_environment() {
    let text = "services: {a: {image: x, env_file: [a.env, {path: b.env, required: false}, {path: raw.env, format: raw}], environment: {A: inline}}}";
    let files = [("a.env", "A=file\nB=file\n"), ("raw.env", "R='$X'\n")];
    let loaded = load_with(text, &files, &options()).unwrap();
    let environment = &loaded.project.services["a"].environment;
    assert_eq!(environment["A"].as_deref(), Some("inline"));
    assert_eq!(environment["B"].as_deref(), Some("file"));
    assert_eq!(environment["R"].as_deref(), Some("'$X'"));
}

#[test]
fn profiles_turn_services_on() {
    let text =
        "services: {a: {image: x}, b: {image: x, profiles: [p]}, c: {image: x, profiles: [q]}}";
    let on = |options: LoadOptions| -> Vec<String> {
        let project = load_with(text, &[], &options).unwrap().project;
        project.services.into_keys().collect()
    };
    assert_eq!(on(options()), ["a"]);
    let flag = |profile: &str| LoadOptions {
        profiles: vec![profile.into()],
        ..options()
    };
    assert_eq!(on(flag("p")), ["a", "b"]);
    assert_eq!(on(flag("*")), ["a", "b", "c"]);
    let variable = LoadOptions {
        environment: env(&[("COMPOSE_PROFILES", "p,q")]),
        ..options()
    };
    assert_eq!(on(variable), ["a", "b", "c"]);
    let named = LoadOptions {
        services: vec!["c".into()],
        ..options()
    };
    assert_eq!(on(named), ["a", "c"]);
}

#[test]
fn later_files_merge_by_key() {
    let two = LoadOptions {
        files: vec!["compose.yaml".into(), "b.yaml".into()],
        ..options()
    };
    let base = "
services:
  a:
    image: x
    command: one two
    environment: [A=1, B=1]
    ports: ['80:80', '81:81']
    volumes: ['./x:/d']
    dns: 1.1.1.1
    labels: {k: '1'}
    cap_add: [A]
    healthcheck: {test: a, retries: 3}
    networks: [n]
networks: {n: {}, m: {}}
";
    let over = "
services:
  a:
    command: three
    environment: {B: 2}
    ports: !override ['90:90']
    volumes: ['./y:/d']
    dns: [1.1.1.1, 8.8.8.8]
    labels: !reset {}
    cap_add: [A, B]
    healthcheck: {test: b}
    networks: {m: {aliases: [z]}}
";
    let loaded = load_with(base, &[("b.yaml", over)], &two).unwrap();
    let a = &loaded.project.services["a"];
    assert_eq!(a.command.as_deref(), Some(["three".to_owned()].as_slice()));
    assert_eq!(a.environment["B"].as_deref(), Some("2"));
    assert_eq!(
        a.ports.iter().map(|port| port.target).collect::<Vec<_>>(),
        [90]
    );
    assert_eq!(a.volumes.len(), 1);
    assert_eq!(a.volumes[0].source.as_deref(), Some("/home/demo/y"));
    assert_eq!(a.dns, ["1.1.1.1", "8.8.8.8"]);
    assert!(a.labels.is_empty());
    assert_eq!(a.cap_add, ["A", "B"]);
    let check = a.healthcheck.as_ref().unwrap();
    assert_eq!((check.test[1].as_str(), check.retries), ("b", Some(3)));
    assert_eq!(a.networks.keys().collect::<Vec<_>>(), ["m", "n"]);
}

#[test]
fn extends_takes_paths_from_the_other_file() {
    let text = "services: {a: {extends: {file: lib/base.yaml, service: b}, image: own}}";
    let base = "services:\n  b: {extends: c, volumes: ['./d:/d']}\n  c: {image: x, command: go}\n";
    let loaded = load_with(text, &[("lib/base.yaml", base)], &options()).unwrap();
    let a = &loaded.project.services["a"];
    assert_eq!(a.image.as_deref(), Some("own"));
    assert_eq!(a.command.as_deref(), Some(["go".to_owned()].as_slice()));
    assert_eq!(a.volumes[0].source.as_deref(), Some("/home/demo/lib/d"));
    assert_eq!(loaded.project.services.len(), 1);
}

#[test]
fn include_brings_a_project_of_its_own() {
    let text = "include: [lib/compose.yaml]\nservices: {a: {image: x, depends_on: [b]}}";
    let files = [
        (
            "lib/compose.yaml",
            "services: {b: {image: '${TAG}', volumes: ['./d:/d']}}",
        ),
        ("lib/.env", "TAG=from-lib\n"),
    ];
    let loaded = load_with(text, &files, &options()).unwrap();
    let b = &loaded.project.services["b"];
    assert_eq!(b.image.as_deref(), Some("from-lib"));
    assert_eq!(b.volumes[0].source.as_deref(), Some("/home/demo/lib/d"));
}

#[test]
fn two_includes_may_not_disagree() {
    let text = "include: [one.yaml, two.yaml]\n";
    let files = |second: &'static str| {
        [
            ("one.yaml", "services: {b: {image: x}}"),
            ("two.yaml", second),
        ]
    };
    assert!(load_with(text, &files("services: {b: {image: x}}"), &options()).is_ok());
    let error = load_with(text, &files("services: {b: {image: y}}"), &options()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("services.b: conflicts with imported resource"),
        "{error}"
    );
}

#[test]
fn what_is_obsolete_is_said() {
    let loaded = load("version: '3'\nservices: {a: {image: x}}\n");
    assert!(loaded.warnings[0].contains("the attribute `version` is obsolete"));
}

#[test]
fn the_digest_sees_what_makes_a_container_and_nothing_else() {
    let hash = |text: &str| project(text).services["a"].hash.clone();
    let base = hash("services: {a: {image: x, command: y}}");
    for same in [
        "services: {a: {command: [y], image: x}}",
        "services: {a: {image: x, command: y, scale: 3, profiles: []}}",
        "services: {a: {image: x, command: y, pull_policy: always, x-more: 1}}",
        "services: {a: {image: x, command: y, depends_on: [b]}, b: {image: x}}",
    ] {
        // An empty list is still a difference to nobody.
        assert_eq!(hash(same), base, "{same}");
    }
    assert_ne!(hash("services: {a: {image: x, command: z}}"), base);
    // As docker compose has it: a section `deploy` is a difference, its replicas are none.
    let deploy = |inner: &str| {
        hash(&format!(
            "services: {{a: {{image: x, deploy: {{{inner}}}}}}}"
        ))
    };
    assert_eq!(deploy("replicas: 2"), deploy("replicas: 3"));
    assert_ne!(deploy("replicas: 2"), deploy("mode: global"));
    assert_ne!(
        hash("services: {a: {image: x, command: y, labels: {l: m}}}"),
        base
    );
}

#[test]
fn a_digest_of_its_own_sees_files_that_are_given() {
    let hash = |text: &str| project(text).services["a"].inputs.clone();
    let with = |rest: &str| hash(&format!("services: {{a: {{image: x, configs: [c]}}{rest}"));
    let base = with("}\nconfigs: {c: {content: one}}\n");
    assert_ne!(with("}\nconfigs: {c: {content: two}}\n"), base);
    assert_ne!(with("}\nconfigs: {c: {file: ./one}}\n"), base);
    let linked = with(", b: {image: x, links: ['a:friend']}}\nconfigs: {c: {content: one}}\n");
    // What others call it is theirs to know.
    assert_eq!(linked, base);
}
