//! Programs of this machine that provide what services and models stand for, instead of containers.
//!
//! docker compose's protocol (its docs/extension.md): the program is called with `compose up`, `down`
//! or `stop`, prints one JSON object a line (`message.rs`), may say by `compose metadata` what it
//! takes (`metadata.rs`), and gives variables to the services that depend on it (`given.rs`). Models
//! are prepared by the plug-in `docker-model` (`models.rs`). Pure but for `run.rs`, which speaks to
//! programs through [`Programs`]; who finds and starts them is the command line, on whose side they
//! run.

pub mod call;
pub mod given;
pub(crate) mod message;
pub mod metadata;
pub mod models;
pub(crate) mod run;

use futures_util::future::BoxFuture;
use orc_base::{Error, Result};

use crate::provider::call::Call;

/// Runs programs on the side of whoever asked.
pub trait Programs: Send + Sync {
    /// Runs one to its end. `heard` is given each line that it prints to standard output; when that
    /// fails the program is ended. An exit code other than 0 is an error, with its last words on
    /// standard error. What it prints, the length of its lines and its time are bounded.
    fn run<'a>(
        &'a self,
        call: &'a Call,
        heard: &'a mut (dyn FnMut(&str) -> Result<()> + Send),
    ) -> BoxFuture<'a, Result<()>>;
}

/// Nobody runs programs here: for plans that have no such step.
#[derive(Debug, Clone, Copy)]
pub struct NoPrograms;

impl Programs for NoPrograms {
    fn run<'a>(
        &'a self,
        call: &'a Call,
        _: &'a mut (dyn FnMut(&str) -> Result<()> + Send),
    ) -> BoxFuture<'a, Result<()>> {
        let text = format!("`{}` is a program, and none are run here", call.program);
        Box::pin(async { Err(Error::unsupported(text)) })
    }
}
