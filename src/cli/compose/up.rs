//! `up` and `create`: the project runs as its files say.
//!
//! In the background it is one plan. In the foreground there are two: containers are made first,
//! with progress; then they are started while their lines are shown. Ctrl-C stops them in order, a
//! second one kills them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use orc_base::{Error, Result, Time};
use orc_compose::labels;
use orc_compose::model::Project;
use orc_compose::observe::Observed;
use orc_compose::plan::{BuildPolicy, Goal, Kill, Plan, PullPolicy, Recreate, Stop, Up as Wanted};
use orc_host::container::{Container, ContainerFilter};
use orc_host::stream::LogOptions;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::compose::book::Book;
use crate::cli::compose::carry_out::Work;
use crate::cli::compose::follow::{Exited, Follower, Services};
use crate::cli::compose::menu::{self, Key, Menu};
use crate::cli::compose::names;
use crate::cli::compose::provide::provided;
use crate::cli::compose::rollback::take_back;
use crate::cli::compose::watch::build_each_time;
use crate::cli::compose::watching::runner::{Options, Watch};
use crate::cli::compose::watching::switch::Switch;
use crate::cli::failure::{Failure, INTERRUPTED, OK, Outcome, exit_code, or_interrupted};
use crate::cli::parse::time;
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::color::Ansi;
use crate::ui::prefix::Prefixes;
use crate::ui::progress::Mode;
use crate::ui::{escape, out};

/// When images are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Each time
    Always,
    /// When they are not here
    Missing,
    /// Not at all
    Never,
}

impl From<Pull> for PullPolicy {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Always => Self::Always,
            Pull::Missing => Self::Missing,
            Pull::Never => Self::Never,
        }
    }
}

/// What `up`, `create` and `plan` share.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MakeFlags {
    /// Replace containers even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    /// Replace no containers even if something changed
    #[arg(long)]
    no_recreate: bool,
    /// Remove containers of services that the files do not know
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS", hide_env = true)]
    remove_orphans: bool,
    /// When images are fetched
    #[arg(long, value_enum, value_name = "WHEN")]
    pull: Option<Pull>,
    /// No progress of pulls
    #[arg(long)]
    quiet_pull: bool,
    /// How many containers of a service: SERVICE=NUMBER
    #[arg(long, value_name = "SERVICE=NUMBER")]
    scale: Vec<String>,
    /// Build images even if they are here
    #[arg(long, conflicts_with = "no_build")]
    build: bool,
    /// Build no images even if they are missing
    #[arg(long)]
    no_build: bool,
    /// No progress of builds
    #[arg(long)]
    quiet_build: bool,
    /// Answer all questions with yes; none are asked
    #[arg(short = 'y', long)]
    yes: bool,
}

impl MakeFlags {
    /// What they ask for; the rest is as plain `up` has it.
    pub(crate) fn wanted(&self, flags: &ProjectFlags, services: &[String]) -> Result<Wanted> {
        Ok(Wanted {
            services: services.to_vec(),
            scale: scales(&self.scale)?,
            recreate: match (self.force_recreate, self.no_recreate) {
                (true, _) => Recreate::Force,
                (false, true) => Recreate::Never,
                (false, false) => Recreate::Diverged,
            },
            recreate_dependencies: match self.no_recreate {
                true => Recreate::Never,
                false => Recreate::Diverged,
            },
            remove_orphans: flags.removes_orphans(self.remove_orphans),
            pull: self.pull.map(Into::into),
            build: build_policy(self.build, self.no_build),
            ..Wanted::default()
        })
    }
}

/// `--build` and `--no-build`.
pub(crate) fn build_policy(build: bool, no_build: bool) -> BuildPolicy {
    match (build, no_build) {
        (true, _) => BuildPolicy::Always,
        (false, true) => BuildPolicy::Never,
        (false, false) => BuildPolicy::Missing,
    }
}

/// `--scale SERVICE=NUMBER`.
pub(crate) fn scales(texts: &[String]) -> Result<BTreeMap<String, u64>> {
    let scale = |text: &String| {
        let pair = text
            .split_once('=')
            .and_then(|(service, number)| Some((service, number.parse().ok()?)));
        let (service, number) =
            pair.ok_or_else(|| Error::invalid(format!("`{text}`: use SERVICE=NUMBER to scale")))?;
        Ok((service.to_owned(), number))
    };
    texts.iter().map(scale).collect()
}

