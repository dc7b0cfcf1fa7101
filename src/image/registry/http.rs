//! One request to a registry, or to where it sends us: redirects by hand, bounded bodies, and what went
//! wrong in words.
//!
//! Never waits longer than [`Limits`] and never reads more than it is told. Credentials only leave
//! through the `authorize` of [`Http::ask`], which is asked anew for every hop. Knows nothing of the
//! distribution API; logins and retries are `session`'s.

use std::collections::HashMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Body, Certificate, Client, Identity, Method, Request, Response, StatusCode, Url};
use tokio::time::{Instant, timeout};
use tokio_util::io::ReaderStream;

use orc_base::clock::SystemClock;
use orc_base::{Clock, Context, Error, Kind, Result, fs};

use crate::registry::config::{ClientCertificate, Limits, RegistryConfig};
use crate::registry::hops::{self, Home, MAX_HOPS, Whose};
use crate::registry::refusal;
use crate::registry::retry::{self, Failure, Hope};

const MAX_LOCATION_BYTES: usize = 16 << 10;
const MAX_CERTIFICATES_BYTES: u64 = 4 << 20;
const UPLOAD_CHUNK_BYTES: usize = 256 << 10;
const USER_AGENT: &str = concat!("orc/", env!("CARGO_PKG_VERSION"));

/// A request that can be made again.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// A whole file of this many bytes; `sent` counts what left.
    File {
        path: PathBuf,
        size: u64,
        sent: Arc<AtomicU64>,
    },
}

/// The head of an answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) whose: Whose,
}

/// The clients behind all requests. Each is built when it is first needed.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) config: RegistryConfig,
    clients: Mutex<HashMap<Way, Client>>,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    /// Its certificate is checked.
    verify: bool,
    /// Without the proxy of the environment.
    direct: bool,
    /// Its name must not lead into this machine.
    guarded: bool,
    /// The registry whose authorities and certificate are for it alone.
    own_tls: Option<String>,
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
        }
    }

    fn may_move(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    async fn request(&self, url: &Url, authorization: Option<HeaderValue>) -> Result<Request> {
        let mut request = Request::new(self.method.clone(), url.clone());
        request.headers_mut().extend(self.headers.clone());
        if let Some(value) = authorization {
            request
                .headers_mut()
                .insert(reqwest::header::AUTHORIZATION, value);
        }
        match &self.payload {
            Payload::Nothing => {}
            Payload::Bytes(bytes) => *request.body_mut() = Some(bytes.clone().into()),
            Payload::File { path, size, sent } => {
                let headers = request.headers_mut();
                headers.insert(reqwest::header::CONTENT_LENGTH, HeaderValue::from(*size));
                *request.body_mut() = Some(file_body(path, Arc::clone(sent)).await?);
            }
        }
        Ok(request)
    }
}

async fn file_body(path: &std::path::Path, sent: Arc<AtomicU64>) -> Result<Body> {
    sent.store(0, Ordering::Relaxed);
    let file = tokio::fs::File::open(path)
        .await
        .context(|| format!("open {}", path.display()))?;
    let chunks = ReaderStream::with_capacity(file, UPLOAD_CHUNK_BYTES).inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    });
    Ok(Body::wrap_stream(chunks))
}

