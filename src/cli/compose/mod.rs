//! `orc compose …`, and `orc up`, `orc down` and `orc plan`: one file a family of verbs.

pub(crate) mod build;
pub(crate) mod carry_out;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod down;
pub(crate) mod exec;
pub(crate) mod follow;
pub(crate) mod graph;
pub(crate) mod lint;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod look;
pub(crate) mod names;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod up;
pub(crate) mod verbs;
