//! A row of `docker ps`.

use orc_base::units::human_duration;
use orc_base::{Result, Time};
use orc_host::container::{Container, HealthStatus, State};

use crate::convert::namespace::{self, DEFAULT_NETWORK};
use crate::convert::{container, mount};
use crate::wire::container as wire;

/// The row; with `extended` also the whole container, which spares orc's client a call for each.
pub(crate) fn to_wire(found: &Container, now: Time, extended: bool) -> Result<wire::Summary> {
    let inspect = match extended {
        true => Some(Box::new(container::to_wire(found, true)?)),
        false => None,
    };
    Ok(wire::Summary {
        id: found.id.clone(),
        names: vec![format!("/{}", found.name)],
        image: found.spec.image.clone(),
        image_id: found.image_id.clone(),
        command: found.args.join(" "),
        created: found.created.secs(),
        ports: ports(found),
        labels: found.labels.clone(),
        state: found.state.as_str().into(),
        status: status(found, now),
        host_config: wire::SummaryHostConfig {
            network_mode: network_mode(found),
            annotations: found.spec.annotations.clone(),
        },
        network_settings: wire::SummaryNetworks {
            networks: container::networks(found, false),
        },
        mounts: found.mounts.iter().map(mount::point_to_wire).collect(),
        orc_inspect: inspect,
    })
}

fn network_mode(found: &Container) -> String {
    let first = found
        .spec
        .networks
        .first()
        .map(|wish| wish.network.as_str());
    namespace::network_to_wire(&found.spec.network_mode, first.or(Some(DEFAULT_NETWORK)))
}

fn ports(found: &Container) -> Vec<wire::SummaryPort> {
    let published = found.published.iter().map(|port| wire::SummaryPort {
        ip: port.host_ip.to_string(),
        private_port: port.port.number,
        public_port: port.host_port,
        r#type: port.port.protocol.to_string(),
    });
    let exposed = found
        .spec
        .exposed_ports
        .iter()
        .filter(|port| !found.published.iter().any(|other| other.port == **port))
        .map(|port| wire::SummaryPort {
            private_port: port.number,
            r#type: port.protocol.to_string(),
            ..Default::default()
        });
    published.chain(exposed).collect()
}

/// Docker's sentence about a state: `Up 5 minutes (healthy)`.
pub(crate) fn status(found: &Container, now: Time) -> String {
    let ago = |time: Time| human_duration(now.since(time));
    match &found.state {
        State::Created { .. } => "Created".into(),
        State::Running { started_at, .. } => {
            match found.health.as_ref().map(|health| health.status) {
                None => format!("Up {}", ago(*started_at)),
                Some(HealthStatus::Starting) => {
                    format!("Up {} (health: starting)", ago(*started_at))
                }
                Some(status) => format!("Up {} ({})", ago(*started_at), status.as_str()),
            }
        }
        State::Paused { started_at, .. } => format!("Up {} (Paused)", ago(*started_at)),
        State::Restarting { exit } => {
            format!("Restarting ({}) {} ago", exit.code, ago(exit.finished_at))
        }
        State::Exited { exit } => format!("Exited ({}) {} ago", exit.code, ago(exit.finished_at)),
        State::Removing => "Removal In Progress".into(),
    }
}
