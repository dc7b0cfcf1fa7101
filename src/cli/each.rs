//! The same deed on several things: all at once, told in the order they were named.

use std::future::Future;

use futures_util::future::join_all;
use orc_base::Result;

use crate::cli::failure::{Failure, OK, Outcome};
use crate::ui::{error, out};

/// Does `deed` for each name. Prints what each returns, and each error; fails when one failed.
pub(crate) async fn each<F>(names: &[String], deed: impl Fn(String) -> F) -> Outcome
where
    F: Future<Output = Result<String>>,
{
    tell(join_all(names.iter().cloned().map(deed)).await)
}

/// The same for names of which some were not found.
pub(crate) async fn each_found<F>(names: Vec<Result<String>>, deed: impl Fn(String) -> F) -> Outcome
where
    F: Future<Output = Result<String>>,
{
    let deed = &deed;
    let results = names.into_iter().map(|name| async move {
        match name {
            Ok(name) => deed(name).await,
            Err(error) => Err(error),
        }
    });
    tell(join_all(results).await)
}

fn tell(results: Vec<Result<String>>) -> Outcome {
    let mut failed = false;
    for result in results {
        match result {
            Ok(text) if text.is_empty() => {}
            Ok(text) => out::line(&text),
            Err(why) => {
                failed = true;
                error::print(&why);
            }
        }
    }
    match failed {
        true => Err(Failure::silent(1)),
        false => Ok(OK),
    }
}
