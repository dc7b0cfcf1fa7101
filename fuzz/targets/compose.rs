//! Any text as a project: `compose.yaml`, and further files behind lines such as `--- other.yaml`. What
//! loads is printed, and what was printed loads as the same project.

#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use orc_base::{Error, Result};
use orc_compose::files::{Files, Found};
use orc_compose::load::{LoadOptions, load_from};
use orc_compose::render::{Format, render};

/// Where the project is.
const HOME: &str = "/home/demo";

/// Files in memory.
struct Texts(BTreeMap<PathBuf, String>);

impl Files for Texts {
    fn read(&self, path: &Path) -> Result<String> {
        let text = self.0.get(path).cloned();
        text.ok_or_else(|| Error::not_found("no such file or directory"))
    }

    fn look(&self, path: &Path) -> Found {
        match self.0.contains_key(path) {
            true => Found::File,
            false => Found::Nothing,
        }
    }
}

fuzz_target!(|text: &str| {
    let files = Texts(split(text));
    let options = LoadOptions {
        working_dir: HOME.into(),
        profiles: vec!["*".into()],
        ..LoadOptions::default()
    };
    let loaded = match load_from(&options, &files) {
        Ok(loaded) => loaded,
        Err(error) => return check(&error.to_string()),
    };
    for warning in &loaded.warnings {
        check(warning);
    }
    let printed = render(&loaded.project, Format::Yaml, &[], true).expect("a project is printed");
    let again = Texts([(Path::new(HOME).join("compose.yaml"), printed.clone())].into());
    let options = LoadOptions {
        project_name: Some(loaded.project.name.clone()),
        ..options
    };
    match load_from(&options, &again) {
        Ok(again) => {
            let twice = render(&again.project, Format::Yaml, &[], true).expect("as before");
            assert_eq!(printed, twice, "what is printed is the same project");
        }
        // Twice the text may be beyond a bound.
        Err(error) => assert_eq!(
            error.kind(),
            orc_base::Kind::Exhausted,
            "{error}\n{printed}"
        ),
    }
});

/// `compose.yaml`, and what stands behind lines that begin with `--- `.
fn split(text: &str) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut name = Path::new(HOME).join("compose.yaml");
    let mut file = String::new();
    for line in text.lines() {
        match line.strip_prefix("--- ") {
            Some(next) => {
                files.insert(name, std::mem::take(&mut file));
                name = Path::new(HOME).join(next);
            }
            None => {
                file.push_str(line);
                file.push('\n');
            }
        }
    }
    files.insert(name, file);
    files
}

/// Messages say something, and not without end.
fn check(text: &str) {
    assert!(
        !text.is_empty() && text.len() < 64 << 10,
        "{} bytes",
        text.len()
    );
}
