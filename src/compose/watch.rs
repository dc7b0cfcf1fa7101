//! `develop.watch`: which files are watched, and what their changes lead to.
//!
//! Pure, in two steps: [`rules::rules`] reads the project and says which rules do nothing and why;
//! [`decide::decide`] turns changed files into operations with causes. Looking at files, the patterns
//! of ignore files and carrying out are left to whoever watches (`cli/compose/watch`).

pub mod decide;
pub mod rule;
pub mod rules;
