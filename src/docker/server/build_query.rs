//! The parameters of Docker's classic `POST /build` as a build.
//!
//! What Docker's daemon would do and orc does not is refused by name; what makes no difference here
//! (`rm`, `forcerm`: no container is ever left) is taken and means nothing.

use std::collections::BTreeMap;

use orc_base::{Error, Result};
use orc_host::container::Resources;
use orc_host::image_build::{BuildSpec, ContextSource, DockerfileSource};
use serde::de::DeserializeOwned;

use crate::convert::create::{extra_host, ulimit_from_wire};
use crate::server::query::Query;
use crate::wire::host_config::Ulimit;

/// What the parameters ask for; the archive is the context unless they name another.
pub(crate) fn from_query(query: &Query) -> Result<BuildSpec> {
    refuse(query)?;
    let network = query.get("networkmode").map(network).transpose()?.flatten();
    Ok(BuildSpec {
        context: match query.get("remote") {
            // What the command line calls a Dockerfile from its standard input.
            None | Some("client-session") => ContextSource::Archive,
            Some(remote) => ContextSource::Remote(remote.into()),
        },
        dockerfile: query
            .get("dockerfile")
            .map_or_else(DockerfileSource::default, |path| {
                DockerfileSource::Path(path.into())
            }),
        target: query.get("target").map(String::from),
        tags: words(query, "t"),
        args: given(json(query, "buildargs")?),
        labels: given(json(query, "labels")?),
        platform: query.get("platform").map(String::from),
        pull: query.flag("pull"),
        no_cache: query.flag("nocache"),
        cache_from: json(query, "cachefrom")?,
        extra_hosts: words(query, "extrahosts")
            .iter()
            .map(|line| extra_host(line))
            .collect::<Result<_>>()?,
        shm_bytes: query.number("shmsize")?.filter(|bytes| *bytes > 0),
        ulimits: json::<Option<Vec<Ulimit>>>(query, "ulimits")?
            .unwrap_or_default()
            .iter()
            .map(ulimit_from_wire)
            .collect(),
        resources: resources(query)?,
        network,
        ..BuildSpec::default()
    })
}

fn refuse(query: &Query) -> Result<()> {
    if query.get("version") == Some("2") {
        return Err(Error::unsupported(
            "this is a build by BuildKit's protocol, which orc does not speak: set DOCKER_BUILDKIT=0 (for docker compose also COMPOSE_BAKE=false), or use `orc build`, which has all of BuildKit's features",
        ));
    }
    for (name, instead) in [
        ("squash", "images are not squashed: use a further stage"),
        ("cgroupparent", "the control groups are orc's"),
        (
            "securityopt",
            "use `orc build --allow security.insecure` and `RUN --security=insecure`",
        ),
        ("outputs", "use `orc build --output`"),
    ] {
        let set = match name {
            "squash" => query.flag(name),
            _ => query.get(name).is_some_and(|text| text != "null"),
        };
        if set {
            return Err(Error::unsupported(format!(
                "`{name}` is not supported: {instead}"
            )));
        }
    }
    match query.get("isolation") {
        None | Some("default") => Ok(()),
        Some(other) => Err(Error::unsupported(format!(
            "`isolation`: {other} is not supported"
        ))),
    }
}

fn network(mode: &str) -> Result<Option<String>> {
    match mode {
        "default" | "bridge" => Ok(None),
        "none" | "host" => Ok(Some(mode.into())),
        other => Err(Error::unsupported(format!(
            "`networkmode`: {other} is not supported for builds: use default, none or host"
        ))),
    }
}

fn resources(query: &Query) -> Result<Resources> {
    let text = |name: &str| query.get(name).map(String::from);
    Ok(Resources {
        memory_bytes: query.number("memory")?.filter(|bytes| *bytes > 0),
        memory_swap_bytes: query.number("memswap")?.filter(|bytes| *bytes != 0),
        cpu_shares: query.number("cpushares")?.filter(|shares| *shares > 0),
        cpu_period_us: query.number("cpuperiod")?.filter(|period| *period > 0),
        cpu_quota_us: query.number("cpuquota")?.filter(|quota| *quota != 0),
        cpuset_cpus: text("cpusetcpus"),
        cpuset_mems: text("cpusetmems"),
        ..Resources::default()
    })
}

fn words(query: &Query, name: &str) -> Vec<String> {
    let words = query.all(name).filter(|word| !word.is_empty());
    words.map(String::from).collect()
}

/// A parameter that is JSON; absent and `null` are nothing.
fn json<T: DeserializeOwned + Default>(query: &Query, name: &str) -> Result<T> {
    let Some(text) = query.get(name) else {
        return Ok(T::default());
    };
    let value: Option<T> = serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("`{name}` is wrong: {error}")))?;
    Ok(value.unwrap_or_default())
}

/// A name without a value takes one from where the client is, if there is one: here there is none.
fn given(values: BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    let values = values.into_iter();
    values
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    fn spec(query: &str) -> Result<BuildSpec> {
        from_query(&Query::parse(query).unwrap())
    }

    #[test]
    fn the_parameters_of_dockers_client() {
        // As `docker build` 28 sends them.
        let spec = spec(
            "buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D&cachefrom=%5B%5D&cgroupparent=&cpuperiod=0&cpuquota=0&cpusetcpus=&cpusetmems=&cpushares=0&dockerfile=sub%2FDockerfile&extrahosts=db%3A10.0.0.1&labels=%7B%22l%22%3A%22x%22%7D&memory=104857600&memswap=0&networkmode=default&nocache=1&rm=1&shmsize=0&t=a%3A1&t=b&target=web&ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Hard%22%3A20%2C%22Soft%22%3A10%7D%5D&version=1",
        )
        .unwrap();
        assert_eq!(spec.context, ContextSource::Archive);
        assert_eq!(
            spec.dockerfile,
            DockerfileSource::Path("sub/Dockerfile".into())
        );
        assert_eq!(spec.args, BTreeMap::from([("A".into(), "1".into())]));
        assert_eq!(spec.labels["l"], "x");
        assert_eq!(spec.tags, ["a:1", "b"]);
        assert_eq!(spec.target.as_deref(), Some("web"));
        assert_eq!(spec.extra_hosts, [("db".into(), "10.0.0.1".into())]);
        assert_eq!(spec.resources.memory_bytes, Some(100 << 20));
        assert_eq!(spec.resources.cpu_shares, None);
        assert_eq!((spec.ulimits[0].soft, spec.ulimits[0].hard), (10, 20));
        assert!(spec.no_cache && !spec.pull && spec.network.is_none());
        assert!(spec.shm_bytes.is_none());
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (query, named) in [
            ("version=2", "DOCKER_BUILDKIT=0"),
            ("squash=1", "squash"),
            ("cgroupparent=x", "cgroupparent"),
            ("securityopt=x", "securityopt"),
            ("networkmode=container:web", "networkmode"),
            ("isolation=hyperv", "isolation"),
        ] {
            let error = spec(query).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{query}");
            assert!(error.to_string().contains(named), "{error}");
        }
        for (query, named) in [
            ("buildargs=%7B", "buildargs"),
            ("labels=[]", "labels"),
            ("memory=x", "memory"),
            ("extrahosts=x", "x"),
        ] {
            let error = spec(query).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{query}");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
