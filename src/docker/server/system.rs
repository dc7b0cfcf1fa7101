//! The machine itself: who it is, what happens on it, and what is not offered.

use futures_util::StreamExt;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use orc_base::{Error, Result};

use crate::convert::{event, filter, info, time};
use crate::server::call::Call;
use crate::server::reply::{self, Reply};

/// `GET /_ping`
pub(crate) async fn ping(_call: Call) -> Result<Reply> {
    let mut reply = reply::text(StatusCode::OK, "OK");
    let headers = reply.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    // There is no BuildKit here: a client builds with what there is.
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    Ok(reply)
}

/// `GET /version`
pub(crate) async fn version(call: Call) -> Result<Reply> {
    reply::ok(&info::version(&call.host.info().await?))
}

/// `GET /info`
pub(crate) async fn info(call: Call) -> Result<Reply> {
    reply::ok(&info::to_wire(&call.host.info().await?, call.now()))
}

/// `GET /events`
pub(crate) async fn events(call: Call) -> Result<Reply> {
    let moment = |name: &str| {
        let text = call.query.get(name).unwrap_or_default();
        time::moment(name, text, call.now())
    };
    let (wanted, further) =
        filter::events(call.query.filters()?, moment("since")?, moment("until")?)?;
    let events = call.host.events(wanted).await?;
    let lines = events.filter_map(move |event| {
        let line = match event {
            Ok(event) if !further.matches(&event) => None,
            Ok(event) => Some(serde_json::to_vec(&event::to_wire(&event)).map_err(Error::from)),
            Err(error) => Some(Err(error)),
        };
        let line = line.map(|line| {
            line.map(|mut line| {
                line.push(b'\n');
                line.into()
            })
        });
        std::future::ready(line)
    });
    Ok(reply::stream("application/json", Box::pin(lines)))
}

/// What is Docker's and not orc's, yet or ever.
pub(crate) async fn unsupported(_call: Call) -> Result<Reply> {
    Err(Error::unsupported(
        "orc does not offer this part of Docker's API",
    ))
}

/// Clusters are spoken to through another API.
pub(crate) async fn no_swarm(_call: Call) -> Result<Reply> {
    Err(Error::unavailable(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ))
}

/// `GET /plugins`
pub(crate) async fn plugins(_call: Call) -> Result<Reply> {
    reply::ok(&[(); 0])
}

/// Builds.
pub(crate) async fn no_build(_call: Call) -> Result<Reply> {
    Err(Error::unsupported(
        "this is BuildKit's protocol, which orc does not speak: set DOCKER_BUILDKIT=0 (for docker compose also COMPOSE_BAKE=false), or use `orc build`",
    ))
}
