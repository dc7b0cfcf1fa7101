//! The `prune` verbs: removes what nobody uses, of one kind or of all.
//!
//! What goes is the daemon's decision (`orc_host::prune`); here are the flags, the question before,
//! and Docker's output.

use clap::Args;
use orc_base::{Error, Result, Time, units};
use orc_host::Host;
use orc_host::image::Removal;
use orc_host::storage::CachePrune;
use orc_host::unused::{Prunable, Prune, PruneFilter, Pruned};

use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::time;
use crate::cli::prompt;
use crate::cli::session::Session;
use crate::ui::out;

/// What all of them ask.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Flags {
    /// Whether to go on.
    fn confirmed(&self, what: &str) -> Result<bool> {
        Ok(self.force || prompt::confirm(what)?)
    }
}

/// Remove all stopped containers
#[derive(Debug, Args)]
pub(crate) struct Containers {
    #[command(flatten)]
    flags: Flags,
}

impl Containers {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let prune = Prune {
            what: Prunable::Containers,
            filter: filter(&self.flags.filter, session.now())?.0,
        };
        if self
            .flags
            .confirmed("This will remove all stopped containers.")?
        {
            let pruned = session.host().await?.prune(&prune).await?;
            section("Deleted Containers", &pruned.removed);
            total(pruned.bytes);
        }
        Ok(OK)
    }
}

/// Remove all networks that no container uses
#[derive(Debug, Args)]
pub(crate) struct Networks {
    #[command(flatten)]
    flags: Flags,
}

impl Networks {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let prune = Prune {
            what: Prunable::Networks,
            filter: filter(&self.flags.filter, session.now())?.0,
        };
        if self
            .flags
            .confirmed("This will remove all networks that no container uses.")?
        {
            let pruned = session.host().await?.prune(&prune).await?;
            section("Deleted Networks", &pruned.removed);
        }
        Ok(OK)
    }
}

/// Remove volumes that no container uses
#[derive(Debug, Args)]
pub(crate) struct Volumes {
    /// Those with a name, too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Volumes {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (filter, rest) = filter(&self.flags.filter, session.now())?;
        let prune = Prune {
            what: Prunable::Volumes {
                named: self.all || rest.all,
            },
            filter,
        };
        let what = match self.all {
            true => "This will remove all volumes that no container uses.",
            false => "This will remove all anonymous volumes that no container uses.",
        };
        if self.flags.confirmed(what)? {
            let pruned = session.host().await?.prune(&prune).await?;
            section("Deleted Volumes", &pruned.removed);
            total(pruned.bytes);
        }
        Ok(OK)
    }
}

/// Remove images without a name
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// All that no container uses
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Images {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (filter, rest) = filter(&self.flags.filter, session.now())?;
        let named = self.all || rest.dangling == Some(false);
        let what = match named {
            true => "This will remove all images that no container uses.",
            false => "This will remove all images without a name.",
        };
        if self.flags.confirmed(what)? {
            let prune = Prune {
                what: Prunable::Images { named },
                filter,
            };
            let pruned = session.host().await?.prune(&prune).await?;
            section("Deleted Images", &lines(&pruned.images));
            total(pruned.bytes);
        }
        Ok(OK)
    }
}

/// Remove what builds may use again
#[derive(Debug, Args)]
pub(crate) struct Builds {
    /// Also what images have as well
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=24h, type=regular, id=…, description=…, inuse=…, shared=…
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Keep so much, what was used last
    #[arg(long, alias = "reserved-space", value_name = "BYTES", value_parser = units::parse_bytes)]
    keep_storage: Option<u64>,
    /// The same as --keep-storage
    #[arg(long, value_name = "BYTES", value_parser = units::parse_bytes, hide = true)]
    max_used_space: Option<u64>,
}

impl Builds {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let what = match self.all {
            true => "This will remove all that builds may use again.",
            false => "This will remove all that builds may use again and no image has.",
        };
        let filters = self.filter.iter().map(|text| pair(text));
        let prune = CachePrune {
            all: self.all,
            keep_bytes: self.keep_storage.max(self.max_used_space),
            filters: filters.collect::<Result<_>>()?,
        };
        if self.force || prompt::confirm(what)? {
            let host = session.host().await?;
            let pruned = host.prune_build_cache(&prune).await?;
            section("Deleted build cache objects", &pruned.removed);
            total(pruned.bytes);
        }
        Ok(OK)
    }
}

