//! Hears of changes: inotify(7) says in which directories something happened, and those are looked at.
//!
//! A thread of its own, since looking at files blocks. Changes are told in batches: after a moment
//! without any, or when they have not stopped for a while. When the kernel dropped events, everything is
//! looked at. Where the kernel says nothing (file systems over a network, no watches left) everything is
//! looked at every second instead.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orc_base::{Context, Result};
use orc_compose::watch::decide::Change;
use orc_compose::watch::rule::Rule;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::cli::compose::watching::patterns::Patterns;
use crate::cli::compose::watching::tree::{Ears, Tree};

/// How long nothing has to happen before a batch is told.
const QUIET: Duration = Duration::from_millis(100);
/// How long a batch may be put off by ever more changes.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks where the kernel says nothing.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How many batches may wait to be taken.
const QUEUE: usize = 1;
/// What is read of the kernel's queue at once: room for some hundred events.
const BUFFER: usize = 64 << 10;

/// What is worth another look at a directory.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

/// `f_type` of file systems whose files change where this kernel does not see it (statfs(2)): NFS, SMB
/// (three), 9p, FUSE, VirtualBox's and Ceph's.
const REMOTE: [u32; 8] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x6573_5546,
    0x786f_4256,
    0x00c3_6400,
];

/// What is heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// All files that are there at the beginning. Comes first, and once.
    Beginning(Vec<Change>),
    /// What is another than before.
    Changes(Vec<Change>),
    /// Something people should know.
    Note(String),
    /// It cannot go on.
    Broken(orc_base::Error),
}

/// Listens until it is dropped.
pub(crate) struct Listener {
    /// What it hears.
    pub(crate) heard: mpsc::Receiver<Heard>,
    /// Closing it ends the thread.
    _stop: OwnedFd,
}

/// Begins to listen for changes at the paths of `rules`. What changes from now on will be told, even
/// when it takes a while until [`Heard::Beginning`].
pub(crate) fn listen(rules: &[Rule]) -> Result<Listener> {
    let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
    let kernel = inotify::init(flags).context(|| "listen for changes of files")?;
    let trees = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| Ok(Tree::new(index, rule.path.clone(), Patterns::of(rule)?)))
        .collect::<Result<_>>()?;
    let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .context(|| "listen for changes of files")?;
    let (sender, heard) = mpsc::channel(QUEUE);
    let mut listening = Listening {
        trees,
        kernel: Kernel {
            inotify: kernel,
            paths: BTreeMap::new(),
            watches: BTreeMap::new(),
            silent: None,
        },
        stopped,
        sender,
    };
    std::thread::Builder::new()
        .name("watch".into())
        .spawn(move || {
            if let Err(error) = listening.run() {
                let _ = listening.sender.blocking_send(Heard::Broken(error));
            }
        })
        .context(|| "start a thread")?;
    Ok(Listener { heard, _stop: stop })
}

struct Listening {
    trees: Vec<Tree>,
    kernel: Kernel,
    stopped: OwnedFd,
    sender: mpsc::Sender<Heard>,
}

/// Where something happened.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dirty {
    directories: BTreeSet<PathBuf>,
    /// The kernel dropped events: it may have been anywhere.
    all: bool,
}

impl Listening {
    /// Ends when nobody listens any more.
    fn run(&mut self) -> Result<()> {
        self.look_at_all()?;
        let all = self.trees.iter().flat_map(Tree::all).collect();
        let mut going = self.tell(Heard::Beginning(all));
        let mut told = false;
        while going {
            if let (Some(why), false) = (&self.kernel.silent, told) {
                let text = format!("{why}: looking at all files every second instead");
                going &= self.tell(Heard::Note(text));
                told = true;
            }
            let Some(dirty) = self.wait()? else {
                return Ok(());
            };
            let changes = self.look(&dirty)?;
            if !changes.is_empty() {
                going &= self.tell(Heard::Changes(changes));
            }
        }
        Ok(())
    }

    /// Whether somebody still listens.
    fn tell(&self, heard: Heard) -> bool {
        self.sender.blocking_send(heard).is_ok()
    }

    fn look_at_all(&mut self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for tree in &mut self.trees {
            self.kernel.enter_above(tree.root());
            changes.extend(tree.look(&mut self.kernel)?);
        }
        Ok(changes)
    }

    fn look(&mut self, dirty: &Dirty) -> Result<Vec<Change>> {
        if dirty.all {
            return self.look_at_all();
        }
        let mut changes = Vec::new();
        for tree in &mut self.trees {
            let was_there = tree.is_there();
            for directory in &dirty.directories {
                changes.extend(tree.look_at(directory, &mut self.kernel)?);
            }
            if !was_there || !tree.is_there() {
                // It comes and goes in another directory than the one that was watched for it.
                self.kernel.enter_above(tree.root());
                changes.extend(tree.look(&mut self.kernel)?);
            }
        }
        Ok(changes)
    }

