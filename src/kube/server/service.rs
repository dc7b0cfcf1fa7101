//! One request from its first line to its last: who asks, may they, what is the answer, what is told of it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, ORIGIN, USER_AGENT,
};
use hyper::http::request;
use hyper::{Method, Request};

use crate::auth::authenticator::{Credential, Token};
use crate::auth::decision::Attributes;
use crate::auth::user::User;
use crate::openapi::documents::Documents;
use crate::pki::peer::Peer;
use crate::selector::FieldSelector;
use crate::server::accept::{self, Form};
use crate::server::audit::Line;
use crate::server::reply::{self, Reply};
use crate::server::request::{self as asked, Place, Query, Resource, not_found};
use crate::server::state::{Call, Parts, State};
use crate::server::{body, discovery, guard, reviews, upgrade, verbs, watching};
use crate::status::{Reason, Result, Status};

/// The API, whatever carries it.
pub struct Service {
    state: Arc<State>,
    documents: Documents,
}

impl Service {
    /// On these parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            state: State::new(parts),
            documents: Documents::default(),
        })
    }

    /// Ends all watches and streams.
    pub fn stop(&self) {
        self.state.stop();
    }

    /// Answers a request of somebody with this certificate, or with none.
    pub async fn answer<B>(self: &Arc<Self>, request: Request<B>, peer: Option<Peer>) -> Reply
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.reply(request, peer).await {
            Ok(reply) => reply,
            Err(status) => reply::failure(&status),
        }
    }

    async fn reply<B>(
        self: &Arc<Self>,
        mut request: Request<B>,
        peer: Option<Peer>,
    ) -> Result<Reply>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let upgrade = request
            .headers()
            .contains_key(hyper::header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        refuse_strangers(&head.headers)?;
        let place = asked::place(head.uri.path())?;
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        let credential = credential(&head.headers, peer)?;
        let user = self.state.user(&credential).await?;
        let resource = match place {
            Place::Other(parts) => {
                return self.other(&head, &user, &parts, &query).await;
            }
            Place::Resource(resource) => resource,
        };
        let verb = asked::verb(&head.method, &resource, &query)?;
        let wanted = attributes(verb, &resource, &query)?;
        let line = |code| Line {
            user: user.name.clone(),
            verb: verb.to_owned(),
            resource: named(&resource),
            namespace: resource.namespace.clone(),
            name: resource.name.clone(),
            code,
        };
        let is_told = !matches!(verb, "get" | "list" | "watch");
        let allowed = guard::check(self.state.objects(), &user, &wanted).await;
        if let Err(status) = allowed {
            self.state.audit(&line(status.code()));
            return Err(status);
        }
        let line = is_told.then(|| line(0));
        let call = Call {
            user,
            credential,
            wanted,
            resource,
            verb,
            query,
            form: form(&head.headers)?,
            agent: header(&head.headers, &USER_AGENT),
            content_type: header(&head.headers, &CONTENT_TYPE),
            now: self.state.now(),
        };
        let answered = self.call(call, &head.headers, body, upgrade).await;
        if let Some(mut line) = line {
            line.code = match &answered {
                Ok(reply) => reply.status().as_u16(),
                Err(status) => status.code(),
            };
            self.state.audit(&line);
        }
        answered
    }

    async fn call<B>(
        self: &Arc<Self>,
        call: Call,
        headers: &HeaderMap,
        body: B,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
    ) -> Result<Reply>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if upgrade::is_stream(&call) {
            return upgrade::answer(&self.state, call, headers, upgrade).await;
        }
        if let Some(review) = reviews::find(&call) {
            let body = body::read(body).await?;
            return reviews::answer(&self.state, &call, review, &body).await;
        }
        let kind = verbs::kind_of(&call)?;
        if call.verb == "watch" {
            return watching::answer(&self.state, call, kind).await;
        }
        let body = match call.verb {
            "get" | "list" => Bytes::new(),
            _ => body::read(body).await?,
        };
        if kind == &crate::kinds::SERVICE_ACCOUNT && call.resource.below == "token" {
            return match call.verb {
                "create" => reviews::token_request(&self.state, &call, &body).await,
                verb => Err(Status::not_allowed(kind, verb)),
            };
        }
        verbs::answer(&self.state, &call, kind, &body).await
    }

    /// Everything that is no resource.
    async fn other(
        &self,
        head: &request::Parts,
        user: &User,
        parts: &[String],
        query: &Query,
    ) -> Result<Reply> {
        let verb = match head.method {
            Method::GET | Method::HEAD => "get".to_owned(),
            ref other => other.as_str().to_lowercase(),
        };
        let wanted = Attributes {
            verb,
            path: head.uri.path().to_owned(),
            ..Attributes::default()
        };
        guard::check(self.state.objects(), user, &wanted).await?;
        if wanted.verb != "get" {
            return Err(Status::new(
                Reason::MethodNotAllowed,
                "the server does not allow this method on the requested resource",
            ));
        }
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        let json = |value| Ok(reply::json(200, &value));
        match &words[..] {
            ["livez" | "healthz"] => Ok(reply::text(200, "ok")),
            ["readyz"] => Ok(match self.state.ready() {
                Ok(()) => reply::text(200, "ok"),
                Err(error) => reply::text(503, &format!("not ready: {error}")),
            }),
            ["version"] => json(discovery::version()),
            ["api" | "apis"] => self.discover(words[0] == "api", form(&head.headers)?),
            ["api", version] => self.resources("", version),
            ["apis", group] => json(discovery::group(group).ok_or_else(not_found)?),
            ["apis", group, version] => self.resources(group, version),
            ["openapi", "v2"] => {
                form(&head.headers)?;
                json(self.documents.v2())
            }
            ["openapi", "v3"] => json(self.documents.index()),
            ["openapi", "v3", rest @ ..] => self.document(&rest.join("/"), query.text("hash")),
            [""] => json(
                serde_json::json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] }),
            ),
            _ => Err(not_found()),
        }
    }

    fn discover(&self, core: bool, form: Form) -> Result<Reply> {
        Ok(match form {
            Form::Discovery { version } => {
                let value = discovery::aggregated(core, version);
                let mut reply = reply::json(200, &value);
                let media = match version {
                    "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                    _ => {
                        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
                    }
                };
                let media = hyper::header::HeaderValue::from_static(media);
                reply.headers_mut().insert(CONTENT_TYPE, media);
                reply
            }
            _ if core => reply::json(200, &discovery::core_versions()),
            _ => reply::json(200, &discovery::groups()),
        })
    }

    fn document(&self, path: &str, hash: &str) -> Result<Reply> {
        let bytes = self.documents.v3(path).ok_or_else(not_found)?;
        let mut reply = reply::bytes(200, "application/json", bytes.into());
        // Under its own hash a document never changes.
        if self.documents.hash(path) == Some(hash) {
            let forever = hyper::header::HeaderValue::from_static("public, immutable");
            reply.headers_mut().insert("cache-control", forever);
        }
        Ok(reply)
    }

    fn resources(&self, group: &str, version: &str) -> Result<Reply> {
        let found = discovery::resources(group, version).ok_or_else(not_found)?;
        Ok(reply::json(200, &found))
    }
}

