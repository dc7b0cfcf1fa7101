//! One connection at a time, to the first member that takes it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use orc_base::{Context as _, Error, Kind};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pki::tls;
use crate::remote::answer::Answer;
use crate::remote::request::Call;
use crate::status::{Reason, Result, Status};

/// How long a member may take to take a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a member may be silent before it is asked whether it is there, and then to say so.
const SILENCE: Duration = Duration::from_secs(5);
/// How long an answer may take to begin; a write waits for a majority, perhaps for a new leader.
const ANSWER: Duration = Duration::from_secs(30);

/// Where a member of the cluster answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its address and port.
    pub address: SocketAddr,
    /// What its certificate calls it.
    pub name: ServerName<'static>,
}

/// Who is connected to, and who may be.
pub(super) struct Connections {
    tls: TlsConnector,
    members: Mutex<Vec<Member>>,
    /// Held while a connection is made, so that calls share it.
    open: tokio::sync::Mutex<Option<Open>>,
}

/// A connection, and who it is to.
#[derive(Clone)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    member: Member,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections")
            .field("members", &*self.members())
            .finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(members: Vec<Member>, mut tls: ClientConfig) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            tls: TlsConnector::from(Arc::new(tls)),
            members: Mutex::new(members),
            open: tokio::sync::Mutex::new(None),
        }
    }

    pub(super) fn set_members(&self, members: Vec<Member>) {
        *self.members() = members;
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a member, and another one when that one cannot have acted on it.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer> {
        let tries = self.members().len() + 1;
        let mut last = Status::new(
            Reason::ServiceUnavailable,
            "no member of the cluster is known",
        );
        for _ in 0..tries {
            let open = self.open().await?;
            match self.ask(&open, call).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Refused(status)) => return Err(status),
                Err(Failed::Unsent(status)) => last = status,
                Err(Failed::Unknown(status)) if call.is_read() => last = status,
                Err(Failed::Unknown(status)) => {
                    self.drop_connection(&open.member).await;
                    return Err(status);
                }
            }
            self.drop_connection(&open.member).await;
        }
        Err(last)
    }

    async fn ask(&self, open: &Open, call: &Call) -> std::result::Result<Answer, Failed> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("https://{}{}", open.member.address, call.path))
            .header("accept", "application/json")
            .header("user-agent", concat!("orc/", env!("CARGO_PKG_VERSION")));
        if !call.content_type.is_empty() {
            request = request.header("content-type", call.content_type);
        }
        let request = request
            .body(Full::new(call.body.clone()))
            .map_err(|error| Failed::Refused(Status::bad_request(error.to_string())))?;
        let address = open.member.address;
        let mut sender = open.sender.clone();
        let answer = tokio::time::timeout(ANSWER, sender.try_send_request(request));
        match answer.await {
            Ok(Ok(response)) => Answer::of(response).await.map_err(Failed::Refused),
            Ok(Err(mut failed)) => {
                let why = failed.error().to_string();
                Err(match failed.take_message() {
                    Some(_) => Failed::Unsent(Status::new(
                        Reason::ServiceUnavailable,
                        format!("ask {address}: {why}"),
                    )),
                    None => Failed::Unknown(unknown(call, &format!("ask {address}: {why}"))),
                })
            }
            Err(_) => {
                let why = format!("{address} did not answer in {} s", ANSWER.as_secs());
                Err(Failed::Unknown(unknown(call, &why)))
            }
        }
    }

    /// The connection there is, or a new one to the first member that takes it.
    async fn open(&self) -> Result<Open> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref().filter(|open| open.sender.is_ready()) {
            return Ok(open.clone());
        }
        let mut failures = Vec::new();
        let members = self.members().clone();
        for member in members {
            match self.connect(&member).await {
                Ok(made) => return Ok(open.insert(made).clone()),
                Err(error) => failures.push(error),
            }
        }
        // A member that refuses us tells more than all that are not there.
        let told = failures.iter().find(|error| error.kind() == Kind::Denied);
        match (told, failures.is_empty()) {
            (Some(told), _) => Err(told.clone().into()),
            (None, true) => Err(Error::unavailable("no member of the cluster is known").into()),
            (None, false) => {
                let all = Error::all(failures).err();
                let all = all.map(|error| error.with_kind(Kind::Unavailable));
                Err(all
                    .unwrap_or_else(|| Error::unavailable("no answer"))
                    .into())
            }
        }
    }

    async fn connect(&self, member: &Member) -> orc_base::Result<Open> {
        let context = || format!("connect to {}", member.address);
        let connect = async {
            let stream = TcpStream::connect(member.address).await?;
            stream.set_nodelay(true)?;
            let stream = self.tls.connect(member.name.clone(), stream).await;
            let stream = TokioIo::new(stream.map_err(tls::explain)?);
            let made = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(SILENCE)
                .keep_alive_timeout(SILENCE)
                .keep_alive_while_idle(true)
                .handshake(stream)
                .await;
            made.map_err(|error| Error::unavailable(error.to_string()))
        };
        let made = tokio::time::timeout(CONNECT, connect).await;
        let made =
            made.map_err(|_| Error::timeout(format!("no answer in {} s", CONNECT.as_secs())));
        let (sender, connection) = made.and_then(|made| made).context(context)?;
        let address = member.address;
        // Ends with the last sender.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %address, "a connection to a member ended");
            }
        });
        Ok(Open {
            sender,
            member: member.clone(),
        })
    }

    /// The next call connects anew, to another member first.
    async fn drop_connection(&self, member: &Member) {
        let mut open = self.open.lock().await;
        if open.as_ref().is_some_and(|open| open.member == *member) {
            *open = None;
        }
        let mut members = self.members();
        if members.first() == Some(member) {
            members.rotate_left(1);
        }
    }
}

/// Why there is no answer.
enum Failed {
    /// It was answered, by no.
    Refused(Status),
    /// It was never sent.
    Unsent(Status),
    /// Nobody knows what came of it.
    Unknown(Status),
}

fn unknown(call: &Call, why: &str) -> Status {
    match call.is_read() {
        true => Status::new(Reason::ServiceUnavailable, why),
        false => Status::new(
            Reason::Timeout,
            format!("{why}: it is not known whether it was done; look before you try again"),
        ),
    }
}
