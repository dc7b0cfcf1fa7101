//! A conversation with one repository of a registry: logs in when asked to, tries again when that may
//! help, and turns refusals into errors.
//!
//! ```text
//! request ── 401 with a challenge ──► log in (once for all who wait) ──► request again
//!    │                                   └─ refused ──► Denied
//!    ├── 429, 5xx, broken connection ──► wait ──► request again, at most `limits.tries` times
//!    └── any other refusal ──► error
//! ```
//!
//! What is only read may come from a mirror: where this would give up there, it goes on at the next
//! mirror and at last at the registry itself, for this request and all that follow. Accounts are kept
//! apart: a mirror sees its own.
//!
//! Nothing is logged in before the registry asks for it, and a login is tried again at most twice for
//! one request. What the answers mean is left to `documents`, `blobs` and `upload`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use tokio::sync::Mutex;

use orc_base::{Context, Error, Kind, Result, id};

use crate::credential_helper::{self as helper, Program};
use crate::credentials::Credentials;
use crate::credentials_file;
use crate::reference::Reference;
use crate::registry::challenge::{self, Challenge};
use crate::registry::config::{Mirror, RegistryConfig};
use crate::registry::hops::{self, Home, Whose};
use crate::registry::http::{Answer, Ask, Http};
use crate::registry::refusal::{Asked, Refusal};
use crate::registry::retry::{Failure, Tries};
use crate::registry::token::{self, Wanted};

const MAX_ERROR_BYTES: usize = 64 << 10;
/// How often one request may lead to a login.
const MAX_LOGINS: usize = 2;
/// How often a request is tried at a mirror: there are others.
const MIRROR_TRIES: u32 = 2;

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// One repository of one registry, and of its mirrors.
#[derive(Debug)]
pub(crate) struct Session {
    http: Arc<Http>,
    repository: String,
    scopes: Vec<String>,
    /// The mirrors in their order, and the registry itself last.
    endpoints: Vec<Endpoint>,
    /// Which of them is asked. It only grows.
    current: AtomicUsize,
}

/// A place that has the repository.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The registry or the mirror, as people write it.
    registry: String,
    repository: String,
    /// Of which registry it is a mirror.
    mirror_of: Option<String>,
    homes: Vec<Home>,
    /// Which of `homes` answered.
    home: OnceLock<Home>,
    login: Mutex<Login>,
    /// Whether it ever answered: then a lost connection is worth more tries.
    reached: AtomicBool,
}

/// What to show the registry. The generation counts the logins, so that a request that was refused
/// with an old one just tries the new one.
#[derive(Debug, Default)]
struct Login {
    authorization: Option<HeaderValue>,
    generation: u64,
    credentials: Option<Credentials>,
    looked_up: bool,
}

/// Makes a request for an endpoint.
pub(crate) type Make<'a> = &'a (dyn Fn(&Endpoint) -> Result<Ask> + Send + Sync);

impl Endpoint {
    fn new(
        registry: &str,
        repository: &str,
        homes: Vec<Home>,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            mirror_of: None,
            homes,
            home: OnceLock::new(),
            login: Mutex::new(Login {
                looked_up: credentials.is_some(),
                credentials: credentials.filter(|credentials| !credentials.is_empty()),
                ..Login::default()
            }),
            reached: AtomicBool::new(false),
        }
    }

    fn mirror(mirror: &Mirror, reference: &Reference, config: &RegistryConfig) -> Result<Self> {
        let homes = hops::mirror_homes(mirror, config)?;
        // Nobody but the registry itself sees the account that the caller has there.
        let endpoint = Self::new(mirror.host(), reference.repository(), homes, None);
        Ok(Self {
            mirror_of: Some(reference.registry().to_owned()),
            ..endpoint
        })
    }

    /// The registry's own address; known once somebody there has answered.
    fn home(&self) -> &Home {
        self.home.get().unwrap_or(&self.homes[0])
    }

    /// The URL of something in the repository, such as `manifests/latest`.
    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        let mut url = join(&self.home().url, &format!("v2/{}/{path}", self.repository))?;
        if let Some(registry) = &self.mirror_of {
            url.query_pairs_mut().append_pair("ns", registry);
        }
        Ok(url)
    }

    /// Where a registry says what it is.
    pub(crate) fn greeting(&self) -> Result<Url> {
        join(&self.home().url, "v2/")
    }

    /// Whether there are credentials, and every text that must not be printed.
    async fn secrets(&self) -> (bool, Vec<String>) {
        let login = self.login.lock().await;
        let known = login.credentials.as_ref();
        let mut secrets = known.map(Credentials::secrets).unwrap_or_default();
        let shown = login.authorization.as_ref();
        let shown = shown.and_then(|value| value.to_str().ok()?.split(' ').nth(1));
        secrets.extend(shown.map(str::to_owned));
        (known.is_some(), secrets)
    }

    /// To name it in errors.
    fn who(&self) -> String {
        match &self.mirror_of {
            None => format!("registry {}", self.registry),
            Some(of) => format!("mirror {} of registry {of}", self.registry),
        }
    }
}

