//! Questions that are answered and not kept: who am I, may I, whose token is this; and tokens for service
//! accounts.

use std::time::Duration;

use bytes::Bytes;
use orc_base::{Kind, Time};
use serde_json::{Value, json};

use crate::auth::decision::Attributes;
use crate::auth::jwt::{Binding, Bound, Claims, DEFAULT_LIFE, MIN_LIFE};
use crate::auth::user::User;
use crate::kinds::{POD, SECRET, SERVICE_ACCOUNT};
use crate::object::{Object, seconds};
use crate::objects::Target;
use crate::server::body;
use crate::server::guard;
use crate::server::reply::{self, Reply};
use crate::server::resources::{REVIEWS, Review};
use crate::server::state::{Call, State};
use crate::status::{Reason, Result, Status};

/// The question a path names.
pub(super) fn find(call: &Call) -> Option<&'static Review> {
    let resource = &call.resource;
    REVIEWS.iter().find(|review| {
        (review.group, "v1", review.plural)
            == (&resource.group, resource.version.as_str(), &resource.plural)
            && resource.name.is_empty()
            && review.namespaced != resource.namespace.is_empty()
    })
}

/// Answers it.
pub(super) async fn answer(
    service: &State,
    call: &Call,
    review: &Review,
    body: &Bytes,
) -> Result<Reply> {
    if call.verb != "create" {
        return Err(Status::new(
            Reason::MethodNotAllowed,
            format!("{} can only be created", review.kind),
        ));
    }
    let mut object = Object::from_value(body::object(&call.content_type, body)?)?;
    object.set(&["apiVersion"], format!("{}/v1", review.group));
    object.set(&["kind"], review.kind);
    object.set_default(&["metadata"], json!({}));
    let status = match review.kind {
        "SelfSubjectReview" => json!({ "userInfo": call.user.to_json() }),
        "TokenReview" => token(service, &object).await?,
        "SelfSubjectAccessReview" => access(service, &call.user, &object).await?,
        "SelfSubjectRulesReview" => rules(&call.user, &object),
        _ => access(service, &user_of(&object), &object).await?,
    };
    object.set(&["status"], status);
    Ok(reply::json(201, &object.into_value()))
}

async fn token(service: &State, object: &Object) -> Result<Value> {
    let audiences = texts(object.list(&["spec", "audiences"]));
    let token = object.text(&["spec", "token"]);
    match service.authenticator().token(token, &audiences).await {
        Ok((user, claims)) => Ok(json!({
            "authenticated": true,
            "user": user.to_json(),
            "audiences": claims.aud,
        })),
        Err(error) if error.kind() == Kind::Denied => {
            Ok(json!({ "authenticated": false, "user": {}, "error": error.to_string() }))
        }
        Err(error) => Err(error.into()),
    }
}

/// The user of a `SubjectAccessReview`.
fn user_of(object: &Object) -> User {
    let groups = texts(object.list(&["spec", "groups"]));
    User {
        name: object.text(&["spec", "user"]).to_owned(),
        uid: object.text(&["spec", "uid"]).to_owned(),
        groups,
        ..User::default()
    }
}

async fn access(service: &State, user: &User, object: &Object) -> Result<Value> {
    let text = |field: &str| {
        object
            .text(&["spec", "resourceAttributes", field])
            .to_owned()
    };
    let wanted = if object.at(&["spec", "resourceAttributes"]).is_some() {
        Attributes {
            verb: text("verb"),
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
            ..Attributes::default()
        }
    } else {
        Attributes {
            verb: object
                .text(&["spec", "nonResourceAttributes", "verb"])
                .to_owned(),
            path: object
                .text(&["spec", "nonResourceAttributes", "path"])
                .to_owned(),
            ..Attributes::default()
        }
    };
    match guard::check(service.objects(), user, &wanted).await {
        Ok(why) => Ok(json!({ "allowed": true, "reason": why })),
        Err(status) if status.reason() == Reason::Forbidden => {
            Ok(json!({ "allowed": false, "reason": status.message() }))
        }
        Err(status) => Err(status),
    }
}

