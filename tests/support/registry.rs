//! The real `docker-registry`, on loopback inside a lab.

use std::path::PathBuf;
use std::process::Child;

use crate::support::lab::{Lab, until};

/// A registry that runs until it is dropped.
pub(crate) struct Registry {
    process: Child,
    /// `localhost:5001`.
    pub(crate) address: String,
    root: PathBuf,
}

impl Registry {
    /// Starts one on port 5001 of the lab, with an empty store.
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::start_with(lab, "")
    }

    /// The same with more in its configuration.
    pub(crate) fn start_with(lab: &Lab, more: &str) -> Self {
        let root = lab.path().join("registry");
        let config = lab.path().join("registry.yml");
        let address = "localhost:5001".to_owned();
        let text = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{more}",
            root.display()
        );
        std::fs::write(&config, text).expect("the registry's configuration");
        let process = lab
            .command(["docker-registry", "serve", &config.display().to_string()])
            // It tells of every blob that it does not have yet, even when only errors are wanted.
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("docker-registry starts");
        let registry = Self {
            process,
            address,
            root,
        };
        let url = format!("http://{}/v2/", registry.address);
        until("the registry answers", || {
            (lab.http(&url).code == 0).then_some(())
        });
        registry
    }

    /// The name of an image on this registry.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// The file that holds a blob, to spoil it.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.root
            .join("docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
