//! Containers: made, looked at, moved through their lives and removed.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use hyper::StatusCode;
use orc_base::{Error, Kind, Result, Time};
use orc_host::container::{ContainerFilter, Exit, RemoveOptions, WaitFor};
use orc_host::stop::StopOptions;
use orc_host::stream::TerminalSize;

use crate::convert::{
    container, create as create_body, filter, kind, summary, time, update as convert_update,
};
use crate::server::call::Call;
use crate::server::disk;
use crate::server::reply::{self, Reply};
use crate::wire::container as wire;
use crate::wire::host_config::HostConfig;

/// `GET /containers/json`
pub(crate) async fn list(call: Call) -> Result<Reply> {
    let limit = call
        .query
        .number::<i64>("limit")?
        .and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit > 0);
    let (mut wanted, further) =
        filter::containers(call.query.filters()?, call.query.flag("all"), limit)?;
    if !call.extended() {
        resolve_images(&call, &mut wanted).await;
    }
    let mut found = call.host.list_containers(&wanted).await?;
    if !further.is_empty() {
        let before = created(&call, further.before.as_deref()).await?;
        let since = created(&call, further.since.as_deref()).await?;
        found.retain(|container| {
            further.matches(container)
                && before.is_none_or(|time| container.created < time)
                && since.is_none_or(|time| container.created > time)
        });
        found.truncate(further.limit.unwrap_or(usize::MAX));
    }
    let now = call.now();
    let mut rows = found
        .iter()
        .map(|container| summary::to_wire(container, now, call.extended()))
        .collect::<Result<Vec<_>>>()?;
    if call.query.flag("size") && !rows.is_empty() {
        let ids = rows.iter().map(|row| row.id.clone()).collect();
        let sizes = disk::container_sizes(&call, ids).await?;
        for row in &mut rows {
            let size = sizes.get(&row.id);
            row.size_rw = size.map(|(own, _)| *own);
            row.size_root_fs = size.map(|(own, image)| own + image);
        }
    }
    reply::ok(&rows)
}

/// Docker's clients name an image by any of its names; the host compares the one that was used.
async fn resolve_images(call: &Call, wanted: &mut ContainerFilter) {
    let mut ids = Vec::new();
    for name in &wanted.images {
        if let Ok(image) = call.host.inspect_image(name).await {
            ids.push(image.id);
        }
    }
    wanted.images.extend(ids);
}

async fn created(call: &Call, name: Option<&str>) -> Result<Option<Time>> {
    match name {
        Some(name) => Ok(Some(call.host.inspect_container(name).await?.created)),
        None => Ok(None),
    }
}

/// `POST /containers/create`
pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: wire::Config = call.json().await?;
    let platform = call.query.get("platform").map(String::from);
    let (spec, mut warnings) = create_body::spec(&body, platform)?;
    let name = call
        .query
        .get("name")
        .map(|name| name.strip_prefix('/').unwrap_or(name));
    let created = call.host.create_container(name, &spec).await?;
    warnings.extend(created.warnings);
    let reply = wire::CreateReply {
        id: created.id,
        warnings,
    };
    reply::json(StatusCode::CREATED, &reply)
}

/// `GET /containers/{}/json`
pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let found = call.host.inspect_container(&call.name).await?;
    let mut inspect = container::to_wire(&found, call.extended())?;
    if call.query.flag("size") {
        let sizes = disk::container_sizes(&call, vec![found.id.clone()]).await?;
        let size = sizes.get(&found.id);
        inspect.size_rw = size.map(|(own, _)| *own);
        inspect.size_root_fs = size.map(|(own, image)| own + image);
    }
    reply::ok(&inspect)
}

/// `POST /containers/{}/start`
pub(crate) async fn start(call: Call) -> Result<Reply> {
    if call.query.get("checkpoint").is_some() {
        return Err(Error::unsupported("`checkpoint` is not supported"));
    }
    match call.host.start_container(&call.name).await {
        Ok(()) => Ok(reply::empty(StatusCode::NO_CONTENT)),
        Err(error) => start_refused(&call, error).await,
    }
}

/// Docker answers 400 when the program is missing or cannot be executed: 404 is a missing container.
async fn start_refused(call: &Call, error: Error) -> Result<Reply> {
    let of_program = matches!(error.kind(), Kind::NotFound | Kind::Denied);
    match of_program && call.host.inspect_container(&call.name).await.is_ok() {
        true => Ok(reply::refusal_as(StatusCode::BAD_REQUEST, &error)),
        false => Err(error),
    }
}

