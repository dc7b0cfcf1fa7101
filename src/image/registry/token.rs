//! Gets a token from the issuer that a registry names (the distribution specification's token
//! authentication).
//!
//! The realm is the registry's word, and attackers run registries: it is judged like a redirect, and
//! only an issuer that belongs to the registry sees a password or a refresh token. Others are asked
//! anonymously, which is enough for public images. The answer is bounded and must be a token that can
//! stand in a header.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use orc_base::Error;

use crate::credentials::Credentials;
use crate::registry::hops::{self, Home};
use crate::registry::http::{Answer, Ask, Http, Payload};
use crate::registry::refusal::{Asked, Refusal};
use crate::registry::retry::Failure;

const MAX_TOKEN_BYTES: u64 = 1 << 20;
const MAX_ERROR_BYTES: usize = 64 << 10;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// What a token is wanted for.
pub(crate) struct Wanted<'a> {
    pub(crate) registry: &'a str,
    pub(crate) repository: &'a str,
    pub(crate) home: &'a Home,
    pub(crate) realm: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) scopes: &'a [String],
    pub(crate) credentials: Option<&'a Credentials>,
}

/// A header value with a fresh token.
pub(crate) async fn fetch(http: &Http, wanted: &Wanted<'_>) -> Result<HeaderValue, Failure> {
    let realm = Url::parse(wanted.realm).map_err(|_| {
        Error::invalid(format!(
            "registry {} names an issuer of tokens that is not a URL",
            wanted.registry
        ))
    })?;
    hops::judge(wanted.home, &realm, &http.config)?;
    let trusted = |url: &Url| hops::may_issue(wanted.registry, wanted.home, url, &http.config);
    let shown = wanted.credentials.filter(|_| trusted(&realm));
    let withheld = wanted.credentials.is_some() && shown.is_none();
    let ask = match shown {
        Some(credentials) if !credentials.identity_token.is_empty() => {
            refresh(wanted, realm.clone(), &credentials.identity_token)
        }
        _ => anonymous(wanted, realm.clone(), shown),
    };
    let basic = match shown {
        Some(credentials) if credentials.identity_token.is_empty() => {
            Some(secret_value(&credentials.basic_value())?)
        }
        _ => None,
    };
    let authorize = |url: &Url, _| basic.clone().filter(|_| trusted(url));
    let answer = http
        .ask(wanted.registry, wanted.home, &ask, authorize)
        .await?;
    if !answer.status().is_success() {
        let failure = refuse(http, wanted, answer, shown.is_some()).await;
        return Err(match withheld {
            true => explain_withheld(failure, wanted.registry, &realm),
            false => failure,
        });
    }
    read(http, wanted, answer).await
}

/// The question without a refresh token: `GET realm?service=…&scope=…`.
fn anonymous(wanted: &Wanted<'_>, mut realm: Url, account: Option<&Credentials>) -> Ask {
    {
        let mut query = realm.query_pairs_mut();
        if let Some(service) = wanted.service {
            query.append_pair("service", service);
        }
        for scope in wanted.scopes {
            query.append_pair("scope", scope);
        }
        if let Some(account) = account {
            query.append_pair("account", &account.username);
        }
    }
    Ask::new(Method::GET, realm)
}

/// OAuth2's question with a refresh token.
fn refresh(wanted: &Wanted<'_>, realm: Url, token: &str) -> Ask {
    // The encoding of a form is that of a query.
    let mut form = realm.clone();
    form.query_pairs_mut()
        .clear()
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", wanted.service.unwrap_or_default())
        .append_pair("client_id", "orc")
        .append_pair("scope", &wanted.scopes.join(" "))
        .append_pair("refresh_token", token);
    let mut ask = Ask::new(Method::POST, realm);
    ask.headers.insert(CONTENT_TYPE, FORM);
    ask.payload = Payload::Bytes(form.query().unwrap_or_default().to_owned().into());
    ask
}

async fn read(http: &Http, wanted: &Wanted<'_>, answer: Answer) -> Result<HeaderValue, Failure> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        token: Option<String>,
        #[serde(default)]
        access_token: Option<String>,
    }

    let who = format!("the issuer of tokens of registry {}", wanted.registry);
    let bytes = answer.whole(MAX_TOKEN_BYTES, &who, http.limits()).await?;
    // serde's own words could quote the token.
    let body: Option<Body> = serde_json::from_slice(&bytes).ok();
    let token = body
        .and_then(|body| body.token.or(body.access_token))
        .filter(|token| !token.is_empty());
    match token {
        Some(token) => Ok(secret_value(&format!("Bearer {token}"))?),
        None => Err(Failure::last(Error::invalid(format!(
            "{who} answers without a token"
        )))),
    }
}

async fn refuse(
    http: &Http,
    wanted: &Wanted<'_>,
    answer: Answer,
    had_credentials: bool,
) -> Failure {
    let secrets = wanted
        .credentials
        .map(Credentials::secrets)
        .unwrap_or_default();
    let status = answer.status();
    let retry_after = answer.retry_after();
    let body = answer.beginning(MAX_ERROR_BYTES, http.limits()).await;
    let refusal = Refusal {
        registry: wanted.registry,
        repository: wanted.repository,
        asked: Asked::Token,
        status,
        body: &body,
        retry_after,
        had_credentials,
        secrets: &secrets,
    };
    refusal.failure()
}

fn explain_withheld(failure: Failure, registry: &str, realm: &Url) -> Failure {
    Failure {
        error: failure.error.within(format!(
            "registry {registry} has its logins at `{}`, which was not shown the password: list it as a token host of the registry if that is right",
            hops::origin(realm)
        )),
        hope: failure.hope,
    }
}

/// A header value that debug output leaves out.
pub(crate) fn secret_value(text: &str) -> orc_base::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::invalid(format!(
            "the login has a character that cannot stand in a `{AUTHORIZATION}` header"
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}
