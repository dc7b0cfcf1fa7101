//! Names and values in the order in which they were set.
//!
//! What `ENV` and `ARG` make, and what words are expanded with. A name is there once.

use std::collections::HashMap;

/// The most variables that a file can set; far more than a program could make sense of.
pub const MAX_VARIABLES: usize = 4096;

/// An ordered environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    lines: Vec<(String, String)>,
    places: HashMap<String, usize>,
    bytes: usize,
}

impl Environment {
    /// From `NAME=value` lines; a name without `=` has the empty value.
    pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a String>) -> Self {
        let mut environment = Self::default();
        for line in lines {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            environment.set(name, value);
        }
        environment
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.get(name)?;
        Some(&self.lines[*place].1)
    }

    /// Gives a name a value; it keeps its place when it has one.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(place) => {
                let old = &mut self.lines[*place].1;
                self.bytes = self.bytes - old.len() + value.len();
                value.clone_into(old);
            }
            None => {
                self.places.insert(name.into(), self.lines.len());
                self.lines.push((name.into(), value.into()));
                self.bytes += name.len() + value.len() + 2;
            }
        }
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(name, _)| name.as_str())
    }

    /// How many names there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// `NAME=value` each.
    pub fn lines(&self) -> Vec<String> {
        let line = |(name, value): &(String, String)| format!("{name}={value}");
        self.lines.iter().map(line).collect()
    }

    /// How many bytes execve(2) would have to copy.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