impl Http {
    pub(crate) fn new(config: RegistryConfig) -> Self {
        Self {
            config,
            clients: Mutex::default(),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Makes a request for the registry at `home`, whose name is `registry`, and follows redirects of
    /// what only reads. `authorize` gives each URL what it may see.
    pub(crate) async fn ask(
        &self,
        registry: &str,
        home: &Home,
        ask: &Ask,
        authorize: impl Fn(&Url, Whose) -> Option<HeaderValue>,
    ) -> Result<Answer, Failure> {
        let mut url = ask.url.clone();
        for _ in 0..=MAX_HOPS {
            let whose = hops::judge(home, &url, &self.config)?;
            let who = match whose {
                Whose::Home => format!("registry {registry}"),
                Whose::Foreign => format!(
                    "`{}`, where registry {registry} sends on to,",
                    hops::origin(&url)
                ),
            };
            let client = self.client(self.way(home, &url, whose))?;
            let request = ask.request(&url, authorize(&url, whose)).await?;
            tracing::debug!(method = %ask.method, host = %hops::origin(&url), path = url.path(), "ask");
            let patience = match ask.method == Method::PUT {
                // What ends an upload: the registry hashes, moves or unpacks it first.
                true => self.limits().commit,
                false => self.limits().answer,
            };
            let answered = self.execute(&client, request, &ask.payload, patience);
            let response = match answered.await {
                Some(result) => result.map_err(|error| explain(&error, &who))?,
                None => {
                    return Err(Failure::passing(Error::timeout(format!(
                        "{who} took the request but did not answer in time"
                    ))));
                }
            };
            match next_hop(&url, &response)? {
                Some(next) if ask.may_move() => url = next,
                _ => return Ok(Answer { response, whose }),
            }
        }
        Err(Failure::last(Error::invalid(format!(
            "registry {registry} sends on more than {MAX_HOPS} times"
        ))))
    }

    /// None when there is no answer in time.
    async fn execute(
        &self,
        client: &Client,
        request: Request,
        payload: &Payload,
        patience: Duration,
    ) -> Option<reqwest::Result<Response>> {
        let answer = client.execute(request);
        match payload {
            Payload::File { size, sent, .. } => self.watch(answer, *size, sent).await,
            _ => timeout(patience, answer).await.ok(),
        }
    }

    /// Waits for the answer to an upload as long as bytes leave, and then for the commit. None when
    /// that takes too long.
    async fn watch<T>(
        &self,
        answer: impl Future<Output = T>,
        size: u64,
        sent: &AtomicU64,
    ) -> Option<T> {
        tokio::pin!(answer);
        loop {
            let before = sent.load(Ordering::Relaxed);
            let patience = match before >= size {
                true => self.limits().commit,
                false => self.limits().stall,
            };
            match timeout(patience, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if sent.load(Ordering::Relaxed) == before => return None,
                Err(_) => {}
            }
        }
    }

    fn way(&self, home: &Home, url: &Url, whose: Whose) -> Way {
        let own_tls = hops::own_tls(url, &self.config);
        Way {
            own_tls: own_tls.map(|(name, _)| name.to_owned()),
            verify: url.scheme() == "https" && hops::is_verified(url, &self.config),
            direct: url.scheme() == "http" || hops::is_loopback(url),
            guarded: whose == Whose::Foreign && !hops::is_loopback(&home.url),
        }
    }

    fn client(&self, way: Way) -> Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&way) {
            return Ok(client.clone());
        }
        let client = self.build(&way)?;
        clients.insert(way, client.clone());
        Ok(client)
    }

    fn build(&self, way: &Way) -> Result<Client> {
        // reqwest is built without a provider of its own. One that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // One connection for each layer beats HTTP/2's one window for all.
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(self.limits().connect)
            .pool_idle_timeout(Duration::from_secs(1))
            .tls_danger_accept_invalid_certs(!way.verify);
        if way.verify {
            for file in &self.config.certificates {
                builder = builder.tls_certs_merge(certificates(file)?);
            }
        }
        let own = way.own_tls.as_ref().and_then(|name| self.config.host(name));
        if let Some(own) = own {
            for file in &own.authorities {
                builder = builder.tls_certs_merge(certificates(file)?);
            }
            if let Some(client) = &own.client {
                builder = builder.identity(identity(client)?);
            }
        }
        if way.direct {
            builder = builder.no_proxy();
        }
        if way.guarded {
            builder = builder.dns_resolver(Guarded);
        }
        builder.build().map_err(|error| {
            let cause = last_cause(&error);
            Error::internal(format!("prepare for TLS: {cause}"))
        })
    }
}

