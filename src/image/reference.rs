//! Names of images as people write them, read and completed by Docker's rules.
//!
//! A [`Reference`] is always whole: `busybox` has become `docker.io/library/busybox:latest`. Its parts
//! are checked, so they can stand in a URL; none of them ever becomes a path on disk. `Display` is the
//! canonical text, [`Reference::familiar`] the short one that Docker prints. Says nothing about whether
//! such an image exists.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use orc_base::{Error, Result};

use crate::digest::Digest;

/// The registry of names that do not say one.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// Where Docker's own images live on [`DEFAULT_REGISTRY`].
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";

const MAX_TEXT: usize = 1024;
const MAX_REGISTRY: usize = 261;
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// Which image: a registry, a repository on it, and a tag, a digest, or both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads and completes a name: without a registry it is Docker Hub's, with neither tag nor digest
    /// its tag is `latest`.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text).map_err(|why| {
            let shown: String = text
                .chars()
                .take(80)
                .flat_map(char::escape_default)
                .collect();
            Error::invalid(format!("`{shown}` is not an image name: {why}"))
        })
    }

    /// The host, with the port if one was given: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path on the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; absent only when there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which wins over the tag when both are there.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// [`Self::name`] as Docker prints it: `busybox`, `localhost:5000/a/b`.
    pub fn familiar_name(&self) -> String {
        if *self.registry != *DEFAULT_REGISTRY {
            return self.name();
        }
        let short = self
            .repository
            .strip_prefix(OFFICIAL)
            .filter(|rest| !rest.contains('/'));
        let short = short.unwrap_or(&self.repository);
        // A first part that looks like a host would be read back as one.
        match split_registry(short) {
            (None, _) => short.into(),
            (Some(_), _) => self.name(),
        }
    }

    /// The whole reference as Docker prints it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        check_tag(tag).map_err(Error::invalid)?;
        Ok(Self {
            tag: Some(tag.into()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository at this digest and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// What follows the repository in a request for the manifest: the digest, else the tag.
    pub fn version(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

fn parse(text: &str) -> std::result::Result<Reference, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() > MAX_TEXT {
        return Err(format!("it is longer than {MAX_TEXT} bytes"));
    }
    let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        return Err("64 hexadecimal digits are an image id, not a name".into());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (
            rest,
            Some(Digest::parse(digest).map_err(|error| error.to_string())?),
        ),
        None => (text, None),
    };
    let (registry, path) = split_registry(rest);
    let (path, tag) = match path.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    let registry = match registry {
        None | Some("index.docker.io") => DEFAULT_REGISTRY,
        Some(registry) => registry,
    };
    check_registry(registry)?;
    check_repository(path)?;
    tag.map(check_tag).transpose()?;
    let repository = match registry == DEFAULT_REGISTRY && !path.contains('/') {
        true => format!("{OFFICIAL}{path}"),
        false => path.to_owned(),
    };
    if repository.len() > MAX_REPOSITORY {
        return Err(format!(
            "the repository is longer than {MAX_REPOSITORY} characters"
        ));
    }
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG),
        (tag, _) => tag,
    };
    Ok(Reference {
        registry: registry.into(),
        repository: repository.into(),
        tag: tag.map(Into::into),
        digest,
    })
}

/// Takes the part before the first slash for a host when it could not be part of a repository:
/// it has a dot, a port or a capital, or is `localhost`.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest)) if looks_like_host(first) => (Some(first), rest),
        _ => (None, text),
    }
}

fn looks_like_host(part: &str) -> bool {
    part == "localhost"
        || part
            .chars()
            .any(|c| matches!(c, '.' | ':') || c.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> std::result::Result<(), String> {
    if registry.len() > MAX_REGISTRY {
        return Err("the registry's name is too long".into());
    }
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest
                .split_once(']')
                .ok_or("an IPv6 address needs a closing `]`")?;
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| "what stands in [] is not an IPv6 address")?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':').ok_or("after `]` comes `:port`")?),
            };
            (None, port)
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    if let Some(host) = host
        && !host.split('.').all(is_host_label)
    {
        return Err("the part before the first `/` is not a host name".into());
    }
    let port_is_good = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if port.is_some_and(|port| !port_is_good(port)) {
        return Err("the port is not a number from 1 to 65535".into());
    }
    Ok(())
}

fn is_host_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_repository(path: &str) -> std::result::Result<(), String> {
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let lower = path.to_ascii_lowercase();
        return Err(match check_repository(&lower) {
            Ok(()) => format!("the repository must be lower case; did you mean `{lower}`?"),
            Err(_) => "the repository must be lower case".into(),
        });
    }
    if !path.split('/').all(is_path_component) {
        return Err(
            "write it as [registry/]name[:tag][@digest]; a name is lower-case letters and digits, joined by `.`, `_`, `__`, `-` or `/`"
                .into(),
        );
    }
    Ok(())
}

/// Letters and digits in groups, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_hold = part.split(is_word).all(|between| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-')
    });
    part.starts_with(is_word) && part.ends_with(is_word) && separators_hold
}

