//! What is kept while the files of one project are read: what they come to, and what is wrong.

use crate::budget::Budget;
use crate::mistakes::Mistakes;

/// Both, passed from stage to stage.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) budget: Budget,
    pub(crate) mistakes: Mistakes,
    /// Whether something that is included or extended could not be read: names may be missing that are
    /// no mistake.
    pub(crate) is_torn: bool,
}
