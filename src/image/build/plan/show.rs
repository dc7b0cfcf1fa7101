//! A plan as text, for people and for golden files: the same text as long as the plan is the same.

use std::fmt;

use crate::build::graph::{Copy, CopyFrom, Mount, Network, Op, Plan, Run, StepId};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, step) in self.steps.iter().enumerate() {
            let stage = match (step.stage.as_str(), step.position) {
                ("", _) | (_, None) => String::new(),
                (stage, Some((number, total))) => format!("[{stage} {number}/{total}] "),
            };
            writeln!(
                f,
                "#{id} {stage}{} (line {})",
                one_line(&step.text),
                step.line
            )?;
            write!(f, "{}", step.op)?;
            if let Some(line) = step.history {
                writeln!(f, "    history {line}")?;
            }
        }
        writeln!(f, "result {}", of(self.result))?;
        writeln!(f, "platform {}", self.platform)?;
        for warning in &self.warnings {
            writeln!(f, "warning {warning}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(_) => Ok(()),
            Self::MakeDirectory { parent, path, user } => {
                writeln!(f, "    on {}", of(*parent))?;
                let user = if user.is_empty() { "root" } else { user };
                writeln!(f, "    directory {path} of {user}")
            }
            Self::Run(run) => run.fmt(f),
            Self::Copy(copy) => copy.fmt(f),
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    on {}", of(self.parent))?;
        writeln!(f, "    run {:?}", self.argv)?;
        writeln!(f, "    env {:?}", self.env)?;
        if !self.hidden_env.is_empty() {
            writeln!(f, "    hidden env {:?}", self.hidden_env)?;
        }
        if !matches!(self.working_dir.as_str(), "" | "/") {
            writeln!(f, "    in {}", self.working_dir)?;
        }
        if !self.user.is_empty() {
            writeln!(f, "    as {}", self.user)?;
        }
        for file in &self.files {
            writeln!(
                f,
                "    file {} {:?}",
                file.path,
                String::from_utf8_lossy(&file.bytes)
            )?;
        }
        for mount in &self.mounts {
            writeln!(f, "    mount {mount}")?;
        }
        match self.network {
            Network::Default => {}
            Network::None => writeln!(f, "    no network")?,
            Network::Host => writeln!(f, "    the machine's network")?,
        }
        if self.insecure {
            writeln!(f, "    insecure")?;
        }
        writeln!(f, "    for {}", self.platform)
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind {
                from,
                source,
                target,
                writable,
            } => {
                let written = if *writable { " writable" } else { "" };
                write!(f, "{target} bind {source} of {}{written}", of(*from))
            }
            Self::Cache {
                id,
                from,
                source,
                target,
                readonly,
                sharing,
                mode,
                owner,
            } => {
                let readonly = if *readonly { " read-only" } else { "" };
                let (user, group) = owner;
                write!(
                    f,
                    "{target} cache {id} {sharing:?} {mode:o} {user}:{group}{readonly}"
                )?;
                match from {
                    Some(_) => write!(f, " from {source} of {}", of(*from)),
                    None => Ok(()),
                }
            }
            Self::Tmpfs { target, size_bytes } => match size_bytes {
                Some(size) => write!(f, "{target} memory of {size} bytes"),
                None => write!(f, "{target} memory"),
            },
            Self::Secret {
                id,
                target,
                env,
                required,
                mode,
                owner: (user, group),
            } => {
                let target = target.as_deref().unwrap_or("-");
                let required = if *required { " required" } else { "" };
                write!(f, "{target} secret {id} {mode:o} {user}:{group}{required}")?;
                match env {
                    Some(name) => write!(f, " as ${name}"),
                    None => Ok(()),
                }
            }
            Self::Ssh {
                id,
                target,
                required,
                mode,
                owner: (user, group),
            } => {
                let required = if *required { " required" } else { "" };
                write!(f, "{target} ssh {id} {mode:o} {user}:{group}{required}")
            }
        }
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    on {}", of(self.parent))?;
        for from in &self.from {
            match from {
                CopyFrom::Tree { step, paths } => writeln!(f, "    from #{step} {paths:?}")?,
                CopyFrom::Inline(files) => {
                    for file in files {
                        let text = String::from_utf8_lossy(&file.bytes);
                        writeln!(f, "    file {} {text:?}", file.path)?;
                    }
                }
                CopyFrom::Url {
                    url,
                    unpack,
                    checksum,
                } => {
                    let checksum = checksum.as_deref().unwrap_or("unchecked");
                    let unpack = if *unpack { " unpacked" } else { "" };
                    writeln!(f, "    download {url} {checksum}{unpack}")?;
                }
                CopyFrom::Git {
                    url,
                    checksum,
                    keep_git_dir,
                } => {
                    let checksum = checksum.as_deref().unwrap_or("unchecked");
                    let kept = if *keep_git_dir { " with .git" } else { "" };
                    writeln!(f, "    repository {url} {checksum}{kept}")?;
                }
            }
        }
        write!(f, "    to {}", self.target)?;
        if let Some(owner) = &self.owner {
            write!(f, " of {owner}")?;
        }
        if let Some(mode) = &self.mode {
            write!(f, " mode {mode}")?;
        }
        for (flag, name) in [
            (self.link, "link"),
            (self.parents, "parents"),
            (self.unpack, "unpack"),
        ] {
            if flag {
                write!(f, " {name}")?;
            }
        }
        match self.exclude.is_empty() {
            true => writeln!(f),
            false => writeln!(f, " without {:?}", self.exclude),
        }
    }
}

fn of(step: Option<StepId>) -> String {
    step.map_or_else(|| "nothing".into(), |id| format!("#{id}"))
}

fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}
