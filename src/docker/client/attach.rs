//! A program's stdio over a connection.

use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use hyper_util::rt::TokioIo;
use orc_base::{Error, Result};
use orc_host::stream::{Attached, Chunk, Stream};
use tokio::io::{AsyncRead, split};
use tokio_util::codec::FramedRead;

use crate::client::connection::Connections;
use crate::client::request::Ask;
use crate::stream::{Frames, RAW, Raw};

/// Asks for the connection behind a request.
pub(crate) async fn open(ask: Ask, connections: &Connections) -> Result<Attached> {
    let ask = ask
        .header(CONNECTION.as_str(), "Upgrade".into())
        .header(UPGRADE.as_str(), "tcp".into());
    let response = ask.open(connections).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::internal(format!(
            "the daemon answered {} instead of connecting",
            response.status()
        )));
    }
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let terminal = header(CONTENT_TYPE.as_str()) == Some(RAW);
    let has_input = header("orc-input").is_some();
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| Error::unavailable(format!("connect to the program: {error}")))?;
    // Dropping the writing half alone ends nothing: end of file is said by shutting it down.
    let (reader, writer) = split(TokioIo::new(upgraded));
    Ok(Attached {
        input: has_input.then(|| Box::pin(writer) as _),
        output: output(reader, terminal),
        terminal,
    })
}

fn output(reader: impl AsyncRead + Send + 'static, terminal: bool) -> Stream<Chunk> {
    match terminal {
        true => Box::pin(FramedRead::new(reader, Raw)),
        false => Box::pin(FramedRead::new(reader, Frames)),
    }
}
