//! Words for a program. Kubernetes puts variables in place of `$(NAME)` in commands, arguments and
//! values of variables, which Compose does not: there it is text.

use serde_json::Value;

/// The text as Kubernetes will hand it on unchanged.
pub(super) fn literal(text: &str) -> String {
    text.replace("$(", "$$(")
}

/// A list of such texts.
pub(super) fn literals(words: &[String]) -> Value {
    words.iter().map(|word| literal(word)).collect()
}
