//! `--platform` of verbs about images that are here. An image here has one platform: the flag says that
//! another one is not meant.

use clap::Args;
use orc_base::{Error, Result};
use orc_host::Host;
use orc_host::image::Image;
use orc_image::platform::Platform;

/// The platforms that are meant; none for any.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PlatformFlag {
    /// Only if the image is for this platform
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    platform: Vec<String>,
}

impl PlatformFlag {
    /// `NotFound` when one of the images is for another platform than those that are meant. An image that
    /// is not here is not this check's to tell.
    pub(crate) async fn check(&self, host: &dyn Host, images: &[String]) -> Result<()> {
        let wanted = self.wanted()?;
        if wanted.is_empty() {
            return Ok(());
        }
        for name in images {
            match host.inspect_image(name).await {
                Ok(image) => fits(name, &image, &wanted)?,
                Err(error) if error.kind() == orc_base::Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Result<Vec<Platform>> {
        self.platform.iter().map(|text| text.parse()).collect()
    }
}

fn fits(name: &str, image: &Image, wanted: &[Platform]) -> Result<()> {
    let is = Platform::new(&image.os, &image.architecture, &image.variant);
    match wanted.iter().any(|wanted| wanted.normalised() == is) {
        true => Ok(()),
        false => {
            let wanted: Vec<String> = wanted.iter().map(Platform::to_string).collect();
            Err(Error::not_found(format!(
                "the image {name} is here for {is}, not for {}",
                wanted.join(" or ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_platform_is_not_here() {
        let image = Image {
            id: String::new(),
            tags: Vec::new(),
            digests: Vec::new(),
            created: None,
            pulled: None,
            size_bytes: 0,
            architecture: "arm64".into(),
            variant: "v8".into(),
            os: "linux".into(),
            config: Default::default(),
            layers: Vec::new(),
            layer_sizes: Vec::new(),
            author: String::new(),
            history: Vec::new(),
        };
        let flag = |text: &str| PlatformFlag {
            platform: vec![text.to_owned()],
        };
        for good in ["linux/arm64", "arm64", "linux/arm64/v8", "linux/aarch64"] {
            fits("a", &image, &flag(good).wanted().unwrap()).unwrap();
        }
        let error = fits("a", &image, &flag("linux/amd64").wanted().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the image a is here for linux/arm64, not for linux/amd64"
        );
        assert!(flag("linux/").wanted().is_err());
    }
}
