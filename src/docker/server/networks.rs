//! Networks.

use hyper::StatusCode;
use orc_base::{Error, Result};
use orc_host::network::{EndpointSpec, Network};

use crate::convert::filter::{self, Filters, Label};
use crate::convert::unsupported::{self, Place};
use crate::convert::{endpoint, network};
use crate::server::call::Call;
use crate::server::reply::{self, Reply};
use crate::wire::network as wire;

/// The networks that every machine has.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// `GET /networks`
pub(crate) async fn list(call: Call) -> Result<Reply> {
    let mut wanted = Wanted::of(call.query.filters()?)?;
    let mut networks = call.host.list_networks().await?;
    if let Some(dangling) = wanted.dangling.take() {
        let mut kept = Vec::new();
        for found in networks {
            let unused =
                !PREDEFINED.contains(&found.spec.name.as_str()) && !used(&call, &found).await?;
            if unused == dangling {
                kept.push(found);
            }
        }
        networks = kept;
    }
    let rows: Vec<_> = networks
        .iter()
        .filter(|found| wanted.matches(found))
        .map(network::to_wire)
        .collect();
    reply::ok(&rows)
}

struct Wanted {
    names: Vec<String>,
    ids: Vec<String>,
    drivers: Vec<String>,
    labels: Vec<Label>,
    scopes: Vec<String>,
    types: Vec<String>,
    dangling: Option<bool>,
}

impl Wanted {
    fn of(mut filters: Filters) -> Result<Self> {
        let wanted = Self {
            names: filters.take("name"),
            ids: filters.take("id"),
            drivers: filters.take("driver"),
            labels: filters.take_labels("label"),
            scopes: filters.take("scope"),
            types: filters.take("type"),
            dangling: filters.take_flag("dangling")?,
        };
        filters.finish()?;
        if let Some(other) = wanted
            .types
            .iter()
            .find(|kind| !matches!(kind.as_str(), "custom" | "builtin"))
        {
            return Err(Error::invalid(format!("invalid filter 'type={other}'")));
        }
        Ok(wanted)
    }

    fn matches(&self, network: &Network) -> bool {
        let spec = &network.spec;
        let kind = match PREDEFINED.contains(&spec.name.as_str()) {
            true => "builtin",
            false => "custom",
        };
        let any = |wanted: &[String], holds: &dyn Fn(&String) -> bool| {
            wanted.is_empty() || wanted.iter().any(holds)
        };
        any(&self.names, &|name| {
            crate::convert::pattern::names(name, &spec.name)
        }) && any(&self.ids, &|id| network.id.starts_with(id.as_str()))
            && any(&self.drivers, &|driver| *driver == spec.driver)
            && any(&self.scopes, &|scope| scope == "local")
            && any(&self.types, &|wanted| wanted == kind)
            && self
                .labels
                .iter()
                .all(|label| filter::labelled(&spec.labels, label))
    }
}

/// Whether any container, running or not, has a place on it.
async fn used(call: &Call, network: &Network) -> Result<bool> {
    let on_it = orc_host::container::ContainerFilter {
        networks: vec![network.id.clone()],
        ..orc_host::container::ContainerFilter::everything()
    };
    Ok(!network.endpoints.is_empty() || !call.host.list_containers(&on_it).await?.is_empty())
}

/// `GET /networks/{}`
pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let found = call.host.inspect_network(&call.name).await?;
    reply::ok(&network::to_wire(&found))
}

/// `POST /networks/create`
pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: wire::CreateBody = call.json().await?;
    let (spec, warnings) = network::spec(&body)?;
    let id = call.host.create_network(&spec).await?;
    let reply = wire::CreateReply {
        id,
        warning: warnings.join("; "),
    };
    reply::json(StatusCode::CREATED, &reply)
}

/// `POST /networks/{}/connect`
pub(crate) async fn connect(mut call: Call) -> Result<Reply> {
    let body: wire::ConnectBody = call.json().await?;
    unsupported::refuse_all(Place::Other("Connect"), &body.other)?;
    let mut warnings = Vec::new();
    let spec = match &body.endpoint_config {
        Some(settings) => endpoint::spec_from_wire(&call.name, settings, &mut warnings)?,
        None => EndpointSpec {
            network: call.name.clone(),
            ..EndpointSpec::default()
        },
    };
    // The answer has no room for warnings.
    if !warnings.is_empty() {
        return Err(Error::unsupported(warnings.join("; ")));
    }
    call.host.connect_network(&body.container, &spec).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/{}/disconnect`
pub(crate) async fn disconnect(mut call: Call) -> Result<Reply> {
    let body: wire::DisconnectBody = call.json().await?;
    call.host
        .disconnect_network(&call.name, &body.container, body.force)
        .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `DELETE /networks/{}`
pub(crate) async fn remove(call: Call) -> Result<Reply> {
    call.host.remove_network(&call.name).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