impl Session {
    /// Finds out how the registry of `reference` is reached, or one of its mirrors when the repository is
    /// only read. `more` are repositories on it that are read as well. Without `credentials` they are
    /// looked up when the registry asks for some.
    pub(crate) async fn open(
        http: &Arc<Http>,
        reference: &Reference,
        access: Access,
        more: &[&str],
        credentials: Option<Credentials>,
    ) -> Result<Self> {
        let (registry, repository) = (reference.registry(), reference.repository());
        let mut endpoints = Vec::new();
        if access == Access::Pull {
            for mirror in http.config.mirrors(registry) {
                endpoints.push(Endpoint::mirror(mirror, reference, &http.config)?);
            }
        }
        let homes = hops::homes(registry, &http.config)?;
        endpoints.push(Endpoint::new(registry, repository, homes, credentials));
        Self::enter(Self {
            http: Arc::clone(http),
            repository: repository.to_owned(),
            scopes: scopes(repository, access, more),
            endpoints,
            current: AtomicUsize::new(0),
        })
        .await
    }

    /// The registry itself and nothing on it, for a login.
    pub(crate) async fn with_registry(
        http: &Arc<Http>,
        registry: &str,
        credentials: Credentials,
    ) -> Result<Self> {
        let homes = hops::homes(registry, &http.config)?;
        Self::enter(Self {
            http: Arc::clone(http),
            repository: String::new(),
            scopes: Vec::new(),
            endpoints: vec![Endpoint::new(registry, "", homes, Some(credentials))],
            current: AtomicUsize::new(0),
        })
        .await
    }

    /// Finds the first endpoint that answers.
    async fn enter(self) -> Result<Self> {
        if let Err(error) = self.settle(self.endpoint()).await {
            self.move_on(0, error).await?;
        }
        Ok(self)
    }

