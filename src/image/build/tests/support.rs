//! A store, a context and a runner, and what becomes of them.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};

use orc_base::Result;
use orc_base::fs::Durability;
use orc_base::root::Root;

use crate::archive::import::ImportOptions;
use crate::build::fake::FakeRunner;
use crate::build::request::{
    BuildEvent, BuildOptions, ContextSource, DockerfileSource, Events, StepState,
};
use crate::build::shared::lock;
use crate::build::stack::stack;
use crate::image::Image;
use crate::images::Images;
use crate::reference::Reference;
use crate::registry::config::RegistryConfig;
use crate::testing::{Tape, tape};

/// Remembers events.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<BuildEvent>>);

impl Events for Log {
    fn report(&self, event: BuildEvent) {
        lock(&self.0).push(event);
    }
}

pub(super) struct Bed {
    pub(super) dir: tempfile::TempDir,
    pub(super) images: Images,
    pub(super) runner: Arc<FakeRunner>,
    pub(super) events: Arc<Log>,
}

pub(super) fn bed() -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let images = open(&dir.path().join("store"));
    std::fs::create_dir(dir.path().join("context")).unwrap();
    Bed {
        dir,
        images,
        runner: Arc::default(),
        events: Arc::default(),
    }
}

pub(super) fn open(path: &Path) -> Images {
    Images::open_with(path, RegistryConfig::default(), Durability::Process).unwrap()
}

