//! What a request is about, from its method, path and query. Pure.
//!
//! A path is taken apart before it is decoded, and a part that decodes to something with a slash, to `.`
//! or `..`, is refused here, before anybody asks the store (HAZARDS K3).

use hyper::Method;

use crate::status::{Reason, Result, Status};

/// Bytes of a path and of a query, at most.
const MAX_LENGTH: usize = 16 << 10;

/// A query, decoded, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_LENGTH {
            return Err(Status::bad_request(format!(
                "a query of more than {MAX_LENGTH} bytes"
            )));
        }
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(key, true)?, decode(value, true)?))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The first value of a key; empty when there is none.
    pub(super) fn text(&self, key: &str) -> &str {
        self.all(key).next().unwrap_or_default()
    }

    pub(super) fn all<'q, 'k>(
        &'q self,
        key: &'k str,
    ) -> impl Iterator<Item = &'q str> + use<'q, 'k> {
        let of_key = move |(name, value): &'q (String, String)| (name == key).then_some(value);
        self.0.iter().filter_map(of_key).map(String::as_str)
    }

    /// As Go reads a boolean; `default` when it is not given. 400 when it is something else.
    pub(super) fn flag(&self, key: &str) -> Result<bool> {
        Ok(self.maybe_flag(key)?.unwrap_or_default())
    }

    pub(super) fn maybe_flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(text) = self.all(key).next() else {
            return Ok(None);
        };
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            // Kubernetes takes an empty value for yes.
            "" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(Status::bad_request(format!(
                "the parameter {key:?} is true or false, not {text:?}"
            ))),
        }
    }

    /// A whole number that is not negative; nothing when it is not given. 400 when it is something else.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>> {
        match self.text(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!(
                    "the parameter {key:?} is a whole number, not {text:?}"
                ))
            }),
        }
    }
}

/// A resource in a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    /// Empty for all namespaces, and for kinds without.
    pub(super) namespace: String,
    /// As in `pods`.
    pub(super) plural: String,
    /// Empty for many.
    pub(super) name: String,
    /// As in `log`.
    pub(super) below: String,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Objects.
    Resource(Resource),
    /// Anything else: discovery, health, documents. The path in decoded parts.
    Other(Vec<String>),
}

/// Takes a path apart. 400 for parts that could be read as something else, 404 for more parts than a
/// resource has.
pub(super) fn place(path: &str) -> Result<Place> {
    if path.len() > MAX_LENGTH {
        return Err(Status::bad_request("the path is too long"));
    }
    let parts: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(part)
        .collect::<Result<_>>()?;
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match &words[..] {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(Place::Other(parts)),
    };
    let (namespace, rest) = match rest {
        // A namespace itself, and what stands below it, are resources of the cluster.
        ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        _ => ("", rest),
    };
    let mut rest = rest.iter().copied();
    let mut next = || rest.next().unwrap_or_default().to_owned();
    let resource = Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        plural: next(),
        name: next(),
        below: next(),
    };
    match next().as_str() {
        "" => Ok(Place::Resource(resource)),
        _ => Err(not_found()),
    }
}

/// 404 of a path, in the words of the real server.
pub(super) fn not_found() -> Status {
    Status::new(
        Reason::NotFound,
        "the server could not find the requested resource",
    )
}

/// What is to be done, as Kubernetes calls it. 405 for other methods.
pub(super) fn verb(method: &Method, resource: &Resource, query: &Query) -> Result<&'static str> {
    let many = resource.name.is_empty();
    Ok(match (method.as_str(), many) {
        // Streams change what runs, whatever their method.
        ("GET" | "POST", false)
            if matches!(resource.below.as_str(), "exec" | "attach" | "portforward") =>
        {
            "create"
        }
        ("GET", true) if query.flag("watch")? => "watch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", false) => "update",
        ("PATCH", false) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => {
            return Err(Status::new(
                Reason::MethodNotAllowed,
                "the server does not allow this method on the requested resource",
            ));
        }
    })
}

