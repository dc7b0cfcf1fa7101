//! The `COMPOSE_…` variables about the command line that stand in the project's `.env`.
//!
//! The environment says more than `.env`, and flags more than both; clap knows flags and environment,
//! so here is only what neither says. Variables about the project itself are the loader's.

use std::collections::BTreeMap;

use clap::ValueEnum;
use orc_base::{Error, Result};
use orc_compose::load::{self, LoadOptions};

use crate::ui::status::is_yes;

/// What `.env` says and the environment does not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those of the project that is meant.
    pub(crate) fn of(options: &LoadOptions) -> Self {
        Self(load::settings(options))
    }

    /// The value of a variable, when it is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty())
    }

    /// Whether it says yes; nothing when it is not set.
    pub(crate) fn yes(&self, name: &str) -> Option<bool> {
        self.get(name).map(is_yes)
    }

    /// One of a few words.
    pub(crate) fn word<T: ValueEnum>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        T::from_str(value, true).map(Some).map_err(|_| {
            let words = T::value_variants().iter();
            let words = words.filter_map(ValueEnum::to_possible_value);
            let words: Vec<String> = words.map(|word| word.get_name().to_owned()).collect();
            Error::invalid(format!(
                "{name} in `.env` is `{value}`: use one of {}",
                words.join(", ")
            ))
        })
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|_| {
            Error::invalid(format!("{name} in `.env` is `{value}`: use a whole number"))
        })
    }
}

#[cfg(test)]
impl From<&[(&str, &str)]> for Settings {
    fn from(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs.iter();
        Self(
            pairs
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::color::Ansi;

    #[test]
    fn each_kind_of_value() {
        let pairs = [
            ("A", " never "),
            ("B", "7"),
            ("C", "Yes"),
            ("D", ""),
            ("E", "x"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings(pairs.into());
        assert_eq!(settings.word::<Ansi>("A").unwrap(), Some(Ansi::Never));
        assert_eq!(settings.number("B").unwrap(), Some(7));
        assert_eq!(settings.yes("C"), Some(true));
        assert_eq!(settings.yes("B"), Some(false));
        for unset in ["D", "F"] {
            assert_eq!(settings.yes(unset), None);
            assert_eq!(settings.word::<Ansi>(unset).unwrap(), None);
        }
        let error = settings.word::<Ansi>("E").unwrap_err().to_string();
        assert_eq!(error, "E in `.env` is `x`: use one of never, always, auto");
        assert!(settings.number("E").is_err());
    }
}