/// 403 for browsers, which act for pages that are not the user's, and for those who want to act as
/// somebody else: passed over in silence, they would act as themselves.
fn refuse_strangers(headers: &HeaderMap) -> Result<()> {
    let refuse = |why: &str| Err(Status::new(Reason::Forbidden, why));
    if headers.contains_key(ORIGIN) {
        return refuse("the API is not for browsers: an Origin header was sent");
    }
    let acts_as = |name: &HeaderName| name.as_str().starts_with("impersonate-");
    if headers.keys().any(acts_as) {
        return refuse("impersonation (`--as`) is not offered");
    }
    Ok(())
}

/// What a request shows; a token comes before the connection's certificate. 401 for headers of other kinds.
fn credential(headers: &HeaderMap, peer: Option<Peer>) -> Result<Credential> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(peer.map_or(Credential::Nothing, |peer| {
            Credential::Certificate(Box::new(peer))
        }));
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token {
        Some(token) if !token.is_empty() => Ok(Credential::Token(Token(token.to_owned()))),
        _ => Err(Status::new(Reason::Unauthorized, "Unauthorized")),
    }
}

fn attributes(verb: &str, resource: &Resource, query: &Query) -> Result<Attributes> {
    let fields = FieldSelector::parse(query.text("fieldSelector"))?;
    Ok(Attributes {
        verb: verb.to_owned(),
        group: resource.group.clone(),
        resource: resource.plural.clone(),
        subresource: resource.below.clone(),
        // A namespace is read by who may read in it, as in Kubernetes.
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        path: String::new(),
        fields: fields.equalities(),
    })
}

fn form(headers: &HeaderMap) -> Result<Form> {
    accept::form(&header(headers, &ACCEPT)).ok_or_else(|| {
        Status::new(
            Reason::NotAcceptable,
            "only the following media types are accepted: application/json",
        )
    })
}

fn named(resource: &Resource) -> String {
    let mut name = resource.plural.clone();
    if !resource.below.is_empty() {
        name = format!("{name}/{}", resource.below);
    }
    match resource.group.as_str() {
        "" => name,
        group => format!("{name}.{group}"),
    }
}

/// A header's text, all of its lines; empty when there is none.
fn header(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).into_iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}