    /// The endpoint that is asked now.
    fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.current.load(Ordering::Relaxed)]
    }

    /// Which of its endpoints is asked now, for [`Session::leave_liar`].
    pub(crate) fn asked(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Leaves the mirror that was `asked` and gave bytes that are not what was announced. Gives `error`
    /// back when that is not what happened.
    pub(crate) async fn leave_liar(&self, asked: usize, error: Error) -> Result<()> {
        let is_mirror = self.endpoints[asked].mirror_of.is_some();
        if error.kind() != Kind::Invalid || !is_mirror {
            return Err(error);
        }
        match self.asked() > asked {
            true => Ok(()),
            false => self.move_on(asked, error).await,
        }
    }

    /// Leaves the mirror `from` for the next endpoint, or gives up with `error` when there is none.
    async fn move_on(&self, from: usize, error: Error) -> Result<()> {
        let mut error = error;
        for next in from + 1..self.endpoints.len() {
            tracing::warn!(%error, "leaving {}", self.endpoints[next - 1].who());
            match self.settle(&self.endpoints[next]).await {
                Ok(()) => {
                    self.current.fetch_max(next, Ordering::Relaxed);
                    return Ok(());
                }
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// Finds out at which of its addresses an endpoint answers. Only where plain HTTP is allowed is
    /// there a choice.
    async fn settle(&self, endpoint: &Endpoint) -> Result<()> {
        if endpoint.home.get().is_some() || endpoint.homes.len() < 2 {
            return Ok(());
        }
        let mut first_failure = None;
        let last = endpoint.homes.len() - 1;
        for (index, home) in endpoint.homes.iter().enumerate() {
            match self.greet(endpoint, home).await {
                // What answers plain HTTP with 400 is most likely a TLS port.
                Ok(400) if home.url.scheme() == "http" && index < last => {
                    first_failure.get_or_insert_with(|| {
                        Error::invalid(format!(
                            "{} refuses plain HTTP (400 Bad Request)",
                            endpoint.who()
                        ))
                    });
                }
                Ok(_) => {
                    let _ = endpoint.home.set(home.clone());
                    return Ok(());
                }
                Err(error) => {
                    first_failure.get_or_insert(error);
                }
            }
        }
        Err(first_failure.unwrap_or_else(|| Error::internal("a registry without an address")))
    }

    async fn greet(&self, endpoint: &Endpoint, home: &Home) -> Result<u16> {
        let ask = Ask::new(Method::GET, join(&home.url, "v2/")?);
        let mut tries = Tries::default();
        loop {
            let asked = self
                .http
                .ask(&endpoint.registry, home, &ask, |_, _| None)
                .await;
            match asked {
                Ok(answer) => return Ok(answer.status().as_u16()),
                Err(failure) => self.wait(endpoint, &mut tries, failure).await?,
            }
        }
    }

    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// The URL of something in this repository at the endpoint that is asked now.
    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        self.endpoint().url(path)
    }

    /// The address of the endpoint that is asked now.
    pub(crate) fn home(&self) -> &Home {
        self.endpoint().home()
    }

    /// `registry …`, to name it in errors.
    pub(crate) fn who(&self) -> String {
        self.endpoint().who()
    }

    /// Asks, again if that may help, for an answer whose status is a success or in `accept`.
    pub(crate) async fn ask(&self, make: Make<'_>, asked: Asked, accept: &[u16]) -> Result<Answer> {
        self.retry(|| self.once(make, asked, accept)).await
    }

    /// The same for a small document of at most `limit` bytes, which `read` makes sense of; a broken one
    /// is asked for again, and one that makes no sense at the next endpoint.
    pub(crate) async fn ask_whole<T>(
        &self,
        make: Make<'_>,
        asked: Asked,
        limit: u64,
        read: impl Fn(&HeaderMap, Bytes) -> Result<T>,
    ) -> Result<T> {
        self.retry(|| async {
            let answer = self.once(make, asked, &[]).await?;
            let headers = answer.response.headers().clone();
            let bytes = answer.whole(limit, &self.who(), self.http.limits()).await?;
            Ok(read(&headers, bytes)?)
        })
        .await
    }

    /// Repeats `work` as long as there is hope.
    pub(crate) async fn retry<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut tries = Tries::default();
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(failure) => self.pause(&mut tries, failure).await?,
            }
        }
    }

    /// Waits before the next try; where no try is left, leaves a mirror for the next endpoint, or gives
    /// up with the error.
    pub(crate) async fn pause(&self, tries: &mut Tries, failure: Failure) -> Result<()> {
        let current = self.current.load(Ordering::Relaxed);
        if tries.moved_to(current) {
            // Others have left the endpoint that failed.
            return Ok(());
        }
        match self.wait(&self.endpoints[current], tries, failure).await {
            Err(error) if current + 1 < self.endpoints.len() => {
                self.move_on(current, error).await?;
                tries.moved_to(self.current.load(Ordering::Relaxed));
                Ok(())
            }
            waited => waited,
        }
    }

    /// Waits before the next try, or gives up with the error.
    async fn wait(&self, endpoint: &Endpoint, tries: &mut Tries, failure: Failure) -> Result<()> {
        let reached = endpoint.reached.load(Ordering::Relaxed);
        let [random] = id::random_bytes::<1>();
        let mut limits = self.http.limits().clone();
        if endpoint.mirror_of.is_some() {
            limits.tries = limits.tries.min(MIRROR_TRIES);
        }
        let wait = tries.next(failure.hope, reached, &limits, random);
        let Some(wait) = wait else {
            return Err(failure.error);
        };
        tracing::debug!(error = %failure.error, ?wait, "try again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Asks one time, with as many logins as the registry may ask for.
    pub(crate) async fn once(
        &self,
        make: Make<'_>,
        asked: Asked,
        accept: &[u16],
    ) -> Result<Answer, Failure> {
        let at = self.endpoint();
        let ask = make(at)?;
        for _ in 0..MAX_LOGINS {
            let (generation, answer) = self.send(at, &ask).await?;
            if answer.status() != 401 || answer.whose == Whose::Foreign {
                return self.accept(at, answer, asked, accept).await;
            }
            if !self.log_in(at, &answer, generation).await? {
                return self.accept(at, answer, asked, accept).await;
            }
        }
        let (_, answer) = self.send(at, &ask).await?;
        self.accept(at, answer, asked, accept).await
    }

    async fn send(&self, at: &Endpoint, ask: &Ask) -> Result<(u64, Answer), Failure> {
        let (generation, authorization) = {
            let login = at.login.lock().await;
            (login.generation, login.authorization.clone())
        };
        let authorize = |_: &Url, whose| authorization.clone().filter(|_| whose == Whose::Home);
        let answer = self
            .http
            .ask(&at.registry, at.home(), ask, authorize)
            .await?;
        at.reached.store(true, Ordering::Relaxed);
        Ok((generation, answer))
    }

    async fn accept(
        &self,
        at: &Endpoint,
        answer: Answer,
        asked: Asked,
        accept: &[u16],
    ) -> Result<Answer, Failure> {
        let status = answer.status();
        if status.is_success() || accept.contains(&status.as_u16()) {
            return Ok(answer);
        }
        Err(self.refuse(at, answer, asked).await)
    }

    async fn refuse(&self, at: &Endpoint, answer: Answer, asked: Asked) -> Failure {
        let (had_credentials, secrets) = at.secrets().await;
        let (status, whose) = (answer.status(), answer.whose);
        let retry_after = answer.retry_after();
        let body = answer.beginning(MAX_ERROR_BYTES, self.http.limits()).await;
        let refusal = Refusal {
            registry: &at.registry,
            repository: &self.repository,
            asked,
            status,
            body: &body,
            retry_after,
            had_credentials,
            secrets: &secrets,
        };
        // A storage host refuses when the address it was given for a while has run out.
        match (whose, status.as_u16()) {
            (Whose::Foreign, 400..=499) => Failure::passing(Error::unavailable(format!(
                "the place where registry {} keeps its data refuses ({status})",
                at.registry
            ))),
            _ => refusal.failure(),
        }
    }

    /// Answers a challenge. False when that would only repeat what was refused.
    async fn log_in(&self, at: &Endpoint, answer: &Answer, refused: u64) -> Result<bool, Failure> {
        let headers = answer.response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = challenge::read(headers.iter().filter_map(|value| value.to_str().ok()));
        let Some(challenge) = challenge else {
            return Ok(false);
        };
        let mut login = at.login.lock().await;
        if login.generation != refused {
            return Ok(true);
        }
        if !login.looked_up {
            login.credentials = self.look_up(&at.registry).await?;
            login.looked_up = true;
        }
        let authorization = match challenge {
            Challenge::Basic => match &login.credentials {
                Some(credentials) => Some(token::secret_value(&credentials.basic_value())?),
                None => None,
            },
            Challenge::Bearer {
                realm,
                service,
                scope,
                ..
            } => {
                let wanted = Wanted {
                    registry: &at.registry,
                    repository: &self.repository,
                    home: at.home(),
                    realm: &realm,
                    service: service.as_deref(),
                    scopes: &self.scopes_with(scope),
                    credentials: login.credentials.as_ref(),
                };
                Some(token::fetch(&self.http, &wanted).await?)
            }
        };
        if authorization.is_none() || authorization == login.authorization {
            return Ok(false);
        }
        login.authorization = authorization;
        login.generation += 1;
        Ok(true)
    }

    async fn look_up(&self, registry: &str) -> Result<Option<Credentials>> {
        let config = &self.http.config;
        let helper = config
            .host(registry)
            .and_then(|host| host.helper.as_deref());
        match (helper, &config.credentials_file) {
            (Some(helper), _) => helper::get(&Program::At(helper.to_owned()), registry).await,
            (None, Some(file)) => credentials_file::find(file, registry).await,
            (None, None) => Ok(None),
        }
        .context(|| format!("log in to registry {registry}"))
    }

    /// What a token is wanted for: ours, and what the registry adds for the same repository.
    fn scopes_with(&self, asked: Option<String>) -> Vec<String> {
        let own = format!("repository:{}:", self.repository);
        let more = asked.filter(|scope| {
            scope.starts_with(&own) && !scope.contains(' ') && !self.scopes.contains(scope)
        });
        self.scopes.iter().cloned().chain(more).collect()
    }
}

fn scopes(repository: &str, access: Access, more: &[&str]) -> Vec<String> {
    let own = match access {
        Access::Pull => "pull",
        Access::Push => "pull,push",
    };
    let read = more
        .iter()
        .filter(|other| **other != repository)
        .map(|other| format!("repository:{other}:pull"));
    std::iter::once(format!("repository:{repository}:{own}"))
        .chain(read)
        .collect()
}

fn join(base: &Url, path: &str) -> Result<Url> {
    base.join(path)
        .map_err(|error| Error::invalid(format!("`{path}` cannot stand in a URL: {error}")))
}
