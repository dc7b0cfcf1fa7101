//! Port-forward: SPDY frames inside a WebSocket, a pair of streams for each connection.
//!
//! The client opens a stream of type `error`, then one of type `data`, both with the same `requestid` and
//! `port`; what goes wrong with the connection is text on the first. Bounded: streams at once, bytes that
//! wait for the pod.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use orc_base::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::object::Object;
use crate::server::streams::node::{Connection, NodeStreams};
use crate::server::streams::spdy::{self, Decoder, Encoder, Frame};
use crate::server::streams::websocket::{Incoming, Reader, Writer};

/// The protocol.
pub(in crate::server) const PROTOCOLS: &[&str] = &["SPDY/3.1+portforward.k8s.io"];

/// Streams of one client that are open at once, at most.
const MAX_STREAMS: usize = 512;
/// Frames that wait for one connection of a pod, at most.
const QUEUE: usize = 32;
/// RST_STREAM: protocol error, and refused.
const PROTOCOL_ERROR: u32 = 1;
const REFUSED: u32 = 3;

type Sink<W> = Arc<Mutex<(Writer<W>, Encoder)>>;

/// Forwards ports of a pod until the client is gone or `valid` ends.
pub(in crate::server) async fn serve<S>(
    io: S,
    pod: Object,
    node: Arc<dyn NodeStreams>,
    valid: impl Future<Output = ()>,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(io);
    let reader = Reader::new(tokio::io::BufReader::new(read));
    let sink = Arc::new(Mutex::new((Writer::new(write), Encoder::new())));
    let mut session = Session {
        pod: Arc::new(pod),
        node,
        sink,
        streams: HashMap::new(),
        connections: JoinSet::new(),
    };
    tokio::select! {
        done = session.run(reader) => done,
        () = valid => Err(Error::denied("the credentials are no longer good")),
    }
    // Dropping the session ends its connections.
}

/// What a number of the client's is.
enum Stream {
    /// For what goes wrong with a connection.
    Error { request: String },
    /// What goes to the pod.
    Data { to_pod: Option<mpsc::Sender<Bytes>> },
}

struct Session<W> {
    pod: Arc<Object>,
    node: Arc<dyn NodeStreams>,
    sink: Sink<W>,
    streams: HashMap<u32, Stream>,
    connections: JoinSet<(u32, u32)>,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Session<W> {
    async fn run<R: AsyncRead + Unpin>(&mut self, mut reader: Reader<R>) -> Result<()> {
        let mut decoder = Decoder::new();
        loop {
            let message = match reader.next().await? {
                Incoming::Message(message) => message,
                Incoming::Ping(payload) => {
                    self.sink.lock().await.0.pong(&payload).await?;
                    continue;
                }
                Incoming::Closed => return Ok(()),
            };
            decoder.push(&message);
            while let Some(frame) = decoder.next()? {
                self.frame(frame).await?;
            }
            while let Some(ended) = self.connections.try_join_next() {
                let (error, data) = ended.map_err(|_| Error::internal("a connection's task"))?;
                self.streams.remove(&error);
                self.streams.remove(&data);
            }
        }
    }

    async fn frame(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Open {
                stream, headers, ..
            } => self.open(stream, &headers).await,
            Frame::Data {
                stream,
                data,
                is_last,
            } => {
                self.data(stream, data, is_last).await;
                Ok(())
            }
            Frame::Reset { stream } => {
                self.streams.remove(&stream);
                Ok(())
            }
            Frame::Ping { id } => self.send(&spdy::pong(id)).await,
            Frame::GoAway | Frame::Other => Ok(()),
        }
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)]) -> Result<()> {
        if self.streams.len() >= MAX_STREAMS {
            return self.send(&spdy::reset(stream, REFUSED)).await;
        }
        let header = |name: &str| {
            let found = headers.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let request = header("requestid").to_owned();
        let port = header("port").parse::<u16>().ok().filter(|port| *port > 0);
        let (Some(port), false) = (port, self.streams.contains_key(&stream)) else {
            return self.send(&spdy::reset(stream, PROTOCOL_ERROR)).await;
        };
        match header("streamtype") {
            "error" => {
                self.streams.insert(stream, Stream::Error { request });
                self.reply(stream).await
            }
            "data" => {
                let Some(error) = self.error_stream(&request) else {
                    return self.send(&spdy::reset(stream, PROTOCOL_ERROR)).await;
                };
                let (to_pod, from_client) = mpsc::channel(QUEUE);
                let to_pod = Some(to_pod);
                self.streams.insert(stream, Stream::Data { to_pod });
                self.reply(stream).await?;
                let connection = Forwarding {
                    data: stream,
                    error,
                    sink: self.sink.clone(),
                };
                let (node, pod) = (self.node.clone(), self.pod.clone());
                self.connections.spawn(async move {
                    connection.run(&*node, &pod, port, from_client).await;
                    (error, stream)
                });
                Ok(())
            }
            _ => self.send(&spdy::reset(stream, PROTOCOL_ERROR)).await,
        }
    }

    fn error_stream(&self, wanted: &str) -> Option<u32> {
        self.streams.iter().find_map(|(id, stream)| match stream {
            Stream::Error { request } if request == wanted => Some(*id),
            _ => None,
        })
    }

    async fn data(&mut self, stream: u32, data: Bytes, is_last: bool) {
        let Some(Stream::Data { to_pod }) = self.streams.get_mut(&stream) else {
            return;
        };
        if let Some(open) = to_pod
            && !data.is_empty()
            && open.send(data).await.is_err()
        {
            *to_pod = None;
        }
        if is_last {
            *to_pod = None;
        }
    }

    async fn reply(&self, stream: u32) -> Result<()> {
        let mut sink = self.sink.lock().await;
        let frame = sink.1.reply(stream)?;
        sink.0.message(&[&frame]).await
    }

    async fn send(&self, frame: &[u8]) -> Result<()> {
        self.sink.lock().await.0.message(&[frame]).await
    }
}

