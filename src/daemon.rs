//! The daemon: wires the engine to a socket, and ends in an orderly way.
//!
//! Only one daemon works under a run root: it holds a lock on a file there for as long as it lives,
//! and its process id is in the file. The engine opens first, while this process is small and has
//! few threads, because it starts the launcher. Containers do not end with the daemon.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orc_base::dirs::Dirs;
use orc_base::{Context, Error, Kind, Result};
use rustix::fs::FlockOperation;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code when another daemon holds the lock (`EX_TEMPFAIL` of sysexits.h).
pub(crate) const LOCKED: u8 = 75;
/// The fewest and the most threads that answer requests.
const THREADS: (usize, usize) = (2, 4);
/// More of a lock file is not read.
const MAX_LOCK_BYTES: u64 = 32;
/// Somebody who only asks who holds the lock has it for a moment, too.
const LOCK_TRIES: usize = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(2);
/// Where the file about registries is when none is named.
const REGISTRIES: &str = "/etc/orc/registries.json";
/// Who else may use the socket.
const GROUP: &str = "orc";
/// More of `/etc/group` is not read.
const MAX_GROUP_BYTES: u64 = 1 << 20;

/// How a daemon works.
#[derive(Debug)]
pub(crate) struct Options {
    /// Its places.
    pub(crate) dirs: Dirs,
    /// Where it listens.
    pub(crate) socket: PathBuf,
    /// Below which cgroup containers run.
    pub(crate) cgroup_parent: String,
    /// Registries that are spoken to without TLS, beside those on this machine.
    pub(crate) insecure_registries: Vec<String>,
    /// The file about registries, when one is named.
    pub(crate) registries: Option<PathBuf>,
    /// How many bytes builds may keep to use again; the default is the image layer's.
    pub(crate) build_cache_limit: Option<u64>,
    /// What it logs.
    pub(crate) log_level: String,
    /// It leaves the session it was started from.
    pub(crate) detached: bool,
}

/// Runs the daemon until it is asked to end. Returns the exit code.
pub(crate) fn run(options: &Options) -> Result<u8> {
    if options.detached {
        // A child is never the leader of its process group, so this cannot fail for that reason.
        rustix::process::setsid().context(|| "leave the session of the terminal")?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    log_to_stderr(&options.log_level);
    options.dirs.create()?;
    let Some(_lock) = lock(&options.dirs)? else {
        let pid = holder(&options.dirs)?
            .map(|pid| format!(" (process {pid})"))
            .unwrap_or_default();
        tracing::error!(
            "another daemon{pid} works under {} already",
            options.dirs.run().display()
        );
        return Ok(LOCKED);
    };
    let processors = std::thread::available_parallelism().map_or(THREADS.0, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.clamp(THREADS.0, THREADS.1))
        .enable_all()
        .build()
        .context(|| "start the daemon's threads")?;
    let served = runtime.block_on(serve(options));
    runtime.shutdown_background();
    served.map(|()| 0)
}

fn log_to_stderr(level: &str) {
    // The layers of orc at the level asked for; what others say is only of interest when it is bad.
    let filter = format!(
        "warn,{}",
        LAYERS.map(|layer| format!("{layer}={level}")).join(",")
    );
    tracing_subscriber::fmt()
        .compact()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(|| Lossy)
        .init();
}

/// The daemon's log. What cannot be written is lost: a full disk or one that fails must not end work
/// that has nothing to do with it, which is what the standard macros do.
struct Lossy;

impl Write for Lossy {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const LAYERS: [&str; 8] = [
    "orc",
    "orc_base",
    "orc_image",
    "orc_runtime",
    "orc_net",
    "orc_engine",
    "orc_docker",
    "orc_compose",
];

async fn serve(options: &Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context(|| "listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context(|| "listen for SIGINT")?;
    let engine = open(options).await?;
    let listener = listen(&options.socket)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %options.socket.display(),
        data = %options.dirs.data().display(),
        "ready"
    );
    let ending = engine.clone();
    let asked = async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "ending; containers go on");
        ending.end().await;
    };
    let docker = orc_docker::Options {
        version: env!("CARGO_PKG_VERSION").into(),
        ..orc_docker::Options::default()
    };
    let served = orc_docker::serve(listener, engine, docker, asked).await;
    let _ = std::fs::remove_file(&options.socket);
    served
}