/// `POST /containers/{}/stop`
pub(crate) async fn stop(call: Call) -> Result<Reply> {
    call.host
        .stop_container(&call.name, &ending(&call)?)
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{}/restart`
pub(crate) async fn restart(call: Call) -> Result<Reply> {
    call.host
        .restart_container(&call.name, &ending(&call)?)
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn ending(call: &Call) -> Result<StopOptions> {
    Ok(StopOptions {
        signal: call.query.get("signal").map(str::to_owned),
        timeout: timeout(call)?,
    })
}

fn timeout(call: &Call) -> Result<Option<Duration>> {
    match call.query.number("t")? {
        Some(seconds) => time::from_seconds("t", seconds).map(Some),
        None => Ok(None),
    }
}

/// `POST /containers/{}/kill`
pub(crate) async fn kill(call: Call) -> Result<Reply> {
    call.host
        .kill_container(&call.name, call.query.get("signal"))
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{}/pause`
pub(crate) async fn pause(call: Call) -> Result<Reply> {
    call.host.pause_container(&call.name).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{}/unpause`
pub(crate) async fn unpause(call: Call) -> Result<Reply> {
    call.host.unpause_container(&call.name).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{}/rename`
pub(crate) async fn rename(call: Call) -> Result<Reply> {
    let name = call.query.needed("name")?;
    let name = name.strip_prefix('/').unwrap_or(name);
    call.host.rename_container(&call.name, name).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{}/update`
pub(crate) async fn update(mut call: Call) -> Result<Reply> {
    let body: HostConfig = call.json().await?;
    let (update, mut warnings) = convert_update::from_wire(&body)?;
    warnings.extend(call.host.update_container(&call.name, &update).await?);
    reply::ok(&wire::UpdateReply { warnings })
}

/// `DELETE /containers/{}`
pub(crate) async fn remove(call: Call) -> Result<Reply> {
    if call.query.flag("link") {
        return Err(Error::unsupported("`link`: there are no links"));
    }
    let options = RemoveOptions {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
    };
    call.host.remove_container(&call.name, options).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{}/resize`
pub(crate) async fn resize(call: Call) -> Result<Reply> {
    call.host.resize_container(&call.name, size(&call)?).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `h` and `w`.
pub(crate) fn size(call: &Call) -> Result<TerminalSize> {
    let needed = |name: &str| {
        let value = call.query.number(name)?;
        value.ok_or_else(|| Error::invalid(format!("the parameter `{name}` is missing")))
    };
    Ok(TerminalSize {
        rows: needed("h")?,
        columns: needed("w")?,
    })
}

/// `GET /containers/{}/top`
pub(crate) async fn top(call: Call) -> Result<Reply> {
    if let Some(args) = call.query.get("ps_args").filter(|args| *args != "-ef") {
        return Err(Error::unsupported(format!(
            "`ps_args`: `{args}` is not supported: use -ef"
        )));
    }
    let top = call.host.top(&call.name).await?;
    reply::ok(&wire::Top {
        titles: top.titles,
        processes: top.processes,
    })
}

/// `POST /containers/{}/wait`
///
/// The head is sent as soon as the wait is in place: `docker run` starts the container then.
pub(crate) async fn wait(call: Call) -> Result<Reply> {
    let until = match call.query.get("condition") {
        None | Some("not-running") => WaitFor::NotRunning,
        Some("next-exit") => WaitFor::NextExit,
        Some("removed") => WaitFor::Removed,
        Some(other) => {
            return Err(Error::invalid(format!(
                "invalid condition: `{other}`: use not-running, next-exit or removed"
            )));
        }
    };
    let found = call.host.inspect_container(&call.name).await?;
    let extended = call.extended();
    let host = call.host;
    let mut exit: BoxFuture<'static, Result<Exit>> =
        Box::pin(async move { host.wait_container(&found.id, until).await });
    // Polled once, the host has registered it.
    match poll_fn(|context| Poll::Ready(exit.as_mut().poll(context))).await {
        Poll::Ready(exit) => reply::ok(&waited(exit?, extended)),
        Poll::Pending => {
            let line = async move { waited_line(exit.await, extended) };
            Ok(reply::stream(
                "application/json",
                Box::pin(stream::once(line)),
            ))
        }
    }
}

fn waited(exit: Exit, extended: bool) -> wire::WaitReply {
    wire::WaitReply {
        status_code: exit.code,
        orc_exit: extended.then_some(exit),
        ..Default::default()
    }
}

/// An error comes too late for a status of its own.
fn waited_line(exit: Result<Exit>, extended: bool) -> Result<Bytes> {
    let reply = match exit {
        Ok(exit) => waited(exit, extended),
        Err(error) => wire::WaitReply {
            status_code: 125,
            error: Some(wire::WaitError {
                message: error.to_string(),
            }),
            orc_kind: match extended {
                true => kind::word(error.kind()).into(),
                false => String::new(),
            },
            ..Default::default()
        },
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    Ok(line.into())
}