/// Make the containers of the project and start none
#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    make: MakeFlags,
    /// Only these services and what they need
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Create {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, mut flags: ProjectFlags) -> Outcome {
        let yes = self.make.yes;
        let project = flags.load_to_make(session, &self.services, yes).await?;
        quiet_pull(&self.make, &mut flags);
        let wanted = Wanted {
            start: false,
            ..self.make.wanted(&flags, &self.services)?
        };
        let project = provided(session, &flags, project, &wanted, "create").await?;
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let (wanted, seen) = work.renewing(wanted, self.make.yes).await?;
        let (wanted, seen) = work.refresh(wanted, seen, "create").await?;
        let plan = work.decide(&Goal::Up(wanted), &seen)?;
        work.carry_out(&plan, "create").await?;
        Ok(OK)
    }
}

async fn in_background(
    work: &Work<'_>,
    session: &Session,
    wanted: Wanted,
    seen: Observed,
) -> Outcome {
    let (wanted, seen) = work.refresh(wanted, seen, "up").await?;
    update(work, session, wanted, &seen).await?;
    Ok(OK)
}

/// What `up` in the foreground does before it shows lines.
async fn make_all(
    work: &Work<'_>,
    session: &Session,
    wanted: Wanted,
    seen: &Observed,
) -> Result<()> {
    if wanted.start {
        return update(work, session, wanted, seen).await;
    }
    let plan = work.decide(&Goal::Up(wanted), seen)?;
    work.carry_out(&plan, "up").await
}

/// Reaches the goal and writes it into the project's book; an update that failed is taken back when
/// the file says so.
async fn update(work: &Work<'_>, session: &Session, wanted: Wanted, seen: &Observed) -> Result<()> {
    let plan = work.decide(&Goal::Up(wanted), seen)?;
    let outcome = work.outcome(&plan, "up").await;
    if let Err(failure) = outcome.done {
        return Err(take_back(work, session, &outcome.back, failure).await);
    }
    let book = Book::of(session, &work.project.name)?;
    let nothing_new = plan.is_empty() && book.is_begun();
    if !work.flags.dry_run && !nothing_new {
        book.write(session, &*work.host, work.project, "up").await;
    }
    Ok(())
}

fn quiet_pull(make: &MakeFlags, flags: &mut ProjectFlags) {
    if (make.quiet_pull || make.quiet_build) && flags.progress == Mode::Auto {
        flags.progress = Mode::Plain;
    }
}

/// Create and start the project
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:\n  \
    orc up                       run the project here, Ctrl-C stops it\n  \
    orc up -d --wait             in the background, back when everything is healthy\n  \
    orc up -d --scale web=3 web  three containers of one service")]
