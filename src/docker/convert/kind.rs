//! What a caller can do about an error, as an HTTP status and as a word.
//!
//! Docker's clients act on the status. Several kinds share one, and a failed start is always 400,
//! so every refusal also carries the kind's word in the header [`HEADER`].

use orc_base::Kind;

/// The header that carries [`word`].
pub(crate) const HEADER: &str = "orc-kind";

/// Every kind with its status and its word.
const KINDS: [(Kind, u16, &str); 11] = [
    (Kind::NotFound, 404, "not-found"),
    (Kind::Conflict, 409, "conflict"),
    (Kind::Invalid, 400, "invalid"),
    (Kind::Denied, 403, "denied"),
    (Kind::Unchanged, 304, "unchanged"),
    (Kind::Expired, 410, "expired"),
    (Kind::Unavailable, 503, "unavailable"),
    (Kind::Unsupported, 501, "unsupported"),
    (Kind::Internal, 500, "internal"),
    (Kind::Timeout, 500, "timeout"),
    (Kind::Exhausted, 500, "exhausted"),
];

/// The status that Docker's server would answer with.
pub(crate) fn status(kind: Kind) -> u16 {
    KINDS
        .iter()
        .find_map(|(other, status, _)| (*other == kind).then_some(*status))
        .unwrap_or(500)
}

/// The kind's word.
pub(crate) fn word(kind: Kind) -> &'static str {
    KINDS
        .iter()
        .find_map(|(other, _, word)| (*other == kind).then_some(*word))
        .unwrap_or("internal")
}

/// The kind of a refusal: by its word, else by its status.
pub(crate) fn of(word: Option<&str>, status: u16) -> Kind {
    let named = KINDS.iter().find(|(_, _, other)| Some(*other) == word);
    let numbered = KINDS.iter().find(|(_, other, _)| *other == status);
    match (named.or(numbered), status) {
        (Some((kind, ..)), _) => *kind,
        (None, 401) => Kind::Denied,
        (None, 408 | 504) => Kind::Timeout,
        (None, 400..500) => Kind::Invalid,
        (None, _) => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_the_wire() {
        for (kind, ..) in KINDS {
            assert_eq!(of(Some(word(kind)), status(kind)), kind);
        }
        // A foreign server says only a status.
        assert_eq!(of(None, 404), Kind::NotFound);
        assert_eq!(of(None, 500), Kind::Internal);
        assert_eq!(of(Some("nonsense"), 401), Kind::Denied);
        assert_eq!(of(None, 418), Kind::Invalid);
    }
}