/// One connection into the pod.
struct Forwarding<W> {
    data: u32,
    error: u32,
    sink: Sink<W>,
}

impl<W: AsyncWrite + Unpin> Forwarding<W> {
    async fn run(
        &self,
        node: &dyn NodeStreams,
        pod: &Object,
        port: u16,
        from_client: mpsc::Receiver<Bytes>,
    ) {
        let outcome = match node.forward(pod, port).await {
            Ok(connection) => self.copy(connection, from_client).await,
            Err(error) => Err(error.within(format!("forward port {port} to {pod}"))),
        };
        let text = outcome.err().map(|error| error.to_string());
        // The client may be gone; then nobody wants to know.
        let _ = self.send(self.data, &[], true).await;
        let text = text.unwrap_or_default();
        let _ = self.send(self.error, text.as_bytes(), true).await;
    }

    async fn copy(
        &self,
        connection: Box<dyn Connection>,
        mut from_client: mpsc::Receiver<Bytes>,
    ) -> Result<()> {
        let (mut read, mut write) = tokio::io::split(connection);
        let to_pod = async {
            while let Some(bytes) = from_client.recv().await {
                write.write_all(&bytes).await?;
            }
            write.shutdown().await?;
            Ok::<_, Error>(())
        };
        let to_client = async {
            let mut buffer = vec![0; 32 << 10];
            loop {
                match read.read(&mut buffer).await? {
                    0 => return Ok(()),
                    length => self.send(self.data, &buffer[..length], false).await?,
                }
            }
        };
        // What the pod says decides: it may answer after the client has said all, not the other way.
        tokio::pin!(to_client);
        tokio::select! {
            done = &mut to_client => done,
            sent = to_pod => match sent {
                Ok(()) => to_client.await,
                Err(error) => Err(error),
            },
        }
    }

    async fn send(&self, stream: u32, bytes: &[u8], is_last: bool) -> Result<()> {
        let frame = spdy::data(stream, bytes, is_last);
        self.sink.lock().await.0.message(&[&frame]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::streams::node::{ContainerTarget, Log, LogOptions, Terminal};
    use crate::server::streams::spdy::testing::Client;

    /// A pod that says everything twice on port 80, and has no other.
    struct Echo;

    #[async_trait::async_trait]
    impl NodeStreams for Echo {
        async fn exec(&self, _: &ContainerTarget, _: &[String], _: Terminal) -> Result<i32> {
            unreachable!("port-forward runs no programs")
        }

        async fn attach(&self, _: &ContainerTarget, _: Terminal) -> Result<i32> {
            unreachable!("port-forward attaches to nothing")
        }

        async fn logs(&self, _: &ContainerTarget, _: &LogOptions) -> Result<Log> {
            unreachable!("port-forward reads no logs")
        }

        async fn forward(&self, _: &Object, port: u16) -> Result<Box<dyn Connection>> {
            if port != 80 {
                return Err(Error::unavailable("connection refused"));
            }
            let (ours, mut theirs) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let mut text = Vec::new();
                theirs.read_to_end(&mut text).await.unwrap();
                theirs.write_all(&text).await.unwrap();
                theirs.write_all(&text).await.unwrap();
            });
            Ok(Box::new(ours))
        }
    }

    fn message(payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![0x82, 0xfe, length[0], length[1], 0, 0, 0, 0];
        frame.extend(payload);
        frame
    }

    /// Opens a pair of streams, says hello, and returns all that comes on them.
    async fn ask(port: &str) -> (String, String) {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let pod = Object::new("v1", "Pod", "default", "web");
        let serving = tokio::spawn(serve(server, pod, Arc::new(Echo), std::future::pending()));
        let mut spdy = Client::new();
        for (stream, kind) in [(1, "error"), (3, "data")] {
            let headers = [("streamtype", kind), ("port", port), ("requestid", "0")];
            let bytes = message(&spdy.open(stream, &headers));
            client.write_all(&bytes).await.unwrap();
        }
        let hello = message(&spdy::data(3, b"hello", true));
        client.write_all(&hello).await.unwrap();
        let mut decoder = Decoder::new();
        let (mut error, mut data, mut ended) = (Vec::new(), Vec::new(), 0);
        while ended < 2 {
            let mut head = [0; 2];
            client.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1])];
            client.read_exact(&mut payload).await.unwrap();
            decoder.push(&payload);
            while let Some(frame) = decoder.next().unwrap() {
                if let Frame::Data {
                    stream,
                    data: bytes,
                    is_last,
                } = frame
                {
                    let to = if stream == 1 { &mut error } else { &mut data };
                    to.extend_from_slice(&bytes);
                    ended += u8::from(is_last);
                }
            }
        }
        drop(client);
        serving.await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(error), text(data))
    }

    #[tokio::test]
    async fn carries_bytes_both_ways() {
        let (error, data) = ask("80").await;
        assert_eq!((error.as_str(), data.as_str()), ("", "hellohello"));
    }

    #[tokio::test]
    async fn tells_what_went_wrong() {
        let (error, data) = ask("81").await;
        assert_eq!(
            error,
            "forward port 81 to Pod default/web: connection refused"
        );
        assert_eq!(data, "");
    }
}
