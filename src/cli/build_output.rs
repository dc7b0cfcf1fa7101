//! What becomes of an image that was built: sent away, saved, or its files taken out.

use std::path::Path;

use futures_util::TryStreamExt;
use orc_base::root::Root;
use orc_base::{Context, Result};
use orc_host::Host;
use orc_host::container::{ContainerSpec, NetworkMode, RemoveOptions};
use orc_host::stream::{Bytes, Stream};
use orc_image::archive::files::{self, Files};
use tokio_util::io::StreamReader;

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
        Output::Tar(_) | Output::Local(_) => {
            let container = container(host, image).await?;
            let done = match host.export_container(&container).await {
                Ok(tar) => match output {
                    Output::Tar(target) => save(tar, file(target)).await,
                    Output::Local(directory) => unpack(tar, directory).await,
                    _ => Ok(()),
                },
                Err(error) => Err(error),
            };
            let options = RemoveOptions {
                force: true,
                volumes: true,
            };
            done.and(host.remove_container(&container, options).await)
        }
    }
    .context(|| "export the image that was built")
}

/// A container that never runs: a view of all files of the image.
async fn container(host: &dyn Host, image: &str) -> Result<String> {
    let spec = ContainerSpec {
        image: image.into(),
        // An image that only holds files has no program.
        entrypoint: Some(Vec::new()),
        command: Some(vec!["-".into()]),
        network_mode: NetworkMode::None,
        ..ContainerSpec::default()
    };
    Ok(host.create_container(None, &spec).await?.id)
}

/// Puts all files below a directory, which is made when it is missing. They belong to whoever asked.
async fn unpack(tar: Stream<Bytes>, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).context(|| format!("make {}", directory.display()))?;
    let root = Root::open(directory)?;
    let files = Files {
        owner: Some((
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        )),
        keeps_kinds: true,
        ..Files::default()
    };
    let tar = StreamReader::new(tar.map_err(std::io::Error::other));
    files::receive(root, files, tar).await
}

fn file(target: &Target) -> Option<&Path> {
    match target {
        Target::File(path) => Some(path),
        Target::Stdout => None,
    }
}
