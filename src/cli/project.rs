//! Which Compose project is meant, and reading it.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use orc_base::{Context, Error, Kind, Result};
use orc_compose::converge;
use orc_compose::load::{self, LoadOptions};
use orc_compose::model::Project;
use orc_compose::remote::Remotes;

use crate::cli::compose::remote::consent;
use crate::cli::compose::remote::fetcher::Fetcher;
use crate::cli::compose::settings::Settings;
use crate::cli::place::Place;
use crate::cli::session::Session;
use crate::ui::color::Ansi;
use crate::ui::progress::Mode;
use crate::ui::{error, out, status};

/// More of a Compose file on standard input is not read.
const MAX_STDIN_BYTES: u64 = 8 << 20;

/// What stands before or after the verb of `orc compose`, `orc up` and `orc down`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ProjectFlags {
    /// Compose file; may be repeated, later ones change earlier ones; - is standard input
    #[arg(short, long, value_name = "FILE", help_heading = "Project")]
    pub(crate) file: Vec<PathBuf>,
    /// Name of the project
    #[arg(short, long, value_name = "NAME", help_heading = "Project")]
    pub(crate) project_name: Option<String>,
    /// Turn on the services of a profile
    #[arg(long, value_name = "PROFILE", help_heading = "Project")]
    pub(crate) profile: Vec<String>,
    /// File of variables instead of .env
    #[arg(long, value_name = "FILE", help_heading = "Project")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Directory that relative paths start from
    #[arg(long, value_name = "DIR", help_heading = "Project")]
    pub(crate) project_directory: Option<PathBuf>,
    /// How progress is shown [default: auto]
    #[arg(
        id = "progress",
        long,
        value_name = "PROGRESS",
        value_enum,
        env = "COMPOSE_PROGRESS",
        hide_env = true,
        help_heading = "Project"
    )]
    pub(crate) typed_progress: Option<Mode>,
    /// When output is coloured [default: auto]
    #[arg(
        id = "ansi",
        long,
        value_name = "ANSI",
        value_enum,
        env = "COMPOSE_ANSI",
        hide_env = true,
        help_heading = "Project"
    )]
    pub(crate) typed_ansi: Option<Ansi>,
    /// How much is done at once; -1 is as much as can be
    #[arg(
        long,
        value_name = "NUMBER",
        env = "COMPOSE_PARALLEL_LIMIT",
        hide_env = true,
        allow_negative_numbers = true,
        help_heading = "Project"
    )]
    pub(crate) parallel: Option<i64>,
    /// Names with `_` between their parts, as docker-compose 1 had them
    #[arg(
        long,
        env = "COMPOSE_COMPATIBILITY",
        hide_env = true,
        help_heading = "Project"
    )]
    pub(crate) compatibility: bool,
    /// Also what no service uses; only `config` shows it
    #[arg(long, global = true, help_heading = "Project")]
    pub(crate) all_resources: bool,
    /// Print what would be done and do nothing
    #[arg(long, global = true, help_heading = "Project")]
    pub(crate) dry_run: bool,
    /// How progress is shown; set by `prepare`, as all below
    #[arg(skip)]
    pub(crate) progress: Mode,
    /// When output is coloured
    #[arg(skip)]
    pub(crate) ansi: Ansi,
    /// What `.env` says about the command line
    #[arg(skip)]
    pub(crate) settings: Settings,
    /// Whose project it is, for what somebody agreed to
    #[arg(skip)]
    pub(crate) daemon: Place,
    /// Whoever fetches files from elsewhere
    #[arg(skip)]
    pub(crate) remotes: Option<Arc<dyn Remotes>>,
}

/// How a service of a project is meant where a container's name is expected. `-f` means other things
/// there, so the file has its long name only.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServiceFlags {
    /// Compose file, when NAME is a service
    #[arg(long, value_name = "FILE", help_heading = "Project")]
    file: Vec<PathBuf>,
    /// Name of the project, when NAME is a service
    #[arg(short, long, value_name = "NAME", help_heading = "Project")]
    project_name: Option<String>,
}

impl From<ServiceFlags> for ProjectFlags {
    fn from(flags: ServiceFlags) -> Self {
        Self {
            file: flags.file,
            project_name: flags.project_name,
            ..Self::default()
        }
    }
}

impl ProjectFlags {
    /// What the flags and this process say.
    pub(crate) fn options(&self, services: &[String]) -> Result<LoadOptions> {
        Ok(LoadOptions {
            stdin: self.stdin()?,
            ..self.place(services)?
        })
    }

    /// The same without what comes on standard input, which can be read once.
    fn place(&self, services: &[String]) -> Result<LoadOptions> {
        Ok(LoadOptions {
            files: self.file.clone(),
            project_directory: self.project_directory.clone(),
            project_name: self.project_name.clone(),
            profiles: self.profile.clone(),
            env_files: self.env_file.clone(),
            environment: environment(),
            working_dir: std::env::current_dir().context(|| "find the working directory")?,
            services: services.to_vec(),
            remotes: self.remotes.clone(),
            compatibility: self.compatibility,
            ..LoadOptions::default()
        })
    }