    /// Waits until something happened, and then until nothing more does. `None` when it is to end.
    fn wait(&self) -> Result<Option<Dirty>> {
        let mut dirty = Dirty::default();
        let mut since = None;
        loop {
            let patience = match since {
                None if self.kernel.silent.is_some() => Some(BETWEEN_LOOKS),
                None => None,
                Some(_) => Some(QUIET),
            };
            match self.poll(patience)? {
                Event::Stop => return Ok(None),
                Event::Nothing => {
                    dirty.all |= self.kernel.silent.is_some();
                    return Ok(Some(dirty));
                }
                Event::Changes => self.kernel.drain(&mut dirty)?,
            }
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() >= PATIENCE {
                dirty.all |= self.kernel.silent.is_some();
                return Ok(Some(dirty));
            }
        }
    }

    fn poll(&self, patience: Option<Duration>) -> Result<Event> {
        let timeout = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(1),
            tv_nsec: patience.subsec_nanos().into(),
        });
        let mut files = [
            PollFd::new(&self.stopped, PollFlags::IN),
            PollFd::new(&self.kernel.inotify, PollFlags::IN),
        ];
        let ready = loop {
            match poll(&mut files, timeout.as_ref()) {
                Err(Errno::INTR) => {}
                other => break other.context(|| "wait for changes of files")?,
            }
        };
        Ok(match ready {
            0 => Event::Nothing,
            _ if !files[0].revents().is_empty() => Event::Stop,
            _ => Event::Changes,
        })
    }
}

enum Event {
    Stop,
    Nothing,
    Changes,
}

/// The kernel's side: which directories it tells of.
struct Kernel {
    inotify: OwnedFd,
    /// Where the directory of a watch is.
    paths: BTreeMap<i32, PathBuf>,
    watches: BTreeMap<PathBuf, i32>,
    /// Why it does not tell of everything.
    silent: Option<String>,
}

impl Kernel {
    /// Watches the nearest directory above `path` that is there: `path` comes and goes in it.
    fn enter_above(&mut self, path: &Path) {
        let mut above = path.ancestors().skip(1);
        if let Some(directory) = above.find(|directory| directory.is_dir()) {
            self.enter(directory);
        }
    }

    /// Takes all events that wait.
    fn drain(&self, dirty: &mut Dirty) -> Result<()> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                other => other.context(|| "read which files changed")?,
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                dirty.all = true;
            } else if let Some(path) = self.paths.get(&event.wd()) {
                dirty.directories.insert(path.clone());
            }
        }
    }

    fn fall_silent(&mut self, why: impl FnOnce() -> String) {
        if self.silent.is_none() {
            self.silent = Some(why());
        }
    }
}

impl Ears for Kernel {
    fn enter(&mut self, directory: &Path) {
        if self.silent.is_some() {
            return;
        }
        let remote = rustix::fs::statfs(directory)
            .is_ok_and(|found| REMOTE.contains(&(found.f_type as u32)));
        if remote {
            return self.fall_silent(|| {
                format!(
                    "{} is on a file system that tells of no changes",
                    directory.display()
                )
            });
        }
        match inotify::add_watch(&self.inotify, directory, EVENTS) {
            Ok(watch) => {
                // The directory of a watch may have moved here.
                self.paths.insert(watch, directory.to_owned());
                self.watches.insert(directory.to_owned(), watch);
            }
            Err(Errno::NOSPC | Errno::NOMEM) => {
                let count = self.watches.len();
                self.fall_silent(|| format!(
                    "the system lets nobody watch more than {count} directories (raise fs.inotify.max_user_watches)"
                ));
            }
            // It is gone, or not for us: whoever looks at it will see.
            Err(_) => {}
        }
    }

