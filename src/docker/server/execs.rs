//! Further processes in containers.

use hyper::StatusCode;
use orc_base::Result;

use crate::convert::exec;
use crate::server::call::Call;
use crate::server::containers;
use crate::server::hijack;
use crate::server::output;
use crate::server::reply::{self, Reply};
use crate::wire::exec as wire;

/// `POST /containers/{}/exec`
pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: wire::CreateBody = call.json().await?;
    let id = call
        .host
        .create_exec(&call.name, &exec::spec(&body)?)
        .await?;
    reply::json(StatusCode::CREATED, &wire::CreateReply { id })
}

/// `POST /exec/{}/start`
pub(crate) async fn start(mut call: Call) -> Result<Reply> {
    let body: wire::StartBody = call.json_or_default().await?;
    let attached = call.host.start_exec(&call.name, body.detach).await?;
    if let Some(size) = body.console_size.and_then(exec::size) {
        // It may have ended already.
        let _ = call.host.resize_exec(&call.name, size).await;
    }
    if body.detach {
        return Ok(reply::empty(StatusCode::OK));
    }
    let stdio = output::of_exec(attached, call.extended());
    Ok(hijack::reply(call.upgrade, call.body, stdio))
}

/// `GET /exec/{}/json`
pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let found = call.host.inspect_exec(&call.name).await?;
    reply::ok(&exec::to_wire(&found, call.extended()))
}

/// `POST /exec/{}/resize`
pub(crate) async fn resize(call: Call) -> Result<Reply> {
    let size = containers::size(&call)?;
    call.host.resize_exec(&call.name, size).await?;
    Ok(reply::empty(StatusCode::OK))
}