    /// Completes the flags by what `.env` says, refuses displays that contradict each other, and prepares
    /// for the one that is wanted and for files from elsewhere.
    pub(crate) fn prepare(&mut self, session: &Session) -> Result<()> {
        self.settle(Settings::of(&self.place(&[])?))?;
        if let Some(wanted) = self.settings.yes("COMPOSE_STATUS_STDOUT") {
            status::set_data(wanted);
        }
        self.daemon = session.place.clone();
        let fetcher = Fetcher::new(session.place.clone(), self.settings.clone());
        self.remotes = Some(Arc::new(fetcher));
        if self.progress == Mode::Json {
            error::use_json();
        }
        match (self.progress, self.ansi) {
            (Mode::Tty, Ansi::Never) => Err(Error::invalid(
                "`--progress tty` needs control sequences, which `--ansi never` forbids: leave one away",
            )),
            (Mode::Plain, Ansi::Always) => Err(Error::invalid(
                "`--progress plain` has no control sequences, which `--ansi always` asks for: leave one away",
            )),
            _ => Ok(()),
        }
    }

    /// Puts settings below what was typed.
    fn settle(&mut self, settings: Settings) -> Result<()> {
        let progress = settings.word("COMPOSE_PROGRESS")?;
        self.progress = self.typed_progress.or(progress).unwrap_or_default();
        let ansi = settings.word("COMPOSE_ANSI")?;
        self.ansi = self.typed_ansi.or(ansi).unwrap_or_default();
        let parallel = settings.number("COMPOSE_PARALLEL_LIMIT")?;
        self.parallel = self.parallel.or(parallel);
        self.compatibility |= settings.yes("COMPOSE_COMPATIBILITY") == Some(true);
        self.settings = settings;
        Ok(())
    }

    /// Whether containers of unknown services go: a flag, or `COMPOSE_REMOVE_ORPHANS`.
    pub(crate) fn removes_orphans(&self, flag: bool) -> bool {
        flag || self.settings.yes("COMPOSE_REMOVE_ORPHANS") == Some(true)
    }

    /// How many things are under way at the same time.
    pub(crate) fn at_once(&self) -> usize {
        self.parallel
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0)
            .map_or(converge::MAX_AT_ONCE, |limit| {
                limit.min(converge::MAX_AT_ONCE)
            })
    }

    /// The project; warnings about its files are printed.
    pub(crate) fn load(&self, services: &[String]) -> Result<Project> {
        let project = self.read(services)?;
        consent::refuse_programs(&self.daemon, &project)?;
        Ok(project)
    }

    fn read(&self, services: &[String]) -> Result<Project> {
        let loaded = load::load(&self.options(services)?)?;
        for warning in &loaded.warnings {
            out::warning(warning);
        }
        Ok(loaded.project)
    }

    /// The project, to make something of it: what came from elsewhere may need somebody's consent, and
    /// `yes` is it.
    pub(crate) async fn load_to_make(
        &self,
        session: &Session,
        services: &[String],
        yes: bool,
    ) -> Result<Project> {
        if self.dry_run {
            return self.load(services);
        }
        let project = self.read(services)?;
        consent::ask(&session.place, &project, yes).await?;
        Ok(project)
    }

    /// The project, or only its name when its files are gone and someone says the name.
    pub(crate) fn load_or_name(&self, services: &[String]) -> Result<Project> {
        match self.load(services) {
            Err(error) if error.kind() == Kind::NotFound && self.is_only_named() => {
                let mut project = Project::default();
                project.name = load::project_name(&self.options(services)?)?;
                Ok(project)
            }
            other => other,
        }
    }

    fn is_only_named(&self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let named = self.project_name.is_some() || set("COMPOSE_PROJECT_NAME");
        named && self.file.is_empty() && !set("COMPOSE_FILE")
    }

    fn stdin(&self) -> Result<Option<String>> {
        if !self.file.iter().any(|file| file.as_os_str() == "-") {
            return Ok(None);
        }
        let mut text = String::new();
        let read = std::io::stdin()
            .lock()
            .take(MAX_STDIN_BYTES + 1)
            .read_to_string(&mut text);
        read.context(|| "read the Compose file from standard input")?;
        match text.len() as u64 > MAX_STDIN_BYTES {
            true => Err(Error::exhausted(format!(
                "the Compose file on standard input is larger than {} MiB",
                MAX_STDIN_BYTES >> 20
            ))),
            false => Ok(Some(text)),
        }
    }
}

/// The variables that are text; others cannot stand in a Compose file.
pub(crate) fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        project: ProjectFlags,
    }

    fn settled(typed: &str, pairs: &[(&str, &str)]) -> ProjectFlags {
        let words = std::iter::once("x").chain(typed.split_whitespace());
        let mut flags = Typed::parse_from(words).project;
        flags.settle(Settings::from(pairs)).expect("settings");
        flags
    }

    #[test]
    fn flags_say_more_than_the_env_file() {
        let all = [
            ("COMPOSE_PROGRESS", "plain"),
            ("COMPOSE_ANSI", "never"),
            ("COMPOSE_PARALLEL_LIMIT", "3"),
            ("COMPOSE_COMPATIBILITY", "1"),
            ("COMPOSE_REMOVE_ORPHANS", "true"),
        ];
        let flags = settled("", &all);
        assert_eq!((flags.progress, flags.ansi), (Mode::Plain, Ansi::Never));
        assert_eq!(flags.at_once(), 3);
        assert!(flags.compatibility && flags.removes_orphans(false));
        let flags = settled("--progress auto --ansi auto --parallel 2", &all);
        assert_eq!((flags.progress, flags.ansi), (Mode::Auto, Ansi::Auto));
        assert_eq!(flags.at_once(), 2);
        let flags = settled("", &[]);
        assert_eq!((flags.progress, flags.ansi), (Mode::Auto, Ansi::Auto));
        assert_eq!(flags.at_once(), converge::MAX_AT_ONCE);
        assert!(!flags.compatibility && !flags.removes_orphans(false));
        assert!(flags.removes_orphans(true));
    }
}
