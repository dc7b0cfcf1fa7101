//! The archive of a root file system becomes an image of one layer.

use std::io::Read;

use orc_base::{Context, Result, Time};

use crate::archive::intake;
use crate::config::{ConfigFile, History, ImageConfig};
use crate::digest::Digest;
use crate::dockerfile::apply::apply_changes;
use crate::image::Image;
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Commit, Ingest};

/// What to make of the archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name of the image; nameless without one.
    pub reference: Option<Reference>,
    /// Instructions of a Dockerfile for its config: `CMD ["sh"]`, `ENV A=b`.
    pub changes: Vec<String>,
    /// A word about it for its history.
    pub message: Option<String>,
}

/// Makes the image. Blocks.
pub(crate) fn import(
    ingest: &Ingest,
    tar: impl Read + Send,
    options: &ImportOptions,
    now: Time,
) -> Result<Image> {
    // Before the archive is read: a typing error should not cost a gigabyte.
    let mut config = ImageConfig::default();
    apply_changes(&mut config, &options.changes)?;
    config.check()?;
    let layer = intake::take(ingest, tar).context(|| "import the archive")?;
    let message = options.message.as_deref();
    let file = describe(config, layer.diff_id, message, now);
    keep(ingest, &file, layer.blob, options.reference.as_ref())
}

fn describe(config: ImageConfig, diff_id: Digest, message: Option<&str>, now: Time) -> ConfigFile {
    let host = Platform::host();
    ConfigFile {
        created: Some(now),
        author: String::new(),
        architecture: host.architecture,
        os: host.os,
        variant: host.variant,
        config,
        diff_ids: vec![diff_id],
        history: vec![History {
            created: Some(now),
            comment: message.unwrap_or("Imported from -").into(),
            ..History::default()
        }],
    }
}

fn keep(
    ingest: &Ingest,
    file: &ConfigFile,
    layer: Descriptor,
    reference: Option<&Reference>,
) -> Result<Image> {
    let content = ingest.store().content();
    let config = file.render()?;
    let id = Digest::of(&config);
    content.write_whole(&id, &config)?;
    let descriptor = Descriptor {
        media_type: OCI_CONFIG.into(),
        digest: id.clone(),
        size: config.len() as u64,
        platform: None,
    };
    let blob = layer.digest.clone();
    let manifest = Manifest::new(descriptor, vec![layer]).to_bytes();
    let digest = Digest::of(&manifest);
    content.write_whole(&digest, &manifest)?;
    ingest.store().commit(
        ingest,
        &Commit {
            reference,
            target: None,
            manifest: &digest,
            config: &id,
            blobs: &[blob],
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn changed(lines: &[&str]) -> ImageConfig {
        let mut config = ImageConfig::default();
        apply_changes(&mut config, lines).unwrap();
        config
    }

    #[test]
    fn all_instructions() {
        let config = changed(&[
            r#"CMD ["sh", "-c", "echo hi"]"#,
            "entrypoint /run me",
            "ENV A=1 B=\"two words\" C=x\\ y",
            "ENV A 3 4",
            "EXPOSE 80 53/UDP 8000-8001",
            "LABEL a=b \"c d\"=e",
            "USER 1000:1000",
            "VOLUME /data /more",
            r#"VOLUME ["/with space"]"#,
            "WORKDIR /a",
            "WORKDIR b/../c",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=5s --retries=2 CMD curl -f http://localhost/",
            "STOPSIGNAL SIGQUIT",
        ]);
        assert_eq!(config.cmd.unwrap(), ["sh", "-c", "echo hi"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "/run me"]);
        assert_eq!(config.env, ["A=3 4", "B=two words", "C=x y"]);
        assert_eq!(
            config.exposed_ports,
            ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]
        );
        assert_eq!(config.labels["c d"], "e");
        assert_eq!(config.volumes, ["/data", "/more", "/with space"]);
        assert_eq!((&*config.user, &*config.working_dir), ("1000:1000", "/a/c"));
        assert_eq!(config.on_build, ["RUN x"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f http://localhost/"]);
        assert_eq!(check.interval, Some(Duration::from_secs(5)));
        assert_eq!((check.retries, check.timeout), (Some(2), None));
    }

    #[test]
    fn other_forms() {
        let config = changed(&[
            r#"SHELL ["/bin/bash", "-c"]"#,
            "CMD echo",
            r#"HEALTHCHECK --start-period=1m CMD ["true"]"#,
            "WORKDIR x",
        ]);
        assert_eq!(config.cmd.unwrap(), ["/bin/bash", "-c", "echo"]);
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD", "true"]);
        assert_eq!(check.start_period, Some(Duration::from_secs(60)));
        assert_eq!(config.working_dir, "/x");
        let none = changed(&["HEALTHCHECK NONE"]).healthcheck.unwrap();
        assert_eq!(none.test, ["NONE"]);
    }
}
