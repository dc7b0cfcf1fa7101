//! Programs of this machine that stand for services and models: finding them, asking what they take,
//! and running them, on the side of whoever typed the command.
//!
//! A program is found by its name alone, as a Docker plug-in `docker-<name>` and then in `PATH`. It
//! gets the project's variables and nothing on standard input, and has a process group of its own,
//! which ends when its step is given up. What it starts and leaves running when it ends well is its
//! own business: a provider may be a server that goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use orc_base::units::format_duration;
use orc_base::{Context, Error, Result};
use orc_compose::model::Project;
use orc_compose::model::service::Service;
use orc_compose::observe::Observed;
use orc_compose::provider::Programs;
use orc_compose::provider::call::{Call, Program, question};
use orc_compose::provider::metadata::Metadata;
use orc_compose::provider::models;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// How long a program may take: whoever does not want to wait interrupts it.
const RUN_LIMIT: Duration = Duration::from_secs(3600);
/// How long it may take to say what it takes.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// The longest line that is understood.
const MAX_LINE_BYTES: usize = 64 << 10;
/// More than that on standard output is not read.
const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// The last words on standard error that are kept.
const MAX_LAST_WORDS: usize = 2 << 10;
/// What is written before the end is read for so long after it: what a program leaves running may hold
/// its pipes open.
const AFTER_THE_END: Duration = Duration::from_millis(200);
/// Asked to end, a program has so long until it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Where Docker looks for plug-ins, after the user's own.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Runs what is found on this machine.
pub(crate) struct OfThisMachine;

impl Programs for OfThisMachine {
    fn run<'a>(
        &'a self,
        call: &'a Call,
        heard: &'a mut (dyn FnMut(&str) -> Result<()> + Send),
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let path = find(&call.program, &call.environment).ok_or_else(|| {
                Error::not_found(format!("`{}` is not on this machine", call.program))
            })?;
            run(&path, call, RUN_LIMIT, heard).await
        })
    }
}

/// What was found out by now: one command asks each program once.
static KNOWN: Mutex<BTreeMap<String, Program>> = Mutex::const_new(BTreeMap::new());

/// Looks for the programs that the project names and asks them what they take.
pub(crate) async fn look(project: &Project, observed: &mut Observed) {
    let services = || project.services.values().chain(project.disabled.values());
    let program = |service: &Service| Some(service.provider.as_ref()?.program.clone());
    let providers: BTreeSet<String> = services().filter_map(program).collect();
    let uses_models = services().any(|service| !service.models.is_empty());
    if providers.is_empty() && !uses_models {
        return;
    }
    let mut known = KNOWN.lock().await;
    let unknown = providers.iter().filter(|name| !known.contains_key(*name));
    let asked = join_all(unknown.map(async |name| (name.clone(), ask(project, name).await))).await;
    known.extend(asked);
    observed.programs.clone_from(&known);
    if uses_models {
        let there = find(models::PROGRAM, &project.environment).is_some();
        let program = match there {
            true => Program::Found(None),
            false => Program::Missing,
        };
        observed.programs.insert(models::PROGRAM.into(), program);
    }
}

async fn ask(project: &Project, name: &str) -> Program {
    let call = question(project, name);
    let Some(path) = find(name, &call.environment) else {
        return Program::Missing;
    };
    let mut answer = String::new();
    let mut heard = |line: &str| {
        answer.push_str(line);
        answer.push('\n');
        Ok(())
    };
    // Whoever does not know the question may answer anything: then it takes any option.
    match run(&path, &call, QUESTION_LIMIT, &mut heard).await {
        Ok(()) => Program::Found(Metadata::parse(&answer)),
        Err(error) => {
            tracing::debug!(%error, program = name, "it does not say what it takes");
            Program::Found(None)
        }
    }
}

/// The file of a program.
fn find(name: &str, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let plugin = match name.starts_with("docker-") {
        true => name.to_owned(),
        false => format!("docker-{name}"),
    };
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let config = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| {
        let home = variable("HOME")?;
        Some(Path::new(home).join(".docker"))
    });
    let plugins = config
        .map(|config| config.join("cli-plugins"))
        .into_iter()
        .chain(PLUGINS.map(PathBuf::from));
    let path = environment.get("PATH").map_or("", String::as_str);
    // What is relative would be a program of whatever directory one is in.
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    let candidates = plugins.map(|directory| directory.join(&plugin));
    let mut candidates = candidates.chain(directories.map(|directory| directory.join(name)));
    candidates.find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a program to its end.
