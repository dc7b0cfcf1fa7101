//! The architecture as data, and what fails when the tree leaves it.
//!
//! [`LAYERS`] is the table of the design: a layer may use what it names and nothing else. Changing it
//! is the visible act of changing the architecture. Inside a layer no file imports what imports it,
//! and every file is reached from its `lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every layer and the layers it may use, from the ground up.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("host", &["base"]),
    ("image", &["base"]),
    ("runtime", &["base"]),
    ("net", &["base"]),
    ("engine", &["base", "host", "image", "runtime", "net"]),
    ("docker", &["base", "host"]),
    ("compose", &["base", "host"]),
    ("store", &["base"]),
    ("kube", &["base", "store"]),
    ("cluster", &["base", "host", "kube"]),
];

/// The crates of the tests, which a layer's `testing.rs` may use: only tests compile it.
const OF_TESTS: &[&str] = &["hostile"];

/// Layers that speak to a machine only through their seams: see their `clippy.toml`.
const WITHOUT_SYSTEM_CALLS: &[&str] = &["host", "compose", "cluster"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("an entry").path();
        let of_its_own_tests = path
            .file_name()
            .is_some_and(|name| name == "tests" || name == "testdata");
        if path.is_dir() && !of_its_own_tests {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The code of a file without its unit tests, comments and string contents that look like paths.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a source file");
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// All that follows `prefix` in `text`: `crate::` gives `a::b`, `{a::b, c}` and so on.
fn after<'t>(text: &'t str, prefix: &str) -> Vec<&'t str> {
    text.match_indices(prefix)
        .filter(|(at, _)| {
            let before = text[..*at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
        })
        .map(|(at, _)| &text[at + prefix.len()..])
        .collect()
}

fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

#[test]
fn manifests_name_only_lower_layers() {
    for (layer, allowed) in LAYERS {
        let manifest = source().join(layer).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&manifest).expect("every layer has a manifest");
        let product = manifest
            .split("[dev-dependencies]")
            .next()
            .unwrap_or_default();
        for used in after(product, "orc-").into_iter().map(word) {
            let own = product.contains(&format!("name = \"orc-{used}\""));
            assert!(
                own || allowed.contains(&used),
                "{layer} may not depend on {used}"
            );
        }
    }
}

#[test]
fn code_uses_only_lower_layers() {
    for (layer, allowed) in LAYERS {
        for file in rust_files(&source().join(layer)) {
            for rest in after(&code(&file), "orc_") {
                let used = word(rest);
                let is_path = rest[used.len()..].starts_with("::");
                let of_tests = file.ends_with("testing.rs") && OF_TESTS.contains(&used);
                assert!(
                    !is_path || of_tests || allowed.contains(&used),
                    "{} may not use orc_{used}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_table_is_the_tree() {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(source()).expect("src") {
        let path = entry.expect("an entry").path();
        if path.join("Cargo.toml").exists() {
            found.insert(
                path.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    let table: BTreeSet<String> = LAYERS
        .iter()
        .map(|(layer, _)| (*layer).to_owned())
        .collect();
    assert_eq!(found, table);
}

#[test]
fn layers_without_system_calls_say_so_to_clippy() {
    for layer in WITHOUT_SYSTEM_CALLS {
        let path = source().join(layer).join("clippy.toml");
        let rules = std::fs::read_to_string(path).expect("a clippy.toml");
        for banned in [
            "std::fs::read",
            "std::process::Command::new",
            "std::net::TcpStream::connect",
        ] {
            assert!(
                rules.contains(banned),
                "{layer}/clippy.toml does not ban {banned}"
            );
        }
    }
}

/// The files of a layer by module path (`""` is lib.rs, `"a::b"` is a/b.rs).
fn modules(layer: &str) -> BTreeMap<String, PathBuf> {
    let root = source().join(layer);
    rust_files(&root)
        .into_iter()
        .map(|file| {
            let path = file
                .strip_prefix(&root)
                .expect("below its layer")
                .with_extension("");
            let path = path.to_string_lossy().replace('/', "::");
            let path = path.trim_end_matches("::mod").to_owned();
            let path = match path.as_str() {
                "lib" => String::new(),
                _ => path,
            };
            (path, file)
        })
        .collect()
}

/// The module that `path`, what follows `crate::`, names: the longest one that has a file.
fn module_of(path: &str, modules: &BTreeMap<String, PathBuf>) -> String {
    let mut found = String::new();
    let mut rest = path;
    loop {
        let name = word(rest);
        let next = match found.is_empty() {
            true => name.to_owned(),
            false => format!("{found}::{name}"),
        };
        if name.is_empty() || !modules.contains_key(&next) {
            return found;
        }
        found = next;
        rest = rest[name.len()..].strip_prefix("::").unwrap_or_default();
    }
}

/// Which files each file imports.
fn imports(layer: &str) -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules(layer);
    let mut imports = BTreeMap::new();
    for (module, file) in &modules {
        let code = code(file);
        let mut used = BTreeSet::new();
        for path in after(&code, "crate::") {
            match path.strip_prefix('{') {
                Some(group) => {
                    let group = group.split('}').next().unwrap_or_default();
                    used.extend(
                        group
                            .split(',')
                            .map(|path| module_of(path.trim(), &modules)),
                    );
                }
                None => {
                    used.insert(module_of(path, &modules));
                }
            }
        }
        used.remove(module);
        imports.insert(module.clone(), used);
    }
    imports
}

#[test]
fn no_file_imports_what_imports_it() {
    for (layer, _) in LAYERS {
        let imports = imports(layer);
        let mut done = BTreeSet::new();
        for module in imports.keys() {
            walk(layer, module, &imports, &mut Vec::new(), &mut done);
        }
    }
}

fn walk(
    layer: &str,
    module: &str,
    imports: &BTreeMap<String, BTreeSet<String>>,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) {
    if let Some(start) = path.iter().position(|other| other == module) {
        let circle = path[start..].join(" → ");
        panic!(
            "files of {layer} import each other in a circle: {circle} → {module} (\"\" is lib.rs)"
        );
    }
    if !done.contains(module) {
        path.push(module.to_owned());
        for next in &imports[module] {
            walk(layer, next, imports, path, done);
        }
        path.pop();
        done.insert(module.to_owned());
    }
}

#[test]
fn every_file_is_reached() {
    for (layer, _) in LAYERS {
        let modules = modules(layer);
        for (module, file) in &modules {
            let Some((parent, name)) = module
                .rsplit_once("::")
                .or((!module.is_empty()).then_some(("", module)))
            else {
                continue;
            };
            let parent = modules
                .get(parent)
                .unwrap_or_else(|| panic!("{} has no parent", file.display()));
            let text = std::fs::read_to_string(parent).expect("a source file");
            let declared = text.lines().any(|line| {
                let line = line.trim();
                line.ends_with(&format!("mod {name};"))
            });
            assert!(declared, "{} is reached from nowhere", file.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["src", "tests"] {
        for file in rust_files(&root.join(directory)) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            assert!(
                text.starts_with("//!"),
                "{} has no opening paragraph",
                file.display()
            );
        }
    }
}
