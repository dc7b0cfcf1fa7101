//! Patterns in filters: shell patterns for images, anchors for names.

/// Whether `text` fits a shell pattern: `*` and `?` stop at a slash, `[a-z]` is one of a set, and a
/// backslash takes the next character as it is (Go's `path.Match`).
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much it has taken so far.
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(next) = one(&pattern[p.min(pattern.len())..], text[t]) {
            p += next;
            t += 1;
            continue;
        }
        match star {
            Some((at, taken)) if text[taken] != '/' => {
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How many pattern characters the first element has, if it fits `c`.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => (c != '/').then_some(1),
        '[' => set(pattern, c),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        other => (other == c).then_some(1),
    }
}

fn set(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('^' | '!'));
    let mut index = if negated { 2 } else { 1 };
    let mut found = false;
    while *pattern.get(index)? != ']' {
        let low = *pattern.get(index)?;
        let high = match (pattern.get(index + 1), pattern.get(index + 2)) {
            (Some('-'), Some(high)) if *high != ']' => {
                index += 2;
                *high
            }
            _ => low,
        };
        found |= (low..=high).contains(&c);
        index += 1;
    }
    (found != negated && c != '/').then_some(index + 1)
}

/// Whether a name has `wanted` in it; `^` and `$` at its ends tie it to the ends of the name, and a
/// leading slash is Docker's own.
pub(crate) fn names(wanted: &str, name: &str) -> bool {
    let (from_start, wanted) = match wanted.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, wanted),
    };
    let (to_end, wanted) = match wanted.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, wanted),
    };
    let (from_start, wanted) = match wanted.strip_prefix('/') {
        Some(rest) => (true, rest),
        None => (from_start, wanted),
    };
    match (from_start, to_end) {
        (false, false) => name.contains(wanted),
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (true, true) => name == wanted,
    }
}

/// Whether a name pattern needs more of regular expressions than [`names`] knows.
pub(crate) fn is_beyond_anchors(wanted: &str) -> bool {
    let inner = wanted.trim_start_matches('^').trim_end_matches('$');
    inner.contains([
        '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\\', '^', '$',
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns() {
        for (pattern, text, fit) in [
            ("busybox", "busybox", true),
            ("busybox", "busybox:latest", false),
            ("busybox*", "busybox:latest", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("b?x:[0-9]*", "box:12", true),
            ("b?x:[^0-9]*", "box:12", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("[", "a", false),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
        let stars = "*a".repeat(200);
        assert!(!fits(&stars, &"a".repeat(150)), "and it ends soon");
    }

    #[test]
    fn anchored_names() {
        for (wanted, name, fit) in [
            ("web", "demo-web-1", true),
            ("^web", "demo-web-1", false),
            ("^/demo-web-1$", "demo-web-1", true),
            ("/demo", "demo-web-1", true),
            ("-1$", "demo-web-1", true),
            ("^demo$", "demo-web-1", false),
        ] {
            assert_eq!(names(wanted, name), fit, "{wanted}");
        }
        assert!(is_beyond_anchors("web|db") && !is_beyond_anchors("^/web.1$"));
    }
}
