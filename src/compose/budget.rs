//! What one project's files may come to, so that no file makes the loader take all memory or time.
//!
//! Values and text are counted where they are made: read from a file, copied by an alias or by
//! `extends`, put in for a variable, spread from a range. What is refused is refused while it is
//! still small. Real projects stay far below: one of 2 000 lines has about 3 000 values.

use orc_base::{Error, Result};

use crate::node::{Map, Node, Value};

/// How many values the files of a project may come to.
const MAX_VALUES: usize = 64_000;
/// How many bytes of text: values, keys and variables.
const MAX_BYTES: usize = 16 << 20;

/// What is used of it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    values: usize,
    bytes: usize,
}

impl Budget {
    /// Counts `more` values.
    pub(crate) fn values(&mut self, more: usize) -> Result<()> {
        self.values = self.values.saturating_add(more);
        match self.values > MAX_VALUES {
            true => Err(Error::exhausted(format!(
                "the project has more than {MAX_VALUES} values"
            ))),
            false => Ok(()),
        }
    }

    /// Counts `more` bytes of text.
    pub(crate) fn bytes(&mut self, more: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(more);
        match self.bytes > MAX_BYTES {
            true => Err(Error::exhausted(format!(
                "the project has more than {} MiB of text",
                MAX_BYTES >> 20
            ))),
            false => Ok(()),
        }
    }

    /// Counts what was counted between `before` and `after` once more: a copy is made of it.
    pub(crate) fn again(&mut self, before: Self, after: Self) -> Result<()> {
        self.values(after.values - before.values)?;
        self.bytes(after.bytes - before.bytes)
    }

    /// Counts a tree that is copied.
    pub(crate) fn copy(&mut self, node: &Node) -> Result<()> {
        self.values(1)?;
        match &node.value {
            Value::Text(text) => self.bytes(text.len()),
            Value::List(items) => items.iter().try_for_each(|item| self.copy(item)),
            Value::Map(map) => self.copy_map(map),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(()),
        }
    }

    fn copy_map(&mut self, map: &Map) -> Result<()> {
        map.iter().try_for_each(|(key, entry)| {
            self.bytes(key.len())?;
            self.copy(&entry.node)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Span;

    #[test]
    fn counts_values_and_text() {
        let mut budget = Budget::default();
        assert!(budget.values(MAX_VALUES).is_ok());
        assert!(budget.values(1).is_err());
        assert!(budget.values(usize::MAX).is_err(), "no overflow");
        let mut budget = Budget::default();
        assert!(budget.bytes(MAX_BYTES).is_ok());
        let error = budget.bytes(1).unwrap_err();
        assert_eq!(error.kind(), orc_base::Kind::Exhausted);
    }

    #[test]
    fn a_copy_counts_as_what_it_copies() {
        let span = Span::default();
        let mut map = Map::default();
        map.set("key", Node::new("text", &span));
        map.set("list", Node::new(vec![Node::new(true, &span)], &span));
        let mut budget = Budget::default();
        budget.copy(&Node::new(map, &span)).unwrap();
        assert_eq!(
            budget,
            Budget {
                values: 4,
                bytes: 11
            }
        );
        let twice = budget;
        budget.again(Budget::default(), twice).unwrap();
        assert_eq!(
            budget,
            Budget {
                values: 8,
                bytes: 22
            }
        );
    }
}