/// What `kubectl auth can-i --list` shows: the rows that need no object to be looked at.
fn rules(user: &User, object: &Object) -> Value {
    let all = ["*"];
    let paths = json!([{ "verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"] }]);
    let own = json!({
        "verbs": ["create"],
        "apiGroups": ["authentication.k8s.io", "authorization.k8s.io"],
        "resources": ["selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    });
    if user.is_in(crate::pki::identity::ADMINISTRATORS) {
        return json!({
            "resourceRules": [{ "verbs": all, "apiGroups": all, "resources": all }],
            "nonResourceRules": [{ "verbs": all, "nonResourceURLs": all }],
            "incomplete": false,
        });
    }
    let mut resource_rules = vec![own];
    if user.service_account_namespace() == Some(object.text(&["spec", "namespace"])) {
        let read = crate::kinds::KINDS
            .iter()
            .filter(|kind| kind.namespaced && kind.plural != "secrets");
        resource_rules.extend(read.map(|kind| {
            json!({ "verbs": ["get", "list", "watch"], "apiGroups": [kind.group], "resources": [kind.plural] })
        }));
    }
    let incomplete = user.is_in(crate::pki::identity::NODES);
    json!({ "resourceRules": resource_rules, "nonResourceRules": paths, "incomplete": incomplete })
}

/// `POST …/serviceaccounts/NAME/token`.
pub(super) async fn token_request(service: &State, call: &Call, body: &Bytes) -> Result<Reply> {
    let mut object = Object::from_value(body::object(&call.content_type, body)?)?;
    let resource = &call.resource;
    let target = Target::new(&SERVICE_ACCOUNT, &resource.namespace, &resource.name);
    let account = service.objects().get(&target, "").await?;
    let mut binding = Binding {
        namespace: resource.namespace.clone(),
        serviceaccount: bound(&account),
        pod: None,
        secret: None,
    };
    if object
        .at(&["spec", "boundObjectRef"])
        .is_some_and(|v| !v.is_null())
    {
        bind(service, &object, &mut binding).await?;
    }
    let asked = object.number(&["spec", "expirationSeconds"]);
    let life = asked.map_or(DEFAULT_LIFE, |s| {
        Duration::from_secs(u64::try_from(s).unwrap_or_default())
    });
    if life < MIN_LIFE {
        return Err(Status::bad_request(
            "spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes",
        ));
    }
    let audiences = texts(object.list(&["spec", "audiences"]));
    let claims = Claims::new(binding, &audiences, service.now(), life);
    let token = service.authenticator().sign(&claims)?;
    object.set(&["apiVersion"], "authentication.k8s.io/v1");
    object.set(&["kind"], "TokenRequest");
    object.set(&["metadata", "name"], resource.name.as_str());
    object.set(&["metadata", "namespace"], resource.namespace.as_str());
    object.set(&["spec", "audiences"], json!(claims.aud));
    object.set(&["spec", "expirationSeconds"], claims.exp - claims.iat);
    let end = seconds(Time::from_secs(claims.exp));
    object.set(
        &["status"],
        json!({ "token": token, "expirationTimestamp": end }),
    );
    Ok(reply::json(201, &object.into_value()))
}

/// Binds a token to a pod or a secret, which must be the one that is meant.
async fn bind(service: &State, object: &Object, binding: &mut Binding) -> Result<()> {
    let text = |field: &str| object.text(&["spec", "boundObjectRef", field]);
    let kind = match text("kind") {
        "Pod" => &POD,
        "Secret" => &SECRET,
        other => {
            return Err(Status::bad_request(format!(
                "spec.boundObjectRef: a token is bound to a Pod or a Secret, not {other:?}"
            )));
        }
    };
    let target = Target::new(kind, &binding.namespace, text("name"));
    let found = service.objects().get(&target, "").await?;
    let uid = text("uid");
    if !uid.is_empty() && uid != found.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record"
        );
        return Err(Status::conflict(kind, found.name(), &why));
    }
    if kind == &SECRET {
        binding.secret = Some(bound(&found));
        return Ok(());
    }
    let account = &binding.serviceaccount.name;
    let of_pod = found.text(&["spec", "serviceAccountName"]);
    if !of_pod.is_empty() && of_pod != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    binding.pod = Some(bound(&found));
    Ok(())
}

fn bound(object: &Object) -> Bound {
    Bound {
        name: object.name().to_owned(),
        uid: object.uid().to_owned(),
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    let texts = values.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
