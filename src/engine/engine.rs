//! Opens an engine: the layers below it, the records, and the loop that acts on what ended.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orc_base::clock::SystemClock;
use orc_base::dirs::Dirs;
use orc_base::task::Tasks;
use orc_base::{Clock, Context, Result};
use orc_host::container::RemoveOptions;
use orc_image::images::Images;
use orc_image::registry::config::RegistryConfig;
use orc_net::Net;
use orc_runtime::Runtime;
use tokio::sync::mpsc;

use crate::core::{Core, Wish, blocking};
use crate::events::Events;
use crate::execs::Execs;
use crate::networks::Networks;
use crate::pulls::Pulls;
use crate::recover::recover;
use crate::registry::Registry;
use crate::remove::remove;
use crate::running_builds::RunningBuilds;
use crate::start::retry;
use crate::store::Store;
use crate::system;
use crate::tails::Tails;
use crate::volumes::Volumes;

/// How long interfaces that are going may take when the daemon ends; the next one goes on with them.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// What an engine is told.
pub struct Options {
    /// Where it keeps things.
    pub dirs: Dirs,
    /// Below which cgroup those of containers are, such as `/orc`.
    pub cgroup_parent: String,
    /// The program whose `launcher` command runs containers; this very one when none is given.
    pub exe: Option<PathBuf>,
    /// How registries are spoken to.
    pub registries: RegistryConfig,
    /// How many bytes builds may keep to use again, zero for no limit; a tenth of the disk when
    /// nobody says.
    pub build_cache_limit: Option<u64>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// An engine at `dirs` with the defaults of everything else.
    pub fn new(dirs: Dirs) -> Self {
        Self {
            dirs,
            cgroup_parent: "/orc".into(),
            exe: None,
            registries: RegistryConfig::default(),
            build_cache_limit: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A machine that runs containers. Dropping it ends its work and no container.
pub struct Engine {
    pub(crate) core: Arc<Core>,
}

impl Engine {
    /// Opens the engine at `options.dirs`, which nobody else may have open, takes over the containers
    /// of an earlier one, and removes what that left half done.
    pub async fn open(options: Options) -> Result<Arc<Self>> {
        let dirs = &options.dirs;
        let store = Store::open(dirs)?;
        // Before anything large is read: the launcher forks from a small process.
        let runtime = Runtime::launch(orc_runtime::Config {
            state_root: dirs.run().join("containers"),
            cgroup_parent: options.cgroup_parent.clone(),
            exe: options.exe.clone(),
        })
        .context(|| "start the launcher")?;
        let (directory, registries) = (dirs.images(), options.registries);
        let images = blocking(move || Images::open(&directory, registries))
            .await
            .context(|| "open the images")?;
        if let Some(bytes) = options.build_cache_limit {
            images.cache_limit(bytes);
        }
        let config = orc_net::Config::new(dirs.namespaces());
        let resolv_conf = config.resolv_conf.clone();
        let net = Net::open(config).await.context(|| "open the network")?;
        let tails = Tails::open();
        let (wishes, wished) = mpsc::unbounded_channel();
        let core = Arc::new(Core {
            networks: Networks::open(&store).context(|| "load the networks")?,
            volumes: Volumes::open(&store).context(|| "load the volumes")?,
            events: Events::new(options.clock.clone()),
            containers: Registry::default(),
            execs: Execs::default(),
            boot: system::boot_id(),
            machine: system::machine(),
            pulls: Pulls::open(&store.dirs().data().join("pulled.json")),
            cgroup_parent: options.cgroup_parent,
            clock: options.clock,
            tails: tails.clone(),
            builds: RunningBuilds::default(),
            tasks: Mutex::new(Some(Arc::new(Tasks::default()))),
            store,
            images,
            runtime,
            net,
            resolv_conf,
            wishes,
        });
        core.spawn("log watch", tails.run());
        recover(&core).await?;
        core.spawn("engine loop", act(core.clone(), wished));
        Ok(Arc::new(Self { core }))
    }
}

impl Engine {
    /// Ends what ends with the daemon: builds, and the removal of interfaces, of which people have
    /// been told. Containers go on.
    pub async fn end(&self) {
        let interfaces = tokio::time::timeout(SETTLE_TIMEOUT, self.core.net.settle());
        let ((), settled) = tokio::join!(self.core.builds.end(), interfaces);
        if let Ok(Err(error)) = settled {
            tracing::warn!("{}", error.within("wait for interfaces to go"));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.core.close();
    }
}

/// Does what ended containers ask for, each in a task of its own: one that takes its time does not
/// hold up the others.
async fn act(core: Arc<Core>, mut wished: mpsc::UnboundedReceiver<Wish>) {
    while let Some(wish) = wished.recv().await {
        let inner = core.clone();
        core.spawn("wish", async move { fulfil(&inner, wish).await });
    }
}

async fn fulfil(core: &Arc<Core>, wish: Wish) {
    let (id, result) = match wish {
        Wish::Retry(id) => match core.containers.get(&id) {
            Some(cell) => (id, retry(core, &cell).await),
            None => return,
        },
        Wish::Remove(id) => match core.containers.get(&id) {
            Some(cell) => {
                let options = RemoveOptions {
                    force: false,
                    volumes: true,
                };
                (id, remove(core, &cell, options).await)
            }
            None => return,
        },
    };
    if let Err(error) = result {
        tracing::warn!(container = id.short(), "{error}");
    }
}
