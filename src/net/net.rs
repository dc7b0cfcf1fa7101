//! The face of this layer.
//!
//! Every change runs whole on one thread of its own ([`crate::runner`]), so a caller that goes away
//! half-way leaves nothing half done. Nothing here is stored on disk: what is returned is for the
//! engine to keep and to hand to [`Net::restore`]. When this is dropped, names are no longer
//! answered and rules no longer watched; containers keep their interfaces and rules.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use orc_base::task::Tasks;
use orc_base::{Context, Error, Id, Name, Result};
use tokio::sync::oneshot;

use crate::address::Subnet;
use crate::bridge::Bridge;
use crate::dns::cluster::ClusterNames;
use crate::dns::forward::Forwarder;
use crate::dns::server::Names;
use crate::ipam;
use crate::model::{AttachRequest, Endpoint, EndpointSpec, Network, NetworkSpec, Sandbox};
use crate::netns;
use crate::overlay::{self, Overlay};
use crate::registry::Registry;
use crate::runner::{Runner, Settings};
use crate::services::{self, Service};
use crate::watch::{Heard, Watch};
use crate::worker::Worker;

/// After rules were restored, so long nothing is: two programs that undo each other's work must not
/// take all of a processor.
const WATCH_PAUSE: Duration = Duration::from_millis(100);

/// What differs from daemon to daemon.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of the nftables tables and the tag of links: letters and digits.
    pub table: String,
    /// Where subnets come from.
    pub pools: Vec<Subnet>,
    /// How many bits the prefix of a subnet from the pools has.
    pub pool_prefix: u8,
    /// The host's resolver configuration.
    pub resolv_conf: PathBuf,
    /// Where network namespaces are pinned.
    pub namespaces: PathBuf,
}

impl Config {
    /// What a daemon does that was told nothing, with its place for namespaces.
    pub fn new(namespaces: impl Into<PathBuf>) -> Self {
        Self {
            table: "orc".into(),
            pools: ipam::default_pools(),
            pool_prefix: ipam::POOL_PREFIX,
            resolv_conf: "/etc/resolv.conf".into(),
            namespaces: namespaces.into(),
        }
    }

    fn check(&self) -> Result<()> {
        let name = &self.table;
        let valid = (1..=32).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if valid {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "`{}` is not a name for a firewall table: use up to 32 letters and digits",
            crate::address::shown(name)
        )))
    }
}

/// The networks of one daemon, in the network namespace of the thread that opened them.
pub struct Net {
    worker: Worker<Runner>,
    registry: Arc<RwLock<Registry>>,
    namespaces: PathBuf,
    _tasks: Tasks,
}

impl Net {
    /// Opens the kernel's doors and changes nothing yet.
    pub async fn open(config: Config) -> Result<Self> {
        config.check()?;
        orc_base::fs::create_dir_all(&config.namespaces, 0o700)
            .context(|| format!("make {}", config.namespaces.display()))?;
        let registry = Arc::new(RwLock::new(Registry::default()));
        let names = Arc::new(Names::new(Forwarder::new(config.resolv_conf.clone())));
        let (rules, links) = (Watch::rules()?, Watch::links()?);
        let worker = {
            let (registry, table) = (Arc::clone(&registry), config.table.clone());
            let runtime = tokio::runtime::Handle::current();
            let settings = Settings {
                table: config.table.clone(),
                pools: config.pools,
                pool_prefix: config.pool_prefix,
                resolv_conf: config.resolv_conf,
            };
            Worker::start("orc-net", move || {
                let driver = Box::new(Bridge::open(&table)?);
                Runner::new(settings, runtime, registry, driver, names)
            })
            .await?
        };
        let own = worker.run(|runner| Ok(runner.nft_port())).await?;
        let tasks = Tasks::default();
        tasks.spawn(
            "firewall-watch",
            keep_rules(rules, config.table, own, worker.clone()),
        );
        tasks.spawn(
            "link-watch",
            keep_links(links, Arc::clone(&registry), worker.clone()),
        );
        Ok(Self {
            worker,
            registry,
            namespaces: config.namespaces,
            _tasks: tasks,
        })
    }

    /// Takes over the networks and sandboxes of an earlier daemon without disturbing their traffic:
    /// keeps what is right, makes what is missing, removes links of ours that nobody owns, and
    /// holds ports and answers names again. To be called once, before anything else.
    pub async fn restore(&self, networks: Vec<Network>, sandboxes: Vec<Sandbox>) -> Result<()> {
        self.worker
            .run(move |runner| runner.restore(networks, sandboxes))
            .await
    }

    /// Makes a network; what was left open in `spec` is chosen.
    pub async fn create_network(&self, spec: NetworkSpec) -> Result<Network> {
        self.worker
            .run(move |runner| runner.create_network(spec))
            .await
    }

    /// Removes a network; fine when there is none. While containers are on it, that is a conflict
    /// that names them. Its name, rules and subnets are free when this returns; its bridge vanishes
    /// soon after, which takes the kernel some 25 ms: [`Net::settle`] waits for that.
    pub async fn remove_network(&self, id: &Id) -> Result<()> {
        let id = id.clone();
        self.worker
            .run(move |runner| runner.remove_network(&id))
            .await
    }

    /// Makes the network namespace of a container, with nothing but a loopback.
    pub async fn create_namespace(&self, container: &Id) -> Result<PathBuf> {
        let path = self.namespace_path(container);
        let made = path.clone();
        blocking(move || netns::create(&made)).await?;
        Ok(path)
    }