pub(crate) struct Up {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Be done when everything runs or is healthy; implies -d
    #[arg(long)]
    wait: bool,
    /// Seconds that may take
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// Leave alone what the services need
    #[arg(long)]
    no_deps: bool,
    /// Make the containers and start none
    #[arg(long)]
    no_start: bool,
    /// Seconds a container may take to stop
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Replace what the named services need, even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,
    /// Fresh anonymous volumes for containers that are replaced
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Show when each line was written
    #[arg(long)]
    timestamps: bool,
    /// No names before lines
    #[arg(long)]
    no_log_prefix: bool,
    /// No colours
    #[arg(long)]
    no_color: bool,
    /// Stop everything when one container ends
    #[arg(long)]
    abort_on_container_exit: bool,
    /// Stop everything when one container fails
    #[arg(long)]
    abort_on_container_failure: bool,
    /// End with the exit code of a service; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE")]
    exit_code_from: Option<String>,
    /// Show only the lines of these services
    #[arg(long, value_name = "SERVICE")]
    attach: Vec<String>,
    /// Do not show the lines of these services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Show the lines of what the services need, too
    #[arg(long)]
    attach_dependencies: bool,
    /// Follow changes of files, as `develop.watch` says
    #[arg(short, long)]
    watch: bool,
    /// Heed keys: d leaves the containers running, w turns watching on and off; on a terminal, unless
    /// false
    #[arg(long, env = "COMPOSE_MENU", hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    menu: Option<bool>,
    #[command(flatten)]
    make: MakeFlags,
    /// Only these services and what they need
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Up {
    fn check(&self) -> Result<()> {
        let follows = self.abort_on_container_exit
            || self.abort_on_container_failure
            || self.exit_code_from.is_some();
        let shows = follows || self.watch || !self.attach.is_empty();
        if (self.detach || self.wait) && shows {
            return Err(Error::invalid(
                "`-d` and `--wait` exclude `--attach`, `--watch`, `--exit-code-from` and `--abort-on-…`: nobody would be there to see it",
            ));
        }
        if self.watch && follows {
            return Err(Error::invalid(
                "`--watch` excludes `--exit-code-from` and `--abort-on-…`: it replaces containers, and their end is no reason to stop",
            ));
        }
        Ok(())
    }

    fn wanted(&self, flags: &ProjectFlags) -> Result<Wanted> {
        let made = self.make.wanted(flags, &self.services)?;
        Ok(Wanted {
            no_deps: self.no_deps,
            start: !self.no_start,
            wait: self.wait,
            wait_timeout: self.wait_timeout.map(Duration::from_secs),
            timeout: time::timeout(self.timeout),
            renew_anonymous_volumes: self.renew_anon_volumes,
            recreate_dependencies: match self.always_recreate_deps {
                true => Recreate::Force,
                false => made.recreate_dependencies,
            },
            ..made
        })
    }

    /// In the foreground it ends with 130 after Ctrl-C.
    pub(crate) async fn run(self, session: &Session, mut flags: ProjectFlags) -> Outcome {
        self.check()?;
        let yes = self.make.yes;
        let mut project = flags.load_to_make(session, &self.services, yes).await?;
        let watch = match self.watch && !flags.dry_run {
            true => Some(Watch::begin(&project, &self.services)?),
            false => None,
        };
        if self.watch {
            build_each_time(&mut project);
        }
        for service in self
            .attach
            .iter()
            .chain(&self.no_attach)
            .chain(&self.exit_code_from)
        {
            project
                .service(service)
                .ok_or_else(|| project.no_such_service(service))?;
        }
        quiet_pull(&self.make, &mut flags);
        let wanted = self.wanted(&flags)?;
        let project = provided(session, &flags, project, &wanted, "up").await?;
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let (wanted, seen) = work.renewing(wanted, self.make.yes).await?;
        if self.detach || self.wait || self.no_start || flags.dry_run {
            return or_interrupted(in_background(&work, session, wanted, seen)).await;
        }
        let services = self.follows(&project)?;
        let options = Options {
            up: wanted.clone(),
            prune: true,
            quiet: self.make.quiet_build,
        };
        let mut switch = Switch::new(&work, &self.services, options);
        if let Some(watch) = watch {
            switch.turn_on_with(watch);
        }
        Foreground {
            up: &self,
            work: &work,
            session,
            signals: Signals::listen()?,
            switch,
        }
        .run(wanted, seen, services)
        .await
    }

    /// The services that this is about, and those whose lines are shown.
    fn follows(&self, project: &Project) -> Result<Services> {
        let named: BTreeSet<String> = self.services.iter().cloned().collect();
        let followed = match (self.services.is_empty(), self.no_deps) {
            (true, _) => project.services.keys().cloned().collect(),
            (false, true) => named.clone(),
            (false, false) => project.with_dependencies(&project.select(&self.services)?),
        };
        let mut shown: BTreeSet<String> = match (self.attach.is_empty(), self.services.is_empty()) {
            (false, _) => self.attach.iter().cloned().collect(),
            (true, true) => followed.clone(),
            (true, false) if self.attach_dependencies => followed.clone(),
            (true, false) => named,
        };
        shown.retain(|service| {
            let asked = self.attach.contains(service);
            let off = project
                .service(service)
                .is_some_and(|service| service.attach == Some(false));
            !self.no_attach.contains(service) && (asked || !off)
        });
        Ok(Services {
            followed: Some(followed),
            shown: Some(shown),
        })
    }

    fn aborts(&self, exited: &Exited) -> bool {
        self.abort_on_container_exit
            || self.exit_code_from.is_some()
            || (self.abort_on_container_failure && exited.0 != 0)
    }
}

/// How long starts that are under way may take when everything is to stop.
const STARTS_UNDER_WAY: Duration = Duration::from_secs(1);

/// Somebody wants it to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        use orc_base::Context;
        let listen = |kind| signal(kind).context(|| "listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Why the foreground ends.
enum End {
    /// Somebody leaves, and the containers go on.
    Detached,
    /// A signal.
    Interrupted,
    /// A container ended, and that ends all.
    Aborted(Exited),
    /// Nothing runs any more.
    Over,
}

struct Foreground<'a> {
    up: &'a Up,
    work: &'a Work<'a>,
    session: &'a Session,
    signals: Signals,
    switch: Switch<'a>,
}

impl Foreground<'_> {
    async fn run(mut self, wanted: Wanted, seen: Observed, services: Services) -> Outcome {
        let (wanted, seen) = tokio::select! {
            refreshed = self.work.refresh(wanted, seen, "up") => refreshed?,
            () = self.signals.next() => return Err(Failure::silent(INTERRUPTED)),
        };
        let begun = self.session.now();
        let updates = self.work.updates(&wanted, &seen)?;
        let make = Wanted {
            // An update goes lot after lot: what it makes has to run before the next is touched.
            start: updates,
            wait: false,
            ..wanted.clone()
        };
        tokio::select! {
            made = make_all(self.work, self.session, make, &seen) => made?,
            () = self.signals.next() => return Err(Failure::silent(INTERRUPTED)),
        }
        // The second look sees what was made; only starting is left.
        let start = Wanted {
            recreate: Recreate::Never,
            recreate_dependencies: Recreate::Never,
            pull: Some(PullPolicy::Never),
            build: BuildPolicy::Never,
            remove_orphans: false,
            ..wanted
        };
        let plan = self.work.plan(&Goal::Up(start)).await?;
        let about: Vec<String> = match self.up.services.is_empty() {
            true => Vec::new(),
            false => services.followed.iter().flatten().cloned().collect(),
        };
        let mut follower = self.follower(services).await?;
        let since = updates.then_some(begun);
        self.attach(&mut follower, &plan, since).await?;
        match self.until_end(&mut follower, &plan).await? {
            End::Detached => Ok(OK),
            End::Over => Ok(self.code_of_service().await?.unwrap_or(OK)),
            End::Interrupted => {
                out::note("Gracefully Stopping... (press Ctrl+C again to force)");
                self.stop(&mut follower, about).await?;
                Err(Failure::silent(INTERRUPTED))
            }
            End::Aborted(exited) => {
                out::note("Aborting on container exit...");
                self.stop(&mut follower, about).await?;
                Ok(self.code_of_service().await?.unwrap_or(exit_code(exited.0)))
            }
        }
    }

