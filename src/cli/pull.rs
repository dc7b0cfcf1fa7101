//! Fetching an image with its progress, for `pull`, `run` and whoever else needs one.

use orc_base::Result;
use orc_host::Host;
use orc_host::image::{Credentials, Progress as Step};
use orc_host::stream::Stream;

use futures_util::StreamExt;

use crate::ui::color::Ansi;
use crate::ui::progress::{Mode, Progress, TICK};

/// What a transfer said at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The id of the image it made.
    pub(crate) image: Option<String>,
    /// Its last word about the whole.
    pub(crate) status: Option<String>,
}

/// Fetches `reference`, with the account that Docker's `config.json` has for its registry.
pub(crate) async fn pull(
    host: &dyn Host,
    reference: &str,
    platform: Option<&str>,
    mode: Mode,
) -> Result<Said> {
    let credentials = credentials(reference).await?;
    // Errors name the reference already: the layer that speaks to registries knows it whole.
    let steps = host.pull_image(reference, platform, credentials).await?;
    follow(steps, mode, "pull", &format!("Image {reference}")).await
}

/// Shows a transfer until its end.
pub(crate) async fn follow(
    mut steps: Stream<Step>,
    mode: Mode,
    what: &str,
    subject: &str,
) -> Result<Said> {
    let display = Progress::new(mode, Ansi::Auto, what);
    let mut clock = tokio::time::interval(TICK);
    let mut said = Said::default();
    let result = loop {
        tokio::select! {
            step = steps.next() => match step {
                None => break Ok(said),
                Some(Err(error)) => break Err(error),
                Some(Ok(step)) => {
                    display.transfer(subject, &step);
                    said.image = step.image.or(said.image);
                    if step.layer.is_none() && !step.status.is_empty() {
                        said.status = Some(step.status);
                    }
                }
            },
            _ = clock.tick() => display.tick(),
        }
    };
    display.finish();
    result
}

/// The account of this user at the registry of `reference`.
pub(crate) async fn credentials(reference: &str) -> Result<Option<Credentials>> {
    let Some(file) = orc_image::credentials_file::default_file() else {
        return Ok(None);
    };
    let Ok(parsed) = orc_image::reference::Reference::parse(reference) else {
        // The daemon says what is wrong with it.
        return Ok(None);
    };
    let found = orc_image::credentials_file::find(&file, parsed.registry()).await?;
    Ok(found.map(|found| Credentials {
        username: found.username,
        password: found.password,
        identity_token: found.identity_token,
    }))
}
