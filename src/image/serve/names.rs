//! Which local image a repository of the built-in registry stands for: pure.
//!
//! A repository is looked for under the names it may have, best first:
//!
//! 1. `registry.orc.internal/<repository>`: what was pushed here. Pushes only ever change names under
//!    this one, so nobody can give another meaning to `busybox` of this machine.
//! 2. the name that `orc pull <repository>` would give it here: `busybox` is Docker Hub's,
//!    `ghcr.io/a/b` is that registry's.
//!
//! Whoever uses this registry as a mirror says of which other one (`?ns=docker.io`, as containerd and
//! orc do), and then exactly that name is looked for, ports included.

use crate::reference::Reference;
use crate::serve::refusal::Refusal;

/// The registry's own name, in a domain that is never on the internet (ICANN's resolution of
/// 29 July 2024 reserves `.internal`).
pub(super) const OWN: &str = "registry.orc.internal";

/// The names that `repository` may have here, each with the tag `latest`.
pub(super) fn meanings(
    repository: &str,
    mirrored: Option<&str>,
) -> Result<Vec<Reference>, Refusal> {
    let parse = |text: String| {
        Reference::parse(&text).map_err(|error| Refusal::name_invalid(error.to_string()))
    };
    match mirrored {
        Some(registry) if registry.contains(['/', '@']) => {
            Err(Refusal::name_invalid("`ns` is not a registry's name"))
        }
        Some(registry) => Ok(vec![parse(format!("{registry}/{repository}"))?]),
        None => Ok(vec![own(repository)?, parse(repository.to_owned())?]),
    }
}

/// The name under which a push to `repository` is kept.
pub(super) fn own(repository: &str) -> Result<Reference, Refusal> {
    Reference::parse(&format!("{OWN}/{repository}"))
        .map_err(|error| Refusal::name_invalid(error.to_string()))
}

/// The repository that a local name is served as; none when only a mirror's `ns` can say it.
pub(super) fn served_as(name: &Reference) -> Option<String> {
    if name.registry() == OWN {
        return Some(name.repository().to_owned());
    }
    let familiar = name.familiar_name();
    (!familiar.contains(':') && !familiar.starts_with('[') && familiar.to_lowercase() == familiar)
        .then_some(familiar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(repository: &str, mirrored: Option<&str>) -> Vec<String> {
        let found = meanings(repository, mirrored).unwrap();
        found.iter().map(Reference::name).collect()
    }

    #[test]
    fn repositories_have_meanings() {
        assert_eq!(
            names("busybox", None),
            ["registry.orc.internal/busybox", "docker.io/library/busybox"]
        );
        assert_eq!(
            names("ghcr.io/a/b", None),
            ["registry.orc.internal/ghcr.io/a/b", "ghcr.io/a/b"]
        );
        assert_eq!(
            names("library/busybox", Some("docker.io")),
            ["docker.io/library/busybox"]
        );
        assert_eq!(names("a", Some("localhost:5001")), ["localhost:5001/a"]);
        for bad in ["", "a/b", "x@y", "a b", ":1"] {
            assert!(meanings("a", Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_served_as_repositories() {
        for (name, repository) in [
            ("busybox:1", Some("busybox")),
            ("example/app", Some("example/app")),
            ("ghcr.io/a/b:2", Some("ghcr.io/a/b")),
            ("registry.orc.internal/x/y", Some("x/y")),
            ("localhost:5001/a", None),
            ("[::1]:5000/a", None),
            ("Host.example/a", None),
        ] {
            let name = Reference::parse(name).unwrap();
            assert_eq!(served_as(&name).as_deref(), repository, "{name}");
        }
    }
}
