//! `run` and `create`: a new container, attached to this terminal or in the background.

use std::sync::Arc;

use clap::{ArgAction, Args};
use orc_base::{Context, Error, Kind, Result, spelling};
use orc_host::Host;
use orc_host::container::{ContainerSpec, RemoveOptions, WaitFor};

use crate::cli::cidfile::CidFile;
use crate::cli::failure::{
    DAEMON, Failure, NO_PROGRAM, NOT_EXECUTABLE, OK, OrExit, Outcome, exit_code,
};
use crate::cli::flags::{CreateFlags, Pull};
use crate::cli::parse::detach::DetachKeys;
use crate::cli::parse::env::MAX_FILE_BYTES;
use crate::cli::pull;
use crate::cli::session::Session;
use crate::cli::spec::{self, Around};
use crate::cli::stdio::{self, Ended, Wishes};
use crate::ui::out;
use crate::ui::progress::Mode;

/// What `--attach` takes.
const STREAMS: [&str; 6] = ["stdin", "stdout", "stderr", "STDIN", "STDOUT", "STDERR"];

/// Run a command in a new container
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orc run --rm -it busybox sh                 a shell in a new container\n  \
    orc run -d --name web -p 8080:80 nginx      a web server in the background\n  \
    orc run --rm -v ./data:/data busybox ls /data")]
pub(crate) struct Run {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Attach only to stdin, stdout or stderr
    #[arg(short, long, value_name = "STREAM", value_parser = STREAMS)]
    attach: Vec<String>,
    /// Pass signals on to the program
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    sig_proxy: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[command(flatten)]
    flags: CreateFlags,
}

/// Create a container and do not start it
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Who attaches to it later: stdin, stdout or stderr
    #[arg(short, long, value_name = "STREAM", value_parser = STREAMS)]
    attach: Vec<String>,
    #[command(flatten)]
    flags: CreateFlags,
}

impl Create {
    /// Prints the id.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let stdin = self
            .attach
            .iter()
            .any(|name| name.eq_ignore_ascii_case("stdin"));
        let spec = read(&self.flags, stdin)?;
        let cidfile = cidfile(&self.flags)?;
        let host = session.host().await?;
        let id = create(
            &*host,
            self.flags.name.as_deref(),
            &spec,
            self.flags.pull,
            self.flags.quiet,
        )
        .await?;
        keep_id(cidfile, &id)?;
        out::line(&id);
        Ok(OK)
    }
}

impl Run {
    /// Ends with the container's exit code.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let spec = read(&self.flags, !self.detach).or_exit(DAEMON)?;
        if self.detach && !self.attach.is_empty() {
            return Err(Error::invalid("`-d` and `-a` exclude each other")).or_exit(DAEMON);
        }
        let keys = detach_keys(self.detach_keys.as_deref()).or_exit(DAEMON)?;
        let only = |stream: &str| {
            self.attach.is_empty()
                || self
                    .attach
                    .iter()
                    .any(|only| only.eq_ignore_ascii_case(stream))
        };
        let attach = Attach {
            wishes: Wishes {
                stdin: spec.open_stdin && only("stdin"),
                stdout: only("stdout"),
                stderr: only("stderr"),
                tty: spec.tty,
                detach: keys,
            },
            sig_proxy: self.sig_proxy,
        };
        if !self.detach {
            stdio::check(&attach.wishes).or_exit(DAEMON)?;
        }
        let cidfile = cidfile(&self.flags).or_exit(DAEMON)?;
        let host = session.host().await.or_exit(DAEMON)?;
        let name = self.flags.name.as_deref();
        let id = create(&*host, name, &spec, self.flags.pull, self.flags.quiet)
            .await
            .or_exit(DAEMON)?;
        keep_id(cidfile, &id).or_exit(DAEMON)?;
        match self.detach {
            false => attached(host, &id, spec.auto_remove, attach).await,
            true => {
                start(&*host, &id, spec.auto_remove).await?;
                out::line(&id);
                Ok(OK)
            }
        }
    }
}

/// How somebody takes part in a container that is to be started.
pub(crate) struct Attach {
    /// With which streams.
    pub(crate) wishes: Wishes,
    /// Whether signals are passed on.
    pub(crate) sig_proxy: bool,
}

/// What the flags mean here.
fn read(flags: &CreateFlags, attached: bool) -> Result<ContainerSpec> {
    let around = Around {
        directory: std::env::current_dir().context(|| "find the working directory")?,
        variable: &|name| std::env::var(name).ok(),
        read: &|file| read_file(file),
    };
    spec::spec(flags, attached, &around)
}

/// The text of a file of variables or labels.
pub(crate) fn read_file(path: &str) -> Result<String> {
    let bytes = orc_base::fs::read_limited(std::path::Path::new(path), MAX_FILE_BYTES)?;
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{path} is not UTF-8 text")))
}

/// The keys of `--detach-keys`, or the usual ones.
pub(crate) fn detach_keys(text: Option<&str>) -> Result<DetachKeys> {
    text.filter(|text| !text.is_empty())
        .map_or_else(|| Ok(DetachKeys::default()), DetachKeys::parse)
}

