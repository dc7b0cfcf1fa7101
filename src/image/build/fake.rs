//! The twin of the engine's step runner: programs that are a few words of our own.
//!
//! What a step writes goes through the same overlay as the real one's, and what is mounted is read
//! where it is; nothing is executed. A script is a list of commands separated by `;`:
//!
//! ```text
//! write PATH TEXT…   make PATH   remove PATH   show PATH   say TEXT…   list PATH
//! variable NAME PATH   pause MILLISECONDS   forever   exit CODE
//! ```

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Mode, OFlags};

use orc_base::root::Root;
use orc_base::{Error, Result};

use crate::build::runner::{RunStep, StepMount, StepOutput, StepRunner};
use crate::build::shared::lock;
use crate::build::stack::{Writable, stack};
use crate::build::view::path_of;

/// Runs scripts, and remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct FakeRunner {
    /// What was run.
    pub(crate) steps: Mutex<Vec<RunStep>>,
    /// What [`StepRunner::settings`] says.
    pub(crate) settings: Mutex<String>,
    /// How many run now, and how many did at most at one time.
    pub(crate) running: AtomicUsize,
    /// The most.
    pub(crate) most: AtomicUsize,
}

#[async_trait]
impl StepRunner for FakeRunner {
    async fn run(&self, step: &RunStep, output: &StepOutput<'_>) -> Result<i32> {
        lock(&self.steps).push(step.clone());
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let ended = script(step, output).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        ended
    }

    fn settings(&self) -> String {
        lock(&self.settings).clone()
    }
}

async fn script(step: &RunStep, output: &StepOutput<'_>) -> Result<i32> {
    let empty = step.rootfs.work.with_file_name("none");
    std::fs::create_dir_all(&empty)?;
    let writable = Writable {
        upper: &step.rootfs.upper,
        work: &step.rootfs.work,
    };
    let root = Root::from_fd(stack(&step.rootfs.lowers, Some(writable), &empty)?);
    let program = Program {
        root: &root,
        step,
        output,
    };
    let text = step.argv.last().cloned().unwrap_or_default();
    for command in text.split([';', '\n']) {
        let words: Vec<&str> = command.split_whitespace().collect();
        if let Some(code) = program.command(&words).await? {
            return Ok(code);
        }
    }
    Ok(0)
}

struct Program<'a> {
    root: &'a Root,
    step: &'a RunStep,
    output: &'a StepOutput<'a>,
}

impl Program<'_> {
    async fn command(&self, words: &[&str]) -> Result<Option<i32>> {
        match words {
            [] => {}
            ["write", path, text @ ..] => self.write(path, &text.join(" "))?,
            ["make", path] => {
                self.root.create_dir_all(path, 0o755)?;
            }
            ["remove", path] => self.root.remove_all(path)?,
            ["show", path] => (self.output)(false, self.read(path)?.as_bytes()),
            ["list", path] => {
                let mut names: Vec<_> = std::fs::read_dir(self.place(path)?)?
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<Result<_>>()?;
                names.sort();
                (self.output)(false, names.join(" ").as_bytes());
            }
            ["say", text @ ..] => (self.output)(false, text.join(" ").as_bytes()),
            ["complain", text @ ..] => (self.output)(true, text.join(" ").as_bytes()),
            ["variable", name, path] => {
                let prefix = format!("{name}=");
                let mut env = self.step.env.iter();
                let value = env.find_map(|entry| entry.strip_prefix(&prefix));
                self.write(path, value.unwrap_or("(unset)"))?;
            }
            ["pause", milliseconds] => {
                let milliseconds = milliseconds.parse().unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            ["forever"] => std::future::pending().await,
            ["exit", code] => return Ok(Some(code.parse().unwrap_or(1))),
            other => return Err(Error::not_found(format!("no command {other:?}"))),
        }
        Ok(None)
    }

    /// Where a path is, mounted or in the root.
    fn place(&self, path: &str) -> Result<PathBuf> {
        let mounts = self.step.mounts.iter().rev();
        for mount in mounts {
            if let StepMount::Bind { source, target, .. } = mount
                && let Ok(rest) = Path::new(path).strip_prefix(target)
            {
                return Ok(match rest.as_os_str().is_empty() {
                    true => source.clone(),
                    false => source.join(rest),
                });
            }
        }
        Ok(path_of(self.root.as_fd()).join(path.trim_start_matches('/')))
    }

    fn read(&self, path: &str) -> Result<String> {
        let mut text = String::new();
        std::fs::File::open(self.place(path)?)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let mounted = self.step.mounts.iter().any(|mount| {
            matches!(mount, StepMount::Bind { target, .. } if Path::new(path).starts_with(target))
        });
        if mounted {
            return Ok(std::fs::write(self.place(path)?, text)?);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mode = Mode::from_raw_mode(0o644);
        let file = self.root.open_at(path, flags, mode)?;
        Ok(std::fs::File::from(file).write_all(text.as_bytes())?)
    }
}
