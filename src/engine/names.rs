//! Names of containers: random ones, and what people type resolved to one container.
//!
//! Pure but for the random source.

use orc_base::id::random_bytes;
use orc_base::{Error, Id, Name, Result};

const ADJECTIVES: [&str; 48] = [
    "amber", "brave", "bright", "brisk", "calm", "clever", "copper", "cosy", "crisp", "curious",
    "daring", "deft", "eager", "early", "fair", "fleet", "gentle", "glad", "golden", "hardy",
    "honest", "humble", "jolly", "keen", "kind", "light", "lively", "loyal", "lucid", "merry",
    "mild", "neat", "noble", "patient", "plain", "proud", "quick", "quiet", "ready", "silver",
    "steady", "sturdy", "sunny", "swift", "tidy", "warm", "wise", "witty",
];

const SURNAMES: [&str; 48] = [
    "abel",
    "banach",
    "boole",
    "borg",
    "cantor",
    "cauchy",
    "cerf",
    "church",
    "curie",
    "dijkstra",
    "erdos",
    "euler",
    "fermat",
    "galois",
    "gauss",
    "godel",
    "hamilton",
    "hamming",
    "hilbert",
    "hoare",
    "hopper",
    "huffman",
    "jacobi",
    "kepler",
    "klein",
    "knuth",
    "lamport",
    "laplace",
    "leibniz",
    "liskov",
    "lovelace",
    "markov",
    "milner",
    "naur",
    "noether",
    "pascal",
    "perlman",
    "postel",
    "ramanujan",
    "ritchie",
    "shannon",
    "stallings",
    "tarski",
    "thompson",
    "turing",
    "ulam",
    "wiener",
    "wirth",
];

/// A name such as `calm_noether` that `taken` does not hold. After some misses a number makes it
/// unique.
pub(crate) fn random(taken: impl Fn(&str) -> bool) -> Name {
    let mut attempt = 0_u32;
    loop {
        let bytes = random_bytes::<4>();
        let adjective = ADJECTIVES[usize::from(bytes[0]) % ADJECTIVES.len()];
        let surname = SURNAMES[usize::from(bytes[1]) % SURNAMES.len()];
        let name = match attempt {
            0..6 => format!("{adjective}_{surname}"),
            _ => format!(
                "{adjective}_{surname}{}",
                u16::from_le_bytes([bytes[2], bytes[3]])
            ),
        };
        attempt += 1;
        if let (false, Ok(name)) = (taken(&name), name.parse()) {
            return name;
        }
    }
}

/// Finds what people call a container: its full id, its name (with or without Docker's leading
/// slash), or the beginning of its id.
pub(crate) fn resolve<'a>(
    typed: &str,
    containers: impl Iterator<Item = (&'a Id, &'a Name)> + Clone,
) -> Result<&'a Id> {
    resolve_as("container", typed.trim_start_matches('/'), containers).map_err(|error| match error
        .kind()
    {
        orc_base::Kind::NotFound => {
            Error::not_found(format!("No such container: {}", shown(typed)))
        }
        _ => error,
    })
}

/// Finds a thing with an id and a name by full id, name, or the beginning of the id.
pub(crate) fn resolve_as<'a>(
    what: &str,
    typed: &str,
    things: impl Iterator<Item = (&'a Id, &'a Name)> + Clone,
) -> Result<&'a Id> {
    let exact = things
        .clone()
        .find(|(id, _)| id.as_str() == typed)
        .or_else(|| things.clone().find(|(_, name)| name.as_str() == typed));
    if let Some((id, _)) = exact {
        return Ok(id);
    }
    let mut begin = things.filter(|(id, _)| !typed.is_empty() && id.as_str().starts_with(typed));
    match (begin.next(), begin.next()) {
        (Some((id, _)), None) => Ok(id),
        (Some(_), Some(_)) => Err(Error::invalid(format!(
            "several {what}s have an id that begins with `{}`: type more of it",
            shown(typed)
        ))),
        (None, _) => Err(Error::not_found(format!(
            "{what} {} not found",
            shown(typed)
        ))),
    }
}

/// What someone typed, fit for a message of one line.
pub(crate) fn shown(typed: &str) -> String {
    typed
        .chars()
        .take(128)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    fn id(begin: &str) -> Id {
        format!("{begin:0<64}").parse().unwrap()
    }

    #[test]
    fn looks_for_id_then_name_then_prefix() {
        let things = [
            (id("abc1"), "web".parse().unwrap()),
            (id("abc2"), "db".parse().unwrap()),
            (id("d"), "abc1".parse().unwrap()),
        ];
        let find = |typed: &str| resolve(typed, things.iter().map(|(id, name)| (id, name)));
        assert_eq!(find("web").unwrap(), &things[0].0);
        assert_eq!(find("/db").unwrap(), &things[1].0);
        assert_eq!(find("abc2").unwrap(), &things[1].0);
        assert_eq!(
            find("abc1").unwrap(),
            &things[2].0,
            "a name goes before a prefix"
        );
        assert_eq!(find("abc").unwrap_err().kind(), Kind::Invalid);
        let missing = find("nope\x1b").unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert_eq!(missing.to_string(), "No such container: nope\\u{1b}");
        assert_eq!(find("").unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn random_names_avoid_what_is_taken() {
        let name = random(|_| false);
        assert!(name.contains('_'));
        let numbered = random(|name| !name.ends_with(|last: char| last.is_ascii_digit()));
        assert!(numbered.ends_with(|last: char| last.is_ascii_digit()));
    }
}