impl Bed {
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("context").join(path)
    }

    /// Writes a file of the context; `a -> b` is a link, `a/` a directory.
    pub(super) fn put(&self, path: &str, text: &str) -> &Self {
        let at = self.at(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        match path.ends_with('/') {
            true => std::fs::create_dir_all(at).unwrap(),
            false => std::fs::write(at, text).unwrap(),
        }
        self
    }

    pub(super) fn link(&self, path: &str, target: &str) -> &Self {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        symlink(target, self.at(path)).unwrap();
        self
    }

    pub(super) fn chmod(&self, path: &str, mode: u32) -> &Self {
        std::fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Makes an image of a tape.
    pub(super) async fn image(&self, name: &str, tape: Tape) -> Image {
        let options = ImportOptions {
            reference: Some(Reference::parse(name).unwrap()),
            ..ImportOptions::default()
        };
        self.images.import(&tape.end()[..], options).await.unwrap()
    }

    /// An image with users and some directories, called `base`.
    pub(super) async fn base(&self) -> Image {
        let passwd = b"root:x:0:0::/root:/bin/sh\napp:x:1001:1002::/:\n";
        let tape = tape()
            .directory("etc")
            .file("etc/passwd", passwd)
            .file("etc/group", b"root:x:0:\nwww:x:33:\n")
            .directory("usr/lib")
            .link(b'2', "lib", "usr/lib")
            .link(b'2', "dangling", "usr/new")
            .link(b'2', "up", "../../../../outside")
            .file("usr/lib/old", b"old")
            .file("file", b"file");
        self.image("base", tape).await
    }

    pub(super) fn options(&self, dockerfile: &str) -> BuildOptions {
        BuildOptions {
            context: ContextSource::Directory {
                path: self.dir.path().join("context"),
                identity: None,
            },
            dockerfile: DockerfileSource::Text {
                name: "Dockerfile".into(),
                text: dockerfile.into(),
                ignore: None,
            },
            ..BuildOptions::default()
        }
    }

    pub(super) async fn run(&self, options: BuildOptions) -> Result<Image> {
        lock(&self.events.0).clear();
        lock(&self.runner.steps).clear();
        let (runner, events) = (self.runner.clone(), self.events.clone());
        let built = self.images.build(options, None, runner, events).await;
        built.map(|image| image.expect("no check"))
    }

    pub(super) async fn build(&self, dockerfile: &str) -> Result<Image> {
        self.run(self.options(dockerfile)).await
    }

    pub(super) fn events(&self) -> Vec<BuildEvent> {
        lock(&self.events.0).clone()
    }

    /// How the steps ended, in the order of their numbers.
    pub(super) fn states(&self) -> Vec<(String, StepState)> {
        let mut steps = Vec::new();
        let mut states: BTreeMap<usize, StepState> = BTreeMap::new();
        for event in self.events() {
            match event {
                BuildEvent::Planned(all) => steps = all,
                BuildEvent::Step { step, state } => {
                    states.insert(step, state);
                }
                _ => {}
            }
        }
        let named = states.into_iter();
        named
            .map(|(step, state)| (steps[step].text.clone(), state))
            .collect()
    }

    /// Which steps were done by an earlier build.
    pub(super) fn cached(&self) -> Vec<String> {
        let states = self.states().into_iter();
        let cached = states.filter(|(_, state)| *state == StepState::Cached);
        cached.map(|(text, _)| text).collect()
    }

    /// What programs have written.
    pub(super) fn output(&self) -> String {
        let mut all = Vec::new();
        for event in self.events() {
            if let BuildEvent::Output { bytes, .. } = event {
                all.extend(bytes);
                all.push(b'\n');
            }
        }
        String::from_utf8(all).unwrap()
    }

    /// How many programs ran.
    pub(super) fn ran(&self) -> usize {
        lock(&self.runner.steps).len()
    }

    /// What an image looks like: `path mode uid:gid content`, a line each.
    pub(super) fn tree(&self, image: &Image) -> String {
        tree_of(&self.dir.path().join("store"), image)
    }

    /// One line of the tree.
    pub(super) fn line(&self, image: &Image, path: &str) -> String {
        let tree = self.tree(image);
        let start = format!("{path} ");
        let line = tree.lines().find(|line| line.starts_with(&start));
        line.map(|line| line[start.len()..].to_owned())
            .unwrap_or_else(|| format!("(no {path} in)\n{tree}"))
    }

    /// Nothing of a build is left.
    pub(super) fn is_clean(&self) -> bool {
        for _ in 0..300 {
            let left = std::fs::read_dir(self.dir.path().join("store/builds")).unwrap();
            if left.count() == 0 {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        false
    }
}

pub(super) fn tree_of(store: &Path, image: &Image) -> String {
    let empty = tempfile::tempdir().unwrap();
    let mut lowers: Vec<PathBuf> = Vec::new();
    for id in image.layers.iter().rev() {
        let path = store.join("layers").join(id.hex()).join("fs");
        if !lowers.contains(&path) {
            lowers.push(path);
        }
    }
    let root = Root::from_fd(stack(&lowers, None, empty.path()).unwrap());
    let mut lines = Vec::new();
    let top = root.open_at("", OFlags::RDONLY, Mode::empty()).unwrap();
    use std::os::fd::AsFd;
    describe(
        &crate::build::view::path_of(top.as_fd()),
        Path::new(""),
        &mut lines,
    );
    lines.sort();
    lines.join("\n")
}

fn describe(base: &Path, path: &Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(base.join(path)).unwrap() {
        let entry = entry.unwrap();
        let path = path.join(entry.file_name());
        let at = base.join(&path);
        let meta = std::fs::symlink_metadata(&at).unwrap();
        let what = if meta.is_dir() {
            "/".into()
        } else if meta.is_symlink() {
            format!("-> {}", std::fs::read_link(&at).unwrap().display())
        } else if meta.is_file() {
            format!(
                "= {}",
                std::fs::read_to_string(&at).unwrap_or("(binary)".into())
            )
        } else {
            "(node)".into()
        };
        let mode = meta.mode() & 0o7777;
        let (user, group) = (meta.uid(), meta.gid());
        lines.push(format!("{} {mode:o} {user}:{group} {what}", path.display()));
        if meta.is_dir() {
            describe(base, &path, lines);
        }
    }
}
