//! One request to the built-in registry, from its head to an answer.
//!
//! Reads only what an image of this machine has: a blob that no image names is not there for others.
//! What changes something is asked for in a task of its own, so that it ends whole also when the
//! client leaves.

use std::collections::BTreeSet;
use std::io::SeekFrom;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming as Received;
use hyper::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, LINK, LOCATION, RANGE};
use hyper::{Method, Request, StatusCode};
use reqwest::Url;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::{Instant, timeout};

use orc_base::{Error, Kind};

use crate::digest::Digest;
use crate::manifest::{Document, MAX_DOCUMENT_BYTES, OCI_INDEX};
use crate::reference::Reference;
use crate::serve::lease::Lease;
use crate::serve::options::InUse;
use crate::serve::page;
use crate::serve::range::{self, Wanted};
use crate::serve::refusal::Refusal;
use crate::serve::reply::{self, Reply};
use crate::serve::route::{self, Route, Version};
use crate::serve::uploads::{Uploads, progress};
use crate::serve::{intake, names};
use crate::store::Store;

/// The header with the digest of what is answered.
const DIGEST: &str = "docker-content-digest";
/// How long a manifest may take to arrive.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What all requests share.
pub(super) struct Desk {
    store: Store,
    writable: bool,
    /// It is only to be spoken to under a name of this machine itself.
    local_only: bool,
    in_use: InUse,
    pub(super) lease: Lease,
    pub(super) uploads: Uploads,
}

/// A request whose address was understood.
struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Received,
}

impl Call {
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        query
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The parameter `digest`.
    fn digest(&self) -> Result<Digest, Refusal> {
        let text = self
            .parameter("digest")
            .ok_or_else(|| Refusal::digest("the parameter `digest` is missing"))?;
        let digest = Digest::parse(text).map_err(|error| Refusal::digest(error.to_string()))?;
        match text.starts_with("sha256:") {
            true => Ok(digest),
            false => Err(Refusal::digest("only sha256 is supported for pushes")),
        }
    }
}

impl Desk {
    pub(super) fn new(store: Store, writable: bool, local_only: bool, in_use: InUse) -> Self {
        Self {
            writable,
            local_only,
            in_use,
            lease: Lease::new(store.clone()),
            uploads: Uploads::new(store.content().clone()),
            store,
        }
    }

    /// Answers a request.
    pub(super) async fn answer(self: &Arc<Self>, request: Request<Received>) -> Reply {
        let desk = Arc::clone(self);
        let work = tokio::spawn(async move { desk.route(request).await });
        let reply = match work.await {
            Ok(Ok(reply)) => reply,
            Ok(Err(refusal)) => reply::refusal(&refusal),
            Err(_) => reply::refusal(&Refusal::from(Error::internal(
                "the request failed inside the registry: this is a bug in orc",
            ))),
        };
        reply::with(reply, "docker-distribution-api-version", "registry/2.0")
    }

    async fn route(&self, request: Request<Received>) -> Result<Reply, Refusal> {
        self.check_client(request.headers())?;
        let route = route::read(request.uri().path())?;
        let (parts, body) = request.into_parts();
        let target = format!("http://registry{}", parts.uri);
        let query = Url::parse(&target).map(|url| {
            let pairs = url.query_pairs();
            pairs
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect()
        });
        let call = Call {
            path: parts.uri.path().to_owned(),
            query: query.map_err(|_| Refusal::name("the address cannot be read"))?,
            method: parts.method,
            headers: parts.headers,
            body,
        };
        match call.method {
            Method::GET | Method::HEAD => self.read(route, &call).await,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE if !self.writable => {
                Err(Refusal::unsupported(
                    "this registry is read-only: start it with `--writable` to push to it",
                ))
            }
            _ => self.write(route, call).await,
        }
    }

    /// A page in a browser on this machine reaches loopback, too. It cannot hide that it is one: it
    /// says its origin, and after DNS rebinding it asks for its own name.
    fn check_client(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let is_local = || {
            let url = Url::parse(&format!("http://{}/", host.unwrap_or_default()));
            url.is_ok_and(|url| crate::registry::hops::is_loopback(&url))
        };
        match headers.contains_key("origin") || (self.local_only && !is_local()) {
            true => Err(Refusal::denied("this registry is not for web pages")),
            false => Ok(()),
        }
    }

