//! Paths as text: cleaned and joined without looking at any file system.
//!
//! As Go's `path.Clean`: `..` takes away what stands before it and stops at the root. Which files the
//! paths lead to is decided where they are opened.

/// The shortest path that means the same; `.` when nothing is left.
pub fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if absolute => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

/// `path` as seen from the directory `base`: absolute and clean.
pub fn absolute(base: &str, path: &str) -> String {
    match path.starts_with('/') {
        true => clean(path),
        false => clean(&format!("/{base}/{path}")),
    }
}

/// The same with a slash at its end when `path` says that it is a directory: `a/`, `a/.` or `.`.
pub fn absolute_target(base: &str, path: &str) -> String {
    let directory = path.is_empty() || path == "." || path.ends_with('/') || path.ends_with("/.");
    let target = absolute(base, path);
    match directory && target != "/" {
        true => format!("{target}/"),
        false => target,
    }
}

/// The last part of a path.
pub fn base_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned() {
        for (path, wanted) in [
            ("", "."),
            ("/", "/"),
            ("//", "/"),
            ("./", "."),
            ("a/", "a"),
            ("a//b/./c/..", "a/b"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/../a", "/a"),
            ("/a/..", "/"),
        ] {
            assert_eq!(clean(path), wanted, "{path}");
        }
    }

    #[test]
    fn joined() {
        assert_eq!(absolute("/x", "a"), "/x/a");
        assert_eq!(absolute("", "a"), "/a");
        assert_eq!(absolute("/x", "../../a"), "/a");
        assert_eq!(absolute("/x", "/a/"), "/a");
        assert_eq!(absolute_target("/x", ""), "/x/");
        assert_eq!(absolute_target("/x", "."), "/x/");
        assert_eq!(absolute_target("/x", "a/"), "/x/a/");
        assert_eq!(absolute_target("/x", "a"), "/x/a");
        assert_eq!(absolute_target("/", "./"), "/");
        assert_eq!(base_name("/a/b/"), "b");
    }
}
