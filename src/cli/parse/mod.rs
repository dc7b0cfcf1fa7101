//! What is typed after a flag, turned into plain values: pure, one small file a subject.

pub(crate) mod build;
pub(crate) mod copy;
pub(crate) mod detach;
pub(crate) mod env;
pub(crate) mod filter;
pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod time;
