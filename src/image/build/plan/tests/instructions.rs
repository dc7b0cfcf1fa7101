//! One golden Dockerfile an instruction; the config is compared field by field.

use std::collections::BTreeMap;

use serde_json::Value;

use super::golden;
use crate::dockerfile::ast::Dockerfile;

#[test]
fn each_instruction_makes_the_config_it_should() {
    let mut seen = std::collections::BTreeSet::new();
    for path in golden::cases("instructions", "dockerfile") {
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, plan) = golden::plan(&text, &golden::options("")).unwrap();
        let got: Value = serde_json::from_slice(&plan.config.render().unwrap()).unwrap();
        let golden_path = path.with_extension("json");
        if golden::bless() {
            let text = serde_json::to_string_pretty(&got).unwrap() + "\n";
            std::fs::write(&golden_path, text).unwrap();
        }
        let wanted = std::fs::read(&golden_path).unwrap();
        let wanted: Value = serde_json::from_slice(&wanted).unwrap();
        let (wanted, got) = (fields(&wanted), fields(&got));
        let differences: Vec<String> = wanted
            .keys()
            .chain(got.keys())
            .filter(|name| wanted.get(*name) != got.get(*name))
            .map(|name| {
                format!(
                    "{name}: wanted {:?}, got {:?}",
                    wanted.get(name),
                    got.get(name)
                )
            })
            .collect();
        assert!(
            differences.is_empty(),
            "{}: {differences:#?}",
            path.display()
        );
        let dockerfile = Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap();
        let below = dockerfile
            .stages
            .iter()
            .flat_map(|stage| &stage.instructions);
        seen.extend(below.map(|instruction| instruction.kind.name()));
    }
    let all = [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        all,
        "an instruction has no golden file"
    );
}

/// Each leaf of a value by its path: `config.Env[0]`.
fn fields(value: &Value) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(map) if !map.is_empty() => {
                open.extend(
                    map.iter()
                        .map(|(name, value)| (format!("{path}.{name}"), value)),
                );
            }
            Value::Array(list) if !list.is_empty() => {
                let items = list.iter().enumerate();
                open.extend(items.map(|(index, value)| (format!("{path}[{index}]"), value)));
            }
            leaf => {
                fields.insert(path, leaf.to_string());
            }
        }
    }
    fields
}
