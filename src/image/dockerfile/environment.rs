//! Names and values in the order in which they were set.
//!
//! What `ENV` and `ARG` make, and what words are expanded with. A name is there once.

/// An ordered environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

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
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Gives a name a value; it keeps its place when it has one.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.into(), value.into())),
        }
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// `NAME=value` each.
    pub fn lines(&self) -> Vec<String> {
        let line = |(name, value): &(String, String)| format!("{name}={value}");
        self.0.iter().map(line).collect()
    }

    /// How many bytes execve(2) would have to copy.
    pub fn bytes(&self) -> usize {
        let size = |(name, value): &(String, String)| name.len() + value.len() + 2;
        self.0.iter().map(size).sum()
    }
}
