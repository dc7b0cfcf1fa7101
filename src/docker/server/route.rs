//! How an address finds its row.

use futures_util::future::BoxFuture;
use orc_base::Result;

use crate::server::call::Call;
use crate::server::reply::Reply;

/// Answers a call.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Result<Reply>>;

/// One row of the table.
pub(crate) struct Route {
    /// `GET` also answers `HEAD`.
    pub(crate) method: &'static str,
    /// The address; `{}` stands for a name without a slash, `{..}` for one with any.
    pub(crate) pattern: &'static str,
    /// What answers.
    pub(crate) handler: Handler,
}

/// What was found for an address.
pub(crate) enum Found {
    /// The row, and the name still encoded.
    Route(&'static Route, String),
    /// Rows for other methods.
    OtherMethod,
    /// Nothing.
    Nothing,
}

/// Looks for the first row that fits.
pub(crate) fn find(routes: &'static [Route], method: &str, path: &str) -> Found {
    let mut found = Found::Nothing;
    for route in routes {
        let Some(name) = fits(route.pattern, path) else {
            continue;
        };
        if route.method == method || (route.method == "GET" && method == "HEAD") {
            return Found::Route(route, name.to_owned());
        }
        found = Found::OtherMethod;
    }
    found
}

/// The name in `path` when it fits `pattern`.
fn fits<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == path).then_some("");
    };
    let (kind, after) = rest.split_once('}')?;
    let name = path.strip_prefix(before)?.strip_suffix(after)?;
    (kind == ".." || !name.contains('/')).then_some(name)
}

/// The version and the rest of `/v1.24/containers/json`.
pub(crate) fn split_version(path: &str) -> (Option<(u32, u32)>, &str) {
    let parsed = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let (major, minor) = version.split_once('.')?;
        let number = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse().ok())?
        };
        Some(((number(major)?, number(minor)?), &rest[version.len()..]))
    });
    match parsed {
        Some((version, rest)) => (Some(version), rest),
        None => (None, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert_eq!(fits("/info", "/info"), Some(""));
        assert_eq!(fits("/info", "/info/"), None);
        assert_eq!(
            fits("/containers/{}/json", "/containers/web/json"),
            Some("web")
        );
        assert_eq!(fits("/containers/{}/json", "/containers/a/b/json"), None);
        assert_eq!(
            fits("/images/{..}/json", "/images/a/b/c:1/json"),
            Some("a/b/c:1")
        );
        assert_eq!(fits("/networks/{}", "/networks/"), Some(""));
        // The name cannot be made of the row's own letters.
        assert_eq!(fits("/images/{..}/json", "/images/json"), None);
    }

    #[test]
    fn versions_are_split_off() {
        assert_eq!(split_version("/v1.24/info"), (Some((1, 24)), "/info"));
        assert_eq!(split_version("/info"), (None, "/info"));
        assert_eq!(split_version("/volumes"), (None, "/volumes"));
        assert_eq!(split_version("/v1/info"), (None, "/v1/info"));
        assert_eq!(split_version("/v1.x/info"), (None, "/v1.x/info"));
    }
}