fn check_tag(tag: &str) -> std::result::Result<(), String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    match valid {
        true => Ok(()),
        false => Err(format!(
            "a tag is letters, digits, `_`, `.` and `-`, does not begin with `.` or `-`, and has at most {MAX_TAG} characters"
        )),
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// What is written, what it means, and what Docker prints for it.
    #[test]
    fn completes_as_docker_does() {
        let digest = format!("@sha256:{HEX}");
        for (text, canonical, familiar) in [
            (
                "busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "busybox:1.36",
                "docker.io/library/busybox:1.36",
                "busybox:1.36",
            ),
            (
                "library/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "index.docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            (
                "library/a/b",
                "docker.io/library/a/b:latest",
                "library/a/b:latest",
            ),
            (
                "localhost/app",
                "localhost/app:latest",
                "localhost/app:latest",
            ),
            (
                "localhost:5000/a/b:tag",
                "localhost:5000/a/b:tag",
                "localhost:5000/a/b:tag",
            ),
            (
                "127.0.0.1:5000/a",
                "127.0.0.1:5000/a:latest",
                "127.0.0.1:5000/a:latest",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("[::1]/a", "[::1]/a:latest", "[::1]/a:latest"),
            ("Host/a", "Host/a:latest", "Host/a:latest"),
            (
                "quay.io/a/b__c.d---e:V1_x.y-z",
                "quay.io/a/b__c.d---e:V1_x.y-z",
                "quay.io/a/b__c.d---e:V1_x.y-z",
            ),
            (
                "docker.io/library/localhost/x",
                "docker.io/library/localhost/x:latest",
                "library/localhost/x:latest",
            ),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), canonical, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
            assert_eq!(Reference::parse(canonical).unwrap(), reference);
        }
        let pinned = Reference::parse(&format!("busybox{digest}")).unwrap();
        assert_eq!(
            (pinned.tag(), pinned.familiar()),
            (None, format!("busybox{digest}"))
        );
        let both = Reference::parse(&format!("localhost:5000/a/b:tag{digest}")).unwrap();
        assert_eq!(both.tag(), Some("tag"));
        assert_eq!(both.version(), &digest[1..]);
        assert_eq!(both.to_string(), format!("localhost:5000/a/b:tag{digest}"));
    }

    #[test]
    fn a_repository_that_looks_like_a_host_keeps_its_registry() {
        let reference = Reference::parse("docker.io/a.b/c").unwrap();
        assert_eq!(reference.familiar(), "docker.io/a.b/c:latest");
        assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
    }

    #[test]
    fn refuses_what_is_not_a_name() {
        for bad in [
            "",
            " ",
            ":",
            "@",
            "/",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a:b:c",
            "a@",
            "a@sha256:x",
            "-a",
            "a-",
            "a_",
            "a___b",
            "a..b",
            "a.-b",
            "a b",
            "a\nb",
            "a:.x",
            "a:-x",
            "ä",
            "../a",
            "a/../b",
            "./a",
            "http://host/a",
            "a?b",
            "a%2fb",
            "a#b",
            "user@host/a",
            "host:0/a",
            "host:99999/a",
            "host:+80/a",
            "host:x/a",
            "host:/a",
            "-host.x/a",
            "h..x/a",
            "[::1/a",
            "[::g]/a",
            "[::1]x/a",
            "localhost:5000/",
            HEX,
            &"a".repeat(256),
            &format!("a:{}", "b".repeat(129)),
            &format!("{}.x/a", "b".repeat(64)),
            &"a/".repeat(1 << 20),
        ] {
            let error = Reference::parse(bad).expect_err(bad);
            assert_eq!(error.kind(), orc_base::Kind::Invalid);
            let text = error.to_string();
            assert!(text.len() < 800 && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn says_what_to_do_about_capitals() {
        assert_eq!(
            Reference::parse("BusyBox:1").unwrap_err().to_string(),
            "`BusyBox:1` is not an image name: the repository must be lower case; did you mean `busybox`?"
        );
    }

    /// Found by fuzzing: the suggestion repeated the wrong name, control characters and all.
    #[test]
    fn suggests_only_what_is_a_name() {
        let error = Reference::parse(&format!("Bu{}x", "\u{17}".repeat(90))).unwrap_err();
        assert!(error.to_string().ends_with("must be lower case"), "{error}");
        assert!(error.to_string().len() < 700, "{error}");
    }

    #[test]
    fn is_a_string_in_json_and_checked_on_the_way_in() {
        let reference: Reference = serde_json::from_str("\"busybox\"").unwrap();
        assert_eq!(
            serde_json::to_string(&reference).unwrap(),
            "\"docker.io/library/busybox:latest\""
        );
        assert!(serde_json::from_str::<Reference>("\"a b\"").is_err());
    }

    #[test]
    fn changes_only_what_is_asked() {
        let reference = Reference::parse("localhost:5000/a:1").unwrap();
        assert_eq!(
            reference.with_tag("2").unwrap().to_string(),
            "localhost:5000/a:2"
        );
        assert!(reference.with_tag("../x").is_err());
        let pinned = reference.with_digest(Digest::of(b""));
        assert_eq!(pinned.to_string(), format!("localhost:5000/a@sha256:{HEX}"));
    }
}