/// Makes the container; fetches the image before when that is asked for or it is missing.
pub(crate) async fn create(
    host: &dyn Host,
    name: Option<&str>,
    spec: &ContainerSpec,
    policy: Pull,
    quiet: bool,
) -> Result<String> {
    let fetch = || {
        pull::pull(
            host,
            &spec.image,
            spec.platform.as_deref(),
            if quiet { Mode::Quiet } else { Mode::Auto },
        )
    };
    if policy == Pull::Always {
        fetch().await?;
    }
    let created = match host.create_container(name, spec).await {
        Err(error) if error.kind() == Kind::NotFound && policy != Pull::Never => {
            match host.inspect_image(&spec.image).await {
                Err(missing) if missing.kind() == Kind::NotFound => {
                    // What is no name of an image is not pulled.
                    orc_image::reference::Reference::parse(&spec.image)?;
                    out::note(&format!(
                        "the image {} is not here: pulling it",
                        crate::ui::escape::line(&spec.image)
                    ));
                    if let Err(error) = fetch().await {
                        return Err(with_nearest(host, &spec.image, error).await);
                    }
                    host.create_container(name, spec).await?
                }
                _ => return Err(error),
            }
        }
        other => other?,
    };
    for warning in &created.warnings {
        out::warning(warning);
    }
    Ok(created.id)
}

/// Why an image did not come, and the one that is here and was probably meant.
async fn with_nearest(host: &dyn Host, image: &str, error: Error) -> Error {
    let images = host.list_images().await.unwrap_or_default();
    let names = images.iter().flat_map(|image| &image.tags);
    match spelling::nearest(image, names.map(String::as_str)) {
        Some(near) => Error::new(
            error.kind(),
            format!("{error}; did you mean {near}, which is here?"),
        ),
        None => error,
    }
}

/// The file for the id, when one is asked for.
fn cidfile(flags: &CreateFlags) -> Result<Option<CidFile>> {
    flags.cidfile.as_deref().map(CidFile::reserve).transpose()
}

fn keep_id(file: Option<CidFile>, id: &str) -> Result<()> {
    file.map_or(Ok(()), |file| file.write(id))
}

/// Starts a container that was just made. One that removes itself is removed when it cannot start.
async fn start(host: &dyn Host, id: &str, remove: bool) -> std::result::Result<(), Failure> {
    let Err(error) = host.start_container(id).await else {
        return Ok(());
    };
    if remove {
        discard(host, id).await;
    }
    let code = start_code(&error);
    Err(error).or_exit(code)
}

/// Removes a container that nothing became of. When that fails, too, the first error is the one to
/// tell.
async fn discard(host: &dyn Host, id: &str) {
    let options = RemoveOptions {
        force: true,
        volumes: true,
    };
    let _ = host.remove_container(id, options).await;
}

/// Docker's exit codes for a program that could not be started.
pub(crate) fn start_code(error: &Error) -> u8 {
    let text = error.to_string();
    match error.kind() {
        Kind::NotFound => NO_PROGRAM,
        Kind::Denied => NOT_EXECUTABLE,
        // A daemon that speaks Docker's API says both with one status.
        _ if text.contains("no such file or directory")
            || text.contains("executable file not found") =>
        {
            NO_PROGRAM
        }
        _ if text.contains("permission denied") || text.contains("is a directory") => {
            NOT_EXECUTABLE
        }
        _ => DAEMON,
    }
}

/// Attaches to a container that was just made, starts it and stays until it ends.
pub(crate) async fn attached(
    host: Arc<dyn Host>,
    id: &str,
    remove: bool,
    attach: Attach,
) -> Outcome {
    let Attach { wishes, sig_proxy } = attach;
    let raw = stdio::prepare(&wishes).or_exit(DAEMON)?;
    let signals = stdio::signals(&*host, id, raw.is_some(), sig_proxy);
    // Asked before the start: who asks later may find it removed, and its exit code with it.
    let removed = remove.then(|| {
        let (host, id) = (Arc::clone(&host), id.to_owned());
        tokio::spawn(async move { host.wait_container(&id, WaitFor::Removed).await })
    });
    let streams = match host.attach_container(id).await {
        Ok(streams) => streams,
        Err(error) => {
            if remove {
                discard(&*host, id).await;
            }
            return Err(error).or_exit(DAEMON);
        }
    };
    start(&*host, id, remove).await?;
    let tty = wishes.tty;
    let beside = async {
        let size = async {
            if tty {
                stdio::follow_container_size(&*host, id).await;
            }
        };
        futures_util::future::join(size, signals).await;
    };
    let ended = stdio::carry(streams, wishes, beside).await;
    drop(raw);
    if ended.or_exit(DAEMON)? == Ended::Detached {
        return Ok(OK);
    }
    let exit = match removed {
        None => host.wait_container(id, WaitFor::NotRunning).await,
        Some(removed) => match removed.await {
            Ok(exit) => exit,
            Err(_) => Err(Error::internal(
                "the wait for the container's end was broken off",
            )),
        },
    };
    Ok(exit_code(exit.or_exit(DAEMON)?.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_programs_that_do_not_start() {
        assert_eq!(start_code(&Error::not_found("x")), NO_PROGRAM);
        assert_eq!(start_code(&Error::denied("x")), NOT_EXECUTABLE);
        assert_eq!(
            start_code(&Error::invalid("exec `/x`: no such file or directory")),
            NO_PROGRAM
        );
        assert_eq!(
            start_code(&Error::invalid("exec `/x`: permission denied")),
            NOT_EXECUTABLE
        );
        assert_eq!(start_code(&Error::conflict("port 80 is in use")), DAEMON);
    }
}