fn part(text: &str) -> Result<String> {
    let decoded = decode(text, false)?;
    let misleading = decoded == "."
        || decoded == ".."
        || decoded.contains(['/', '\\', '%'])
        || decoded.chars().any(char::is_control);
    if misleading {
        return Err(Status::bad_request(format!(
            "invalid path: the part {text:?} may not contain '/', '%' or be '.' or '..'"
        )));
    }
    Ok(decoded)
}

/// Percent-decoding (RFC 3986, section 2.1); `+` is a space in queries.
fn decode(text: &str, plus: bool) -> Result<String> {
    let bad = || Status::bad_request(format!("{text:?} is not encoded as a URL is"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || {
                    let digit = rest.next().map(char::from)?;
                    digit.to_digit(16)
                };
                let high = digit().ok_or_else(bad)?;
                let low = digit().ok_or_else(bad)?;
                bytes.push((high << 4 | low) as u8);
            }
            b'+' if plus => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> String {
        match place(path).unwrap() {
            Place::Resource(r) => format!(
                "{}/{} {}/{}/{}/{}",
                r.group, r.version, r.namespace, r.plural, r.name, r.below
            ),
            Place::Other(parts) => parts.join(" "),
        }
    }

    #[test]
    fn takes_paths_apart() {
        for (path, expected) in [
            ("/api/v1/pods", "/v1 /pods//"),
            ("/api/v1/namespaces/a/pods/web/log", "/v1 a/pods/web/log"),
            (
                "/apis/apps/v1/namespaces/a/deployments/",
                "apps/v1 a/deployments//",
            ),
            ("/api/v1/namespaces", "/v1 /namespaces//"),
            ("/api/v1/namespaces/a", "/v1 /namespaces/a/"),
            (
                "/api/v1/namespaces/a/finalize",
                "/v1 /namespaces/a/finalize",
            ),
            ("/api/v1/nodes/n1/status", "/v1 /nodes/n1/status"),
            ("/apis/apps/v1", "apis apps v1"),
            ("/api", "api"),
            ("/openapi/v3/api/v1", "openapi v3 api v1"),
            ("/", ""),
        ] {
            assert_eq!(resource(path), expected, "{path}");
        }
    }

    #[test]
    fn refuses_what_could_be_another_path() {
        for path in [
            "/api/v1/namespaces/a%2fb/pods",
            "/api/v1/namespaces/../secrets",
            "/api/v1/namespaces/%2e%2e/secrets",
            "/api/v1/namespaces/a/pods/%2F",
            "/api/v1/namespaces/a/pods/a%00",
            "/api/v1/namespaces/a/pods/a%252f",
            "/api/v1/namespaces/a/pods/%ff",
            "/api/v1/namespaces/a/pods/%2",
        ] {
            assert_eq!(place(path).unwrap_err().code(), 400, "{path}");
        }
        let long = place("/api/v1/namespaces/a/pods/web/log/x").unwrap_err();
        assert_eq!(long.code(), 404);
    }

    #[test]
    fn knows_verbs() {
        let of = |method: Method, path: &str, query: &str| {
            let Place::Resource(resource) = place(path).unwrap() else {
                panic!("{path}");
            };
            verb(&method, &resource, &Query::parse(query).unwrap())
        };
        let pods = "/api/v1/namespaces/a/pods";
        assert_eq!(of(Method::GET, pods, "").unwrap(), "list");
        assert_eq!(of(Method::GET, pods, "watch=true").unwrap(), "watch");
        assert_eq!(of(Method::GET, pods, "watch=0").unwrap(), "list");
        assert_eq!(of(Method::DELETE, pods, "").unwrap(), "deletecollection");
        assert_eq!(of(Method::PUT, pods, "").unwrap_err().code(), 405);
        let exec = format!("{pods}/web/exec");
        assert_eq!(of(Method::GET, &exec, "").unwrap(), "create");
        assert_eq!(
            of(Method::GET, pods, "watch=maybe").unwrap_err().code(),
            400
        );
    }

    #[test]
    fn decodes_queries() {
        let query = Query::parse("command=sh&command=-c&x=a%3Db%2Cc+d&limit=5").unwrap();
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c"]);
        assert_eq!(query.text("x"), "a=b,c d");
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert_eq!(query.number("none").unwrap(), None);
        assert!(query.number("x").is_err());
    }
}
