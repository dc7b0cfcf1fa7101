//! `orc compose …`, and `orc up`, `orc down` and `orc plan`: one file a family of verbs.

pub(crate) mod bake;
pub(crate) mod book;
pub(crate) mod bridge;
pub(crate) mod build;
pub(crate) mod carry_out;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod deeds;
pub(crate) mod down;
pub(crate) mod exec;
pub(crate) mod follow;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod lint;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod look;
pub(crate) mod menu;
pub(crate) mod names;
pub(crate) mod pause;
pub(crate) mod pin;
pub(crate) mod plan;
pub(crate) mod programs;
pub(crate) mod provide;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod remote;
pub(crate) mod rollback;
pub(crate) mod run;
#[cfg(test)]
mod surface;
pub(crate) mod up;
pub(crate) mod verbs;
pub(crate) mod watch;
pub(crate) mod watching;
