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
//! Nothing is logged in before the registry asks for it, and a login is tried again at most twice for
//! one request. What the answers mean is left to `documents`, `blobs` and `upload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use tokio::sync::Mutex;

use orc_base::{Context, Error, Result, id};

use crate::credentials::{self, Credentials};
use crate::reference::Reference;
use crate::registry::challenge::{self, Challenge};
use crate::registry::hops::{self, Home, Whose};
use crate::registry::http::{Answer, Ask, Http};
use crate::registry::refusal::{Asked, Refusal};
use crate::registry::retry::{Failure, Tries};
use crate::registry::token::{self, Wanted};

const MAX_ERROR_BYTES: usize = 64 << 10;
/// How often one request may lead to a login.
const MAX_LOGINS: usize = 2;

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// One repository of one registry.
#[derive(Debug)]
pub(crate) struct Session {
    http: Arc<Http>,
    registry: String,
    repository: String,
    home: Home,
    scopes: Vec<String>,
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

impl Session {
    /// Finds out how the registry of `reference` is reached. `more` are repositories on it that are
    /// read as well. Without `credentials` they are looked up when the registry asks for some.
    pub(crate) async fn open(
        http: &Arc<Http>,
        reference: &Reference,
        access: Access,
        more: &[&str],
        credentials: Option<Credentials>,
    ) -> Result<Self> {
        let registry = reference.registry().to_owned();
        let homes = hops::homes(&registry, &http.config)?;
        let mut session = Self {
            http: Arc::clone(http),
            repository: reference.repository().to_owned(),
            home: homes[0].clone(),
            scopes: scopes(reference.repository(), access, more),
            login: Mutex::new(Login {
                looked_up: credentials.is_some(),
                credentials: credentials.filter(|credentials| !credentials.is_empty()),
                ..Login::default()
            }),
            reached: AtomicBool::new(false),
            registry,
        };
        if homes.len() > 1 {
            session.home = session.choose_home(homes).await?;
        }
        Ok(session)
    }

    /// The first address that answers. Only where plain HTTP is allowed is there a choice.
    async fn choose_home(&self, homes: Vec<Home>) -> Result<Home> {
        let mut first_failure = None;
        let last = homes.len() - 1;
        for (index, home) in homes.into_iter().enumerate() {
            let found = self.retry(|| self.greet(&home)).await;
            match found {
                // What answers plain HTTP with 400 is most likely a TLS port.
                Ok(400) if home.url.scheme() == "http" && index < last => {
                    first_failure.get_or_insert_with(|| {
                        Error::invalid(format!(
                            "registry {} refuses plain HTTP (400 Bad Request)",
                            self.registry
                        ))
                    });
                }
                Ok(_) => return Ok(home),
                Err(error) => {
                    first_failure.get_or_insert(error);
                }
            }
        }
        Err(first_failure.unwrap_or_else(|| Error::internal("a registry without an address")))
    }

    async fn greet(&self, home: &Home) -> Result<u16, Failure> {
        let ask = Ask::new(Method::GET, join(&home.url, "v2/")?);
        let answer = self
            .http
            .ask(&self.registry, home, &ask, |_, _| None)
            .await?;
        Ok(answer.status().as_u16())
    }

    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// `registry …`, to name it in errors.
    pub(crate) fn who(&self) -> String {
        format!("registry {}", self.registry)
    }

    /// The URL of something in this repository, such as `manifests/latest`.
    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        join(&self.home.url, &format!("v2/{}/{path}", self.repository))
    }

    /// Asks, again if that may help, for an answer whose status is a success or in `accept`.
    pub(crate) async fn ask(&self, ask: &Ask, asked: Asked, accept: &[u16]) -> Result<Answer> {
        self.retry(|| self.once(ask, asked, accept)).await
    }

    /// The same for a small document of at most `limit` bytes; a broken one is asked for again.
    pub(crate) async fn ask_whole(
        &self,
        ask: &Ask,
        asked: Asked,
        limit: u64,
    ) -> Result<(HeaderMap, Bytes)> {
        self.retry(|| async {
            let answer = self.once(ask, asked, &[]).await?;
            let headers = answer.response.headers().clone();
            let bytes = answer.whole(limit, &self.who(), self.http.limits()).await?;
            Ok((headers, bytes))
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

    /// Waits before the next try, or gives up with the error.
    pub(crate) async fn pause(&self, tries: &mut Tries, failure: Failure) -> Result<()> {
        let reached = self.reached.load(Ordering::Relaxed);
        let [random] = id::random_bytes::<1>();
        let wait = tries.next(failure.hope, reached, self.http.limits(), random);
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
        ask: &Ask,
        asked: Asked,
        accept: &[u16],
    ) -> Result<Answer, Failure> {
        for _ in 0..MAX_LOGINS {
            let (generation, answer) = self.send(ask).await?;
            if answer.status() != 401 || answer.whose == Whose::Foreign {
                return self.accept(answer, asked, accept).await;
            }
            if !self.log_in(&answer, generation).await? {
                return self.accept(answer, asked, accept).await;
            }
        }
        let (_, answer) = self.send(ask).await?;
        self.accept(answer, asked, accept).await
    }

    async fn send(&self, ask: &Ask) -> Result<(u64, Answer), Failure> {
        let (generation, authorization) = {
            let login = self.login.lock().await;
            (login.generation, login.authorization.clone())
        };
        let authorize = |_: &Url, whose| authorization.clone().filter(|_| whose == Whose::Home);
        let answer = self
            .http
            .ask(&self.registry, &self.home, ask, authorize)
            .await?;
        self.reached.store(true, Ordering::Relaxed);
        Ok((generation, answer))
    }

    async fn accept(
        &self,
        answer: Answer,
        asked: Asked,
        accept: &[u16],
    ) -> Result<Answer, Failure> {
        let status = answer.status();
        if status.is_success() || accept.contains(&status.as_u16()) {
            return Ok(answer);
        }
        Err(self.refuse(answer, asked).await)
    }

    async fn refuse(&self, answer: Answer, asked: Asked) -> Failure {
        let (had_credentials, secrets) = self.secrets().await;
        let (status, whose) = (answer.status(), answer.whose);
        let retry_after = answer.retry_after();
        let body = answer.beginning(MAX_ERROR_BYTES, self.http.limits()).await;
        let refusal = Refusal {
            registry: &self.registry,
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
                self.registry
            ))),
            _ => refusal.failure(),
        }
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

    /// Answers a challenge. False when that would only repeat what was refused.
    async fn log_in(&self, answer: &Answer, refused: u64) -> Result<bool, Failure> {
        let headers = answer.response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = challenge::read(headers.iter().filter_map(|value| value.to_str().ok()));
        let Some(challenge) = challenge else {
            return Ok(false);
        };
        let mut login = self.login.lock().await;
        if login.generation != refused {
            return Ok(true);
        }
        if !login.looked_up {
            login.credentials = self.look_up().await?;
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
                    registry: &self.registry,
                    repository: &self.repository,
                    home: &self.home,
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

    async fn look_up(&self) -> Result<Option<Credentials>> {
        match &self.http.config.credentials_file {
            Some(file) => credentials::find(file, &self.registry).await,
            None => Ok(None),
        }
        .context(|| format!("log in to registry {}", self.registry))
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
