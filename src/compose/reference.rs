//! Image names made comparable. Whether a name is valid is for the image layer to say.

/// One spelling for all spellings of an image name: `redis`, `docker.io/library/redis` and
/// `redis:latest` are the same image.
pub(crate) fn normal(name: &str) -> String {
    let name = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
        .iter()
        .find_map(|host| name.strip_prefix(host))
        .unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    if let Some((name, digest)) = name.split_once('@') {
        return format!("{}@{digest}", without_tag(name));
    }
    match tag(name) {
        Some(_) => name.to_owned(),
        None if name.starts_with("sha256:") => name.to_owned(),
        None => format!("{name}:latest"),
    }
}

fn tag(name: &str) -> Option<&str> {
    let (_, tag) = name.rsplit_once(':')?;
    (!tag.contains('/')).then_some(tag)
}

fn without_tag(name: &str) -> &str {
    match tag(name) {
        Some(tag) => &name[..name.len() - tag.len() - 1],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_one() {
        for (name, normalised) in [
            ("redis", "redis:latest"),
            ("docker.io/library/redis", "redis:latest"),
            ("library/redis:7", "redis:7"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
            ("redis:7@sha256:ab", "redis@sha256:ab"),
            ("sha256:abcd", "sha256:abcd"),
        ] {
            assert_eq!(normal(name), normalised);
        }
    }
}
