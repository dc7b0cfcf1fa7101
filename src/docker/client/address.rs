//! Addresses of requests, with everything that was named encoded.

use crate::convert::filter::Filters;
use crate::convert::info::{API_VERSION, version_text};

/// The path and query of a request.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    text: String,
    has_query: bool,
}

impl Address {
    /// An address without a name in it: `/info`.
    pub(crate) fn new(path: &str) -> Self {
        Self {
            text: format!("/v{}{path}", version_text(API_VERSION)),
            has_query: false,
        }
    }

    /// An address with one: `/containers/{}/json`.
    pub(crate) fn of(pattern: &str, name: &str) -> Self {
        Self::new(&pattern.replacen("{}", &encode(name), 1))
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(&encode(name));
        self.text.push('=');
        self.text.push_str(&encode(value));
        self
    }

    /// Adds a parameter when there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a yes; no is the absence.
    pub(crate) fn flag(self, name: &str, set: bool) -> Self {
        if set { self.with(name, "1") } else { self }
    }

    /// Adds filters when there are any.
    pub(crate) fn filtered(self, filters: &Filters) -> Self {
        self.maybe("filters", filters.text().as_deref())
    }

    /// Asks for the members that Docker does not have.
    pub(crate) fn extended(self) -> Self {
        self.flag("orc", true)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Percent encoding of all but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    encoded.push(byte.into());
                }
                _ => {
                    let _ = write!(encoded, "%{byte:02X}");
                }
            }
            encoded
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::query::{Query, decode};

    #[test]
    fn names_are_encoded() {
        let address = Address::of("/images/{}/json", "a/b:c?d=e&f#%ü").with("x y", "1&2=3+4");
        let (path, query) = address.as_str().split_once('?').unwrap();
        let name = path.strip_prefix("/v1.51/images/").unwrap();
        let name = name.strip_suffix("/json").unwrap();
        assert_eq!(decode(name).unwrap(), "a/b:c?d=e&f#%ü");
        assert_eq!(Query::parse(query).unwrap().get("x y"), Some("1&2=3+4"));
    }
}
