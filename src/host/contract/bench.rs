//! Where a case works: a host, an image, names of its own, and the words cases are written in.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use orc_base::{Kind, Result};

use crate::Host;
use crate::container::{ContainerFilter, ContainerSpec, RemoveOptions, State, WaitFor};
use crate::stream::{LogOptions, Output, Stream};

/// Where a case works.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) image: String,
    /// Begins every name the case makes.
    pub(crate) prefix: String,
}

impl Bench {
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    pub(crate) fn spec(&self, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            image: self.image.clone(),
            command: Some(command.iter().map(|word| (*word).into()).collect()),
            labels: BTreeMap::from([("contract".into(), self.prefix.clone())]),
            stop_timeout: Some(Duration::from_secs(1)),
            ..ContainerSpec::default()
        }
    }

    pub(crate) async fn create(&self, what: &str, spec: &ContainerSpec) -> String {
        let name = self.name(what);
        self.host
            .create_container(Some(&name), spec)
            .await
            .expect("create");
        name
    }

    pub(crate) async fn start(&self, what: &str, spec: &ContainerSpec) -> String {
        let name = self.create(what, spec).await;
        self.host.start_container(&name).await.expect("start");
        name
    }

    pub(crate) async fn state(&self, name: &str) -> State {
        self.host
            .inspect_container(name)
            .await
            .expect("inspect")
            .state
    }

    pub(crate) async fn exit_code(&self, name: &str) -> i32 {
        self.host
            .wait_container(name, WaitFor::NotRunning)
            .await
            .expect("wait")
            .code
    }

    pub(crate) async fn logs(&self, name: &str, options: LogOptions) -> Vec<(Output, String)> {
        let lines = self.host.logs(name, &options).await.expect("logs");
        collect(lines)
            .await
            .into_iter()
            .map(|line| {
                (
                    line.output,
                    String::from_utf8_lossy(&line.bytes).into_owned(),
                )
            })
            .collect()
    }

    pub(crate) async fn remove(&self, name: &str) {
        let options = RemoveOptions {
            force: true,
            volumes: true,
        };
        self.host
            .remove_container(name, options)
            .await
            .expect("remove");
    }

    /// Removes what a failed case left.
    pub(crate) async fn clean(&self) {
        let options = RemoveOptions {
            force: true,
            volumes: true,
        };
        let filter = ContainerFilter::labelled("contract", &self.prefix);
        for container in self.host.list_containers(&filter).await.unwrap_or_default() {
            let _ = self.host.remove_container(&container.id, options).await;
        }
        for network in self.host.list_networks().await.unwrap_or_default() {
            if network.spec.name.starts_with(&self.prefix) {
                let _ = self.host.remove_network(&network.id).await;
            }
        }
        for volume in self.host.list_volumes().await.unwrap_or_default() {
            if volume.name.starts_with(&self.prefix) {
                let _ = self.host.remove_volume(&volume.name, true).await;
            }
        }
    }
}

pub(crate) async fn collect<T>(stream: Stream<T>) -> Vec<T> {
    stream
        .map(|item| item.expect("an item, not an error"))
        .collect()
        .await
}

#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: Kind) -> String {
    match result {
        Ok(_) => panic!("expected {kind:?}, but it was done"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error.to_string()
        }
    }
}

/// Looks again until `holds`, which some other task is about to make true.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came true: {what}");
}
