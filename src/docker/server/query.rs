//! The query of a request, and how parts of an address are written.

use orc_base::{Error, Result};

use crate::convert::filter::Filters;

/// The query's pairs, decoded, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// No client of ours or Docker's sends more.
const MAX_PAIRS: usize = 1000;

impl Query {
    /// Reads what stands after the question mark.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        if pairs.clone().count() > MAX_PAIRS {
            return Err(Error::invalid(format!(
                "the query has more than {MAX_PAIRS} parameters"
            )));
        }
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((
                    decode(&name.replace('+', " "))?,
                    decode(&value.replace('+', " "))?,
                ))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The first value of `name`; an empty one is none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(other, _)| other == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// Docker's yes and no: anything but the known ways to say no is yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            !matches!(
                value.trim().to_ascii_lowercase().as_str(),
                "0" | "no" | "false" | "none"
            )
        })
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| Error::invalid(format!("`{name}`: `{text}` is not a number in range")))
    }

    /// The text of `name`, which must be there.
    pub(crate) fn needed(&self, name: &str) -> Result<&str> {
        self.get(name)
            .ok_or_else(|| Error::invalid(format!("the parameter `{name}` is missing")))
    }

    /// The filters.
    pub(crate) fn filters(&self) -> Result<Filters> {
        Filters::parse(self.get("filters").unwrap_or_default())
    }
}

/// Undoes percent encoding.
pub(crate) fn decode(text: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = match bytes[index] {
            b'%' => bytes.get(index + 1..index + 3).and_then(hex_byte),
            byte => {
                decoded.push(byte);
                index += 1;
                continue;
            }
        };
        let byte = hex.ok_or_else(|| Error::invalid("the address has a broken percent sign"))?;
        decoded.push(byte);
        index += 3;
    }
    String::from_utf8(decoded).map_err(|_| Error::invalid("the address is not UTF-8"))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let value = digit(digits[0])? * 16 + digit(digits[1])?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let query = Query::parse("name=a%2Fb+c&t=10&all=True&size=0&names=x&names=y&e=").unwrap();
        assert_eq!(query.get("name"), Some("a/b c"));
        assert_eq!(query.number::<u64>("t").unwrap(), Some(10));
        assert!(query.flag("all") && !query.flag("size") && !query.flag("e"));
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["x", "y"]);
        assert!(
            query
                .needed("nope")
                .unwrap_err()
                .to_string()
                .contains("nope")
        );
        assert!(query.number::<u16>("name").is_err());
    }

    #[test]
    fn broken_encodings_are_refused() {
        for bad in ["%", "%1", "%zz", "%ff", "a%"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        assert!(Query::parse(&"a&".repeat(MAX_PAIRS + 1)).is_err());
    }
}
