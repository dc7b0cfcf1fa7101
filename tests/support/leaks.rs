//! What a test leaves behind: everything orc makes on a host, as sets of lines that must be equal
//! before and after.
//!
//! Links, addresses, routes, firewall rules, listening sockets, mounts, cgroups, processes, files of
//! both roots, and the descriptors of the daemon. Only this lab's: other tests run beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::lab::Lab;

/// What is on a host, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<&'static str, BTreeSet<String>>);

impl Snapshot {
    /// Looks at a host.
    pub(crate) fn take(lab: &Lab) -> Self {
        let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        Self(BTreeMap::from([
            ("links", lines(links(lab))),
            (
                "addresses",
                lines(lab.host(["ip", "-o", "-4", "addr", "show"]).ok()),
            ),
            (
                "routes",
                lines(lab.host(["ip", "route", "show", "table", "all"]).ok()),
            ),
            ("firewall", lines(lab.host(["nft", "list", "ruleset"]).ok())),
            (
                "sockets",
                lines(
                    lab.host(["ss", "-Hlntux"])
                        .ok()
                        .replace(char::is_numeric, "#"),
                ),
            ),
            ("mounts", mounts(lab)),
            (
                "cgroups",
                lab.cgroups()
                    .iter()
                    .filter(|path| !path.ends_with(lab.namespace()))
                    .map(|path| path.display().to_string())
                    .collect(),
            ),
            ("processes", commands(lab)),
            ("files", files(lab)),
            ("descriptors", descriptors(lab)),
        ]))
    }

    /// Panics unless the host soon is as it was: what ends in the background gets five seconds.
    #[track_caller]
    pub(crate) fn is_back(&self, lab: &Lab) {
        let start = Instant::now();
        loop {
            let now = Self::take(lab);
            if self.difference(&now).is_empty() {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "something leaked:\n{}",
                self.difference(&now)
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn difference(&self, now: &Self) -> String {
        let mut text = String::new();
        for (kind, before) in &self.0 {
            let after = &now.0[kind];
            // Connections that were kept open may have been closed since.
            if *kind == "descriptors" && total(after) <= total(before) {
                continue;
            }
            for line in after.difference(before) {
                text += &format!("  {kind}: + {line}\n");
            }
            for line in before.difference(after) {
                text += &format!("  {kind}: - {line}\n");
            }
        }
        text
    }
}

/// Names and owner tags of links: their numbers only ever grow.
fn links(lab: &Lab) -> String {
    let json = lab.host(["ip", "-d", "-j", "link", "show"]).ok();
    let links: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON of ip");
    links
        .iter()
        .map(|link| format!("{} {}\n", link["ifname"], link["ifalias"]))
        .collect()
}

fn mounts(lab: &Lab) -> BTreeSet<String> {
    let below = lab.path().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("procfs");
    mounts
        .lines()
        .filter(|line| line.contains(&below))
        .map(str::to_owned)
        .collect()
}

/// How many processes of each command line there are, by a count so that monitors are told apart.
fn commands(lab: &Lab) -> BTreeSet<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for pid in lab.processes() {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *counts.entry(line.replace('\0', " ")).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(line, count)| format!("{count} × {line}"))
        .collect()
}

fn files(lab: &Lab) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in [lab.data_root(), lab.run_root()] {
        walk(&root, &mut found);
    }
    found
}

fn walk(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // What ran before is told also after `down`.
        if path.ends_with("data/compose") {
            continue;
        }
        // What is inside an unpacked layer is the image's business.
        let inside_layer = path.ends_with("fs")
            && path
                .parent()
                .is_some_and(|parent| parent.ends_with("layers"));
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && !inside_layer
            && found.len() < 50_000
        {
            walk(&path, found);
        }
        // Lists that are there from their first use on: of what builds may use again, also when empty,
        // and of when images were last fetched.
        let list = path.ends_with("images/cache.json") || path.ends_with("data/pulled.json");
        if !list {
            found.insert(path.display().to_string());
        }
    }
}

fn total(descriptors: &BTreeSet<String>) -> usize {
    let counts = descriptors
        .iter()
        .filter_map(|line| line.split(' ').next()?.parse::<usize>().ok());
    counts.sum()
}

/// What kinds of descriptors the daemon holds, and how many.
fn descriptors(lab: &Lab) -> BTreeSet<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    let directory = format!("/proc/{}/fd", lab.daemon_pid());
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let kind = target
            .to_string_lossy()
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        *counts.entry(kind).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(kind, count)| format!("{count} × {kind}"))
        .collect()
}