/// A certificate and its key, as one of those who ask.
fn identity(client: &ClientCertificate) -> Result<Identity> {
    let mut bytes = fs::read_limited(&client.certificate, MAX_CERTIFICATES_BYTES)?;
    bytes.push(b'\n');
    bytes.extend(fs::read_limited(&client.key, MAX_CERTIFICATES_BYTES)?);
    Identity::from_pem(&bytes).map_err(|_| {
        Error::invalid(format!(
            "read {} and {}: not a certificate and its key in PEM form",
            client.certificate.display(),
            client.key.display()
        ))
    })
}

fn certificates(file: &std::path::Path) -> Result<Vec<Certificate>> {
    let bytes = fs::read_limited(file, MAX_CERTIFICATES_BYTES)?;
    Certificate::from_pem_bundle(&bytes).map_err(|_| {
        Error::invalid(format!(
            "read {}: no certificates in PEM form",
            file.display()
        ))
    })
}

/// Where a redirect leads; none when the answer is not one.
fn next_hop(url: &Url, response: &Response) -> Result<Option<Url>> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    match response.headers().get(LOCATION) {
        Some(location) if is_redirect => Ok(Some(locate(url, location)?)),
        _ => Ok(None),
    }
}

/// The URL in a `Location` header, which may be relative to the one that was asked.
pub(crate) fn locate(url: &Url, location: &HeaderValue) -> Result<Url> {
    let text = location
        .to_str()
        .ok()
        .filter(|text| text.len() <= MAX_LOCATION_BYTES);
    let next = text.and_then(|text| url.join(text).ok());
    next.ok_or_else(|| {
        Error::invalid(format!(
            "`{}` sends on to something that is not a URL",
            hops::origin(url)
        ))
    })
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// When the other side wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry::retry_after(self.header(RETRY_AFTER.as_str())?, SystemClock.now())
    }

    /// The whole body of a small document of at most `limit` bytes, within the time for one.
    pub(crate) async fn whole(
        mut self,
        limit: u64,
        who: &str,
        limits: &Limits,
    ) -> Result<Bytes, Failure> {
        let too_large = || {
            Failure::last(Error::exhausted(format!(
                "{who} answers with more than {limit} bytes"
            )))
        };
        if self
            .response
            .content_length()
            .is_some_and(|length| length > limit)
        {
            return Err(too_large());
        }
        let mut body = Vec::new();
        let read = async {
            while let Some(chunk) = self.response.chunk().await.map_err(|e| explain(&e, who))? {
                if (body.len() + chunk.len()) as u64 > limit {
                    return Err(too_large());
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match timeout(limits.document, read).await {
            Ok(read) => read.map(|()| body.into()),
            Err(_) => Err(Failure::passing(Error::timeout(format!(
                "{who} did not send its whole answer in time"
            )))),
        }
    }

    /// As much of an error's body as comes soon, for its words.
    pub(crate) async fn beginning(mut self, limit: usize, limits: &Limits) -> Vec<u8> {
        let mut body = Vec::new();
        let deadline = Instant::now() + limits.answer;
        while body.len() < limit {
            match tokio::time::timeout_at(deadline, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                _ => break,
            }
        }
        body.truncate(limit);
        body
    }
}

/// Looks up names for hosts that a registry sends us to: what leads into this machine is left out.
#[derive(Debug)]
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let outside: Vec<SocketAddr> = found
                .filter(|address| hops::is_outside(address.ip()))
                .collect();
            if outside.is_empty() {
                return Err("its name leads into this machine or its link".into());
            }
            Ok(Box::new(outside.into_iter()) as Addrs)
        })
    }
}

