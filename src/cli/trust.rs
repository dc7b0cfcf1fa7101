//! `--disable-content-trust`, which Docker's verbs about images have: taken as long as it asks for what
//! orc does.

use clap::Args;
use orc_base::{Error, Result};

/// True, as for Docker, when it is not given.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct TrustFlag {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    disable_content_trust: Option<bool>,
}

impl TrustFlag {
    /// Refuses to check signatures rather than not to do it in silence.
    pub(crate) fn check(self) -> Result<()> {
        match self.disable_content_trust {
            Some(false) => Err(Error::unsupported(
                "`--disable-content-trust=false` is not supported: signatures of Notary are not checked, name the image by digest",
            )),
            _ => Ok(()),
        }
    }
}