/// Remove stopped containers, unused networks, images without a name and the build cache
#[derive(Debug, Args)]
pub(crate) struct Everything {
    /// All images that no container uses
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes that no container uses, too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Everything {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let (filter, _) = filter(&self.flags.filter, session.now())?;
        if self.volumes && filter.until.is_some() {
            return Err(
                Error::invalid("the \"until\" filter is not supported with \"--volumes\"").into(),
            );
        }
        if !self.flags.confirmed(&self.warning())? {
            return Ok(OK);
        }
        let host = &*session.host().await?;
        let mut bytes = 0;
        let mut kinds = vec![
            ("Deleted Containers", Prunable::Containers),
            ("Deleted Networks", Prunable::Networks),
        ];
        if self.volumes {
            kinds.push(("Deleted Volumes", Prunable::Volumes { named: false }));
        }
        let named = self.all;
        kinds.push(("Deleted Images", Prunable::Images { named }));
        for (title, what) in kinds {
            let filter = filter.clone();
            let pruned = host.prune(&Prune { what, filter }).await?;
            bytes += pruned.bytes;
            section(title, &deleted(pruned));
        }
        bytes += self.builds(host, &filter, session.now()).await?;
        total(bytes);
        Ok(OK)
    }

    /// Steps of builds have no labels: who asks for some means none of them.
    async fn builds(&self, host: &dyn Host, filter: &PruneFilter, now: Time) -> Result<u64> {
        if !filter.labels.is_empty() || !filter.without.is_empty() {
            return Ok(0);
        }
        let unused = filter.until.map(|until| {
            let seconds = now.since(until).as_secs();
            ("until".to_owned(), format!("{seconds}s"))
        });
        let prune = CachePrune {
            all: self.all,
            keep_bytes: None,
            filters: unused.into_iter().collect(),
        };
        let pruned = host.prune_build_cache(&prune).await?;
        section("Deleted build cache objects", &pruned.removed);
        Ok(pruned.bytes)
    }

    fn warning(&self) -> String {
        let mut lines = vec![
            "all stopped containers",
            "all networks not used by at least one container",
        ];
        if self.volumes {
            lines.push("all anonymous volumes not used by at least one container");
        }
        lines.push(match self.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        });
        lines.push(match self.all {
            true => "all build cache",
            false => "unused build cache",
        });
        let mut text = format!("This will remove:\n  - {}\n", lines.join("\n  - "));
        if !self.flags.filter.is_empty() {
            let filters = self.flags.filter.join("\n  - ");
            text += &format!("\n  Items to be pruned will be filtered with:\n  - {filters}\n");
        }
        text
    }
}

/// What further filters say.
#[derive(Debug, Default)]
struct Rest {
    dangling: Option<bool>,
    all: bool,
}

/// `--filter`: all must hold.
fn filter(texts: &[String], now: Time) -> Result<(PruneFilter, Rest)> {
    let (mut filter, mut rest) = (PruneFilter::default(), Rest::default());
    for text in texts {
        let (key, value) = pair(text)?;
        let flag = || {
            let parsed = value.parse::<bool>().ok();
            let parsed = parsed.or((value == "1").then_some(true));
            parsed
                .or((value == "0").then_some(false))
                .ok_or_else(|| Error::invalid(format!("`--filter {text}`: use true or false")))
        };
        let label = || match value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (value.clone(), None),
        };
        match key.as_str() {
            "until" => filter.until = Some(time::moment(&value, now)?),
            "label" => filter.labels.push(label()),
            "label!" => filter.without.push(label()),
            "dangling" => rest.dangling = Some(flag()?),
            "all" => rest.all = flag()?,
            _ => {
                return Err(Error::invalid(format!(
                    "`--filter {key}=…` is not supported here: use until, label or label!"
                )));
            }
        }
    }
    Ok((filter, rest))
}

fn pair(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        Error::invalid(format!(
            "`--filter {text}`: use KEY=VALUE, such as until=24h"
        ))
    })?;
    Ok((key.to_owned(), value.to_owned()))
}

fn deleted(pruned: Pruned) -> Vec<String> {
    let images = lines(&pruned.images);
    pruned.removed.into_iter().chain(images).collect()
}

fn lines(removals: &[Removal]) -> Vec<String> {
    let line = |removal: &Removal| match removal {
        Removal::Untagged(name) => format!("untagged: {name}"),
        Removal::Deleted(id) => format!("deleted: {id}"),
    };
    removals.iter().map(line).collect()
}

fn section(title: &str, lines: &[String]) {
    if !lines.is_empty() {
        out::line(&format!("{title}:\n{}\n", lines.join("\n")));
    }
}

fn total(bytes: u64) {
    out::line(&format!(
        "Total reclaimed space: {}",
        units::format_bytes_finely(bytes)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let now = Time::from_secs(100_000);
        let texts = ["until=10s", "label=a", "label!=b=c", "dangling=false"];
        let texts = texts.map(str::to_owned);
        let (filter, rest) = filter(&texts, now).unwrap();
        assert_eq!(filter.until, Some(Time::from_secs(99_990)));
        assert_eq!(filter.labels, [("a".into(), None)]);
        assert_eq!(filter.without, [("b".into(), Some("c".into()))]);
        assert_eq!(rest.dangling, Some(false));
        for bad in ["until", "until=x", "color=red", "dangling=maybe"] {
            let result = super::filter(&[bad.to_owned()], now);
            assert!(result.is_err(), "{bad}");
        }
    }
}
