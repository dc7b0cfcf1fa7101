//! What a registry's `401` asks for, read from its `WWW-Authenticate` headers (RFC 9110, 11.6.1).
//!
//! Pure and strict about sizes, lenient about spaces and order. Whether the `realm` may be asked, and
//! with what, is decided in `hops` and `token`.

/// The longest header that is read; more is not a challenge.
const MAX_BYTES: usize = 8 << 10;

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// With name and password in each request.
    Basic,
    /// With a token from `realm`.
    Bearer {
        /// Where tokens are issued.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// What the request would have needed.
        scope: Option<String>,
        /// Why the token that was shown did not do.
        error: Option<String>,
    },
}

/// The best of the ways on offer: Bearer before Basic.
pub(crate) fn read<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers.filter(|header| header.len() <= MAX_BYTES) {
        for (scheme, parameters) in split(header) {
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(bearer) = bearer(&parameters)
            {
                return Some(bearer);
            }
        }
    }
    basic
}

fn bearer(parameters: &[(String, String)]) -> Option<Challenge> {
    let get = |name: &str| {
        parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    };
    Some(Challenge::Bearer {
        realm: get("realm")?,
        service: get("service"),
        scope: get("scope"),
        error: get("error"),
    })
}

/// A scheme and its parameters.
type Offer = (String, Vec<(String, String)>);

/// Splits `Bearer a="b", c=d, Basic realm="x"` into schemes and their parameters. A word that is not
/// followed by `=` begins the next scheme.
fn split(header: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = offers.last_mut() {
                    parameters.push((word.to_owned(), value));
                }
                rest = after;
            }
            None => {
                offers.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    offers
}

/// The value at the start of `text`, quoted or not, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expected: &str) {
        let found = match read(headers.iter().copied()) {
            None => "none".to_owned(),
            Some(Challenge::Basic) => "basic".to_owned(),
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
                error,
            }) => {
                let part = |text: Option<String>| text.unwrap_or("-".into());
                format!("{realm} {} {} {}", part(service), part(scope), part(error))
            }
        };
        assert_eq!(found, expected, "{headers:?}");
    }

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull",error="invalid_token""#;
        check(
            &[hub],
            "https://auth.docker.io/token registry.docker.io repository:library/busybox:pull invalid_token",
        );
        for (header, expected) in [
            ("Basic realm=\"Registry\"", "basic"),
            ("basic", "basic"),
            ("BASIC realm=x , charset=utf-8", "basic"),
            ("bearer realm=https://a/t", "https://a/t - - -"),
            (
                "Bearer  realm = \"https://a/t\" ,service= \"s\"",
                "https://a/t s - -",
            ),
            (
                "Bearer REALM=\"https://a/t?x=1,2&y=\\\"q\\\"\"",
                "https://a/t?x=1,2&y=\"q\" - - -",
            ),
            (
                "Basic realm=\"a\", Bearer realm=\"https://a/t\"",
                "https://a/t - - -",
            ),
            ("Negotiate, Basic realm=\"a\"", "basic"),
            (
                "Bearer scope=\"a,b\",realm=\"https://a/t\"",
                "https://a/t - a,b -",
            ),
        ] {
            check(&[header], expected);
        }
        check(
            &["Basic realm=x", "Bearer realm=\"https://a/t\""],
            "https://a/t - - -",
        );
    }

    #[test]
    fn makes_nothing_of_nonsense() {
        let long = format!("Bearer realm=\"{}\"", "x".repeat(1 << 20));
        for bad in [
            "",
            " ",
            ",,,",
            "=",
            "Bearer",
            "Bearer realm",
            "Bearer realm=",
            "Bearer realm=\"\"",
            "Digest realm=\"x\"",
            &long,
        ] {
            check(&[bad], "none");
        }
        check(&["Bearer realm=\"unclosed"], "unclosed - - -");
    }
}
