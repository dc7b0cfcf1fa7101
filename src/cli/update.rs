//! `update`: other limits and another restart policy for containers that exist.

use clap::Args;
use orc_base::{Error, Result};
use orc_host::update::ContainerUpdate;

use crate::cli::each::each_found;
use crate::cli::failure::Outcome;
use crate::cli::limit_flags::LimitFlags;
use crate::cli::parse::limits;
use crate::cli::project::ServiceFlags;
use crate::cli::session::Session;
use crate::cli::target;
use crate::ui::out;

/// Change limits and the restart policy of containers
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orc update --memory 512m --memory-swap 1g web\n  \
    orc update --restart unless-stopped web db")]
pub(crate) struct Update {
    #[command(flatten)]
    limits: LimitFlags,
    /// What happens after they end: no, always, unless-stopped, on-failure[:MAX]
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    #[command(flatten)]
    project: ServiceFlags,
    /// Containers, or services of the project here
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Update {
    /// Prints the names. What is not named stays as it is.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let update = &self.change()?;
        let host = session.host().await?;
        let names = target::names(&*host, &self.names, &self.project.into()).await;
        let host = &host;
        each_found(names, |name| async move {
            for warning in host.update_container(&name, update).await? {
                out::warning(&warning);
            }
            Ok(name)
        })
        .await
    }

    fn change(&self) -> Result<ContainerUpdate> {
        let update = ContainerUpdate {
            resources: self.limits.resources()?,
            restart: self.restart.as_deref().map(limits::restart).transpose()?,
        };
        match update == ContainerUpdate::default() {
            true => Err(Error::invalid(
                "nothing is to be changed: name a limit or `--restart`, see `orc update --help`",
            )),
            false => Ok(update),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use orc_host::container::{Resources, RestartPolicy};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn change(line: &str) -> std::result::Result<ContainerUpdate, String> {
        let words = std::iter::once("update").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.kind().to_string())?;
        line.update.change().map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let expected = ContainerUpdate {
            resources: Resources {
                memory_bytes: Some(64 << 20),
                memory_swap_bytes: Some(-1),
                nano_cpus: Some(500_000_000),
                ..Resources::default()
            },
            restart: None,
        };
        assert_eq!(
            change("-m 64m --memory-swap -1 --cpus .5 a b").unwrap(),
            expected
        );
        let restart = change("--restart on-failure:2 a").unwrap().restart;
        let twice = RestartPolicy::OnFailure {
            max_retries: Some(2),
        };
        assert_eq!(restart, Some(twice));
        let rest = "--blkio-weight 300 --cpu-rt-runtime 10 --cpu-rt-period 100 --pids-limit -1 \
             --cpu-shares 2 --cpu-quota -1 --cpu-period 1000 --cpuset-cpus 0 --cpuset-mems 0 \
             --memory-reservation 1m a";
        let rest = change(rest).unwrap().resources;
        assert_eq!(rest.block_io.weight, Some(300));
        assert_eq!(rest.cpu_realtime_runtime_us, Some(10));
        assert_eq!((rest.pids, rest.cpu_quota_us), (Some(-1), Some(-1)));
    }

    #[test]
    fn refusals() {
        for bad in [
            "a",
            "--cpus 1",
            "--cpus 1 --cpu-period 9 a",
            "--restart often a",
            "-m x a",
        ] {
            assert!(change(bad).is_err(), "{bad}");
        }
    }
}
