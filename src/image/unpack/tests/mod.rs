//! Layers as an attacker writes them, and as GNU tar does.

mod corpus;
mod differential;
mod documents;
mod listings;
mod readers;
mod tar;
mod tree;