async fn run(
    path: &Path,
    call: &Call,
    limit: Duration,
    heard: &mut (dyn FnMut(&str) -> Result<()> + Send),
) -> Result<()> {
    let mut child = Command::new(path)
        .args(&call.arguments)
        .env_clear()
        .envs(&call.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context(|| format!("start {}", path.display()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut running = Running { child };
    let mut words = LastWords::default();
    let ended = tokio::time::timeout(limit, async {
        let listening = async { tokio::try_join!(listen(stdout, heard), words.take(stderr)) };
        tokio::pin!(listening);
        tokio::select! {
            said = &mut listening => {
                said?;
                running.child.wait().await.context(|| "wait for its end")
            }
            ended = running.child.wait() => {
                if let Ok(said) = tokio::time::timeout(AFTER_THE_END, listening).await {
                    said?;
                }
                ended.context(|| "wait for its end")
            }
        }
    });
    let ended = ended.await.map_err(|_| {
        Error::timeout(format!("it has not ended after {}", format_duration(limit)))
    })??;
    judge(ended, &words)
}

fn judge(ended: ExitStatus, words: &LastWords) -> Result<()> {
    if ended.success() {
        return Ok(());
    }
    let words = words.text();
    Err(Error::conflict(match words.is_empty() {
        true => format!("it ended with {ended}"),
        false => format!("it ended with {ended}: {words}"),
    }))
}

/// A program on its way. Dropped before its end it is asked to end, and killed when it does not.
struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody has its number any more once it was waited for.
        let Some(pid) = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
        else {
            return;
        };
        let _ = kill_process_group(pid, Signal::TERM);
        let begun = std::time::Instant::now();
        while begun.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Gives each line to `heard`.
async fn listen(
    stdout: Option<impl AsyncRead + Unpin>,
    heard: &mut (dyn FnMut(&str) -> Result<()> + Send),
) -> Result<()> {
    let Some(mut stdout) = stdout else {
        return Ok(());
    };
    let mut line = Vec::new();
    let mut chunk = [0; 8 << 10];
    let mut total = 0;
    loop {
        let read = stdout
            .read(&mut chunk)
            .await
            .context(|| "read its output")?;
        total += read;
        if total > MAX_OUTPUT_BYTES {
            return Err(Error::exhausted(format!(
                "it printed more than {} MiB",
                MAX_OUTPUT_BYTES >> 20
            )));
        }
        for byte in &chunk[..read] {
            match byte {
                b'\n' => {
                    heard(&String::from_utf8_lossy(&line))?;
                    line.clear();
                }
                byte => line.push(*byte),
            }
            if line.len() > MAX_LINE_BYTES {
                return Err(Error::exhausted(format!(
                    "it printed a line of more than {} KiB",
                    MAX_LINE_BYTES >> 10
                )));
            }
        }
        if read == 0 {
            return match line.is_empty() {
                true => Ok(()),
                false => heard(&String::from_utf8_lossy(&line)),
            };
        }
    }
}

/// The end of what a program wrote to standard error.
#[derive(Default)]
struct LastWords(Vec<u8>);

impl LastWords {
    async fn take(&mut self, stderr: Option<impl AsyncRead + Unpin>) -> Result<()> {
        let Some(mut stderr) = stderr else {
            return Ok(());
        };
        let mut chunk = [0; 4 << 10];
        loop {
            let read = stderr.read(&mut chunk).await;
            let read = read.context(|| "read its standard error")?;
            if read == 0 {
                return Ok(());
            }
            self.0.extend_from_slice(&chunk[..read]);
            let surplus = self.0.len().saturating_sub(MAX_LAST_WORDS);
            self.0.drain(..surplus);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn call(script: &str) -> Call {
        Call {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
        }
    }

    /// What a script prints, and how it ends.
    async fn said(script: &str, limit: Duration) -> (Vec<String>, Result<()>) {
        let mut lines = Vec::new();
        let mut heard = |line: &str| {
            lines.push(line.to_owned());
            match line {
                "stop" => Err(Error::conflict("told to")),
                _ => Ok(()),
            }
        };
        let done = run(Path::new("/bin/sh"), &call(script), limit, &mut heard).await;
        (lines, done)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn lines_are_heard_and_failures_have_last_words() {
        let (lines, done) = said("echo $GREETING $HOME; printf end", PATIENCE).await;
        assert_eq!(lines, ["hello", "end"]);
        done.unwrap();
        let (_, done) = said("echo why >&2; exit 3", PATIENCE).await;
        let error = done.unwrap_err().to_string();
        assert!(error.contains("3") && error.contains("why"), "{error}");
    }

    #[tokio::test]
    async fn what_is_left_running_keeps_nobody() {
        let begun = Instant::now();
        let (lines, done) = said("echo one; sleep 20 & exit 0", PATIENCE).await;
        done.unwrap();
        assert_eq!(lines, ["one"]);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn time_lines_and_output_have_limits() {
        let begun = Instant::now();
        let (_, done) = said("exec sleep 60", Duration::from_millis(100)).await;
        assert!(
            done.unwrap_err()
                .to_string()
                .contains("has not ended after")
        );
        assert!(begun.elapsed() < Duration::from_secs(10));
        let (_, done) = said("head -c 100000 /dev/zero; sleep 60", PATIENCE).await;
        assert!(
            done.unwrap_err()
                .to_string()
                .contains("a line of more than")
        );
        let (_, done) = said("yes", PATIENCE).await;
        assert!(done.unwrap_err().to_string().contains("more than 16 MiB"));
        let (_, done) = said("trap '' TERM; echo stop; sleep 60", PATIENCE).await;
        assert!(done.unwrap_err().to_string().contains("told to"));
        assert!(begun.elapsed() < Duration::from_secs(25));
    }

    #[test]
    fn programs_are_found_by_name_as_plugins_first() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        std::fs::create_dir_all(at("docker/cli-plugins")).unwrap();
        std::fs::create_dir_all(at("bin")).unwrap();
        let make = |path: &str, mode: u32| {
            std::fs::write(at(path), "").unwrap();
            std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("bin/cloud", 0o755);
        make("bin/data", 0o644);
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), format!("bin:{}", at("bin").display())),
            (
                "DOCKER_CONFIG".to_owned(),
                at("docker").display().to_string(),
            ),
        ]);
        assert_eq!(find("cloud", &environment), Some(at("bin/cloud")));
        assert_eq!(find("data", &environment), None);
        make("docker/cli-plugins/docker-cloud", 0o755);
        let plugin = at("docker/cli-plugins/docker-cloud");
        assert_eq!(find("cloud", &environment), Some(plugin));
        environment.remove("DOCKER_CONFIG");
        environment.insert("PATH".to_owned(), "bin:.".to_owned());
        assert_eq!(find("cloud", &environment), None);
    }
}
