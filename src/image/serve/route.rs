//! From a request's address to what is asked: pure, and strict about every part.
//!
//! Names, digests and ids become the types that cannot be built unchecked here, so that nothing of an
//! address is ever used as a path (CVE-2017-11468, CVE-2024-3727).

use crate::digest::Digest;
use crate::reference::Reference;
use crate::serve::names::OWN;
use crate::serve::refusal::Refusal;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Whether this is a registry.
    Greeting,
    /// The names of all repositories.
    Catalog,
    /// The tags of a repository.
    Tags(String),
    /// A manifest of a repository.
    Manifest(String, Version),
    /// A blob.
    Blob(String, Digest),
    /// A new upload.
    Uploads(String),
    /// An upload that goes on.
    Upload(String, String),
    /// What refers to a manifest.
    Referrers(String),
}

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    Tag(String),
    Digest(Digest),
}

/// Reads the path of a request.
pub(super) fn read(path: &str) -> Result<Route, Refusal> {
    let path = path.replace("%3A", ":").replace("%3a", ":");
    let Some(rest) = path.strip_prefix("/v2") else {
        return Err(Refusal::name("there is nothing here but /v2/"));
    };
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    match rest {
        "" => return Ok(Route::Greeting),
        "_catalog" => return Ok(Route::Catalog),
        _ => {}
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Ok(Route::Tags(repository(name)?));
    }
    if let Some(name) = rest
        .strip_suffix("/blobs/uploads/")
        .or_else(|| rest.strip_suffix("/blobs/uploads"))
    {
        return Ok(Route::Uploads(repository(name)?));
    }
    let Some((before, last)) = rest.rsplit_once('/') else {
        return Err(Refusal::name("there is nothing at this address"));
    };
    if let Some(name) = before.strip_suffix("/blobs/uploads") {
        return Ok(Route::Upload(repository(name)?, upload(last)?));
    }
    if let Some(name) = before.strip_suffix("/blobs") {
        return Ok(Route::Blob(repository(name)?, digest(last)?));
    }
    if let Some(name) = before.strip_suffix("/manifests") {
        let name = repository(name)?;
        return Ok(Route::Manifest(name.clone(), version(&name, last)?));
    }
    if let Some(name) = before.strip_suffix("/referrers") {
        digest(last)?;
        return Ok(Route::Referrers(repository(name)?));
    }
    Err(Refusal::name("there is nothing at this address"))
}

fn repository(text: &str) -> Result<String, Refusal> {
    let plain = !text.contains([':', '@']);
    match Reference::parse(&format!("{OWN}/{text}")) {
        Ok(_) if plain => Ok(text.to_owned()),
        _ => Err(Refusal::name_invalid(
            "this is not the name of a repository",
        )),
    }
}

fn digest(text: &str) -> Result<Digest, Refusal> {
    Digest::parse(text).map_err(|error| Refusal::digest(error.to_string()))
}

fn version(name: &str, text: &str) -> Result<Version, Refusal> {
    if text.contains(':') {
        return digest(text).map(Version::Digest);
    }
    let own = Reference::parse(&format!("{OWN}/{name}"))?;
    match own.with_tag(text) {
        Ok(_) => Ok(Version::Tag(text.to_owned())),
        Err(error) => Err(Refusal::manifest_invalid(error.to_string())),
    }
}

/// The ids that `uploads` gives.
fn upload(text: &str) -> Result<String, Refusal> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id {
        true => Ok(text.to_owned()),
        false => Err(Refusal::upload_unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        match read(path) {
            Ok(route) => format!("{route:?}"),
            Err(refusal) => refusal.code.to_owned(),
        }
    }

    #[test]
    fn finds_what_is_asked() {
        let digest = Digest::of(b"x");
        let id = "0123456789abcdef0123456789abcdef";
        for (path, expected) in [
            ("/v2/".to_owned(), Route::Greeting),
            ("/v2".into(), Route::Greeting),
            ("/v2/_catalog".into(), Route::Catalog),
            ("/v2/a/b/tags/list".into(), Route::Tags("a/b".into())),
            (
                "/v2/tags/list/manifests/1".into(),
                Route::Manifest("tags/list".into(), Version::Tag("1".into())),
            ),
            (
                format!("/v2/manifests/manifests/{digest}"),
                Route::Manifest("manifests".into(), Version::Digest(digest.clone())),
            ),
            (
                format!("/v2/a/blobs/sha256%3A{}", digest.hex()),
                Route::Blob("a".into(), digest.clone()),
            ),
            ("/v2/a/blobs/uploads/".into(), Route::Uploads("a".into())),
            ("/v2/a/blobs/uploads".into(), Route::Uploads("a".into())),
            (
                format!("/v2/a/blobs/uploads/{id}"),
                Route::Upload("a".into(), id.into()),
            ),
            (
                format!("/v2/a/referrers/{digest}"),
                Route::Referrers("a".into()),
            ),
        ] {
            assert_eq!(read(&path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let long = format!("/v2/{}/tags/list", "a".repeat(5_000));
        for (path, code) in [
            ("/", "NAME_UNKNOWN"),
            ("/v1/", "NAME_UNKNOWN"),
            ("/v2/a", "NAME_UNKNOWN"),
            ("/v2/a/b", "NAME_UNKNOWN"),
            ("/v2/../etc/tags/list", "NAME_INVALID"),
            ("/v2/a/../b/manifests/1", "NAME_INVALID"),
            ("/v2//tags/list", "NAME_INVALID"),
            ("/v2/A/tags/list", "NAME_INVALID"),
            ("/v2/a:1/manifests/1", "NAME_INVALID"),
            ("/v2/a%2f..%2fb/tags/list", "NAME_INVALID"),
            ("/v2/a/manifests/..", "MANIFEST_INVALID"),
            ("/v2/a/manifests/", "MANIFEST_INVALID"),
            ("/v2/a/manifests/sha256:12", "DIGEST_INVALID"),
            ("/v2/a/blobs/sha256:../../x", "NAME_UNKNOWN"),
            ("/v2/a/blobs/x", "DIGEST_INVALID"),
            ("/v2/a/blobs/uploads/..", "BLOB_UPLOAD_UNKNOWN"),
            (&long, "NAME_INVALID"),
        ] {
            assert_eq!(shown(path), code, "{path}");
        }
    }
}
