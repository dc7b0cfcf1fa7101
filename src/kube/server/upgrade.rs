//! From a request to a stream: exec, attach, port-forward, and logs.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::kinds::POD;
use crate::object::Object;
use crate::objects::Target;
use crate::server::reply::Reply;
use crate::server::state::{Call, State};
use crate::server::streams::node::{ContainerTarget, LogOptions};
use crate::server::streams::websocket::accept_key;
use crate::server::streams::{channels, forward};
use crate::status::{Result, Status};

/// Words of a command, at most, and bytes of them together.
const MAX_WORDS: usize = 10_000;

/// Whether a path names one of these.
pub(super) fn is_stream(call: &Call) -> bool {
    let resource = &call.resource;
    (
        resource.group.as_str(),
        resource.version.as_str(),
        resource.plural.as_str(),
    ) == ("", "v1", "pods")
        && !resource.name.is_empty()
        && matches!(
            resource.below.as_str(),
            "exec" | "attach" | "portforward" | "log"
        )
}

/// Begins the stream. `upgrade` becomes the connection once the answer is sent.
pub(super) async fn answer(
    service: &Arc<State>,
    call: Call,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<Reply> {
    let target = Target::new(&POD, &call.resource.namespace, &call.resource.name);
    let pod = service.objects().get(&target, "").await?;
    match call.resource.below.as_str() {
        "log" => logs(service, call, pod).await,
        "portforward" => {
            let (reply, upgrade) = switch(headers, upgrade, forward::PROTOCOLS)?;
            let permit = service.stream_permit()?;
            let service = service.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let Ok(upgraded) = upgrade.await else { return };
                let (io, node) = (TokioIo::new(upgraded), service.node_streams());
                let ended = forward::serve(io, pod, node, service.until_refused(&call)).await;
                told(ended);
            });
            Ok(reply)
        }
        _ => run(service, call, pod, headers, upgrade),
    }
}

fn run(
    service: &Arc<State>,
    call: Call,
    pod: Object,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<Reply> {
    let container = container(&pod, call.query.text("container"))?;
    let target = ContainerTarget { pod, container };
    let wanted = channels::Wanted {
        stdin: call.query.flag("stdin")?,
        stdout: call.query.flag("stdout")?,
        stderr: call.query.flag("stderr")?,
        tty: call.query.flag("tty")?,
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return Err(Status::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
    let executes = call.resource.below == "exec";
    if executes && (command.is_empty() || command.len() > MAX_WORDS) {
        return Err(Status::bad_request("you must specify a command to run"));
    }
    let (reply, upgrade) = switch(headers, upgrade, channels::PROTOCOLS)?;
    let permit = service.stream_permit()?;
    let service = service.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let Ok(upgraded) = upgrade.await else { return };
        let node = service.node_streams();
        let program = |terminal| async move {
            match executes {
                true => node.exec(&target, &command, terminal).await,
                false => node.attach(&target, terminal).await,
            }
        };
        let valid = service.until_refused(&call);
        told(channels::serve(TokioIo::new(upgraded), wanted, program, valid).await);
    });
    Ok(reply)
}

/// A stream that broke was told to the client, or the client is gone.
fn told(ended: orc_base::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!("a stream ended: {error}");
    }
}

async fn logs(service: &Arc<State>, call: Call, pod: Object) -> Result<Reply> {
    let query = &call.query;
    let container = container(&pod, query.text("container"))?;
    let since = match query.text("sinceTime") {
        "" => None,
        text => Some(text.parse().map_err(Status::from)?),
    };
    let options = LogOptions {
        follow: query.flag("follow")?,
        previous: query.flag("previous")?,
        tail: query.number("tailLines")?,
        since_s: query.number("sinceSeconds")?,
        since,
        timestamps: query.flag("timestamps")?,
        limit_bytes: query.number("limitBytes")?,
    };
    let permit = service.stream_permit()?;
    let target = ContainerTarget { pod, container };
    let log = service.node_streams().logs(&target, &options).await?;
    let service = service.clone();
    let refused = async move { service.until_refused(&call).await };
    let frames = log
        .take_until(refused)
        .take_while(|bytes| {
            if let Err(error) = bytes {
                tracing::debug!("a log ended: {error}");
            }
            std::future::ready(bytes.is_ok())
        })
        .map(move |bytes| {
            let _ = &permit;
            Ok(Frame::data(bytes.unwrap_or_default()))
        });
    let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, text);
    Ok(reply)
}

/// The container that is meant: the named one, or the only one.
fn container(pod: &Object, name: &str) -> Result<String> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod.list(&["spec", list]).iter();
        let names = containers.filter_map(|container| container.get("name")?.as_str());
        names.map(str::to_owned).collect()
    };
    let main = names("containers");
    let pod = pod.name();
    if name.is_empty() {
        return match &main[..] {
            [only] => Ok(only.clone()),
            many => Err(Status::bad_request(format!(
                "a container name must be specified for pod {pod}, choose one of: [{}]",
                many.join(" ")
            ))),
        };
    }
    let mut all = [main, names("initContainers"), names("ephemeralContainers")].concat();
    all.retain(|one| one == name);
    all.pop()
        .ok_or_else(|| Status::bad_request(format!("container {name} is not valid for pod {pod}")))
}

/// The answer that changes a connection into a WebSocket with one of these protocols. 400 for what asks
/// for something else.
fn switch(
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
    protocols: &[&'static str],
) -> Result<(Reply, OnUpgrade)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let word = |name: &str, wanted: &str| {
        let mut words = text(name).unwrap_or_default().split(',');
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = word(CONNECTION.as_str(), "upgrade") && word(UPGRADE.as_str(), "websocket");
    let key = text("sec-websocket-key").filter(|key| key.len() == 24);
    let (true, true, Some(key), Some(upgrade)) =
        (asks, word("sec-websocket-version", "13"), key, upgrade)
    else {
        return Err(Status::bad_request(
            "Upgrade request required: this is a WebSocket (RFC 6455, version 13)",
        ));
    };
    let protocol = protocols
        .iter()
        .find(|protocol| {
            let offered = headers.get_all("sec-websocket-protocol").into_iter();
            let mut offered = offered.filter_map(|value| value.to_str().ok());
            offered.any(|line| line.split(',').any(|word| word.trim() == **protocol))
        })
        .ok_or_else(|| {
            let known = protocols.join(", ");
            Status::bad_request(format!("the WebSocket's protocol must be one of: {known}"))
        })?;
    let mut reply = Response::new(Empty::<Bytes>::new().boxed_unsync());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = reply.headers_mut();
    out.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    out.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&accept_key(key)).expect("base64 is ASCII");
    out.insert("sec-websocket-accept", accept);
    out.insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    Ok((reply, upgrade))
}
