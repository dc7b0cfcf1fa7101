//! Reads golden files, fills in base images, and compares.

use std::path::{Path, PathBuf};

use orc_base::Result;

use crate::build::graph::{Bases, Network, Plan, Source};
use crate::build::plan::make;
use crate::build::plan::options::PlanOptions;
use crate::config::{ConfigFile, History};
use crate::dockerfile::ast::Dockerfile;
use crate::dockerfile::ignore::Ignore;
use crate::platform::Platform;

/// Where the golden files are.
pub(super) fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/dockerfile")
        .join(name)
}

/// All files of a directory that end so, in order.
pub(super) fn cases(name: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory(name)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == ending)
    });
    paths.sort();
    paths
}

/// Whether golden files are written.
pub(super) fn bless() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Compares a text with a golden file.
pub(super) fn check(path: &Path, text: &str) {
    if bless() {
        std::fs::write(path, text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = golden.lines().zip(text.lines()).enumerate();
    if let Some((number, (wanted, got))) = lines.find(|(_, (wanted, got))| wanted != got) {
        panic!(
            "{} line {}:\n  wanted {wanted}\n  got    {got}\nall:\n{text}",
            path.display(),
            number + 1
        );
    }
    assert_eq!(golden, text, "{}", path.display());
}

/// Options as text: `arg A=1`, `target x`, one a line.
pub(super) fn options(text: &str) -> PlanOptions {
    let mut options = PlanOptions::new(Platform::new("linux", "amd64", ""));
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap();
        let pair = || {
            let (name, value) = rest.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        match word {
            "arg" => options.args.extend([pair()]),
            "label" => options.labels.extend([pair()]),
            "all" => options.all_stages = true,
            "target" => options.target = Some(rest.into()),
            "platform" => options.platform = Some(rest.parse().unwrap()),
            "context" => options.contexts.extend([rest.to_owned()]),
            "allow" if rest == "host" => options.allow_host_network = true,
            "allow" => options.allow_insecure = true,
            "network" if rest == "none" => options.network = Network::None,
            "network" => options.network = Network::Host,
            "ignore" => options.ignore = Ignore::parse(&rest.replace(' ', "\n")).unwrap(),
            other => panic!("{other} is no option"),
        }
    }
    options
}

/// The config of a base image: from a golden file, or of a small image.
fn base(source: &Source) -> Option<ConfigFile> {
    let (name, platform) = match source {
        Source::Context(None) => return None,
        Source::Context(Some(name)) => (name.as_str(), Platform::new("linux", "amd64", "")),
        Source::Image {
            reference,
            platform,
        } => (reference.as_str(), platform.clone()),
    };
    let short = name
        .split([':', '@'])
        .next()
        .unwrap_or_default()
        .rsplit('/')
        .next()
        .unwrap();
    let path = directory("bases").join(format!("{short}.json"));
    if let Ok(bytes) = std::fs::read(path) {
        return Some(ConfigFile::parse(&bytes).unwrap());
    }
    if matches!(source, Source::Context(_)) {
        return None;
    }
    let mut file = ConfigFile {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant,
        ..ConfigFile::default()
    };
    file.config.env = vec!["PATH=/bin".into()];
    file.config.cmd = Some(vec!["/bin/sh".into()]);
    file.history = vec![History {
        created_by: format!("base {short}"),
        ..History::default()
    }];
    Some(file)
}

/// What is wanted and what is planned, asking for configs until nothing new is needed.
pub(super) fn plan(text: &str, options: &PlanOptions) -> Result<(String, Plan)> {
    let dockerfile = Dockerfile::parse("Dockerfile", text.as_bytes())?;
    let mut bases = Bases::new();
    for _ in 0..10 {
        let wanted = make::wanted(&dockerfile, options, &bases)?;
        let needs = wanted.iter().filter(|(_, need)| need.config);
        let known = bases.len();
        bases.extend(needs.filter_map(|(source, _)| Some((source.clone(), base(source)?))));
        if bases.len() > known {
            continue;
        }
        let mut shown = String::new();
        for (source, need) in &wanted {
            let config = if need.config { " with its config" } else { "" };
            let name = match source {
                Source::Image {
                    reference,
                    platform,
                } => format!("{reference} for {platform}"),
                Source::Context(None) => "the context".into(),
                Source::Context(Some(name)) => format!("the context {name}"),
            };
            shown.push_str(&format!("wants {name}{config} (line {})\n", need.line));
        }
        return Ok((shown, make::plan(&dockerfile, options, &bases)?));
    }
    panic!("more is wanted each time")
}