/// What went wrong on the way to `who`, without any URL.
pub(crate) fn explain(error: &reqwest::Error, who: &str) -> Failure {
    let hope = match error.is_connect() {
        true => Hope::NoConnection,
        false => Hope::Soon,
    };
    if let Some(tls) = find_cause(error, tls_error) {
        return Failure::last(tls_words(tls, who));
    }
    if error.is_timeout() {
        let error = Error::timeout(format!("{who} did not answer: no connection in time"));
        return Failure { error, hope };
    }
    if let Some(system) = find_cause(error, system_error) {
        let error = Error::from(system);
        let kind = match error.kind() {
            Kind::Timeout => Kind::Timeout,
            _ => Kind::Unavailable,
        };
        let error = error
            .with_kind(kind)
            .within(format!("{who} did not answer"));
        return Failure { error, hope };
    }
    let cause = last_cause(error);
    let text = match error.is_connect() {
        true => format!("{who} cannot be reached: {cause}"),
        false => format!("the connection to {who} broke: {cause}"),
    };
    Failure {
        error: Error::unavailable(text),
        hope,
    }
}

fn tls_words(error: &rustls::Error, who: &str) -> Error {
    let text = match error {
        rustls::Error::InvalidCertificate(why) => format!(
            "{who} shows a certificate that is not trusted ({why}): add its authority to the system's certificates, or list the registry as insecure"
        ),
        rustls::Error::InvalidMessage(_) => format!(
            "{who} does not speak TLS: list the registry as insecure if it is meant to be plain HTTP"
        ),
        other => format!("no TLS connection to {who}: {other}"),
    };
    Error::invalid(text)
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

fn find_cause<'a, T>(
    error: &'a reqwest::Error,
    find: impl Fn(Cause<'a>) -> Option<T>,
) -> Option<T> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = find(error) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// A TLS error, which usually hides inside `io::Error`s that do not give it as their source.
fn tls_error(cause: Cause<'_>) -> Option<&rustls::Error> {
    let hidden = cause
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match hidden {
        Some(hidden) => tls_error(hidden),
        None => cause.downcast_ref::<rustls::Error>(),
    }
}

fn system_error(cause: Cause<'_>) -> Option<std::io::Error> {
    let code = cause.downcast_ref::<std::io::Error>()?.raw_os_error()?;
    Some(std::io::Error::from_raw_os_error(code))
}

/// The innermost words.
pub(crate) fn last_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = "no answer".to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    refusal::clean(&text, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_that_lead_inside_are_not_followed() {
        let name = "localhost".parse::<Name>().unwrap();
        let Err(error) = Guarded.resolve(name).await else {
            panic!("resolved");
        };
        assert!(error.to_string().contains("into this machine"), "{error}");
    }

    #[test]
    fn every_way_can_be_built() {
        let http = Http::new(RegistryConfig::default());
        for way in [false, true] {
            let way = Way {
                verify: false,
                direct: way,
                guarded: way,
                own_tls: None,
            };
            http.client(way.clone()).unwrap();
            http.client(way).unwrap();
        }
        assert_eq!(http.clients.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
        let http = Http::new(RegistryConfig {
            certificates: vec![file.clone(), dir.path().join("missing.pem")],
            ..RegistryConfig::default()
        });
        let way = Way {
            verify: true,
            direct: true,
            guarded: false,
            own_tls: None,
        };
        let error = http.client(way).unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
    }

    #[test]
    fn locations_are_joined_and_bounded() {
        let url = Url::parse("https://reg.example/v2/a/blobs/uploads/").unwrap();
        let join = |text: &str| locate(&url, &HeaderValue::from_str(text).unwrap());
        assert_eq!(join("/x?y").unwrap().as_str(), "https://reg.example/x?y");
        assert_eq!(join("//b/x").unwrap().as_str(), "https://b/x");
        for bad in ["http://", "https://[", &format!("/{}", "x".repeat(20_000))] {
            assert!(join(bad).is_err(), "{bad}");
        }
    }
}
