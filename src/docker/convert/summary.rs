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
        ..Default::default()
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

#[cfg(test)]
mod tests {
    use orc_base::clock::FakeClock;
    use orc_host::Host;
    use orc_host::container::{ContainerFilter, ContainerSpec};
    use orc_host::fake::FakeHost;
    use orc_host::image::ImageConfig;

    use super::*;

    #[tokio::test]
    async fn sentences_are_dockers() {
        let host = FakeHost::new(std::sync::Arc::new(FakeClock::at(Time::from_secs(1000))));
        host.add_image("busybox", ImageConfig::default());
        let spec = ContainerSpec {
            image: "busybox".into(),
            command: Some(vec!["sleep".into(), "9".into()]),
            ..ContainerSpec::default()
        };
        let later = Time::from_secs(1000 + 300);
        let row = async || {
            let all = host
                .list_containers(&ContainerFilter::everything())
                .await
                .unwrap();
            to_wire(&all[0], later, false).unwrap()
        };
        host.create_container(Some("web"), &spec).await.unwrap();
        assert_eq!(
            (row().await.status.as_str(), row().await.names),
            ("Created", vec!["/web".into()])
        );
        host.start_container("web").await.unwrap();
        assert_eq!(row().await.status, "Up 5 minutes");
        host.set_health("web", HealthStatus::Starting).unwrap();
        assert_eq!(row().await.status, "Up 5 minutes (health: starting)");
        host.set_health("web", HealthStatus::Healthy).unwrap();
        assert_eq!(row().await.status, "Up 5 minutes (healthy)");
        host.pause_container("web").await.unwrap();
        assert_eq!(row().await.status, "Up 5 minutes (Paused)");
        host.unpause_container("web").await.unwrap();
        host.exit("web", 3).unwrap();
        assert_eq!(row().await.status, "Exited (3) 5 minutes ago");
        assert!(row().await.orc_inspect.is_none());
    }
}
