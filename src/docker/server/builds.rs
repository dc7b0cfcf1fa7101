//! Images that are built: Docker's classic builder, and orc's own line, which can say more.
//!
//! BuildKit's protocol is not spoken: `/_ping` tells clients so, and a build by it is refused.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use orc_base::{Error, Result};
use orc_host::image_build::{BuildEvent, BuildRequest, BuildSpec, ContextSource};
use orc_host::stream::Stream;
use serde::Serialize;

use crate::convert::build_log::Log;
use crate::convert::{build, path};
use crate::server::build_query;
use crate::server::call::Call;
use crate::server::reply::{self, Reply};
use crate::wire::build::BUILD;

/// The longest line that says what to build: secrets are in it.
const MAX_SPEC: usize = 16 << 20;

/// `POST /build`
pub(crate) async fn classic(call: Call) -> Result<Reply> {
    let mut spec = build_query::from_query(&call.query)?;
    spec.credentials = build::accounts(call.header("x-registry-config").unwrap_or_default())?;
    let mut log = Log::new(spec.tags.clone(), call.query.flag("q"));
    let host = call.host.clone();
    let archive = match spec.context {
        ContextSource::Archive => Some(call.into_stream()),
        _ => None,
    };
    let mut events = host.build_image(BuildRequest { spec, archive }).await?;
    // What is wrong with the Dockerfile has a status of its own.
    let first = match events.next().await {
        Some(Err(error)) if build::is_refusal(&error) => return Err(error),
        first => first,
    };
    let events = stream::iter(first).chain(events);
    let lines = events.flat_map(move |event| {
        let messages = match event {
            Ok(event) => log.lines(event),
            Err(error) => vec![log.failure(&error)],
        };
        stream::iter(messages.into_iter().map(|message| line(&message, b"\r\n")))
    });
    Ok(reply::stream("application/json", Box::pin(lines)))
}

/// `POST /orc/build`
pub(crate) async fn own(call: Call) -> Result<Reply> {
    let media_type = call.header("content-type").unwrap_or_default();
    if media_type != BUILD {
        return Err(Error::invalid(format!(
            "the header `Content-Type` says {media_type}: send {BUILD}"
        )));
    }
    let host = call.host.clone();
    let (first, rest) = split_line(call.into_stream()).await?;
    let spec: BuildSpec = path::decode(&first)?;
    let archive = match uses_archive(&spec) {
        true => Some(rest),
        false => None,
    };
    let events = host.build_image(BuildRequest { spec, archive }).await?;
    Ok(reply::stream("application/json", lines(events)))
}

fn uses_archive(spec: &BuildSpec) -> bool {
    let all = std::iter::once(&spec.context).chain(spec.contexts.values());
    all.into_iter()
        .any(|context| *context == ContextSource::Archive)
}

fn lines(events: Stream<BuildEvent>) -> Stream<Bytes> {
    Box::pin(events.map(|event| line(&build::line(event), b"\n")))
}

fn line(value: &impl Serialize, end: &[u8]) -> Result<Bytes> {
    let mut line = serde_json::to_vec(value)?;
    line.extend_from_slice(end);
    Ok(line.into())
}

/// Reads up to the first line feed; the rest comes as it comes.
async fn split_line(mut body: Stream<Bytes>) -> Result<(Vec<u8>, Stream<Bytes>)> {
    let mut line = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
        if line.len() > MAX_SPEC {
            return Err(Error::exhausted(format!(
                "the line that says what to build is over {MAX_SPEC} bytes"
            )));
        }
        if let Some(end) = end {
            let rest = piece.slice(end + 1..);
            let rest = stream::iter((!rest.is_empty()).then_some(Ok(rest)));
            return Ok((line, Box::pin(rest.chain(body))));
        }
    }
    Err(Error::invalid(
        "the body ends before the line feed after what to build",
    ))
}
