//! What becomes of an image that was built: sent away, saved, or its files taken out.

use std::path::Path;

use orc_base::{Context, Result};
use orc_host::Host;

use crate::cli::parse::build::{Output, Target};
use crate::cli::pull::{credentials, follow};
use crate::cli::transfer::save;
use crate::ui::progress::Mode;

/// Does what one output asks for.
pub(crate) async fn carry_out(
    host: &dyn Host,
    output: &Output,
    image: &str,
    tags: &[String],
    mode: Mode,
) -> Result<()> {
    match output {
        Output::Image { push: false, .. } | Output::Nothing => Ok(()),
        Output::Image { push: true, .. } => {
            for tag in tags {
                let account = credentials(tag).await?;
                let steps = host.push_image(tag, account).await?;
                follow(steps, mode, "push", &format!("Image {tag}")).await?;
            }
            Ok(())
        }
        Output::Archive(target) => {
            let names = match tags.is_empty() {
                true => vec![image.to_owned()],
                false => tags.to_vec(),
            };
            save(host.save_images(&names).await?, file(target)).await
        }
        Output::Tar(_) | Output::Local(_) => Err(orc_base::Error::unsupported(
            "the files of an image cannot be taken out yet",
        )),
    }
    .context(|| "export the image that was built")
}

fn file(target: &Target) -> Option<&Path> {
    match target {
        Target::File(path) => Some(path),
        Target::Stdout => None,
    }
}