    /// Unpins the network namespace of a container; fine when there is none.
    pub async fn remove_namespace(&self, container: &Id) -> Result<()> {
        let path = self.namespace_path(container);
        blocking(move || netns::remove(&path)).await
    }

    /// Where the network namespace of a container is pinned.
    pub fn namespace_path(&self, container: &Id) -> PathBuf {
        self.namespaces.join(container.as_str())
    }

    /// Puts a container on its networks, publishes its ports and makes its names known: all of it
    /// or nothing.
    pub async fn attach(&self, request: AttachRequest) -> Result<Sandbox> {
        self.worker.run(move |runner| runner.attach(&request)).await
    }

    /// Takes a container off its networks; fine when it is on none. Its interfaces vanish soon
    /// after: [`Net::settle`] waits for that.
    pub async fn detach(&self, container: &Id) -> Result<()> {
        let container = container.clone();
        self.worker
            .run(move |runner| runner.detach(&container))
            .await
    }

    /// Puts a container that has been attached on one more network.
    pub async fn connect(&self, container: &Id, endpoint: EndpointSpec) -> Result<Endpoint> {
        let container = container.clone();
        self.worker
            .run(move |runner| runner.connect(&container, &endpoint))
            .await
    }

    /// Takes a container off one network, and returns when its interface is gone.
    pub async fn disconnect(&self, container: &Id, network: &Id) -> Result<()> {
        let (container, network) = (container.clone(), network.clone());
        let settled = self
            .worker
            .run(move |runner| runner.disconnect(&container, &network));
        wait(settled.await?).await;
        Ok(())
    }

    /// Gives a container that is on networks another name, by which its peers find it from now on;
    /// fine when it is on none.
    pub async fn rename(&self, container: &Id, name: Name) -> Result<()> {
        let container = container.clone();
        self.worker
            .run(move |runner| {
                runner.rename(&container, name);
                Ok(())
            })
            .await
    }

    /// Makes this the way to the containers of other nodes, or ends it. What is there already and
    /// right is not disturbed. One of the networks should have the addresses of this node.
    pub async fn set_overlay(&self, overlay: Option<Overlay>) -> Result<()> {
        self.worker
            .run(move |runner| runner.set_overlay(overlay))
            .await
    }

    /// Makes these all the services there are. Until the first call those that an earlier daemon set
    /// go on.
    pub async fn set_services(&self, services: Vec<Service>) -> Result<()> {
        self.worker
            .run(move |runner| runner.set_services(services))
            .await
    }

    /// Makes these the names of the cluster that containers know beside those of their networks.
    pub async fn set_cluster_names(&self, names: Option<ClusterNames>) -> Result<()> {
        self.worker
            .run(move |runner| {
                runner.set_cluster_names(names.as_ref());
                Ok(())
            })
            .await
    }

    /// Returns when every interface that was to go is gone.
    pub async fn settle(&self) -> Result<()> {
        wait(self.worker.run(Runner::settled).await?).await;
        Ok(())
    }

    /// All networks.
    pub fn networks(&self) -> Vec<Network> {
        self.registry().networks.values().cloned().collect()
    }

    /// All containers that are on networks.
    pub fn sandboxes(&self) -> Vec<Sandbox> {
        self.registry().sandboxes.values().cloned().collect()
    }

    /// One container, if it is on networks.
    pub fn sandbox(&self, container: &Id) -> Option<Sandbox> {
        self.registry().sandboxes.get(container).cloned()
    }

    /// The firewall rules as they should be, in nft's notation.
    pub async fn rules_text(&self) -> Result<String> {
        self.worker
            .run(|runner| Ok(runner.ruleset().to_string()))
            .await
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that would fire lives as long as the one that answered.
async fn wait(settled: oneshot::Receiver<()>) {
    let _ = settled.await;
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::internal("work on a namespace panicked: this is a bug in orc"))?
}

/// Restores the rules when somebody else changes or flushes them.
async fn keep_rules(mut watch: Watch, table: String, own: u32, worker: Worker<Runner>) {
    let tables = [services::table(&table), table];
    loop {
        match watch.hear_of_rules(&tables, own).await {
            Ok(Heard::Nothing) => continue,
            Ok(Heard::Touched) => tracing::warn!("somebody changed our firewall rules: set again"),
            Ok(Heard::Overrun) => tracing::debug!("changes of firewall rules were missed"),
            Err(error) => tracing::warn!(%error, "listen for changes of firewall rules"),
        }
        if let Err(error) = worker.run(Runner::restore_rules).await {
            tracing::error!(%error, "restore the firewall rules");
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// Makes links again that somebody else deletes: bridges, on which their containers are put back,
/// single interfaces of containers, and the overlay.
async fn keep_links(mut watch: Watch, registry: Arc<RwLock<Registry>>, worker: Worker<Runner>) {
    let ours = |name: &str| {
        let registry = registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.wants_link(name) || name.starts_with(overlay::INTERFACE)
    };
    loop {
        match watch.hear_of_removal(ours).await {
            Ok(Heard::Nothing) => continue,
            Ok(Heard::Touched) => {}
            Ok(Heard::Overrun) => tracing::debug!("changes of interfaces were missed"),
            Err(error) => tracing::warn!(%error, "listen for changes of interfaces"),
        }
        if let Err(error) = worker.run(Runner::restore_links).await {
            tracing::error!(%error, "make an interface again");
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}
