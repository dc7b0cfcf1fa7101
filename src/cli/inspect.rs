//! `inspect`: all that is known of things, as Docker's JSON or through a template.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use orc_base::{Error, Result};
use orc_host::Host;
use orc_host::storage::UsageOf;
use serde::Serialize;
use serde_json::Value;

use crate::cli::failure::{Failure, OK, Outcome};
use crate::cli::platform::PlatformFlag;
use crate::cli::session::Session;
use crate::ui::{error, escape, out, render, template, terminal};

/// What kind of thing a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// Names, and how they are shown.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// A template such as '{{.Id}}', or json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// What containers wrote, and the size of their image with it
    #[arg(short, long)]
    size: bool,
    /// The names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Show all that is known of images
#[derive(Debug, Args)]
pub(crate) struct OfImages {
    #[command(flatten)]
    platform: PlatformFlag,
    #[command(flatten)]
    of: Of,
}

impl OfImages {
    /// Names of images.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        self.platform.check(&*host, &self.of.names).await?;
        self.of.run(session, Kind::Image).await
    }
}

/// Show all that is known of networks
#[derive(Debug, Args)]
pub(crate) struct OfNetworks {
    // Docker tells more of networks of a cluster with it.
    #[arg(short, long, hide = true)]
    verbose: bool,
    #[command(flatten)]
    of: Of,
}

impl OfNetworks {
    /// Names of networks.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        self.of.run(session, Kind::Network).await
    }
}

/// Show all that is known of containers, images, networks or volumes
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Only this kind of thing
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    #[command(flatten)]
    of: Of,
}

impl Inspect {
    /// A name may be that of any kind of thing.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self.kind {
            Some(kind) => self.of.run(session, kind).await,
            None => {
                let order = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];
                self.of.show(session, &order).await
            }
        }
    }
}

impl Of {
    /// Names of one kind of thing.
    pub(crate) async fn run(self, session: &Session, kind: Kind) -> Outcome {
        self.show(session, &[kind]).await
    }

    async fn show(&self, session: &Session, kinds: &[Kind]) -> Outcome {
        let nodes = match self.format.as_deref() {
            None => None,
            Some("json") => Some(template::parse("{{json .}}")?),
            Some(format) => Some(template::parse(format)?),
        };
        let host = session.host().await?;
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for name in &self.names {
            match look_up(&*host, name, kinds).await {
                Ok(mut value) => {
                    if self.size && value.get("HostConfig").is_some() {
                        add_size(&*host, &mut value).await?;
                    }
                    found.push(value);
                }
                Err(error) => errors.push(error),
            }
        }
        match nodes {
            None => show(&pretty(&Value::Array(found))?),
            Some(nodes) => {
                for value in &found {
                    show(&render::render(&nodes, value, &BTreeMap::new())?);
                }
            }
        }
        errors.iter().for_each(error::print);
        match errors.is_empty() {
            true => Ok(OK),
            false => Err(Failure::silent(1)),
        }
    }
}

fn show(text: &str) {
    match terminal::stdout_is_terminal() {
        true => out::line(&escape::text(text)),
        false => out::line(text),
    }
}

/// The first kind of thing that has the name.
async fn look_up(host: &dyn Host, name: &str, kinds: &[Kind]) -> Result<Value> {
    let mut missing = None;
    for kind in kinds {
        let found = match kind {
            Kind::Container => host
                .inspect_container(name)
                .await
                .and_then(|found| orc_docker::inspect::container(&found)),
            Kind::Image => host
                .inspect_image(name)
                .await
                .and_then(|found| orc_docker::inspect::image(&found)),
            Kind::Network => host
                .inspect_network(name)
                .await
                .and_then(|found| orc_docker::inspect::network(&found)),
            Kind::Volume => host
                .inspect_volume(name)
                .await
                .and_then(|found| orc_docker::inspect::volume(&found)),
        };
        match found {
            Err(error) if error.kind() == orc_base::Kind::NotFound => missing = Some(error),
            other => return other,
        }
    }
    Err(match missing {
        Some(error) if kinds.len() == 1 => error,
        _ => Error::not_found(format!(
            "no container, image, network or volume is named `{name}`"
        )),
    })
}

/// Adds the sizes to what is known of a container.
async fn add_size(host: &dyn Host, container: &mut Value) -> Result<()> {
    let text = |value: &Value, key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let of = UsageOf {
        containers: true,
        only: vec![text(container, "Id")],
        ..UsageOf::default()
    };
    let usage = host.disk_usage(&of).await?;
    let own = usage.containers.first().map_or(0, |one| one.bytes);
    let image = host.inspect_image(&text(container, "Image")).await;
    container["SizeRw"] = own.into();
    container["SizeRootFs"] = (own + image.map_or(0, |image| image.size_bytes)).into();
    Ok(())
}

/// JSON with four spaces, as Docker's.
fn pretty(value: &Value) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes, formatter,
    ))?;
    String::from_utf8(bytes).map_err(|_| Error::internal("JSON is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_spaces() {
        assert_eq!(
            pretty(&serde_json::json!([{"A": 1}])).unwrap(),
            "[\n    {\n        \"A\": 1\n    }\n]"
        );
        assert_eq!(pretty(&Value::Array(Vec::new())).unwrap(), "[]");
    }
}