    fn leave(&mut self, directory: &Path) {
        let Some(watch) = self.watches.remove(directory) else {
            return;
        };
        // Another rule may have found the directory at another place already.
        if self.paths.get(&watch).is_some_and(|path| path == directory) {
            self.paths.remove(&watch);
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use orc_compose::model::develop::WatchAction;
    use orc_compose::watch::decide::Now;

    use super::*;

    fn rule(path: PathBuf) -> Rule {
        Rule {
            service: "web".into(),
            path,
            action: WatchAction::Sync,
            target: Some("/app".into()),
            exec: None,
            initial_sync: false,
            ignore: vec!["ignored".into()],
            include: Vec::new(),
            context: None,
            plans: Vec::new(),
        }
    }

    /// Hears until all of `expected` was told, in whatever batches.
    async fn hear(listener: &mut Listener, expected: &[&str]) {
        let mut left: BTreeSet<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        while !left.is_empty() {
            let heard = tokio::time::timeout(Duration::from_secs(20), listener.heard.recv());
            let heard = heard
                .await
                .unwrap_or_else(|_| panic!("never heard {left:?}"));
            let changes = match heard.expect("it listens") {
                Heard::Beginning(changes) | Heard::Changes(changes) => changes,
                other => panic!("{other:?}"),
            };
            for change in changes {
                let sign = if change.now == Now::There { '+' } else { '-' };
                let told = format!("{sign}{} {}", change.rule, change.below.display());
                left.remove(&told);
                assert!(!told.contains("ignored"), "{told}");
            }
        }
    }

    #[tokio::test]
    async fn changes_are_heard() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir_all(at("src/d")).unwrap();
        std::fs::write(at("src/d/a"), "1").unwrap();
        let rules = [rule(at("src")), rule(at("src/d")), rule(at("later/file"))];
        let mut listener = listen(&rules).unwrap();
        hear(&mut listener, &["+0 d/a", "+1 a"]).await;
        // A change, a new tree, something ignored, a rename, an end.
        std::fs::write(at("src/d/a"), "22").unwrap();
        std::fs::write(at("src/ignored"), "22").unwrap();
        hear(&mut listener, &["+0 d/a", "+1 a"]).await;
        std::fs::create_dir_all(at("src/x/y/z")).unwrap();
        std::fs::write(at("src/x/y/z/b"), "1").unwrap();
        hear(&mut listener, &["+0 x", "+0 x/y/z/b"]).await;
        std::fs::write(at("src/x/y/z/b"), "22").unwrap();
        hear(&mut listener, &["+0 x/y/z/b"]).await;
        std::fs::rename(at("src/x"), at("src/new")).unwrap();
        hear(&mut listener, &["-0 x/y/z/b", "-0 x", "+0 new/y/z/b"]).await;
        std::fs::write(at("src/new/y/z/b"), "333").unwrap();
        hear(&mut listener, &["+0 new/y/z/b"]).await;
        // What is not there yet.
        std::fs::create_dir(at("later")).unwrap();
        std::fs::write(at("later/file"), "1").unwrap();
        hear(&mut listener, &["+2 "]).await;
        std::fs::write(at("later/other"), "1").unwrap();
        std::fs::rename(at("later/other"), at("later/file")).unwrap();
        hear(&mut listener, &["+2 "]).await;
        std::fs::remove_dir_all(at("src/d")).unwrap();
        hear(&mut listener, &["-0 d/a", "-0 d", "-1 a"]).await;
        std::fs::create_dir(at("src/d")).unwrap();
        std::fs::write(at("src/d/c"), "1").unwrap();
        hear(&mut listener, &["+0 d/c", "+1 c"]).await;
    }

    /// What [`listen`] makes, without a thread.
    fn listening(root: &Path, silent: Option<&str>) -> (Listening, mpsc::Receiver<Heard>, OwnedFd) {
        let patterns = Patterns::of(&rule(root.to_owned())).unwrap();
        let (stopped, stop) = rustix::pipe::pipe().unwrap();
        let (sender, heard) = mpsc::channel(QUEUE);
        let listening = Listening {
            trees: vec![Tree::new(0, root.to_owned(), patterns)],
            kernel: Kernel {
                inotify: inotify::init(CreateFlags::NONBLOCK).unwrap(),
                paths: BTreeMap::new(),
                watches: BTreeMap::new(),
                silent: silent.map(str::to_owned),
            },
            stopped,
            sender,
        };
        (listening, heard, stop)
    }

    /// More events than the kernel's queue holds are no reason to miss one.
    #[test]
    fn an_overflow_is_no_loss() {
        let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        if limit > 100_000 {
            return eprintln!("the queue is too long here: {limit}");
        }
        let dir = tempfile::tempdir().unwrap();
        let (mut listening, _heard, _stop) = listening(dir.path(), None);
        assert!(listening.look_at_all().unwrap().is_empty());
        // Each file is made and closed: two events.
        let files = limit / 2 + 10;
        for n in 0..files {
            std::fs::File::create(dir.path().join(format!("f{n}"))).unwrap();
        }
        let dirty = listening.wait().unwrap().unwrap();
        assert!(dirty.all);
        assert_eq!(listening.look(&dirty).unwrap().len(), files);
    }

    #[tokio::test]
    async fn without_watches_everything_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let (mut listening, mut heard, stop) = listening(dir.path(), Some("nobody says anything"));
        let thread = std::thread::spawn(move || listening.run());
        assert!(matches!(heard.recv().await, Some(Heard::Beginning(_))));
        let note = heard.recv().await;
        assert!(matches!(note, Some(Heard::Note(text)) if text.contains("every second")));
        std::fs::write(dir.path().join("d/a"), "1").unwrap();
        match heard.recv().await {
            Some(Heard::Changes(changes)) => assert_eq!(changes[0].below, Path::new("d/a")),
            other => panic!("{other:?}"),
        }
        drop(stop);
        thread.join().unwrap().unwrap();
    }
}