async fn open(options: &Options) -> Result<Arc<orc_engine::Engine>> {
    let mut wanted = orc_engine::Options::new(options.dirs.clone());
    wanted.cgroup_parent.clone_from(&options.cgroup_parent);
    wanted
        .registries
        .insecure
        .clone_from(&options.insecure_registries);
    wanted.registries = std::mem::take(&mut wanted.registries)
        .load(options.registries.as_deref(), Path::new(REGISTRIES))?;
    wanted.build_cache_limit = options.build_cache_limit;
    orc_engine::Engine::open(wanted).await
}

/// A socket that root and the group `orc` may use. What lies at its path is a leftover: we hold the
/// lock.
fn listen(path: &Path) -> Result<UnixListener> {
    let what = || format!("listen on {}", path.display());
    if let Some(parent) = path.parent() {
        orc_base::fs::create_dir_all(parent, 0o755).context(what)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(what);
        }
        _ => {}
    }
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path).context(what);
    rustix::process::umask(before);
    let listener = listener?;
    if let Some(group) = group_id() {
        let group = rustix::fs::Gid::from_raw(group);
        rustix::fs::chown(path, None, Some(group)).context(what)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).context(what)?;
    Ok(listener)
}

fn group_id() -> Option<u32> {
    let mut text = String::new();
    File::open("/etc/group")
        .ok()?
        .take(MAX_GROUP_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    find_group(&text, GROUP)
}

/// The number of a group in group(5).
fn find_group(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Takes the lock and writes our process id into it; `None` when another daemon has it.
fn lock(dirs: &Dirs) -> Result<Option<File>> {
    let path = dirs.lock();
    let what = || format!("lock {}", path.display());
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o644)
        .open(&path)
        .context(what)?;
    let mut tries = 0..LOCK_TRIES;
    while let Err(errno) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        match (errno, tries.next()) {
            (rustix::io::Errno::WOULDBLOCK, Some(_)) => std::thread::sleep(BETWEEN_TRIES),
            (rustix::io::Errno::WOULDBLOCK, None) => return Ok(None),
            (errno, _) => return Err(errno).context(what),
        }
    }
    file.set_len(0).context(what)?;
    writeln!(file, "{}", std::process::id()).context(what)?;
    Ok(Some(file))
}

/// The process id of the daemon that holds the lock.
pub(crate) fn holder(dirs: &Dirs) -> Result<Option<i32>> {
    let path = dirs.lock();
    let what = || format!("look at the lock {}", path.display());
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(what),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => return Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(errno) => return Err(errno).context(what),
    }
    let mut text = String::new();
    (&mut file)
        .take(MAX_LOCK_BYTES)
        .read_to_string(&mut text)
        .context(what)?;
    match text.trim().parse() {
        Ok(pid) => Ok(Some(pid)),
        // Between taking the lock and writing its id: it will be there in a moment.
        Err(_) => Err(Error::new(
            Kind::Unavailable,
            format!(
                "the daemon that holds {} is just starting: try again",
                path.display()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_a_run_root() {
        let root = std::env::temp_dir().join(format!("orc-lock-{}", std::process::id()));
        let dirs = Dirs::new(root.join("data"), root.join("run"));
        dirs.create().unwrap();
        assert_eq!(holder(&dirs).unwrap(), None);
        let held = lock(&dirs).unwrap().expect("nobody has it");
        assert!(lock(&dirs).unwrap().is_none());
        assert_eq!(
            holder(&dirs).unwrap(),
            i32::try_from(std::process::id()).ok()
        );
        drop(held);
        assert_eq!(holder(&dirs).unwrap(), None);
        assert!(lock(&dirs).unwrap().is_some());
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn groups() {
        let text = "root:x:0:\norc:x:998:me\nbad:x:\n";
        assert_eq!(find_group(text, "orc"), Some(998));
        assert_eq!(find_group(text, "bad"), None);
        assert_eq!(find_group(text, "docker"), None);
    }
}
