//! The OpenAPI documents by which kubectl explains, validates and merges: version 3, one a group, and version
//! 2 as JSON.
//!
//! Made of the schemas of the kinds and the facts about their lists (`schemas`, from `crate::schema`), and of
//! paths that say which verbs there are (`paths`).

pub mod documents;

mod paths;
mod schemas;
