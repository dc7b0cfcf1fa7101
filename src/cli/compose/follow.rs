//! The log lines of several containers on one screen, also of those that start again.
//!
//! One task a container reads its log and sends lines into one bounded queue; events of the machine
//! say when a container starts (again) and when it ended. Whoever follows takes from the queue at
//! its own pace, so a slow terminal slows the readers down and not the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use orc_base::{Error, Kind, Result, Time};
use orc_compose::labels;
use orc_host::Host;
use orc_host::container::{Container, State};
use orc_host::event::{Event, EventFilter, Subject};
use orc_host::stream::{LogLine, LogOptions, Output, Stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::compose::names;
use crate::ui::out;
use crate::ui::prefix::Prefixes;

/// How many lines may wait to be shown.
const QUEUE: usize = 256;
/// How long the last lines of stopped containers may take.
const SETTLE: Duration = Duration::from_secs(2);

/// What comes out of the queue.
#[derive(Debug)]
enum News {
    /// A line of the container with this id.
    Line(String, LogLine),
    /// The log of the container with this id ended: it stopped.
    Ended(String),
    /// A log could not be read.
    Broken(String, Error),
}

/// A container ended with this code, and all that it wrote was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exited(pub(crate) i32);

/// Which services are followed, and of which of them lines are shown; all when `None`.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// The others might as well not be there.
    pub(crate) followed: Option<BTreeSet<String>>,
    /// Of the others only the end is noticed.
    pub(crate) shown: Option<BTreeSet<String>>,
}

/// Follows the containers of a project.
pub(crate) struct Follower {
    host: Arc<dyn Host>,
    project: String,
    prefixes: Prefixes,
    services: Services,
    events: Stream<Event>,
    sender: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    readers: JoinSet<()>,
    followed: BTreeMap<String, Followed>,
    /// Say when containers end, which `logs -f` does not.
    tells_ends: bool,
}

/// A container that is followed.
#[derive(Debug)]
struct Followed {
    name: String,
    shown: bool,
    /// It runs, or what it wrote is not all shown.
    alive: bool,
    /// It ended, and its restart policy will start it again.
    restarts: bool,
    /// When the last line that was shown was written.
    last: Option<Time>,
    /// The end that was told last, so that none is told twice.
    told: Option<Time>,
}

impl Follower {
    /// Listens for events from now on; nothing is shown before [`Follower::add`] or a start.
    pub(crate) async fn new(
        host: Arc<dyn Host>,
        project: &str,
        prefixes: Prefixes,
        services: Services,
        tells_ends: bool,
    ) -> Result<Self> {
        let filter = EventFilter {
            subjects: vec![Subject::Container],
            actions: vec!["start".into(), "die".into()],
            labels: vec![(labels::PROJECT.into(), Some(project.into()))],
            ..EventFilter::default()
        };
        let events = host.events(filter).await?;
        let (sender, news) = mpsc::channel(QUEUE);
        Ok(Self {
            host,
            project: project.to_owned(),
            prefixes,
            services,
            events,
            sender,
            news,
            readers: JoinSet::new(),
            followed: BTreeMap::new(),
            tells_ends,
        })
    }

    /// The entry of a container; `None` when it is not followed.
    fn entry(&mut self, container: &Container) -> Option<&mut Followed> {
        let holds = |services: &Option<BTreeSet<String>>| {
            services
                .as_ref()
                .is_none_or(|services| services.contains(names::service(container)))
        };
        if names::is_one_off(container) || !holds(&self.services.followed) {
            return None;
        }
        let shown = holds(&self.services.shown);
        let name = names::display(container, &self.project);
        if shown {
            self.prefixes.add(&name);
        }
        Some(
            self.followed
                .entry(container.id.clone())
                .or_insert_with(|| Followed {
                    name,
                    shown,
                    alive: false,
                    restarts: false,
                    last: None,
                    told: None,
                }),
        )
    }

    /// Makes room for the name of a container that is still to be started, and forgets what it wrote
    /// in earlier lives. Returns the name if its lines will be shown.
    pub(crate) fn expect(&mut self, container: &Container) -> Option<String> {
        let followed = self.entry(container)?;
        let ended = container.state.exit().map(|exit| exit.finished_at);
        (followed.last, followed.told) = (ended, ended);
        followed.shown.then(|| followed.name.clone())
    }

    /// Follows a container, with the lines that `options` want. Returns its name if they are shown.
    pub(crate) fn add(&mut self, container: &Container, options: LogOptions) -> Option<String> {
        let followed = self.entry(container)?;
        let (name, shown) = (followed.name.clone(), followed.shown);
        if !followed.alive {
            followed.alive = true;
            followed.restarts = false;
            if shown {
                let (host, id, sender) = (
                    Arc::clone(&self.host),
                    container.id.clone(),
                    self.sender.clone(),
                );
                self.readers
                    .spawn(async move { read(&*host, id, options, sender).await });
            }
        }
        shown.then_some(name)
    }

