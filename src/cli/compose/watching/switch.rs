//! Watching that can be turned on and off while a project runs in the foreground.

use std::future::Future;
use std::pin::Pin;

use orc_base::{Error, Result};

use crate::cli::compose::carry_out::Work;
use crate::cli::compose::watching::runner::{Options, Runner, Watch, say};

/// Off at first.
pub(crate) struct Switch<'a> {
    work: &'a Work<'a>,
    services: &'a [String],
    options: Options,
    on: Option<Pin<Box<dyn Future<Output = Error> + 'a>>>,
}

impl<'a> Switch<'a> {
    /// For `services` and what they need, or for all.
    pub(crate) fn new(work: &'a Work<'a>, services: &'a [String], options: Options) -> Self {
        Self {
            work,
            services,
            options,
            on: None,
        }
    }

    /// Whether somebody watches.
    pub(crate) fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Goes on with what is watched already.
    pub(crate) fn turn_on_with(&mut self, watch: Watch) {
        let mut runner = Runner::new(self.work, watch, self.options.clone());
        self.on = Some(Box::pin(async move {
            match runner.run().await {
                Err(error) => error,
                Ok(never) => match never {},
            }
        }));
    }

    /// Turns it on, or off when it is on.
    pub(crate) fn turn(&mut self) -> Result<()> {
        if self.is_on() {
            self.turn_off();
            return Ok(());
        }
        let watch = Watch::begin(self.work.project, self.services)?;
        self.turn_on_with(watch);
        Ok(())
    }

    /// Turns it off; what is under way is given up.
    pub(crate) fn turn_off(&mut self) {
        if self.on.take().is_some() {
            say("Watch disabled");
        }
    }

    /// Watches as long as this is awaited, and says why that is over: it is off from then on. May be
    /// dropped and called again.
    pub(crate) async fn broken(&mut self) -> Error {
        let Some(watching) = &mut self.on else {
            return std::future::pending().await;
        };
        let error = watching.await;
        self.on = None;
        error
    }
}
