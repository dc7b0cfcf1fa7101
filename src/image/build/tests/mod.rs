//! Whole builds, with programs that are only played.

mod cache;
mod contexts;
mod copy;
mod escapes;
mod keys;
mod life;
mod run;
mod support;