    /// Follows a container that was started, unless its start was noticed already.
    pub(crate) async fn started(&mut self, container: &Container) -> Result<Option<Exited>> {
        let Some(followed) = self.entry(container) else {
            return Ok(None);
        };
        let ended = container.state.exit().map(|exit| exit.finished_at);
        let old = !container.state.is_running() && ended == followed.told;
        let (last, shown) = (followed.last, followed.shown);
        if followed.alive || old {
            return Ok(None);
        }
        self.add(container, resume(last));
        match shown || container.state.is_running() {
            true => Ok(None),
            // Nobody reads its log, so nobody will notice.
            false => self.ended(&container.id.clone()).await,
        }
    }

    /// Shows lines until a log ends or a container that is not shown does. `None` when that is no
    /// news: the container runs again, or its end was told before.
    pub(crate) async fn next(&mut self) -> Result<Option<Exited>> {
        loop {
            tokio::select! {
                // Lines first: what a container wrote before it ended is shown before it ended.
                biased;
                Some(news) = self.news.recv() => match news {
                    News::Line(id, line) => self.show(&id, &line),
                    News::Ended(id) => return self.ended(&id).await,
                    News::Broken(id, error) => {
                        if error.kind() != Kind::NotFound {
                            out::warning(&format!("the log of {id} cannot be read: {error}"));
                        }
                        return self.ended(&id).await;
                    }
                },
                event = self.events.next() => {
                    let Some(event) = event else {
                        return Err(Error::unavailable("the daemon closed the stream of events"));
                    };
                    if let Some(exited) = self.event(&event?).await? {
                        return Ok(Some(exited));
                    }
                }
            }
        }
    }

    /// Whether nothing that is followed runs, or will by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.followed
            .values()
            .all(|followed| !followed.alive && !followed.restarts)
    }

    /// Shows the last lines of containers that have stopped, for a moment at most.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + SETTLE;
        while !self.is_over() {
            match tokio::time::timeout_at(deadline, self.next()).await {
                Ok(exited) => drop(exited?),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn show(&mut self, id: &str, line: &LogLine) {
        if let Some(followed) = self.followed.get_mut(id) {
            followed.last = Some(line.time);
            let bytes = self.prefixes.line(&followed.name, line.time, &line.bytes);
            match line.output {
                Output::Stdout => out::bytes(&bytes),
                Output::Stderr => out::error_bytes(&bytes),
            }
        }
    }

    async fn event(&mut self, event: &Event) -> Result<Option<Exited>> {
        match event.action.as_str() {
            "start" => match self.host.inspect_container(&event.id).await {
                Ok(container) => self.started(&container).await,
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            // Whoever reads its log notices later, when all that it wrote was shown.
            "die"
                if self
                    .followed
                    .get(&event.id)
                    .is_some_and(|followed| !followed.shown && followed.alive) =>
            {
                self.ended(&event.id).await
            }
            _ => Ok(None),
        }
    }

    /// All that a container wrote was shown: says how it ended, and follows it when it runs again.
    async fn ended(&mut self, id: &str) -> Result<Option<Exited>> {
        let Some(followed) = self.followed.get_mut(id) else {
            return Ok(None);
        };
        followed.alive = false;
        let container = match self.host.inspect_container(id).await {
            Ok(container) => container,
            // Removed: how it ended is not known any more.
            Err(error) if error.kind() == Kind::NotFound => {
                followed.restarts = false;
                return Ok(Some(Exited(0)));
            }
            Err(error) => return Err(error),
        };
        followed.restarts = matches!(container.state, State::Restarting { .. });
        let last = followed.last;
        let Some(exit) = container.state.exit() else {
            // It was started again before we looked.
            self.add(&container, resume(last));
            return Ok(None);
        };
        if followed.told == Some(exit.finished_at) {
            return Ok(None);
        }
        followed.told = Some(exit.finished_at);
        if self.tells_ends && followed.shown {
            out::note(
                &self
                    .prefixes
                    .status(&followed.name, &format!("exited with code {}", exit.code)),
            );
        }
        Ok(Some(Exited(exit.code)))
    }
}

/// All lines after the last one that was shown.
fn resume(last: Option<Time>) -> LogOptions {
    LogOptions {
        follow: true,
        since: last.map(|last| last.plus(Duration::from_nanos(1))),
        ..LogOptions::default()
    }
}

async fn read(host: &dyn Host, id: String, options: LogOptions, sender: mpsc::Sender<News>) {
    let result = async {
        let mut lines = host.logs(&id, &options).await?;
        while let Some(line) = lines.next().await {
            if sender.send(News::Line(id.clone(), line?)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let news = match result.await {
        Ok(()) => News::Ended(id),
        Err(error) => News::Broken(id, error),
    };
    // Nobody listens when the command is over.
    let _ = sender.send(news).await;
}