    async fn read(&self, route: Route, call: &Call) -> Result<Reply, Refusal> {
        match route {
            Route::Greeting => Ok(reply::json(StatusCode::OK, "{}")),
            Route::Catalog => Ok(self.catalog(call)),
            Route::Tags(repository) => self.tags(&repository, call),
            Route::Manifest(repository, version) => {
                self.manifest(&repository, &version, call).await
            }
            Route::Blob(_, digest) => self.blob(&digest, call).await,
            Route::Upload(repository, id) if self.writable => {
                self.upload_status(&repository, &id).await
            }
            Route::Uploads(_) | Route::Upload(..) => Err(Refusal::upload_unknown()),
            // Nothing that is kept here refers to anything: the store keeps images only.
            Route::Referrers(_) => {
                let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
                let reply = reply::whole(StatusCode::OK, index.to_string());
                Ok(reply::with(reply, CONTENT_TYPE.as_str(), OCI_INDEX))
            }
        }
    }

    fn catalog(&self, call: &Call) -> Reply {
        let tags = self.store.tags();
        let all: BTreeSet<String> = tags.iter().filter_map(names::served_as).collect();
        let page = page::page(&call.path, all, call.parameter("n"), call.parameter("last"));
        let body = json!({"repositories": page.names});
        linked(body.to_string(), page.link)
    }

    fn tags(&self, repository: &str, call: &Call) -> Result<Reply, Refusal> {
        let meanings = names::meanings(repository, call.parameter("ns"))?;
        let is_meant = |tag: &&Reference| {
            let same = |meaning: &Reference| meaning.name() == tag.name();
            meanings.iter().any(same)
        };
        let tags = self.store.tags();
        let all: BTreeSet<String> = tags
            .iter()
            .filter(is_meant)
            .filter_map(|tag| tag.tag().map(str::to_owned))
            .collect();
        if all.is_empty() {
            return Err(unknown_repository(repository));
        }
        let page = page::page(&call.path, all, call.parameter("n"), call.parameter("last"));
        let body = json!({"name": repository, "tags": page.names});
        Ok(linked(body.to_string(), page.link))
    }

    async fn manifest(
        &self,
        repository: &str,
        version: &Version,
        call: &Call,
    ) -> Result<Reply, Refusal> {
        let digest = match version {
            Version::Digest(digest) => self
                .store
                .has_manifest(digest)
                .then(|| digest.clone())
                .ok_or_else(|| Refusal::manifest(format!("{repository}@{digest} is not here")))?,
            Version::Tag(tag) => self.tagged(repository, tag, call.parameter("ns"))?,
        };
        let content = self.store.content().clone();
        let read = {
            let digest = digest.clone();
            move || content.read(&digest, MAX_DOCUMENT_BYTES)
        };
        let bytes = blocking(read).await?;
        let document = Document::parse(&bytes, &[])?;
        let media_type = document.media_type();
        if !accepts(call.headers.get_all(ACCEPT).iter(), media_type) {
            return Err(Refusal::manifest(format!(
                "{repository} is of the type {media_type}, which the request does not accept"
            )));
        }
        let reply = reply::whole(StatusCode::OK, bytes);
        let reply = reply::with(reply, CONTENT_TYPE.as_str(), media_type);
        Ok(reply::with(reply, DIGEST, digest.as_str()))
    }

    fn tagged(&self, repository: &str, tag: &str, ns: Option<&str>) -> Result<Digest, Refusal> {
        for meaning in names::meanings(repository, ns)? {
            if let Some(digest) = self.store.manifest_of(&meaning.with_tag(tag)?) {
                return Ok(digest);
            }
        }
        Err(Refusal::manifest(format!(
            "{repository}:{tag} is not an image of this machine"
        )))
    }

