//! The Compose Specification as tables: one row a key.
//!
//! A row says what a value may be, what its long form is, how it merges, and whether orc does what
//! it asks for. `canonical.rs` checks and rewrites by these tables, `merge.rs` merges by them, and
//! `support.rs` reports by them; adding a key is adding a row.

pub(crate) mod build;
pub(crate) mod deploy;
pub(crate) mod root;
pub(crate) mod service;

use orc_base::Result;

use crate::node::{Node, Trail};

/// A key of a mapping.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    pub(crate) merge: Merge,
    pub(crate) support: Support,
}

/// What a value may be, and what it becomes in the canonical form.
pub(crate) enum Shape {
    /// Anything, kept as it is.
    Any,
    /// A string.
    Text,
    /// A string, number or boolean; becomes a string.
    Scalar,
    /// A boolean, or a string that says one.
    Bool,
    /// A whole number, or a string that says one.
    Int,
    /// A number, or a string that says one.
    Float,
    /// A size; becomes its bytes as a decimal string, as docker compose prints it.
    Bytes,
    /// [`Shape::Bytes`], or -1.
    BytesOrUnlimited,
    /// A duration; becomes Go's way of writing it.
    Duration,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// Octal permissions; becomes `0440`.
    Mode,
    /// A path, resolved against the directory of the project.
    Path,
    /// A path or something with a scheme, such as a repository's address.
    PathOrUrl,
    /// Null, a line that is split into words, or a list of words.
    Command,
    /// A string or a list of strings; becomes a list.
    Texts,
    /// Names with values: a mapping or a list of `name=value`; becomes a mapping of strings.
    Pairs(Bare),
    /// A list.
    List(&'static Shape),
    /// A list whose short items may stand for several.
    Spread(Spread, &'static Shape),
    /// A mapping with free keys.
    Dict(&'static Shape),
    /// A mapping with free keys that name things, so that they are checked.
    Named(&'static Shape),
    /// A mapping with these keys, and `x-…`.
    Object(&'static [Field]),
    /// Null or that.
    NullOr(&'static Shape),
    /// Something that is rewritten before it is that.
    Short(Rewrite, &'static Shape),
    /// That, and then checked or completed.
    Then(&'static Shape, Finish),
}

/// Rewrites a short form to a long one; a long one stays.
pub(crate) type Rewrite = fn(Node, &Trail<'_>) -> Result<Node>;
/// Rewrites one item to several.
pub(crate) type Spread = fn(Node, &Trail<'_>) -> Result<Vec<Node>>;
/// Checks or completes a long form.
pub(crate) type Finish = fn(&mut Node, &Paths<'_>, &Trail<'_>) -> Result<()>;

/// How paths become absolute.
pub(crate) struct Paths<'a> {
    /// Where relative ones start; `None` leaves them as they are.
    pub(crate) base: Option<&'a std::path::Path>,
    /// What `~` is.
    pub(crate) home: Option<&'a str>,
}

impl Paths<'_> {
    /// The absolute, tidy path.
    pub(crate) fn resolve(&self, path: &str) -> String {
        let Some(base) = self.base else {
            return path.to_owned();
        };
        let expanded = match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{home}{rest}")
            }
            _ => path.to_owned(),
        };
        if is_windows_absolute(&expanded) {
            return expanded;
        }
        crate::files::join(base, &expanded)
            .to_string_lossy()
            .into_owned()
    }
}

/// `C:\…`, `C:/…` and `\\host\…`.
pub(crate) fn is_windows_absolute(path: &str) -> bool {
    match path.as_bytes() {
        [letter, b':', b'\\' | b'/', ..] => letter.is_ascii_alphabetic(),
        [b'\\', b'\\', ..] => true,
        _ => false,
    }
}

/// What a name without a value means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bare {
    /// Null: to be taken from outside.
    Null,
    /// The empty string.
    Empty,
}

/// How a later file's value goes over an earlier one's.
pub(crate) enum Merge {
    /// Mappings key by key, lists one after the other, scalars replace, null changes nothing.
    Deep,
    /// The later one, even null.
    Replace,
    /// A mapping whose values replace, even with null.
    Pairs,
    /// A list in which a later item with the same key takes the place of the earlier one.
    Unique(fn(&Node) -> String),
    /// As [`Merge::Unique`], but the two items are merged.
    Keyed(fn(&Node) -> String),
    /// As [`Merge::Deep`], but another `driver` replaces all.
    Driver,
}

/// Whether orc does what a key asks for.
#[derive(Clone, Copy)]
pub(crate) enum Support {
    /// It does, or the value decides (`support.rs`).
    Built,
    /// It does not, and that does no harm: said once.
    Ignored(&'static str),
    /// It does not, and going on would be wrong.
    Refused(&'static str),
}

/// A row; the rest of it by the methods below.
pub(crate) const fn key(key: &'static str, shape: Shape) -> Field {
    let merge = match shape {
        Shape::Pairs(_) => Merge::Pairs,
        Shape::Command => Merge::Replace,
        _ => Merge::Deep,
    };
    Field {
        key,
        shape,
        merge,
        support: Support::Built,
    }
}

impl Field {
    pub(crate) const fn replace(mut self) -> Self {
        self.merge = Merge::Replace;
        self
    }

    pub(crate) const fn unique(mut self, by: fn(&Node) -> String) -> Self {
        self.merge = Merge::Unique(by);
        self
    }

    pub(crate) const fn keyed(mut self, by: fn(&Node) -> String) -> Self {
        self.merge = Merge::Keyed(by);
        self
    }

    pub(crate) const fn by_driver(mut self) -> Self {
        self.merge = Merge::Driver;
        self
    }

    pub(crate) const fn ignored(mut self, why: &'static str) -> Self {
        self.support = Support::Ignored(why);
        self
    }

    pub(crate) const fn refused(mut self, why: &'static str) -> Self {
        self.support = Support::Refused(why);
        self
    }
}

/// The row of a key.
pub(crate) fn find(fields: &'static [Field], key: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.key == key)
}

/// Whether a key is an extension, which is kept and never acted upon.
pub(crate) fn is_extension(key: &str) -> bool {
    key.starts_with("x-")
}

/// The whole item, for [`Merge::Unique`].
pub(crate) fn itself(node: &Node) -> String {
    node.scalar().unwrap_or_default()
}

/// The item's `target`, for [`Merge::Unique`]. A short form that still has its variables is itself.
pub(crate) fn target(node: &Node) -> String {
    match node.text() {
        Some(text) => text.to_owned(),
        None => text_of(node, "target"),
    }
}

/// A child as text, empty when there is none.
pub(crate) fn text_of(node: &Node, key: &str) -> String {
    node.get(key).and_then(Node::scalar).unwrap_or_default()
}
