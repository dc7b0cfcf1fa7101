//! The table of who may do what.
//!
//! Pure, and asked with the very request that is then carried out. What a machine may do can depend on the
//! objects; then the answer is a question to `node`. Nobody may do what no row says.

use crate::auth::decision::{Attributes, Decision};
use crate::auth::node;
use crate::auth::user::{AUTHENTICATED, User};
use crate::pki::identity::{ADMINISTRATORS, NODE_PREFIX, NODES};

/// Verbs that change nothing.
const READ: &[&str] = &["get", "list", "watch"];
/// Paths that everybody may read, known or not.
const OPEN: &[&str] = &["/livez", "/readyz", "/healthz", "/version"];
/// Paths below which everybody who is known may read.
const DISCOVERY: &[&str] = &["/api", "/apis", "/openapi", "/livez", "/readyz", "/healthz"];
/// What everybody who is known may ask about themselves.
const SELF: &[(&str, &str)] = &[
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
];

/// Whether `user` may do it.
pub(crate) fn decide(user: &User, wanted: &Attributes) -> Decision {
    if user.is_in(ADMINISTRATORS) {
        return Decision::Allow("administrators may do everything");
    }
    let reads = READ.contains(&wanted.verb.as_str());
    if wanted.resource.is_empty() {
        return of_path(user, wanted, reads);
    }
    if !user.is_in(AUTHENTICATED) {
        return Decision::Deny;
    }
    let asks_about_self = SELF.contains(&(wanted.group.as_str(), wanted.resource.as_str()));
    if wanted.verb == "create" && asks_about_self {
        return Decision::Allow("everybody may ask what they may do");
    }
    if user.is_in(NODES)
        && let Some(node) = user.name.strip_prefix(NODE_PREFIX)
    {
        return node::decide(node, wanted);
    }
    if let Some(namespace) = user.service_account_namespace()
        && reads
        && namespace == wanted.namespace
        && wanted.subresource.is_empty()
        && wanted.resource != "secrets"
    {
        return Decision::Allow("a service account may read its own namespace");
    }
    Decision::Deny
}

fn of_path(user: &User, wanted: &Attributes, reads: bool) -> Decision {
    let path = wanted.path.trim_end_matches('/');
    let below = |root: &&str| {
        path.strip_prefix(*root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if reads && OPEN.contains(&path) {
        return Decision::Allow("everybody may ask whether the server lives");
    }
    if reads && user.is_in(AUTHENTICATED) && DISCOVERY.iter().any(below) {
        return Decision::Allow("everybody who is known may look what there is");
    }
    Decision::Deny
}

/// What the one who was refused is told, in Kubernetes' words.
pub(crate) fn refusal(user: &User, wanted: &Attributes) -> String {
    let name = &user.name;
    let verb = &wanted.verb;
    if wanted.resource.is_empty() {
        return format!("User \"{name}\" cannot {verb} path \"{}\"", wanted.path);
    }
    let resource = match wanted.subresource.as_str() {
        "" => wanted.resource.clone(),
        below => format!("{}/{below}", wanted.resource),
    };
    let group = &wanted.group;
    let place = match wanted.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    format!(
        "User \"{name}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Attributes {
        let mut words = text.split(' ');
        let mut word = || match words.next().unwrap_or_default() {
            "-" => String::new(),
            word => word.to_owned(),
        };
        let verb = word();
        let resource = word();
        if resource.starts_with('/') {
            return Attributes {
                verb,
                path: resource,
                ..Attributes::default()
            };
        }
        let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        Attributes {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: word(),
            name: word(),
            ..Attributes::default()
        }
    }

    fn answer(user: &User, text: &str) -> &'static str {
        match decide(user, &wanted(text)) {
            Decision::Allow(_) => "yes",
            Decision::Ask(_) => "ask",
            Decision::Deny => "no",
        }
    }

    fn check(user: &User, expected: &str) {
        for line in expected
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (answered, text) = line.split_once(' ').unwrap();
            assert_eq!(answer(user, text), answered, "{} {text}", user.name);
        }
    }

    #[test]
    fn administrators_may_do_everything() {
        let user = User::new("admin", &["system:masters".to_owned()]);
        check(
            &user,
            "yes delete nodes - n1\nyes get secrets kube-system x\nyes get /metrics",
        );
    }

    #[test]
    fn nobody_in_particular_may_ask_whether_it_lives() {
        check(
            &User::anonymous(),
            "yes get /livez
             yes get /version
             no get /api
             no get /openapi/v3
             no create /livez
             no list pods default
             no create selfsubjectreviews.authentication.k8s.io -",
        );
    }

    #[test]
    fn somebody_may_look_and_ask_about_themselves() {
        check(
            &User::new("jane", &["system:node-like".to_owned()]),
            "yes get /api
             yes get /apis/apps/v1
             yes get /openapi/v3/apis/apps/v1
             no get /apix
             no get /metrics
             no list pods default
             yes create selfsubjectaccessreviews.authorization.k8s.io -
             no create tokenreviews.authentication.k8s.io -",
        );
    }

    #[test]
    fn a_service_account_reads_its_namespace_but_no_secrets() {
        check(
            &User::service_account("default", "robot", "1"),
            "yes list pods default
             yes watch deployments.apps default
             no list pods other
             no list pods -
             no get secrets default s
             no get pods/log default web
             no create pods default
             no get nodes - n1",
        );
    }

    #[test]
    fn a_node_is_one_by_its_group_only() {
        let user = User::new("system:node:n1", &[]);
        check(&user, "no get nodes - n1\nno patch nodes/status - n1");
        let user = User::new("mallory", &["system:nodes".to_owned()]);
        check(&user, "no get nodes - n1");
    }

    #[test]
    fn says_who_cannot_do_what() {
        let user = User::new("jane", &[]);
        assert_eq!(
            refusal(&user, &wanted("list deployments.apps default")),
            r#"User "jane" cannot list resource "deployments" in API group "apps" in the namespace "default""#
        );
        assert_eq!(
            refusal(&user, &wanted("get nodes - n1")),
            r#"User "jane" cannot get resource "nodes" in API group "" at the cluster scope"#
        );
        assert_eq!(
            refusal(&user, &wanted("get /metrics")),
            r#"User "jane" cannot get path "/metrics""#
        );
    }
}