    async fn blob(&self, digest: &Digest, call: &Call) -> Result<Reply, Refusal> {
        let unknown = || Refusal::blob(format!("blob {digest} is not here"));
        if !self.is_blob(digest) {
            return Err(unknown());
        }
        let file = self.store.content().open_blob(digest);
        let file = file.map_err(|error| match error.kind() {
            Kind::NotFound => unknown(),
            _ => error.into(),
        })?;
        let size = file.metadata().map_err(Error::from)?.len();
        let (status, first, length) = match range::read(call.header(RANGE.as_str()), size) {
            Wanted::All => (StatusCode::OK, 0, size),
            Wanted::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Wanted::Nothing => {
                return Err(Refusal::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "SIZE_INVALID",
                    format!("blob {digest} has {size} bytes"),
                )
                .with("content-range", format!("bytes */{size}")));
            }
        };
        let reply = match call.method == Method::HEAD {
            true => reply::stream(status, length, tokio::io::empty()),
            false => {
                let mut file = tokio::fs::File::from_std(file);
                file.seek(SeekFrom::Start(first))
                    .await
                    .map_err(Error::from)?;
                reply::stream(status, length, file.take(length))
            }
        };
        let reply = match status {
            StatusCode::PARTIAL_CONTENT => {
                let range = format!("bytes {first}-{}/{size}", first + length - 1);
                reply::with(reply, CONTENT_RANGE.as_str(), &range)
            }
            _ => reply,
        };
        let reply = reply::with(reply, CONTENT_TYPE.as_str(), "application/octet-stream");
        let reply = reply::with(reply, "accept-ranges", "bytes");
        Ok(reply::with(reply, DIGEST, digest.as_str()))
    }

    /// Whether others may have the blob: an image has it, or a push that is under way brought it.
    fn is_blob(&self, digest: &Digest) -> bool {
        if !self.writable {
            return self.store.has_blob(digest);
        }
        // Whoever looks may be about to push a manifest with it.
        self.lease.renew(Instant::now());
        self.store.content().contains(digest)
    }

    async fn write(&self, route: Route, call: Call) -> Result<Reply, Refusal> {
        match (&call.method, route) {
            (&Method::POST, Route::Uploads(repository)) => self.begin(&repository, call).await,
            (&Method::PATCH, Route::Upload(repository, id)) => {
                self.append(&repository, &id, call).await
            }
            (&Method::PUT, Route::Upload(repository, id)) => {
                self.finish(&repository, &id, call).await
            }
            (&Method::DELETE, Route::Upload(repository, id)) => {
                self.uploads.find(&repository, &id, Instant::now())?;
                self.uploads.cancel(&id);
                Ok(reply::empty(StatusCode::NO_CONTENT))
            }
            (&Method::PUT, Route::Manifest(repository, version)) => {
                self.put_manifest(&repository, &version, call).await
            }
            (&Method::DELETE, Route::Manifest(repository, version)) => {
                self.remove(&repository, &version).await
            }
            (&Method::DELETE, Route::Blob(..)) => Err(Refusal::unsupported(
                "blobs go with the last image that needs them",
            )),
            _ => Err(Refusal::unsupported("this cannot be done here")),
        }
    }

    async fn begin(&self, repository: &str, call: Call) -> Result<Reply, Refusal> {
        let now = Instant::now();
        let _ingest = self.lease.renew(now);
        if let Some(text) = call.parameter("mount") {
            let digest = Digest::parse(text).map_err(|error| Refusal::digest(error.to_string()))?;
            // All repositories share their blobs, so it does not matter from which it comes.
            if self.store.content().contains(&digest) {
                return Ok(created_blob(repository, &digest));
            }
        }
        let id = self.uploads.begin(repository, now)?;
        if call.parameter("digest").is_some() {
            return self.finish(repository, &id, call).await;
        }
        Ok(going_on(StatusCode::ACCEPTED, repository, &id, 0))
    }

    async fn append(&self, repository: &str, id: &str, call: Call) -> Result<Reply, Refusal> {
        let _ingest = self.lease.renew(Instant::now());
        let upload = self.uploads.find(repository, id, Instant::now())?;
        let start = call
            .header(CONTENT_RANGE.as_str())
            .map(|text| {
                range::of_chunk(text).ok_or_else(|| {
                    Refusal::upload_invalid("the header `Content-Range` cannot be read")
                })
            })
            .transpose()?;
        let start = start.map(|(start, _)| start);
        let size = upload.append(call.body, start).await?;
        Ok(going_on(StatusCode::ACCEPTED, repository, id, size))
    }

    async fn finish(&self, repository: &str, id: &str, call: Call) -> Result<Reply, Refusal> {
        let _ingest = self.lease.renew(Instant::now());
        let digest = call.digest()?;
        let upload = self.uploads.find(repository, id, Instant::now())?;
        upload.append(call.body, None).await?;
        self.uploads.finish(id, &upload, &digest).await?;
        Ok(created_blob(repository, &digest))
    }

    async fn upload_status(&self, repository: &str, id: &str) -> Result<Reply, Refusal> {
        let size = self
            .uploads
            .find(repository, id, Instant::now())?
            .size()
            .await?;
        Ok(going_on(StatusCode::NO_CONTENT, repository, id, size))
    }

    async fn put_manifest(
        &self,
        repository: &str,
        version: &Version,
        call: Call,
    ) -> Result<Reply, Refusal> {
        let ingest = self.lease.renew(Instant::now());
        let media_type = call.header(CONTENT_TYPE.as_str()).map(str::to_owned);
        let limited = Limited::new(call.body, MAX_DOCUMENT_BYTES as usize).collect();
        let bytes = match timeout(MANIFEST_TIMEOUT, limited).await {
            Ok(Ok(body)) => body.to_bytes().to_vec(),
            Ok(Err(_)) => {
                return Err(Refusal::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "SIZE_INVALID",
                    format!("the manifest broke off, or has more than {MAX_DOCUMENT_BYTES} bytes"),
                ));
            }
            Err(_) => return Err(Refusal::manifest_invalid("the manifest did not arrive")),
        };
        let own = names::own(repository)?;
        let reference = match version {
            Version::Tag(tag) => own.with_tag(tag)?,
            Version::Digest(digest) if digest.matches(&bytes) => own.with_digest(digest.clone()),
            Version::Digest(digest) => {
                return Err(Refusal::digest(format!(
                    "what arrived has the digest {}, not {digest}",
                    Digest::of(&bytes)
                )));
            }
        };
        let manifest = intake::read(&bytes, media_type.as_deref())?;
        let digest = intake::keep(ingest, reference, bytes, manifest).await?;
        let location = format!("/v2/{repository}/manifests/{digest}");
        let reply = reply::empty(StatusCode::CREATED);
        let reply = reply::with(reply, LOCATION.as_str(), &location);
        Ok(reply::with(reply, DIGEST, digest.as_str()))
    }

    /// Takes names away that were pushed here; an image that has others stays.
    async fn remove(&self, repository: &str, version: &Version) -> Result<Reply, Refusal> {
        let own = names::own(repository)?;
        let names: Vec<Reference> = match version {
            Version::Tag(tag) => vec![own.with_tag(tag)?],
            Version::Digest(digest) => {
                let is_it = |tag: &Reference| {
                    tag.name() == own.name() && self.store.manifest_of(tag).as_ref() == Some(digest)
                };
                let tags = self.store.tags().into_iter().filter(is_it);
                tags.chain([own.with_digest(digest.clone())]).collect()
            }
        };
        let (store, in_use) = (self.store.clone(), Arc::clone(&self.in_use));
        let removed = blocking(move || {
            let mut removed = 0;
            for name in names {
                match store.remove(&name.to_string(), false, &*in_use) {
                    Ok(_) => removed += 1,
                    Err(error) if error.kind() == Kind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(removed)
        })
        .await?;
        match removed {
            0 => Err(Refusal::manifest(format!(
                "nothing like that was pushed to {repository}"
            ))),
            _ => Ok(reply::empty(StatusCode::ACCEPTED)),
        }
    }
}

fn unknown_repository(repository: &str) -> Refusal {
    Refusal::name(format!("no image of this machine is called {repository}"))
}

fn linked(body: String, link: Option<String>) -> Reply {
    let reply = reply::json(StatusCode::OK, body);
    match link {
        Some(link) => reply::with(reply, LINK.as_str(), &link),
        None => reply,
    }
}

fn going_on(status: StatusCode, repository: &str, id: &str, size: u64) -> Reply {
    let location = format!("/v2/{repository}/blobs/uploads/{id}");
    let reply = reply::empty(status);
    let reply = reply::with(reply, LOCATION.as_str(), &location);
    let reply = reply::with(reply, "docker-upload-uuid", id);
    reply::with(reply, RANGE.as_str(), &progress(size))
}

fn created_blob(repository: &str, digest: &Digest) -> Reply {
    let location = format!("/v2/{repository}/blobs/{digest}");
    let reply = reply::empty(StatusCode::CREATED);
    let reply = reply::with(reply, LOCATION.as_str(), &location);
    reply::with(reply, DIGEST, digest.as_str())
}

/// Whether one of the `Accept` headers allows the type; none allows all.
fn accepts<'a>(
    headers: impl Iterator<Item = &'a hyper::header::HeaderValue>,
    media_type: &str,
) -> bool {
    let mut said = false;
    for header in headers {
        said = true;
        let text = header.to_str().unwrap_or_default();
        let mut types = text
            .split(',')
            .map(|one| one.split(';').next().unwrap_or_default().trim());
        if types.any(|one| matches!(one, "*/*" | "application/*" | "") || one == media_type) {
            return true;
        }
    }
    !said
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> orc_base::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Error::internal(format!("a request was lost: {error}")))??)
}
