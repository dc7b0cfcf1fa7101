//! From a request to its row, and from the row's result to an answer.
//!
//! What changes the machine runs to its end even when the client leaves; what only looks ends with
//! the client. A handler that panics answers 500 and takes nothing else with it.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER, UPGRADE};
use hyper::{HeaderMap, Request, StatusCode};
use orc_base::{Clock, Error, Result};
use orc_host::Host;
use tokio::task::JoinHandle;

use crate::body;
use crate::convert::info::{API_VERSION, MIN_API_VERSION, version_text};
use crate::server::call::Call;
use crate::server::query::{self, Query};
use crate::server::reply::{self, Reply};
use crate::server::route::{self, Found, Route};
use crate::server::routes::ROUTES;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The header `Server`.
    pub(crate) server: HeaderValue,
}

/// Answers a request.
pub(crate) async fn answer(shared: &Shared, request: Request<Incoming>) -> Reply {
    let head = request.method() == "HEAD";
    let mut reply = match route(shared, request).await {
        Ok(reply) => reply,
        Err(error) => reply::refusal(&error),
    };
    if head {
        *reply.body_mut() = body::whole("");
    }
    add_headers(reply.headers_mut(), shared);
    reply
}

fn add_headers(headers: &mut HeaderMap, shared: &Shared) {
    if let Ok(version) = HeaderValue::from_str(&version_text(API_VERSION)) {
        headers.insert("api-version", version);
    }
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(SERVER, shared.server.clone());
}

async fn route(shared: &Shared, mut request: Request<Incoming>) -> Result<Reply> {
    let (version, path) = route::split_version(request.uri().path());
    if let Some(version) = version {
        check_version(version)?;
    }
    let (route, name) = match route::find(&ROUTES, request.method().as_str(), path) {
        Found::Route(route, name) => (route, query::decode(&name)?),
        Found::OtherMethod => {
            let error = Error::invalid(format!("{} is not allowed here", request.method()));
            return Ok(reply::refusal_as(StatusCode::METHOD_NOT_ALLOWED, &error));
        }
        Found::Nothing => return Err(Error::not_found("page not found")),
    };
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    // `h2c` and the like are offers that may be ignored.
    let wants_connection = request
        .headers()
        .get(UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"tcp"));
    let upgrade = wants_connection.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let call = Call {
        host: shared.host.clone(),
        clock: shared.clock.clone(),
        name,
        query,
        headers: parts.headers,
        body,
        upgrade,
    };
    run(route, call).await
}

/// Docker's words for a client that is too old or too new.
fn check_version(version: (u32, u32)) -> Result<()> {
    let shown = version_text(version);
    if version < MIN_API_VERSION {
        return Err(Error::invalid(format!(
            "client version {shown} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
            version_text(MIN_API_VERSION)
        )));
    }
    if version > API_VERSION {
        return Err(Error::invalid(format!(
            "client version {shown} is too new. Maximum supported API version is {}",
            version_text(API_VERSION)
        )));
    }
    Ok(())
}

async fn run(route: &Route, call: Call) -> Result<Reply> {
    let task = tokio::spawn((route.handler)(call));
    let _look = (route.method == "GET").then(|| EndWithClient(task.abort_handle()));
    finished(task, route).await
}

async fn finished(task: JoinHandle<Result<Reply>>, route: &Route) -> Result<Reply> {
    task.await.unwrap_or_else(|_| {
        tracing::error!(
            route = route.pattern,
            "a request panicked: this is a bug in orc"
        );
        Err(Error::internal(
            "the request failed inside the daemon: this is a bug in orc",
        ))
    })
}

struct EndWithClient(tokio::task::AbortHandle);

impl Drop for EndWithClient {
    fn drop(&mut self) {
        self.0.abort();
    }
}