    async fn follower(&self, services: Services) -> Result<Follower> {
        let ansi = if self.up.no_color {
            Ansi::Never
        } else {
            self.work.flags.ansi
        };
        let prefixes = Prefixes::new(ansi.stdout(), self.up.no_log_prefix, self.up.timestamps);
        Follower::new(
            Arc::clone(&self.work.host),
            &self.work.project.name,
            prefixes,
            services,
            true,
        )
        .await
    }

    /// Says whose lines follow, and follows those that run already, from now on or from that time.
    async fn attach(
        &self,
        follower: &mut Follower,
        plan: &Plan,
        since: Option<Time>,
    ) -> Result<()> {
        let to_start: BTreeSet<&str> = plan.started().collect();
        let from_now = LogOptions {
            follow: true,
            tail: since.is_none().then_some(0),
            since,
            ..LogOptions::default()
        };
        let mut attached = Vec::new();
        for container in self.containers().await? {
            attached.extend(match container.state.is_running() {
                true => follower.add(&container, from_now.clone()),
                false if to_start.contains(container.name.as_str()) => follower.expect(&container),
                false => None,
            });
        }
        if !attached.is_empty() {
            out::note(&format!(
                "Attaching to {}",
                escape::line(&attached.join(", "))
            ));
        }
        Ok(())
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        let filter = ContainerFilter::labelled(labels::PROJECT, &self.work.project.name);
        let mut containers = self.work.host.list_containers(&filter).await?;
        containers.retain(|container| !names::is_one_off(container));
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Starts what is to be started and shows lines, until there is a reason to end.
    async fn until_end(
        &mut self,
        follower: &mut Follower,
        plan: &Plan,
    ) -> std::result::Result<End, Failure> {
        let mut start = std::pin::pin!(self.work.carry_out_quietly(plan));
        let mut started = false;
        let said = self.work.flags.settings.yes("COMPOSE_MENU");
        let mut menu = Menu::open(self.up.menu.or(said).unwrap_or(true))?;
        let end = loop {
            if let Some(menu) = &menu {
                menu.show(self.switch.is_on());
            }
            // Whoever watches may mend what has ended.
            if started && follower.is_over() && !self.switch.is_on() {
                break End::Over;
            }
            let exited = tokio::select! {
                done = &mut start, if !started => {
                    done?;
                    started = true;
                    self.write_down().await?;
                    self.catch_up(follower, plan).await?
                }
                exited = follower.next() => exited?,
                error = self.switch.broken(), if started => {
                    out::warning(&format!("{error}; files are not watched any more"));
                    None
                }
                () = self.signals.next() => break End::Interrupted,
                key = menu::next(&mut menu), if started => {
                    match key {
                        Key::Detach => break End::Detached,
                        Key::Enter => menu::make_room(),
                        Key::Watch => self
                            .switch
                            .turn()
                            .unwrap_or_else(|error| out::warning(&error.to_string())),
                    }
                    None
                }
            };
            if let Some(exited) = exited.filter(|exited| self.up.aborts(exited)) {
                break End::Aborted(exited);
            }
        };
        self.switch.turn_off();
        if !started {
            // Starts that are under way come to their end, so that what is stopped next is all there
            // is. Whether they succeed does not matter any more.
            let _ = tokio::time::timeout(STARTS_UNDER_WAY, start).await;
        }
        Ok(end)
    }

    /// What runs now is written into the project's book.
    async fn write_down(&self) -> Result<()> {
        let book = Book::of(self.session, &self.work.project.name)?;
        let host = &*self.work.host;
        book.write(self.session, host, self.work.project, "up")
            .await;
        Ok(())
    }

    /// Follows what was started and was not yet told by the stream of events. Returns one that ended
    /// already.
    async fn catch_up(&self, follower: &mut Follower, plan: &Plan) -> Result<Option<Exited>> {
        let to_start: BTreeSet<&str> = plan.started().collect();
        let mut ended = None;
        for container in self.containers().await? {
            if to_start.contains(container.name.as_str()) {
                ended = follower.started(&container).await?.or(ended);
            }
        }
        Ok(ended)
    }

    /// Stops everything in order, and kills it when somebody cannot wait.
    async fn stop(&mut self, follower: &mut Follower, services: Vec<String>) -> Result<()> {
        let goal = Goal::Stop(Stop {
            services: services.clone(),
            timeout: time::timeout(self.up.timeout),
        });
        let plan = self.work.plan(&goal).await?;
        tokio::select! {
            stopped = stop_and_show(self.work, &plan, follower) => return stopped,
            () = self.signals.next() => {}
        }
        let goal = Goal::Kill(Kill {
            services,
            ..Kill::default()
        });
        let plan = self.work.plan(&goal).await?;
        self.work.carry_out(&plan, "kill").await
    }

    async fn code_of_service(&self) -> Result<Option<u8>> {
        let Some(service) = &self.up.exit_code_from else {
            return Ok(None);
        };
        let containers = self.containers().await?;
        let mut exits = containers
            .iter()
            .filter(|container| names::service(container) == service)
            .filter_map(|container| container.state.exit());
        Ok(exits.next().map(|exit| exit_code(exit.code)))
    }
}

async fn stop_and_show(work: &Work<'_>, plan: &Plan, follower: &mut Follower) -> Result<()> {
    let mut stop = std::pin::pin!(work.carry_out(plan, "stop"));
    loop {
        tokio::select! {
            stopped = &mut stop => {
                stopped?;
                return follower.settle().await;
            }
            exited = follower.next() => drop(exited?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_is_a_map() {
        let texts = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(scales(&texts(&["web=3", "db=0"])).unwrap()["web"], 3);
        for bad in ["web", "web=", "web=-1", "web=x"] {
            assert!(scales(&texts(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_is_there_in_the_background() {
        let up = Up {
            detach: true,
            exit_code_from: Some("web".into()),
            ..Up::default()
        };
        assert!(up.check().is_err());
    }
}
