//! How Go reads and writes JSON, where that differs from serde's way.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares a struct of the wire: `PascalCase` members, each of which may be absent or `null`.
macro_rules! wire {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$member_meta:meta])* $member:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name {
            $(
                $(#[$member_meta])*
                #[serde(default, deserialize_with = "crate::wire::json::or_default")]
                pub(crate) $member: $type,
            )*
        }
    };
    // As above, and what else the object has is kept in `other`.
    ($(#[$meta:meta])* $name:ident {
        $($(#[$member_meta:meta])* $member:ident: $type:ty,)*
        ..other
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name {
            $(
                $(#[$member_meta])*
                #[serde(default, deserialize_with = "crate::wire::json::or_default")]
                pub(crate) $member: $type,
            )*
            #[serde(flatten)]
            pub(crate) other: std::collections::BTreeMap<String, serde_json::Value>,
        }
    };
}

/// `null` is the zero value.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a member is left out because it is its zero value (Go's `omitempty`).
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Go's `struct{}`: written `{}`, anything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Empty;

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A list of words that may be written as one string (Go's `strslice.StrSlice`); `null` is not the
/// empty list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Words(pub(crate) Option<Vec<String>>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string or a list of strings")]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(Self(Some(match Either::deserialize(deserializer)? {
            Either::One(word) => vec![word],
            Either::Many(words) => words,
        })))
    }
}

/// An object whose members keep the order they are written in. A repeated name replaces.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ordered<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Ordered<T> {
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.0
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The value under `name`, made first when it is missing.
    pub(crate) fn entry(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        let index = self.0.iter().position(|(key, _)| key == name);
        let index = index.unwrap_or_else(|| {
            self.0.push((name.to_owned(), T::default()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }
}

impl<T> FromIterator<(String, T)> for Ordered<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut index = std::collections::HashMap::new();
                let mut members: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    match index.get(&name) {
                        Some(&at) => {
                            let (_, old): &mut (String, T) = &mut members[at];
                            *old = value;
                        }
                        None => {
                            index.insert(name.clone(), members.len());
                            members.push((name, value));
                        }
                    }
                }
                Ok(Ordered(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    wire! {
        Sample {
            words: Words,
            ports: Ordered<Empty>,
            #[serde(skip_serializing_if = "is_zero")]
            size: i64,
        }
    }

    #[test]
    fn null_is_zero_and_order_is_kept() {
        let sample: Sample =
            serde_json::from_str(r#"{"Words":null,"Ports":{"b":{},"a":1,"b":null},"Size":null}"#)
                .unwrap();
        assert_eq!(sample.words, Words(None));
        assert_eq!(sample.ports.0, [("b".into(), Empty), ("a".into(), Empty)]);
        assert_eq!(
            serde_json::to_string(&sample).unwrap(),
            r#"{"Words":null,"Ports":{"b":{},"a":{}}}"#
        );
        assert_eq!(
            serde_json::from_str::<Sample>("{}").unwrap(),
            Sample::default()
        );
    }

    #[test]
    fn words_may_be_one_string() {
        let words = |text| serde_json::from_str::<Words>(text);
        assert_eq!(words(r#""sh""#).unwrap().0.unwrap(), ["sh"]);
        assert_eq!(words("[]").unwrap().0.unwrap(), Vec::<String>::new());
        assert!(words("[1]").is_err());
    }
}
